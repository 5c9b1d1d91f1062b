"""Sums over a manifest, in one pass."""

from __future__ import annotations

from collections import Counter

from codec.batch.records import OK, Row, coded_size


class Totals:
    """What a report says of all rows together."""

    BPP_STEP = 0.02
    _KEPT = 1000

    def __init__(self) -> None:
        self.ok = self.failed = self.read = self.written = self.measured = 0
        self.bits = self.pixels = self.psnr = self.seconds = 0.0
        self.lowest = float("inf")
        self.bpp_counts: Counter[int] = Counter()
        self.qualities: Counter[float] = Counter()
        self.weights: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []

    def add(self, row: Row) -> None:
        """Count one row in."""
        self.read += row["size"] or 0
        if row["status"] != OK:
            self.failed += 1
            if len(self.failures) < self._KEPT:
                self.failures.append((row["path"], row["error"] or ""))
            return
        self.ok += 1
        self.written += row["bytes"]
        self.seconds += row["seconds"] or 0.0
        self.weights[f"{row['model']} {row['fingerprint']}"] += 1
        if row["quality"] is not None:
            self.qualities[row["quality"]] += 1
        bits, pixels = coded_size(row)
        self.bits += bits
        self.pixels += pixels
        self.bpp_counts[int(row["bpp"] / self.BPP_STEP)] += 1
        if row["psnr"] is not None:
            self.measured += 1
            self.psnr += row["psnr"]
            self.lowest = min(self.lowest, row["psnr"])
