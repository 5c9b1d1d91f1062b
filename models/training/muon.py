"""Muon for many small matrices: momentum, orthogonalized (Jordan et al. 2024).

``torch.optim.Muon`` takes matrices one by one and multiplies them in bfloat16, which on a CPU can
take a third of a step. Here matrices of equal shape are orthogonalized at once, in the format that
the machine is faster in. The step size is matched to Adam's root mean square (Liu et al. 2025,
eq. 4), so that one learning rate serves both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
_ITERATIONS = 5
#: Quintic whose iteration drives all singular values to about 1 (Jordan et al. 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Newton–Schulz iteration: N×rows×columns → the same with singular values of about 1."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.float().norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7).to(dtype)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for 1×1 convolutions and matrices.

    Args:
        parameters: (out, in) or (out, in, 1, 1).
        lr: as Adam's.
        dtype: in which matrices are multiplied.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; parameters without a gradient stay where they are."""
        for group in self.param_groups:
            equal: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    equal[parameter.shape[:2]].append(parameter)
            for shape, parameters in equal.items():
                updates = orthogonalize(
                    torch.stack([self._momentum(p).view(shape) for p in parameters]), self.dtype
                )
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.sub_(update.view_as(parameter), alpha=scale)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        """The gradient blended with its running mean, contiguous."""
        gradient = parameter.grad
        assert gradient is not None
        gradient = gradient.contiguous()
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        mean = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(mean, MOMENTUM)
