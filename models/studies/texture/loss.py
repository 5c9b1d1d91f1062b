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
#: Period of the patterns that the networks' upsampling can leave, in pixels, and how many periods
#: are averaged along each side: real texture averages out.
_PERIOD, _PERIODS = 4, 16


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


class _PixelJudge(nn.Module):
    """A picture and its mean fill → a logit per 4×4 pixels.

    The analysis sees pixels in patches of 4×4 side by side, and what repeats from patch to patch is
    hard to tell from flat colour. Here the patches overlap.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [spectral_norm(nn.Conv2d(6, width // 2, 4, 2, padding=1))]
        layers += [nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(width // 2, width, 4, 2, padding=1))]
        for _ in range(2):
            layers += [nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(width, width, 3, padding=1))]
        layers += [nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(width, 1, 1))]
        self.net = nn.Sequential(*layers)

    def forward(self, shown: Tensor, smooth: Tensor) -> Tensor:
        return self.net(torch.cat([4 * (shown - smooth), 2 * smooth - 1], dim=1).float())


@dataclass(frozen=True)
class Look:
    """A picture, B×3×H×W in [0, 1], and its features."""

    picture: Tensor
    features: Features

    def detached(self) -> Look:
        a, b, c = (level.detach() for level in self.features)
        return Look(self.picture.detach(), (a, b, c))


class Discriminator(nn.Module):
    """Which pictures are photographs? Judged by pixels, at 1/4 and at 1/8, given the mean fill."""

    def __init__(self, widths: tuple[int, ...], width: int = 64) -> None:
        super().__init__()
        self.pixels = _PixelJudge(width)
        self.judges = nn.ModuleList(_Judge(channels, width) for channels in widths[:2])

    def forward(self, shown: Look, smooth: Look) -> list[Tensor]:
        """Logits, B×1×h×w per scale: above 0 for photographs."""
        pairs = zip(self.judges, shown.features, smooth.features, strict=False)
        return [
            self.pixels(shown.picture, smooth.picture),
            *(judge(a, b) for judge, a, b in pairs),
        ]


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


def phase_means(image: Tensor) -> Tensor:
    """What repeats every 4 pixels: B×3×H×W → B×48×H/64×W/64, the mean of each of the 16 phases.

    Of windows of 64×64 pixels, after the mean of each 4×4 patch is taken away.
    """
    detail = F.pixel_unshuffle(image.float(), _PERIOD).unflatten(1, (3, _PERIOD**2))
    detail = detail - detail.mean(dim=2, keepdim=True)
    return F.avg_pool2d(detail.flatten(1, 2), _PERIODS)


def screen(shown: Tensor, true: Tensor) -> Tensor:
    """How strong a pattern of period 4 lies over a picture that its original has not: a scalar.

    Root of the mean square, in units of one level of 255. Covariances of features cannot see it: it
    is a constant there.
    """
    return 255 * (phase_means(shown) - phase_means(true)).square().mean().add(1e-12).sqrt()


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
    screen: float = 0.5
    """Pattern with a period of 4 pixels, in levels of 255."""
    adversary: float = 0.3
    """Hinge loss, once the discriminator had its first steps alone."""


def texture_loss(
    shown: Look,
    smooth: Look,
    true: Look,
    logits: list[Tensor] | None,
    weights: TextureWeights,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of pictures with missing layers, and its parts.

    Args:
        shown, smooth, true: picture, mean fill, original.
        logits: the discriminator's on ``shown``; None while it has not learned enough.
    """
    a, b, c = (F.avg_pool2d(look.picture.float(), 4) for look in (shown, smooth, true))
    levels = zip(shown.features, smooth.features, true.features, strict=True)
    features = [relative(x, y, z, floor=0.01) for x, y, z in levels][1:]
    parts = {
        "pixels": relative(shown.picture, smooth.picture, true.picture),
        "coarse": relative(a, b, c),
        "features": torch.stack(features).mean(),
        "texture": texture_distance(shown.features, true.features),
        "screen": screen(shown.picture, true.picture),
    }
    if logits is not None:
        parts["adversary"] = -torch.stack([x.mean() for x in logits]).mean()
    total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
    return total, parts
