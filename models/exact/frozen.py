"""What the codec's models of all families share."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.exact.tables import stage_costs
from models.protocol import LayerSpec
from models.trainable import SIZE_MULTIPLE, TrainableModel

Networks = TypeVar("Networks", bound=TrainableModel)


class FrozenModel(Generic[Networks]):
    """The part of :class:`models.protocol.CodingModel` that does not depend on the family.

    Args:
        model: networks with frozen priors.
        thresholds: raw scale → scale index, (63,) float64.
        frequencies: per stage, of the symbols of each scale index, for range coding.
        skip_index: scale indices up to this one are not coded.
    """

    size_multiple = SIZE_MULTIPLE
    margin = 0
    layers: tuple[LayerSpec, ...]
    max_effort = 1

    def __init__(
        self,
        model: Networks,
        *,
        name: str,
        model_id: int,
        fingerprint: bytes,
        thresholds: Tensor,
        frequencies: list[list[np.ndarray]],
        skip_index: int,
    ) -> None:
        self.name, self.model_id, self.fingerprint = name, model_id, fingerprint
        self.frequencies, self.skip_index = frequencies, skip_index
        self.thresholds = thresholds
        self._model = model.eval().requires_grad_(False)
        self._model.costs = stage_costs(frequencies)

    def _at(self, quality: float) -> Tensor:
        """Quality as the networks take it, (1,)."""
        return torch.tensor([quality], dtype=torch.float32, device=self.thresholds.device)

    def layers_at(self, quality: float) -> tuple[LayerSpec, ...]:
        """The layers of a file of that quality."""
        return self.layers

    def lagrangian(self, quality: float) -> float:
        """λ of a quality: bits per pixel that one unit of mean squared error is worth."""
        return float(self._model.lagrangian(self._at(quality)))

    def layers_for_scale(self, scale: int) -> int:
        """How many layers the picture at that scale depends on."""
        return {1: 3, 2: 2, 4: 1}[scale]
