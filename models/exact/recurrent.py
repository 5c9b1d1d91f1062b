"""A recurrent unit in exact arithmetic: the memory of a prior that walks through many steps.

Its gates are hard: ``clamp(x/4 + 1/2, 0, 1)`` is a shift and a clamp in integers, where a logistic
sigmoid would be a table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.exact.arithmetic import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    ExactDepthwise,
    ExactModule,
    ExactPointwise,
)

_ONE = 2.0**ACTIVATION_BITS


class ExactGate(ExactModule):
    """``state + g · (candidate − state)`` with the hard sigmoid ``g`` of a gate."""

    def forward(self, state: Tensor, candidate: Tensor, gate: Tensor) -> Tensor:
        if not self.frozen:
            return torch.lerp(state, candidate, (gate * 0.25 + 0.5).clamp(0, 1))
        share = torch.floor(gate * 0.25 + 0.5 * _ONE).clamp_(0, _ONE)
        # |candidate − state| < 2^25 and share ≤ 2^10: the product is exact.
        change = torch.floor((candidate - state) * share * (1 / _ONE) + 0.5)
        return (state + change).clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)


class ExactRecurrentUnit(nn.Module):
    """Minimal gated recurrent unit (Zhou et al. 2016), convolutional: depthwise 3×3, then 1×1.

    ``forward(state, x)`` with both B×D×H×W returns the next state. ``2 D² + 9 D`` MAC per position.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = ExactDepthwise(width)
        self.out = ExactPointwise(width, 2 * width)
        self.gate = ExactGate()

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        candidate, gate = self.out(self.mix(state + x)).chunk(2, dim=1)
        return self.gate(state, candidate, gate)
