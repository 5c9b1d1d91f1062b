"""Adam for everything, or Muon for the matrices and Adam for the rest.

Almost all weights of the models are the matrices of 1×1 convolutions, whose updates Muon
orthogonalizes (:mod:`models.training.muon`); one learning rate serves both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.training.muon import Muon

ADAM_BETAS = (0.9, 0.98)
OPTIMIZERS = ("adam", "muon")
#: Matrices with a smaller side have no spectrum worth flattening (first and last layers).
_SMALLEST_SIDE = 16


def _is_matrix(parameter: Tensor) -> bool:
    """Weights of 1×1 convolutions (out, in, 1, 1) and of exact pointwise layers (out, in)."""
    shape = parameter.shape
    matrix = len(shape) == 2 or (len(shape) == 4 and shape[2] == shape[3] == 1)
    return matrix and min(shape[:2]) >= _SMALLEST_SIDE


class ModelOptimizer:
    """The optimizers of a run under one learning rate; their state resumes exactly."""

    def __init__(self, model: nn.Module, kind: str, learning_rate: float) -> None:
        if kind not in OPTIMIZERS:
            raise ValueError(f"optimizer {kind!r} is unknown; use one of {', '.join(OPTIMIZERS)}")
        self._parameters = list(model.parameters())
        # QualityCurve knots are 2-D too, but rows of a table, not a matrix.
        names = {id(p) for name, p in model.named_parameters() if not name.endswith("knots")}
        matrices = [p for p in self._parameters if id(p) in names and _is_matrix(p)]
        by_muon = {id(p) for p in matrices} if kind == "muon" else set()
        rest = [p for p in self._parameters if id(p) not in by_muon]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.Adam(rest, lr=learning_rate, betas=ADAM_BETAS, fused=True)
        ]
        #: None for Adam alone.
        self.muon = Muon(matrices, lr=learning_rate) if by_muon else None
        if self.muon is not None:
            self._parts.append(self.muon)

    def set_learning_rate(self, value: float) -> None:
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = value

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Raises ValueError where the state belongs to another kind of optimizer."""
        if len(state) != len(self._parts):
            raise ValueError("the checkpoint was written with another optimizer")
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(saved)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights a step towards the model's; a young average follows faster."""
    shadow: list[Tensor] = list(average.parameters())
    current = [parameter.detach() for parameter in model.parameters()]
    torch._foreach_lerp_(shadow, current, 1 - min(decay, (1 + step) / (10 + step)))
