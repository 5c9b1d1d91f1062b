"""Coding a stage in two steps: two channel groups take opposite colours of a checkerboard in turn.

Compared with the codec's four steps in docs/decisions/0006-network-search.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from models.exact.stage_prior import StagePrior
from models.ssvae.networks import SSVAE, SSVAEConfig

#: The phases at which each step codes the first group.
_PHASES = ((0, 3), (1, 2))


class TwoStepPrior(StagePrior):
    """A :class:`StagePrior` of two steps, each at half of all places."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        del self.steps[2:]

    def places(self, step: int) -> Iterator[tuple[slice, int, int]]:
        half = -(-self.channels // 2)
        for group, channels in enumerate((slice(0, half), slice(half, self.channels))):
            for phase in (first ^ group for first in _PHASES[step]):
                yield channels, phase // 2, phase % 2


class TwoStepSSVAE(SSVAE):
    """The ssVAE with such priors."""

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__(config)
        self.prior.layers = nn.ModuleList(
            TwoStepPrior(self.prior.stage(i).channels, config.prior_widths[i])
            for i in range(len(self.prior.layers))
        )
