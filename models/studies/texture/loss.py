"""What realistic texture is measured by: features of our own analysis network, nothing downloaded.

Patch-wise texture matching beside an adversary follows EnhanceNet (Sajjadi et al. 2017), the hinge
loss Lim & Ye (2017), the conditional discriminator HiFiC (Mentzer et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.ssvae.networks import Analysis

Features = tuple[Tensor, Tensor, Tensor]
"""Of the analysis at 1/4, 1/8, 1/16, each B×C×H/s×W/s."""

#: Quality at which the analysis looks at pictures: it sees fine detail and suppresses no noise.
_EYE = 80.0
#: Places of a window at 1/4 and 1/8: 32 pixels.
_WINDOWS = (8, 4)


class Perception(nn.Module):
    """The frozen analysis of a model as a measure, with each channel divided by its usual size."""

    def __init__(self, analysis: Analysis, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.analysis = analysis
        for level, width in enumerate(widths):
            self.register_buffer(f"size{level}", torch.ones(1, width, 1, 1))

    def _sizes(self) -> list[Tensor]:
        return [self.get_buffer(f"size{level}") for level in range(3)]

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Set the sizes of channels by B×3×H×W pictures."""
        for size in self._sizes():
            size.fill_(1)
        for size, level in zip(self._sizes(), self(images), strict=True):
            size.copy_(level.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3))

    def forward(self, image: Tensor) -> Features:
        quality = torch.full((len(image),), _EYE, device=image.device)
        net = self.analysis
        quarter = net.stages[0](net.modulate[0](net.embed(image - 0.5), quality))
        eighth = net.further(1, quarter, quality)
        sixteenth = net.further(2, eighth, quality)
        a, b, c = (
            level.float() / size
            for level, size in zip((quarter, eighth, sixteenth), self._sizes(), strict=True)
        )
        return a, b, c


class _Judge(nn.Module):
    """Features of a picture and of its mean fill at one scale → a logit per place."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(2 * channels, width, 1))]
        for _ in range(2):
            layers += [nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(width, width, 3, padding=1))]
        layers += [nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(width, 1, 1))]
        self.net = nn.Sequential(*layers)

    def forward(self, shown: Tensor, smooth: Tensor) -> Tensor:
        return self.net(torch.cat([shown - smooth, smooth], dim=1))


class Discriminator(nn.Module):
    """Which pictures are photographs? Judged at 1/4 and 1/8, given the mean fill."""

    def __init__(self, widths: tuple[int, ...], width: int = 64) -> None:
        super().__init__()
        self.judges = nn.ModuleList(_Judge(channels, width) for channels in widths[:2])

    def forward(self, shown: Features, smooth: Features) -> list[Tensor]:
        """Logits, B×1×h×w per scale: above 0 for photographs."""
        pairs = zip(self.judges, shown, smooth, strict=False)
        return [judge(a, b) for judge, a, b in pairs]


def judge_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss of the discriminator, mean over its scales."""
    parts = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(parts).mean()


def local_covariance(x: Tensor, window: int) -> Tensor:
    """Covariance of channels in windows: B×C×H×W → (B·n)×C×C."""
    b, c, h, w = x.shape
    x = x.view(b, c, h // window, window, w // window, window)
    x = x.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, window * window)  # (B·n, C, window²)
    x = x - x.mean(dim=2, keepdim=True)
    return x @ x.mT / window**2


def texture_distance(a: Features, b: Features) -> Tensor:
    """How far the textures of 32×32 pixels differ, wherever in them they lie: 0…1, a scalar.

    ``|A − B| / (|A| + |B|)`` of the covariances at 1/4 and 1/8, so that faint texture counts too.
    """
    found = []
    for x, y, window in zip(a, b, _WINDOWS, strict=False):
        p, q = local_covariance(x, window), local_covariance(y, window)
        difference, sizes = (p - q).norm(dim=(1, 2)), p.norm(dim=(1, 2)) + q.norm(dim=(1, 2))
        found.append((difference / (sizes + 0.02 * x.shape[1] ** 0.5)).mean())
    return torch.stack(found).mean()


def relative(shown: Tensor, smooth: Tensor, true: Tensor, floor: float = 1e-4) -> Tensor:
    """Squared error of what is shown over that of the mean fill, mean over the batch: 1 at first.

    Below ``floor``, the mean fill's error counts as that much.
    """

    def error(x: Tensor) -> Tensor:
        return (x.float() - true).square().mean(dim=(1, 2, 3))

    return (error(shown) / error(smooth).clamp_min(floor)).mean()


@dataclass(frozen=True)
class TextureWeights:
    """How the parts of the loss are weighed."""

    pixels: float = 0.3
    """Error of pixels, relative to the mean fill's."""
    coarse: float = 0.5
    """The same of the picture reduced by 4: texture is free at fine scales only."""
    features: float = 0.3
    """The same of the features at 1/8 and 1/16."""
    texture: float = 3.0
    """Distance of local covariances."""
    adversary: float = 0.3
    """Hinge loss, once the discriminator had its first steps alone."""


def texture_loss(
    shown: Tensor,
    smooth: Tensor,
    true: Tensor,
    seen: tuple[Features, Features, Features],
    logits: list[Tensor] | None,
    weights: TextureWeights,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of pictures with missing layers, and its parts.

    Args:
        shown, smooth, true: picture, mean fill, original; B×3×H×W in [0, 1].
        seen: features of the same three.
        logits: the discriminator's on ``shown``; None while it has not learned enough.
    """
    a, b, c = (F.avg_pool2d(x.float(), 4) for x in (shown, smooth, true))
    features = [relative(*levels, floor=0.01) for levels in zip(*seen, strict=True)][1:]
    parts = {
        "pixels": relative(shown, smooth, true),
        "coarse": relative(a, b, c),
        "features": torch.stack(features).mean(),
        "texture": texture_distance(seen[0], seen[2]),
    }
    if logits is not None:
        parts["adversary"] = -torch.stack([x.mean() for x in logits]).mean()
    total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
    return total, parts
