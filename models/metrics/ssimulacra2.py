"""SSIMULACRA2 (Cloudinary, Sneyers 2022: github.com/cloudinary/ssimulacra2), differentiable.

Six scales, three channels of XYB, three maps: SSIM distances, *artifacts* (edges where the original
is smooth: ringing, blocks) and *lost detail* (smooth where the original has edges), each by its
1-norm and its 4-norm: 108 terms, whose published weights were fitted to what people said of
compressed pictures. Most weights are zero or next to it; nothing of the sixth scale counts, nor
colours at full size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.metrics.perceptual import (
    LEAST_SIDE,
    Pair,
    check_pair,
    compare,
    mean_and_peak,
    pyramid,
    xyb,
)

SCALES = 6
#: Weights of X, Y, B: a row per scale; 1-norms of SSIM, artifacts, lost detail, then their 4-norms.
_WEIGHTS = (
    (
        (0, 0.0007376606707, 0, 0, 0.0007793481683, 0),
        (0, 0.000437115573, 0, 1.104172643, 0.0006628483413, 0.0001523163278),
        (0, 0.001640643746, 0, 1.842245552, 11.4411726, 0),
        (0.0007989109436, 0.0001768164381, 0, 1.878759498, 10.94906991, 0),
        (0.0007289346992, 0.9677937081, 0, 0.0001400342429, 0.9981766978, 0.0003194975593),
        (0.0004550992114, 0, 0, 0.001364876616, 0, 0),
    ),
    (
        (0, 0, 0, 7.466890328, 0, 17.44583398),
        (0.0006235601634, 0, 0, 6.683678146, 0.0003772440798, 1.027889938),
        (225.205153, 0, 0, 19.21323819, 0.001140152459, 0.001237755636),
        (176.393176, 0, 0, 24.43301, 0.2852080261, 0.0004485436924),
        (0, 0, 0, 34.77906344, 44.83562533, 0),
        (0, 0, 0, 0, 0, 0),
    ),
    (
        (0, 0.0008680556573, 0, 0, 0, 0),
        (0, 0.0005313191874, 0, 0.0001653381416, 0, 0),
        (0, 0, 0, 0.0004179171803, 0.001729082823, 0),
        (0.002082700585, 0, 0, 8.826982765, 23.19243344, 0),
        (95.10804988, 0.9863978034, 0.9834382792, 0.001228640505, 171.2667256, 0.9807858872),
        (0, 0, 0, 0.0005130064589, 0, 0.0001085405786),
    ),
)
#: Terms of less weight are left out where speed counts.
_NEGLIGIBLE = 0.01
#: Scales that have weights above it.
LOSS_SCALES = 5


def scales_of(height: int, width: int) -> int:
    """How many scales a picture has, 1 … 6. Its sides are at least 8 pixels."""
    return max(1, min(SCALES, (min(height, width) // LEAST_SIDE).bit_length()))


def _terms(pair: Pair, wanted: list[bool]) -> list[Tensor]:
    """1-norms and 4-norms of SSIM, artifacts and lost detail, B×C each; zeros if not wanted."""
    maps = [pair.structure]
    if any(wanted[1:3] + wanted[4:6]):
        edges = 1 + (pair.original - pair.original_mean).abs()
        change = (1 + (pair.decoded - pair.decoded_mean).abs()) / edges - 1
        maps += [change.relu(), (-change).relu()]  # slope 0 at 0
    nothing = torch.zeros_like(pair.structure[0, 0])
    means, peaks = [nothing] * 3, [nothing] * 3
    for i, distances in enumerate(maps):
        if wanted[i] or wanted[i + 3]:
            means[i], peaks[i] = mean_and_peak(distances)
    return means + peaks


def _weighted_sum(
    original: Tensor, decoded: Tensor, *, scales: int, least_weight: float, zero_columns: bool
) -> Tensor:
    """The weighted terms of B×3×H×W pictures, (B,); those below ``least_weight`` count nothing."""
    check_pair(original, decoded, scales)
    with torch.autocast(original.device.type, enabled=False):
        weights = torch.tensor(_WEIGHTS, dtype=torch.float32)
        weights = weights * (weights >= least_weight)
        total = torch.zeros(len(original), device=original.device)
        for scale, (a, b) in enumerate(pyramid(original, decoded, scales)):
            channels = tuple(c for c in range(3) if weights[c, scale].any())
            if not channels:
                continue
            share = weights[list(channels), scale]  # C×6
            pair = compare(xyb(a, channels), xyb(b, channels), zero_columns=zero_columns)
            terms = torch.stack(_terms(pair, share.any(0).tolist()), dim=-1)  # B×C×6
            total = total + (terms * share.to(terms.device)).sum((1, 2))
        return total


def ssimulacra2(original: Tensor, decoded: Tensor, *, scales: int = SCALES) -> Tensor:
    """SSIMULACRA2 of B×3×H×W pictures in [0, 1], (B,): 100 for equal ones, 90 visually lossless,
    50 medium, below 0 bad. Pictures below 256 pixels need fewer ``scales``.

    As the package ``ssimulacra2`` computes it, whose borders are mirrored above and below and
    0 left and right.

    Raises:
        ValueError: shapes differ, or a side is below 8·2^(scales − 1).
    """
    x = _weighted_sum(original, decoded, scales=scales, least_weight=0.0, zero_columns=True)
    x = 0.9562382616834844 * x
    x = 2.326765642916932 * x - 0.020884521182843837 * x**2 + 6.248496625763138e-05 * x**3
    # The slope of the power is infinite at 0.
    return 100 - 10 * torch.where(x > 1e-6, x.clamp_min(1e-6) ** 0.6276336467831387, 0.0)


def ssimulacra2_loss(original: Tensor, decoded: Tensor) -> Tensor:
    """What SSIMULACRA2 counts, for training: B×3×H×W in [0, 1] → (B,), 0 for equal ones.

    The sum of its terms of some weight, before the polynomial and the power that make points of
    it: their slope is infinite at 100 points and zero at −64. Borders are mirrored on all sides.

    Raises:
        ValueError: shapes differ, or a side is below 128.
    """
    return _weighted_sum(
        original, decoded, scales=LOSS_SCALES, least_weight=_NEGLIGIBLE, zero_columns=False
    )
