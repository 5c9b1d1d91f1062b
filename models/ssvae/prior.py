"""The ssVAE's exact prior of images: u, then z1, then z2, at high qualities in two stages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.exact.walk import UNIT, PriorWalk
from models.ssvae.networks import SSVAE, STAGE_STRIDES
from models.tiles import Box, FeatureMap


class SSVAEPriorState(PriorWalk):
    """See :class:`models.protocol.PriorState`.

    Args:
        model: with frozen priors.
        thresholds: raw scale → scale index.
        batch: how many images.
        height, width: of each image, multiples of 64.
        quality: 0…100.
    """

    def __init__(
        self,
        model: SSVAE,
        thresholds: Tensor,
        batch: int,
        height: int,
        width: int,
        quality: float,
    ) -> None:
        super().__init__(thresholds, batch, height, width)
        self._prior, self._config = model.prior, model.config
        self._stages = 4 if model.has_fine(quality) else 3
        at = torch.tensor([quality], dtype=torch.float32, device=thresholds.device)
        first = self._prior.first_context(at, 1, 1)
        self._next(lambda box: first.expand(batch, -1, *box.size(STAGE_STRIDES[0])))

    def _next(self, compute: Callable[[Box], Tensor]) -> None:
        """Begin the next stage with the context that ``compute`` gives."""
        index = len(self.latents)
        stride = STAGE_STRIDES[index]
        context = FeatureMap(self.frame, self._config.prior_widths[index], stride, compute)
        self.begin(self._prior.stage(index), stride, context)

    def finished(self, latent: Tensor) -> None:
        index = len(self.latents)
        if index == self._stages:
            return
        before, stride, following = self._context, STAGE_STRIDES[index - 1], STAGE_STRIDES[index]
        prior, frame = self._prior, self.frame
        reach = self._config.prior_depth * stride  # each block of the trunk is 3×3

        def compute(box: Box) -> Tensor:
            seen = box.grown(reach, stride, frame)
            value = seen.cut(latent, stride).double() * UNIT
            context = prior.next_context(index - 1, before.read(seen).double(), value)
            return box.cut(context, following, seen).float()

        self._next(compute)
