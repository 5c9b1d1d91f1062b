"""The judgement of a set of weights from its points: rates, bands, checks, and older results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.bench import checks
from benchmarks.bench.bands import BandRate, band_rates, bd_rate, means_of_images
from benchmarks.bench.codecs import OTHERS
from benchmarks.bench.curves import PERCEPTUAL, mean_curves, rising
from benchmarks.bench.records import Record

#: The quality whose cut files are set beside older ones of the same bytes.
CUT_QUALITY = 50


def _stored(rates: dict[str, BandRate | None]) -> dict[str, Any]:
    """Percent and share to two digits, dB to two."""
    return {
        name: None if r is None else {key: round(v, 2) for key, v in asdict(r).items()}
        for name, r in rates.items()
    }


def figure(name: str, metric: str) -> str:
    """What a figure of a metric is called in a results file; PSNR is not named."""
    if metric == "psnr":
        return name
    stem = name.removesuffix("_percent")
    return f"{stem}_{metric}" + name.removeprefix(stem)


def judge(points: Sequence[Record]) -> dict[str, Any]:
    """All figures of a run, as its results file stores them.

    ``bd_rate_percent`` and ``bands`` compare mean curves with each anchor's; ``bands_of_images``
    holds [mean over images of the image's own rate, images that count]. See :func:`figure` for
    those of other metrics than PSNR.
    """
    curves = {metric: mean_curves(points, metric) for metric in ("psnr", *PERCEPTUAL)}
    anchors = [name for name in OTHERS if name in curves["psnr"]]
    result: dict[str, Any] = {}
    for metric, means in curves.items():
        if "ours" not in means:
            continue
        ours, known = means["ours"], [name for name in anchors if name in means]
        result |= {
            figure("bd_rate_percent", metric): {n: bd_rate(means[n], ours) for n in known},
            figure("bands", metric): {
                n: _stored(band_rates(means[n], ours, metric)) for n in known
            },
            figure("bands_of_images", metric): {
                name: {k: [round(v, 2), n] for k, (v, n) in of.items()}
                for name in known
                for of in [means_of_images(points, name, metric)]
            },
        }
    compared = checks.against_jpeg(points)
    return result | {
        "rising_layers": checks.rising_layers(points),
        "falling_qualities": checks.falling_qualities(points),
        "falling_layers": checks.falling_layers(points),
        "worst_against_jpeg": [
            {"image": c.image, "quality": c.quality, "ratio": round(1 + c.excess, 3)}
            for c in checks.worst_of_images(compared)[:5]
        ],
        "ratio_to_jpeg": [[c.image, c.quality, round(1 + c.excess, 3)] for c in compared],
        **{
            figure("curves", metric): {name: rows.round(5).tolist() for name, rows in means.items()}
            for metric, means in curves.items()
        },
    }


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}%"


def _rows(name: str, overall: float | None, bands: dict[str, Any]) -> list[str]:
    """One comparison: overall, then each band with the dB and the share of it that are shared."""
    text = [f"  {name:18} {_percent(overall):>7}"]
    for band, rate in bands.items():
        row = f"    {band:16} {_percent(rate and rate['percent']):>7}"
        if rate is not None:
            row += f"   {rate['low']:.1f}…{rate['high']:.1f} dB, {rate['share']:.0%} of the band"
        text.append(row)
    return text


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"{title}: {len(items) or 'none'}", *(f"  {item}" for item in items)]


def lines(result: dict[str, Any]) -> list[str]:
    """A judgement for people."""
    text = []
    for name, rows in result["curves"].items():
        text += ["", f"{name}: setting, bpp, PSNR"]
        text += [f"  {row[0]:6g}  {row[1]:.4f}  {row[2]:.2f}" for row in rows]
    text += ["", "BD-rate (PSNR, mean curves) of ours against"]
    for name, rate in result["bd_rate_percent"].items():
        text += _rows(OTHERS[name].label, rate, result["bands"][name])
    text.append("mean over images of each image's own rate against")
    for name, means in result["bands_of_images"].items():
        shown = "   ".join(f"{b} {v:+.1f}% ({n} images)" for b, (v, n) in means.items())
        text.append(f"  {OTHERS[name].label:18} {shown}")
    for metric, title in PERCEPTUAL.items():
        for name, rate in result.get(figure("bd_rate_percent", metric), {}).items():
            bands = result[figure("bands", metric)][name]
            inside = [f"{b} {_percent(r and r['percent'])}" for b, r in bands.items()]
            text.append(
                f"BD-rate ({title}) of ours against {OTHERS[name].label}: {_percent(rate)} "
                f"({', '.join(inside)})"
            )
    text += ["", f"share of images whose layers all rise: {result['rising_layers']}"]
    text += _listed("PSNR that does not rise with quality", result["falling_qualities"])
    text += _listed("PSNR that does not rise with a layer", result["falling_layers"])
    text.append("largest beside a JPEG of equal PSNR:")
    for case in result["worst_against_jpeg"]:
        text.append(
            f"  {case['image']}, quality {case['quality']}: {case['ratio']:.2f} of its bytes"
        )
    return text


def _alike(first: Sequence[Record], second: Sequence[Record]) -> list[Record]:
    """Our points of ``first`` at the images and, where four are shared, qualities of ``second``.

    Curves through the same qualities are interpolated alike: what they differ by is no artefact.
    """
    images = {p.image for p in second}
    shared = {p.setting for p in second if p.codec == "ours"}
    shared &= {p.setting for p in first if p.codec == "ours"}
    ours = [p for p in first if p.image in images and p.codec.startswith("ours")]
    return [p for p in ours if len(shared) < 4 or p.setting in shared]


def decibel_at_equal_bytes(old: np.ndarray, new: np.ndarray, quality: float) -> float | None:
    """PSNR of the new curve at a quality minus the old curve's at the same bpp, in dB.

    None where the new curve lacks the quality or the old one does not reach its bpp.
    """
    rows, known = new[new[:, 0] == quality], rising(old)
    if not len(rows) or not known[0, 1] <= rows[0, 1] <= known[-1, 1]:
        return None
    before = np.interp(math.log(rows[0, 1]), np.log(known[:, 1]), known[:, 2])
    return float(rows[0, 2] - before)


def comparison_lines(new: Sequence[Record], old: Sequence[Record]) -> list[str]:
    """New points beside older ones of the same images: whole files, and files cut after layers."""
    members, known = _alike(new, old), _alike(old, new)
    if not members:
        return ["the older results are of other images: nothing to compare"]
    after, before = mean_curves(members, "psnr"), mean_curves(known, "psnr")
    count = len({p.image for p in members})
    text = ["", f"BD-rate (PSNR) of ours against the older results, {count} images"]
    for name in sorted(after.keys() & before.keys()):
        bands = _stored(band_rates(before[name], after[name]))
        text += _rows(name, bd_rate(before[name], after[name]), bands)
        if name != "ours":
            gain = decibel_at_equal_bytes(before[name], after[name], CUT_QUALITY)
            shown = "not to be had" if gain is None else f"{gain:+.2f} dB"
            text.append(f"    quality {CUT_QUALITY} at equal bytes: {shown}")
    return text
