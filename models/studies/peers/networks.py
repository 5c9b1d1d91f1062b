"""CompressAI's networks behind the interface of our training loop.

::

    x ─ g_a ─► y ─ h_a ─► z ─ round ─► ẑ ─ h_s ─► scales (and means) of y
               └─ round ─► ŷ ─ g_s ─► x̂          bits: ŷ given these, ẑ by a factorized prior

``bmshj2018-hyperprior`` predicts scales (Ballé et al. 2018), ``mbt2018-mean`` means too (Minnen et
al. 2018). y has one position for 16×16 pixels, z for 64×64. There is one stage: no part of such a
file is a picture. A network is trained for a single λ.

λ here is what everything in this project means by it: bits per pixel that one unit of mean squared
error is worth, of pixels in [0, 1], the mean over the three channels too. CompressAI's own numbers
are for pixels in [0, 255], the mean over channels as well::

    bpp + λ' · MSE_255 = bpp + λ' · 255² · MSE_1,    λ = 255² λ'
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.bench.peers import Peer, compressai
from models.trainable import LAMBDA_RANGE, TrainableModel, TrainingPass

#: CompressAI's quality whose widths are taken (128 and 192 channels); 1 … 4 have the same.
_WIDTHS_OF = 4


class Hyperprior(TrainableModel):
    """A network of CompressAI as the loop trains it.

    Args:
        network: ``ScaleHyperprior`` or ``MeanScaleHyperprior``.
    """

    stages = (1,)

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        # The latter is a subclass of the former: told apart by what h_s gives.
        self._means = type(network).__name__ == "MeanScaleHyperprior"

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> TrainingPass:
        """See :class:`models.trainable.TrainableModel`; only the loss heeds ``quality``."""
        net = self.network
        features = net.g_a[:-1](image)
        # Whatever may be bfloat16 in g_a and g_s, symbols and their likelihoods need all bits.
        with torch.autocast(image.device.type, enabled=False):
            y = net.g_a[-1](features.float())
            z = net.h_a(y if self._means else y.abs())
            z_hat, of_z = net.entropy_bottleneck(z, training=noisy)
            scales, means = net.h_s(z_hat), None
            if self._means:
                scales, means = scales.chunk(2, dim=1)
            y_hat, of_y = net.gaussian_conditional(y, scales, means=means, training=noisy)
        bits = -of_y.log2().flatten(1).sum(1) - of_z.log2().flatten(1).sum(1)
        return TrainingPass(net.g_s(y_hat).float(), {}, bits[:, None])


def build(name: str) -> Hyperprior:
    """A fresh network by CompressAI's name.

    Raises:
        codec.errors.ModelError: CompressAI is not installed.
    """
    builder = getattr(compressai().zoo, name.replace("-", "_"))
    return Hyperprior(builder(_WIDTHS_OF, metric="mse", pretrained=False))


def coder(model: Hyperprior, name: str) -> Peer:
    """What writes and reads files with a trained network; ``model`` stays as it is.

    CompressAI trains the quantiles of the factorized prior, between which it has tables, by an
    auxiliary loss and an optimizer beside the run's. No other term and no training pass sees them:
    they are where the prior's cumulative is 10⁻⁹/2, 1/2 and 1 − 10⁻⁹/2, and that is looked up
    here, by bisection, for the averaged weights that code.
    """
    network = copy.deepcopy(model.network).eval()
    network.update(force=True, update_quantiles=True)
    return Peer(name, network, pretrained=False)


def lagrangian_of(published: float) -> float:
    """λ of CompressAI's λ': 0.0018 … 0.18 → 117 … 11705."""
    return 255**2 * published


def quality_of(lagrangian: float) -> float:
    """The quality in [0, 100] at which our models have that λ, to a quarter as files store it.

    Raises:
        ValueError: there is none.
    """
    low, high = LAMBDA_RANGE
    if not low <= lagrangian <= high:
        raise ValueError(f"λ must lie between {low:g} and {high:g}, not {lagrangian:g}")
    return round(400 * math.log(lagrangian / low) / math.log(high / low)) / 4


#: The networks that are compared with ours.
PEERS: dict[str, Callable[[], Hyperprior]] = {
    name: (lambda name=name: build(name))  # type: ignore[misc]
    for name in ("bmshj2018-hyperprior", "mbt2018-mean")
}
