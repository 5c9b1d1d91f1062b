"""Exact prior of one layer: coding steps over a 2×2 quadtree pattern.

A layer's symbols are coded in four steps (or two, see below). Channels form four groups, positions
four phases ``2·(row mod 2) + (column mod 2)``; step ``i`` codes group ``g`` at phase
``ORDER[i] xor g``::

    group 0   1 . 1 .     step 1: each group at one phase, all four phases in use
              . 2 . 2     step 2: the diagonal neighbour
    (phases   3 . 3 .     steps 3, 4: the rest
    0 1 / 2 3)

so that from the second step on every position has symbols at the same place in other channels and
in the same channel next door (the quadtree partition of DCVC-DC, Li et al. 2023). Each step sees
the layers above through a context tensor computed once, and the steps before it. With two steps,
two channel groups take opposite colours of a checkerboard in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from models.exact.arithmetic import (
    ExactBias,
    ExactBlock,
    ExactLeakyReLU,
    ExactPointwise,
)

#: Per number of steps: the phase at which each step codes the first group.
_ORDERS: dict[int, tuple[tuple[int, ...], ...]] = {2: ((0, 3), (1, 2)), 4: ((0,), (3,), (1,), (2,))}


def step_pattern(channels: int, steps: int) -> Tensor:
    """Which step codes what: integers below ``steps`` of shape (C, 2, 2) over channel and phase."""
    pattern = torch.empty(channels, 2, 2, dtype=torch.long)
    for channel in range(channels):
        group = channel * steps // channels
        for step, phases in enumerate(_ORDERS[steps]):
            for base in phases:
                phase = base ^ group
                pattern[channel, phase // 2, phase % 2] = step
    return pattern


class CodingStep(nn.Module):
    """One step's network: (context, symbols so far) → mean and raw scale of every position."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.known = ExactPointwise(channels, width)
        self.phase = ExactBias(width, 2, 2)
        self.block = ExactBlock(width)
        self.activation = ExactLeakyReLU()
        self.out = ExactPointwise(width, 2 * channels, gain=0.3)

    def features(self, context: Tensor, known: Tensor) -> Tensor:
        h, w = known.shape[-2:]
        x = context + self.known(known) + self.phase().repeat(1, h // 2, w // 2)
        return self.activation(self.block(x))

    def forward(self, context: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.out(self.features(context, known)).chunk(2, dim=1)
        return mean, raw


class LayerPrior(nn.Module):
    """The steps of one layer.

    Works on B×C×H×W with even H and W, in symbol units: float32 while training, integers in
    units of 2^-10 carried in float64 once frozen (see :mod:`models.exact.arithmetic`).
    """

    def __init__(self, channels: int, width: int, *, steps: int) -> None:
        super().__init__()
        self.channels = channels
        self.steps = nn.ModuleList(CodingStep(channels, width) for _ in range(steps))
        self.register_buffer("pattern", step_pattern(channels, steps), persistent=False)

    def predict(self, step: int, context: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale of every position, from the symbols of the steps before ``step``."""
        return self.steps[step](context, known)

    def predict_coded(self, step: int, context: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale at the places of ``step`` alone, in the shape of :meth:`gather`.

        The last product is computed for these places only, a quarter of all.
        """
        network = cast(CodingStep, self.steps[step])
        features = network.features(context, known)
        means, raws = [], []
        for channels, row, column in self._groups(step):
            raw_channels = slice(channels.start + self.channels, channels.stop + self.channels)
            places = features[..., row::2, column::2]
            mean, raw = network.out.some(places, channels, raw_channels).chunk(2, dim=1)
            means.append(mean)
            raws.append(raw)
        return torch.cat(means, dim=1), torch.cat(raws, dim=1)

    def masks(self, height: int, width: int) -> list[Tensor]:
        """Per step the coded places, boolean C×H×W."""
        full = cast(Tensor, self.pattern).repeat(1, height // 2, width // 2)
        return [full == step for step in range(len(self.steps))]

    def gather(self, step: int, x: Tensor) -> Tensor:
        """The places of one step in a tensor …×C×H×W, as …×C×(H/2)×(W/2).

        Flattened, this is coding order: by channel, row, column. With two steps, where each 2×2
        square of a channel holds two places of a step, the channel axis holds both, C in all.
        """
        groups = [x[..., c, r::2, s::2] for c, r, s in self._groups(step)]
        return torch.cat(groups, dim=-3)

    def scatter(self, step: int, values: Tensor, into: Tensor) -> None:
        """Write values in the shape of :meth:`gather` to the places of one step, in place."""
        first = 0
        for channels, row, column in self._groups(step):
            last = first + channels.stop - channels.start
            into[..., channels, row::2, column::2] = values[..., first:last, :, :]
            first = last

    def _groups(self, step: int) -> Iterator[tuple[slice, int, int]]:
        """Channels, row phase, column phase of each channel group in one step."""
        order = _ORDERS[len(self.steps)]
        count = len(order)
        for group in range(count):
            first, last = (-(-self.channels * g // count) for g in (group, group + 1))
            for base in order[step]:
                phase = base ^ group
                yield slice(first, last), phase // 2, phase % 2
