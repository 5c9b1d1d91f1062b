"""Curves as PNG and SVG. Everything is drawn from what was measured before: re-plotting is free."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench.codecs import label
from benchmarks.bench.curves import METRICS, in_decibel

#: Colours that people with any colour vision tell apart (Okabe & Ito 2008), by codec; markers help.
_STYLES = {
    "jpeg": ("#56B4E9", "s"),
    "jpeg-444": ("#1A3F5C", "d"),
    "jpegli": ("#2B7BA8", "p"),
    "jpeg2000": ("#0072B2", "D"),
    "webp": ("#009E73", "^"),
    "avif": ("#CC79A7", "v"),
    "avif-psnr": ("#7F7F7F", "v"),
    "avif-iq": ("#CC79A7", "v"),
    "avif-psnr-4": ("#4F4F4F", "<"),
    "avif-iq-4": ("#9C4F7F", "<"),
    "jxl": ("#E69F00", "P"),
}
_OURS = ("#D55E00", "o")
_SPARE = (("#8C564B", "X"), ("#7F7F7F", "*"), ("#17777B", "h"))
#: Of published curves: greys, each with a hollow marker and dashes of its own.
_PUBLISHED_STYLES = (
    ("#6E6E6E", "o", (0, (6, 2))),
    ("#6E6E6E", "s", (0, (1, 1.5))),
    ("#3A3A3A", "^", (0, (5, 1.5, 1, 1.5))),
    ("#3A3A3A", "D", (0, (2.5, 1.5))),
    ("#000000", "x", "-"),
)
_PUBLISHED = Path(__file__).with_name("published_kodak.json")


def published() -> dict[str, Any]:
    """Curves of learned codecs on the Kodak images, with their source."""
    return json.loads(_PUBLISHED.read_text())


def _style(name: str, index: int) -> dict[str, Any]:
    base, _, layers = name.partition(":layers=")
    if base in _STYLES:
        colour, marker = _STYLES[base]
    elif ":" in base:
        colour, marker = _SPARE[index % len(_SPARE)]
    else:
        colour, marker = _OURS
    dashes = {"": "-", "2": "--", "1": ":"}[layers]
    ours = base not in _STYLES
    return {
        "color": colour,
        "marker": marker,
        "linestyle": dashes,
        "linewidth": 2.2 if ours and not layers else 1.4,
        "markersize": 5 if ours else 4,
        "zorder": 3 if ours else 2,
    }


def _frame(axes: Any, title: str, metric: str) -> None:
    axes.set_xscale("log")
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.xaxis.minorticks_off()
    axes.set_xlabel("bits per pixel (whole file, logarithmic)")
    axes.set_ylabel(METRICS[metric])
    axes.set_title(title, fontsize=11, loc="left")
    axes.grid(True, color="#dddddd", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(axes: Any) -> None:
    """Beside the curves, so that it hides none of them."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)


def rate_distortion(
    curves: dict[str, np.ndarray], metric: str, title: str, *, kodak: bool = False
) -> dict[str, bytes]:
    """One figure of all codecs: {"png": …, "svg": …}.

    Args:
        kodak: draw the published curves too; ``curves`` must be means of the same 24 images.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        axes.plot(curve[:, 1], curve[:, 2], label=label(name), **_style(name, index))
    if kodak and metric in ("psnr", "ms_ssim"):
        entries = published()["curves"].values()
        for entry, (grey, marker, dashes) in zip(entries, _PUBLISHED_STYLES, strict=True):
            values = entry[metric]
            axes.plot(
                entry["bpp"],
                [in_decibel(v) for v in values] if metric == "ms_ssim" else values,
                color=grey,
                marker=marker,
                markerfacecolor="none",
                markersize=4,
                linestyle=dashes,
                linewidth=1,
                label=f"{entry['label']}, published",
            )
    _frame(axes, title, metric)
    low = min(float(c[0, 1]) for c in curves.values())
    axes.set_xlim(max(0.008, 0.9 * low), 3)
    if metric == "ssimulacra2":
        axes.set_ylim(bottom=-60)
    _legend(axes)
    return _drawn(figure)


def layers(
    curves: dict[str, np.ndarray], name: str, files: list[list[tuple[float, float]]]
) -> dict[str, bytes]:
    """Single progressive files (bpp and PSNR after 1, 2, 3 layers) on the curve of whole files."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    whole = curves[name]
    axes.plot(whole[:, 1], whole[:, 2], label="files encoded for the size", **_style(name, 0))
    for index, points in enumerate(files):
        colour = ("#0072B2", "#009E73", "#CC79A7")[index % 3]
        x, y = zip(*points, strict=True)
        text = "one file, after 1, 2, 3 layers" if index == 0 else "another file"
        axes.plot(x, y, color=colour, marker="s", linestyle="--", linewidth=1.4, label=text)
        for count, (bpp, decibel) in enumerate(points[:-1], start=1):
            axes.annotate(
                str(count),
                (bpp, decibel),
                xytext=(5, -12),
                textcoords="offset points",
                color=colour,
            )
    _frame(axes, f"Layers of {label(name)}: cut, or encoded for that size", "psnr")
    _legend(axes)
    return _drawn(figure)


def _drawn(figure: Any) -> dict[str, bytes]:
    from matplotlib import rc_context

    result = {}
    # A fixed salt and no date: the same measurements give the same bytes.
    with rc_context({"svg.hashsalt": "bench", "font.size": 10}):
        for form in ("png", "svg"):
            buffer = io.BytesIO()
            meta = {"Date": None} if form == "svg" else {"Software": None}
            figure.savefig(buffer, format=form, dpi=150, metadata=meta, facecolor="white")
            result[form] = buffer.getvalue()
    return result
