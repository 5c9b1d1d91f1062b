"""The priors that the comparison gives a small VAE; another one is an entry here."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import peers
from models.studies.priors.autoregressive import PixelCNN
from models.studies.priors.factorized import EntropyBottleneckPrior
from models.studies.priors.latent_priors import (
    IntegerDiscreteFlow,
    LatentPrior,
    MixtureOfGaussians,
    RealNVP,
    Shape,
    StandardNormal,
)


def _integer_flow(step: float) -> Callable[[Shape], LatentPrior]:
    return lambda shape: IntegerDiscreteFlow(shape, couplings=8, width=128, step=step)


#: name → what builds it for a latent of a shape; the first is what others are compared with.
PRIORS: dict[str, Callable[[Shape], LatentPrior]] = {
    "standard normal": StandardNormal,
    "mixture of Gaussians": lambda shape: MixtureOfGaussians(shape, components=128),
    "RealNVP": lambda shape: RealNVP(shape, couplings=8, width=128),
    "integer discrete flow, grid of 1/64": _integer_flow(1 / 64),
    "integer discrete flow, grid of 1/8": _integer_flow(1 / 8),
    "autoregressive": lambda shape: PixelCNN(shape, groups=4, width=96, depth=3),
    "entropy bottleneck, grid of 1/64": lambda shape: EntropyBottleneckPrior(shape, step=1 / 64),
}
_OF_COMPRESSAI = ("entropy bottleneck, grid of 1/64",)


def missing(name: str) -> str | None:
    """What a prior lacks in this environment, or None."""
    if name in _OF_COMPRESSAI and not peers.installed():
        return f"CompressAI ({peers.HOW})"
    return None


def available() -> list[str]:
    """The priors that lack nothing."""
    return [name for name in PRIORS if missing(name) is None]
