"""Bits at equal quality between two mean curves: over all they share, and by bands of quality.

One figure over the whole range hides codecs that win at low rates and lose at high ones. A curve is
an array of rows (setting, bpp, quality), by increasing bpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from benchmarks.bench.curves import delta, mean_curves, rising
from benchmarks.bench.records import Record

_LOWEST, _HIGHEST = -math.inf, math.inf
#: Metric → the names and bounds of its bands, as curves have it; butteraugli counts negatively.
#: SSIMULACRA2 of 50 and 70 are medium and high quality by its authors. Photographs of a quarter
#: megapixel pass from band to band at about 0.2 and 0.5 bpp, whatever the metric.
BANDS: dict[str, dict[str, tuple[float, float]]] = {
    "psnr": {
        "below 30 dB": (_LOWEST, 30.0),
        "30-36 dB": (30.0, 36.0),
        "above 36 dB": (36.0, _HIGHEST),
    },
    "ssimulacra2": {
        "below 50": (_LOWEST, 50.0),
        "50-70": (50.0, 70.0),
        "above 70": (70.0, _HIGHEST),
    },
    "ms_ssim": {
        "below 15 dB": (_LOWEST, 15.0),
        "15-20 dB": (15.0, 20.0),
        "above 20 dB": (20.0, _HIGHEST),
    },
    "butteraugli": {
        "worse than 3": (_LOWEST, -3.0),
        "3-1.5": (-3.0, -1.5),
        "better than 1.5": (-1.5, _HIGHEST),
    },
}
#: Beside the bands of a metric, where images are judged one by one.
OVERALL = "overall"
_GRID = 2000


@dataclass(frozen=True)
class BandRate:
    """Percent of the anchor's bits saved (negative) or spent on top, between two qualities.

    ``share``: ``low`` … ``high`` as part of what either curve reaches within the band.
    """

    percent: float
    low: float
    high: float
    share: float


def bd_rate(anchor: np.ndarray, test: np.ndarray) -> float | None:
    """BD-rate in percent (Akima interpolation) over the common quality of two mean curves.

    A setting that gave the same files as the one before counts once. None
    where the curves share no quality, or one has fewer than four points.
    """
    result = delta("psnr", "anchor", "test", {"anchor": anchor, "test": test})
    return None if result is None else result.rate


def band_rate(
    anchor: np.ndarray, test: np.ndarray, band: tuple[float, float] = (-math.inf, math.inf)
) -> BandRate | None:
    """The mean difference of log bpp at equal quality, over the part of ``band`` both reach.

    Both curves are interpolated as :func:`bd_rate` does: log bpp over quality, Akima. None where
    they share nothing of the band, or one has fewer than four points.
    """
    curves = [rising(anchor), rising(test)]
    if min(map(len, curves)) < 4:
        return None
    lows, highs = zip(*(np.clip(c[[0, -1], 2], *band).tolist() for c in curves), strict=True)
    low, high = max(lows), min(highs)
    if not low < high:
        return None
    grid = low + (high - low) * (np.arange(_GRID) + 0.5) / _GRID
    first, second = (Akima1DInterpolator(c[:, 2], np.log(c[:, 1]))(grid) for c in curves)
    percent = 100 * math.expm1(float(np.mean(second - first)))
    return BandRate(percent, low, high, (high - low) / (max(highs) - min(lows)))


def band_rates(
    anchor: np.ndarray, test: np.ndarray, metric: str = "psnr"
) -> dict[str, BandRate | None]:
    """:func:`band_rate` in each of the metric's :data:`BANDS`."""
    return {name: band_rate(anchor, test, band) for name, band in BANDS[metric].items()}


def means_of_images(
    points: Iterable[Record], anchor: str, metric: str = "psnr"
) -> dict[str, tuple[float, int]]:
    """Per band, and :data:`OVERALL`, the mean over images of each image's own rate against an
    anchor, and how many count.

    Where the mean curves speak of the set, this speaks of its images: a large image counts as much
    as one that codes in few bits.
    """
    of_image: dict[str, list[Record]] = {}
    for point in points:
        if point.codec in ("ours", anchor):
            of_image.setdefault(point.image, []).append(point)
    rates: dict[str, list[float]] = {name: [] for name in (OVERALL, *BANDS[metric])}
    for members in of_image.values():
        curves = mean_curves(members, metric)
        if len(curves) == 2:
            pair = curves[anchor], curves["ours"]
            for name, rate in ({OVERALL: band_rate(*pair)} | band_rates(*pair, metric)).items():
                rates[name] += [] if rate is None else [rate.percent]
    return {name: (float(np.mean(v)), len(v)) for name, v in rates.items() if v}
