"""Exact prior of one stage: coding steps over a 2×2 quadtree pattern.

A stage's symbols are coded in four steps. Channels form four groups, positions four phases
``2·(row mod 2) + (column mod 2)``; step ``i`` codes group ``g`` at phase ``PHASES[i] xor g``::

    group 0   1 . 1 .     step 1: each group at one phase, all four phases in use
              . 2 . 2     step 2: the diagonal neighbour
    (phases   3 . 3 .     steps 3, 4: the rest
    0 1 / 2 3)

so that from the second step on every position has symbols at the same place in other channels and
in the same channel next door (the quadtree partition of DCVC-DC, Li et al. 2023). Each step sees
the stages before through a context tensor computed once, and the steps before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from models.exact.arithmetic import ExactBias, ExactBlock, ExactLeakyReLU, ExactPointwise

#: The phase at which each step codes the first group.
PHASES = (0, 3, 1, 2)
#: Coding steps of a stage.
STEPS = len(PHASES)


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
        x = context + self.known(known)
        blocks = x.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))  # …×C×H/2×2×W/2×2
        blocks += self.phase()[:, None, :, None, :]  # of x itself: one large map less in memory
        return self.activation(self.block(x))

    def forward(self, context: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.out(self.features(context, known)).chunk(2, dim=1)
        return mean, raw


class StagePrior(nn.Module):
    """The coding steps of one stage.

    Works on B×C×H×W with even H and W, in symbol units: float32 while training, integers in
    units of 2^-10 carried in float64 once frozen (see :mod:`models.exact.arithmetic`).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.steps = nn.ModuleList(CodingStep(channels, width) for _ in range(STEPS))

    def predict(self, step: int, context: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale at the places of ``step``, in the shape of :meth:`gather`, from the
        symbols of the steps before.

        The last product is computed for these places only, a quarter of all.
        """
        network = cast(CodingStep, self.steps[step])
        features = network.features(context, known)
        means, raws = [], []
        for channels, row, column in self.places(step):
            raw_channels = slice(channels.start + self.channels, channels.stop + self.channels)
            places = features[..., row::2, column::2]
            mean, raw = network.out.some(places, channels, raw_channels).chunk(2, dim=1)
            means.append(mean)
            raws.append(raw)
        return torch.cat(means, dim=1), torch.cat(raws, dim=1)

    def gather(self, step: int, x: Tensor) -> Tensor:
        """The places of one step in a tensor …×C×H×W, as …×C×(H/2)×(W/2).

        Flattened, this is coding order: by channel, row, column.
        """
        return torch.cat([x[..., c, r::2, s::2] for c, r, s in self.places(step)], dim=-3)

    def scatter(self, step: int, values: Tensor, into: Tensor) -> None:
        """Write values in the shape of :meth:`gather` to the places of one step, in place."""
        first = 0
        for channels, row, column in self.places(step):
            last = first + channels.stop - channels.start
            into[..., channels, row::2, column::2] = values[..., first:last, :, :]
            first = last

    def places(self, step: int) -> Iterator[tuple[slice, int, int]]:
        """Channels, row phase, column phase of each channel group in one step."""
        bounds = [-(-self.channels * group // STEPS) for group in range(STEPS + 1)]
        for group in range(STEPS):
            phase = PHASES[step] ^ group
            yield slice(bounds[group], bounds[group + 1]), phase // 2, phase % 2
