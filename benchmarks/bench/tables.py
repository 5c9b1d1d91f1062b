"""Results as text: a table for the terminal and the README, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from benchmarks.bench.codecs import label
from benchmarks.bench.curves import METRICS, Delta, Progressive

RATES = (0.1, 0.2, 0.5, 1.0, 2.0)


def at_rate(curve: np.ndarray, bpp: float) -> float | None:
    """Quality of a mean curve at a rate (linear in log bpp); None outside of it."""
    if not curve[0, 1] <= bpp <= curve[-1, 1]:
        return None
    return float(np.interp(np.log(bpp), np.log(curve[:, 1]), curve[:, 2]))


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: first column left, others right."""
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def summary(
    curves: dict[str, np.ndarray], deltas: Sequence[Delta], metric: str = "psnr"
) -> tuple[list[str], list[list[str]]]:
    """Head and rows: quality at fixed rates, BD-rate against each anchor with its overlap."""
    anchors = list(dict.fromkeys(d.anchor for d in deltas))
    digits = ".1f" if metric == "ssimulacra2" else ".2f"
    head = [METRICS[metric], *(f"{rate:g} bpp" for rate in RATES)]
    head += [f"BD-rate vs {label(a)}" for a in anchors]
    if metric == "psnr":
        head += [f"BD-PSNR vs {label(a)}" for a in anchors]
    rows = []
    for name, curve in curves.items():
        row = [label(name), *(_number(at_rate(curve, rate), digits) for rate in RATES)]
        own = {d.anchor: d for d in deltas if d.codec == name}
        for anchor in anchors:
            d = own.get(anchor)
            if anchor == name:
                row.append("0")
            elif d is None:
                row.append("no overlap")
            else:
                row.append(f"{d.rate:+.1f}% ({d.low:{digits}}…{d.high:{digits}})")
        if metric == "psnr":
            row += [
                "0" if a == name else _number(own[a].quality if a in own else None, "+.2f")
                for a in anchors
            ]
        rows.append(row)
    return head, rows


def progressive(rows: Sequence[Progressive]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what stopping early costs."""
    head = [
        "one file, cut",
        "bpp",
        "PSNR",
        "file encoded for that size",
        "loss at equal size",
        "extra bits at equal PSNR",
    ]
    body = []
    for row in rows:
        whole = "none so small"
        if row.sized_bpp is not None:
            whole = f"{row.sized_bpp:.3f} bpp, {row.sized_psnr:.2f} dB ({row.images} images)"
        body.append(
            [
                f"{label(row.codec)}, quality {row.quality}, after layer {row.layers}",
                f"{row.bpp:.3f}",
                f"{row.psnr:.2f} dB",
                whole,
                "–" if row.loss is None else f"{row.loss:.2f} dB",
                "–" if row.extra_bits is None else f"{row.extra_bits:+.0f}%",
            ]
        )
    return head, body


def stopping(deltas: Sequence[Delta]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the curve of files cut after a layer against whole files of the same codec."""
    head = ["cost of being progressive", "BD-rate against whole files", "over PSNR"]
    rows = [[label(d.codec), f"{d.rate:+.1f}%", f"{d.low:.2f}…{d.high:.2f} dB"] for d in deltas]
    return head, rows


def as_csv(curves: dict[str, dict[str, np.ndarray]]) -> str:
    """All mean curves: codec, setting, bpp, and each metric where it was measured."""
    points: dict[tuple[str, float], dict[str, float]] = {}
    for metric, by_codec in curves.items():
        for name, curve in by_codec.items():
            for setting, bpp, value in curve:
                point = points.setdefault((name, float(setting)), {"bpp": float(bpp)})
                point[metric] = float(value)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    named = [f"{m}_db" if title.endswith("dB") else m for m, title in METRICS.items()]
    writer.writerow(["codec", "setting", "bpp", *named])
    for (name, setting), point in points.items():
        values = [f"{point[m]:.4f}" if m in point else "" for m in METRICS]
        writer.writerow([name, f"{setting:g}", f"{point['bpp']:.5f}", *values])
    return buffer.getvalue()
