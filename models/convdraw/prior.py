"""Exact priors of ConvDRAW's steps: a small recurrent net over symbols.

Its state plays the part of the decoder's past, but is computed from symbols alone, in exact
arithmetic (:mod:`models.exact.arithmetic`), so that every machine predicts the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from models.exact.arithmetic import ExactPointwise, ExactQualityCurve, ExactUp
from models.exact.recurrent import ExactRecurrentUnit
from models.exact.stage_prior import StagePrior
from models.exact.walk import UNIT, PriorWalk
from models.tiles import Box, WholeMap, assemble


class ConvDRAWPrior(nn.Module):
    """The priors of all steps.

    Args:
        levels: (channels, width, steps) of each level, coarse to fine.
        knots: of the functions of quality.
    """

    def __init__(self, levels: Sequence[tuple[int, int, int]], *, knots: int) -> None:
        super().__init__()
        each = [(c, w) for c, w, steps in levels for _ in range(steps)]
        widths = [w for _, w, _ in levels]
        self.steps = nn.ModuleList(StagePrior(c, w) for c, w in each)
        self.latent_in = nn.ModuleList(ExactPointwise(c, w) for c, w in each)
        self.recurrent = nn.ModuleList(ExactRecurrentUnit(w) for _, w in each)
        self.qualities = nn.ModuleList(ExactQualityCurve(w, knots=knots) for w in widths)
        self.ups = nn.ModuleList(ExactUp(a, b) for a, b in itertools.pairwise(widths))

    def step(self, index: int) -> StagePrior:
        """The coding steps of one drawing step."""
        return cast(StagePrior, self.steps[index])

    def start(
        self, level: int, state: Tensor | None, quality: Tensor, height: int, width: int
    ) -> Tensor:
        """State before the first step of a level, from the last one of the level before.

        ``state`` is None before the first level; height and width are positions of this level.
        """
        own = self.qualities[level](quality)
        if level == 0:
            return own.expand(-1, -1, height, width)
        return self.ups[level - 1](state) + own

    def advance(self, index: int, state: Tensor, latent: Tensor) -> Tensor:
        """State after step ``index``, whose latent has become known."""
        return self.recurrent[index](state, self.latent_in[index](latent))


class ConvDRAWPriorState(PriorWalk):
    """See :class:`models.protocol.PriorState`.

    Args:
        prior: frozen.
        strides: pixels per position of each step.
        thresholds: raw scale → scale index.
        batch: how many images.
        height, width: of each image, multiples of 64.
        quality: 0…100.
    """

    def __init__(
        self,
        prior: ConvDRAWPrior,
        strides: Sequence[int],
        thresholds: Tensor,
        batch: int,
        height: int,
        width: int,
        quality: float,
    ) -> None:
        super().__init__(thresholds, batch, height, width)
        self._prior, self._strides = prior, strides
        self._quality = torch.tensor([quality], dtype=torch.float32, device=thresholds.device)
        self._level = 0

        def first(box: Box) -> Tensor:
            state = prior.start(0, None, self._quality, *box.size(strides[0]))
            return state.float().expand(batch, -1, -1, -1)

        self._next(first)

    def _next(self, compute: Callable[[Box], Tensor]) -> None:
        """Begin the next step with the state that ``compute`` gives."""
        index = len(self.latents)
        stride = self._strides[index]
        # Kept even of large images: computed anew, each state would cost all states before it.
        state = assemble(self.frame, stride, compute)
        self.begin(self._prior.step(index), stride, WholeMap(state, stride))

    def finished(self, latent: Tensor) -> None:
        index = len(self.latents)
        if index == len(self._strides):
            return
        before, stride = self._context, self._strides[index - 1]
        finer = self._strides[index] < stride
        self._level += finer

        def compute(box: Box) -> Tensor:
            seen = box.grown(stride, stride, self.frame)  # the recurrent unit is 3×3
            value = seen.cut(latent, stride).double() * UNIT
            state = self._prior.advance(index - 1, before.read(seen).double(), value)
            if finer:
                state = self._prior.start(self._level, state, self._quality, 0, 0)
            return box.cut(state, self._strides[index], seen).float()

        self._next(compute)
