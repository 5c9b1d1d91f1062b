"""Mean curves over images, and Bjøntegaard deltas between them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.bench.records import Record, Stop

#: Quality measures: key of a row → how axes and tables call it.
METRICS = {"psnr": "PSNR (RGB), dB", "ms_ssim": "MS-SSIM, dB", "ssimulacra2": "SSIMULACRA2"}
#: Those of what people see, in results files; butteraugli counts negatively.
PERCEPTUAL = {"ssimulacra2": "SSIMULACRA2", "ms_ssim": "MS-SSIM", "butteraugli": "butteraugli"}


@dataclass(frozen=True)
class Delta:
    """What a codec costs against an anchor, over the qualities both reach.

    ``rate`` in percent of the anchor's bits (negative: smaller files); ``quality`` in the metric's
    unit at equal bits, only for PSNR: BD-PSNR in dB. ``low`` and ``high`` bound the common quality.
    """

    metric: str
    anchor: str
    codec: str
    rate: float
    quality: float | None
    low: float
    high: float


def in_decibel(ms_ssim: float) -> float:
    """MS-SSIM as −10 log10(1 − x), in which equal steps look about equal."""
    return -10 * math.log10(max(1 - ms_ssim, 1e-7))


def _value(record: Record, metric: str) -> float | None:
    value = getattr(record, metric)
    if value is not None and metric == "ms_ssim":
        return in_decibel(value)
    return -value if value is not None and metric == "butteraugli" else value


def mean_curves(records: Sequence[Record], metric: str) -> dict[str, np.ndarray]:
    """Per codec an array of (setting, bpp, quality), means over images, by increasing bpp.

    Only images that all codecs have count, and of these a setting only where all of them have it:
    every point of every curve speaks of the same images. Without a common image there is no curve.
    """
    by_codec: dict[str, dict[float, dict[str, tuple[float, float]]]] = defaultdict(dict)
    images: dict[str, set[str]] = defaultdict(set)
    for record in records:
        value = _value(record, metric)
        if value is not None and math.isfinite(value):
            by_codec[record.codec].setdefault(record.setting, {})[record.image] = record.bpp, value
            images[record.codec].add(record.image)
    common = set.intersection(*images.values()) if images else set()
    result = {}
    for name, settings in by_codec.items():
        points = [
            (setting, *np.mean([v for image, v in of_image.items() if image in common], axis=0))
            for setting, of_image in settings.items()
            if common and common <= of_image.keys()
        ]
        if points:
            result[name] = np.array(sorted(points, key=lambda point: point[1]))
    return result


def rising(curve: np.ndarray) -> np.ndarray:
    """The points whose quality exceeds that of all smaller files: a curve one can invert."""
    kept = [curve[0]]
    for point in curve[1:]:
        if point[2] > kept[-1][2] and point[1] > kept[-1][1]:
            kept.append(point)
    return np.array(kept)


def delta(metric: str, anchor: str, name: str, curves: dict[str, np.ndarray]) -> Delta | None:
    """BD-rate and BD-PSNR (package ``bjontegaard``, Akima interpolation) of two mean curves.

    None where they share no range of quality, or one has fewer than four points.
    """
    import bjontegaard

    first, second = rising(curves[anchor]), rising(curves[name])
    if min(len(first), len(second)) < 4:
        return None
    low = max(first[0, 2], second[0, 2])
    high = min(first[-1, 2], second[-1, 2])
    if not low < high:
        return None
    arguments = (first[:, 1], first[:, 2], second[:, 1], second[:, 2])
    options = {"method": "akima", "min_overlap": 0, "require_matching_points": False}
    rate = float(bjontegaard.bd_rate(*arguments, **options))
    shared = max(first[0, 1], second[0, 1]) < min(first[-1, 1], second[-1, 1])
    gain = None
    if metric == "psnr" and shared:
        gain = float(bjontegaard.bd_psnr(*arguments, **options))
    return Delta(metric, anchor, name, rate, gain, float(low), float(high))


def deltas(metric: str, anchors: list[str], curves: dict[str, np.ndarray]) -> list[Delta]:
    """All codecs against all anchors."""
    pairs = [(a, n) for a in anchors if a in curves for n in curves if n != a]
    return [found for a, n in pairs if (found := delta(metric, a, n, curves)) is not None]


@dataclass(frozen=True)
class Progressive:
    """Means over images: one file cut after ``layers``, and files encoded for the cut's size.

    ``images``: how many have a whole file that small; ``loss`` (dB) and the bpp are means over
    those. ``extra_bits``: percent more than the whole file of equal PSNR on the mean curve needs;
    None outside of the curve.
    """

    codec: str
    quality: int
    layers: int
    images: int
    bpp: float
    psnr: float
    sized_bpp: float | None
    sized_psnr: float | None
    loss: float | None
    extra_bits: float | None


def progressive(stops: list[Stop], curves: dict[str, np.ndarray]) -> list[Progressive]:
    """The cost of stopping early, per codec, quality and number of layers."""
    groups: dict[tuple[str, int, int], list[Stop]] = defaultdict(list)
    for stop in stops:
        groups[stop.codec, stop.quality, stop.layers].append(stop)
    result = []
    for (name, quality, layers), members in sorted(groups.items()):
        bpp = float(np.mean([s.cut_bpp for s in members]))
        decibel = float(np.mean([s.cut_psnr for s in members]))
        sized = [s for s in members if s.sized_psnr is not None]
        whole = rising(curves[name])
        extra = None
        if whole[0, 2] <= decibel <= whole[-1, 2]:
            needed = math.exp(np.interp(decibel, whole[:, 2], np.log(whole[:, 1])))
            extra = 100 * (bpp / needed - 1)
        means: list[float | None] = [None, None, None]
        if sized:
            means = [
                float(np.mean([getattr(s, key) for s in sized]))
                for key in ("sized_bpp", "sized_psnr", "cut_psnr")
            ]
        loss = None if means[1] is None or means[2] is None else means[1] - means[2]
        result.append(
            Progressive(
                name, quality, layers, len(sized), bpp, decibel, means[0], means[1], loss, extra
            )
        )
    return result
