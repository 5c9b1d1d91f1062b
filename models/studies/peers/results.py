"""What the comparison's files say: a row per coder and λ, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.bench.records import Record
from models.studies.peers.coders import ANCHOR, against, cost
from models.trainable import TrainableModel


def rows_of(records: Sequence[Record], qualities: Sequence[float], ours: str) -> list[dict]:
    """Per quality (λ) and coder: rate, PSNR, processor time, and what it costs beside our curve.

    Args:
        records: of :func:`models.studies.peers.coders.measure`.
        qualities: of the λ that networks were trained for.
        ours: the coder that has a curve over qualities.
    """
    rows = []
    for quality in qualities:
        lagrangian = float(TrainableModel().lagrangian(torch.tensor(quality)))
        reference = cost(records, ours, quality, lagrangian)
        for name in dict.fromkeys(r.codec for r in records if r.setting == quality):
            if name == ANCHOR:
                continue
            own = [r for r in records if (r.codec, r.setting) == (name, quality)]
            total = cost(records, name, quality, lagrangian)
            row: dict[str, Any] = {
                "network": name,
                "quality": quality,
                "lambda": round(lagrangian, 2),
                "bpp": round(_mean(own, "bpp"), 5),
                "psnr": round(_mean(own, "psnr"), 3),
                "cost": round(total, 5),
                "cost_percent": round(100 * (total / reference - 1), 2),
            }
            for anchor in (ours, ANCHOR):
                beside = None if name == anchor else against(records, name, quality, anchor)
                row[f"against {anchor}"] = None if beside is None else asdict(beside)
            megapixels = sum(8e-6 * (r.bytes or 0) / r.bpp for r in own)
            for way in ("encode_seconds", "decode_seconds"):
                row[f"{way}_per_megapixel"] = round(_mean(own, way) * len(own) / megapixels, 4)
            rows.append(row)
    return rows


def _mean(records: Sequence[Record], field: str) -> float:
    return sum(getattr(r, field) for r in records) / len(records)


def table(rows: Sequence[dict[str, Any]], ours: str) -> str:
    """Markdown: one line per row of :func:`rows_of`."""
    head = ["network", "λ", "bpp", "PSNR", f"bits at equal PSNR against {ours}", "smaller files"]
    head += ["bpp + λ MSE", f"bits against {ANCHOR}", "encode, s/Mpx", "decode, s/Mpx"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        beside = row[f"against {ours}"]
        cells = [
            row["network"],
            f"{row['lambda']:.0f}",
            f"{row['bpp']:.4f}",
            f"{row['psnr']:.2f}",
            "0" if row["network"] == ours else _percent(beside),
            "–" if beside is None else f"{beside['smaller']} of {beside['images']}",
            f"{row['cost']:.4f} ({row['cost_percent']:+.1f}%)",
            _percent(row[f"against {ANCHOR}"]),
            f"{row['encode_seconds_per_megapixel']:.2f}",
            f"{row['decode_seconds_per_megapixel']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def runs_table(runs: dict[str, dict[str, Any]]) -> str:
    """Markdown: parameters and training of each run."""
    lines = ["| run | parameters | steps | s a step | skipped |", "| --- |" + " ---: |" * 4]
    for name, run in runs.items():
        lines.append(
            f"| {name} | {run['parameters'] / 1e6:.2f} M | {run['steps']} "
            f"| {run['seconds_a_step']:.3f} | {run['skipped']} |"
        )
    return "\n".join(lines)


def _percent(beside: dict[str, Any] | None) -> str:
    if beside is None:
        return "no overlap"
    error = "" if beside["error"] is None else f" ± {beside['error']:.1f}"
    return f"{beside['percent']:+.1f}{error}%"
