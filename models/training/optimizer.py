"""Adam for everything, or Muon for the matrices and Adam for the rest.

Almost all weights of the models are the matrices of 1×1 convolutions. Muon (Jordan et al. 2024;
``torch.optim.Muon``) orthogonalizes their updates; with the step size matched to Adam's root mean
square (Liu et al. 2025, eq. 4) one learning rate serves both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
    """The optimizer of a run behind one learning rate; its state resumes exactly."""

    def __init__(self, model: nn.Module, kind: str, learning_rate: float) -> None:
        if kind not in OPTIMIZERS:
            raise ValueError(f"optimizer {kind!r} is unknown; use one of {', '.join(OPTIMIZERS)}")
        if kind == "muon" and not hasattr(torch.optim, "Muon"):
            raise ValueError("muon needs PyTorch 2.9 or newer; use --optimizer adam")
        self._parameters = list(model.parameters())
        # QualityCurve knots are 2-D too, but rows of a table, not a matrix.
        names = {id(p) for name, p in model.named_parameters() if not name.endswith("knots")}
        matrices = [p for p in self._parameters if id(p) in names and _is_matrix(p)]
        self._matrices = matrices if kind == "muon" else []
        chosen = {id(p) for p in self._matrices}
        rest = [p for p in self._parameters if id(p) not in chosen]
        # torch's Muon takes 2-D tensors only: it works on views of the weights' memory.
        self._views = [nn.Parameter(p.data.view(p.shape[:2])) for p in self._matrices]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.Adam(rest, lr=learning_rate, betas=ADAM_BETAS, fused=True)
        ]
        if self._views:
            self._parts.append(
                torch.optim.Muon(
                    self._views,
                    lr=learning_rate,
                    weight_decay=0.0,
                    adjust_lr_fn="match_rms_adamw",
                )
            )

    def set_learning_rate(self, value: float) -> None:
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = value

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        for view, parameter in zip(self._views, self._matrices, strict=True):
            view.grad = None if parameter.grad is None else parameter.grad.view(view.shape)
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
