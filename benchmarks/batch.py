"""``codec batch`` on this machine: throughput, memory, being killed, and a data set's speed.

    python -m benchmarks.batch [--pictures 2000] [--out results.json]

Makes crops of 64…256 pixels a side of the bundled photograph, some of them broken.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.bench.images import PHOTOGRAPH
from codec.batch.records import read_rows

_MB = 2**20


def make_pictures(folder: Path, count: int, broken: int, low: int = 64, high: int = 256) -> None:
    """Crops of all sizes between ``low`` and ``high``, as PNG, JPEG and WebP."""
    draw = random.Random(1)
    photograph = Image.open(PHOTOGRAPH).convert("RGB")
    bad = set(draw.sample(range(count), broken))
    for number in range(count):
        suffix = draw.choice([".png", ".jpg", ".webp"])
        path = folder / f"{number // 200:02d}" / f"{number:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = draw.randint(low, high), draw.randint(low, high)
        x = draw.randint(0, photograph.width - width)
        y = draw.randint(0, photograph.height - height)
        photograph.crop((x, y, x + width, y + height)).save(path)
        if number in bad:
            data = path.read_bytes()
            path.write_bytes(draw.choice([b"", b"no image", data[: len(data) // 3]]))


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in below for member in _family(int(child)))]


def _memory(pid: int) -> tuple[int, int]:
    """Bytes of a process: resident, and resident with shared pages counted in parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return sizes.get("Rss", 0), sizes.get("Pss", 0)


def watched(arguments: list[str], kill_after: int | None = None) -> dict[str, Any]:
    """Run ``codec batch`` and watch the memory of all its processes.

    With ``kill_after`` pictures on record it gets a SIGKILL.
    """
    manifest = f"{arguments[1]}/manifest.parquet"
    command = [sys.executable, "-m", "cli.main", "batch", *arguments, "--json"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    series: list[tuple[int, int]] = []
    while process.poll() is None:
        taken = [_memory(pid) for pid in _family(process.pid)]
        series.append((sum(r for r, _ in taken), sum(p for _, p in taken)))
        journal = Path(f"{manifest}.parts/journal.jsonl")
        if kill_after and journal.exists() and journal.read_bytes().count(b"\n") >= kill_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.25)
    output = process.stdout.read() if process.stdout else b""
    summary = json.loads(output) if output else None
    if summary:
        del summary["manifest"]  # a temporary place
    proportional = [p for _, p in series]
    quarter = max(1, len(series) // 4)
    middle, last = proportional[quarter : 2 * quarter], proportional[-quarter - 2 : -2]
    return {
        "wall_seconds": round(time.monotonic() - started, 2),
        "peak_rss_mb": round(max(r for r, _ in series) / _MB),
        "peak_pss_mb": round(max(proportional) / _MB),
        "second_quarter_pss_mb": round(sum(middle) / max(1, len(middle)) / _MB),
        "last_quarter_pss_mb": round(sum(last) / max(1, len(last)) / _MB),
        "summary": summary,
    }


def _results(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.cci")}


def _loaded(images: Any, workers: int) -> float:
    """Items per second of a DataLoader, its start not counted."""
    from torch.utils.data import DataLoader

    loader = iter(DataLoader(images, batch_size=None, num_workers=workers, prefetch_factor=8))
    for _ in range(4 * workers):
        next(loader)
    started, count = time.perf_counter(), 0
    for _ in loader:
        count += 1
    return round(count / (time.perf_counter() - started), 1)


class _Jpegs:
    """The same pictures as JPEG files, read and decoded by Pillow."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        import numpy as np
        import torch

        with Image.open(self._paths[index]) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def data_set(count: int, workers: int) -> dict[str, Any]:
    """Pictures per second of 256×256 crops, from .cci files and from JPEG files."""
    import codec
    from codec.batch import CodedImages

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder / "in", count, 0, 256, 256)
        sizes = {"cci": 0, "jpeg": 0}
        for path in sorted((folder / "in").rglob("*.*")):
            image = Image.open(path).convert("RGB")
            data = codec.encode(image)
            (folder / f"{path.stem}.cci").write_bytes(data)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=90)
            (folder / f"{path.stem}.jpg").write_bytes(buffer.getvalue())
            sizes["cci"] += len(data)
            sizes["jpeg"] += buffer.tell()
        rates = {
            size: _loaded(CodedImages(name, size=size), workers) for size in ("full", "y2", "y1")
        }
        return {
            "pictures": count,
            "workers": workers,
            "pictures_per_second": rates | {"jpeg": _loaded(_Jpegs(folder), workers)},
            "bytes": sizes,
        }


def measure(count: int, broken: int) -> dict[str, Any]:
    """All of it."""
    figures: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
        },
        "pictures": count,
        "broken": broken,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in"
        make_pictures(source, count, broken)
        for workers in (1, 2):
            figures[f"workers_{workers}"] = watched(
                [str(source), str(folder / f"out{workers}"), "--workers", str(workers)]
            )
        rates = [figures[f"workers_{w}"]["summary"]["pictures_per_second"] for w in (1, 2)]
        figures["speedup"] = round(rates[1] / rates[0], 3)
        killed = [str(source), str(folder / "killed"), "--workers", "2"]
        watched(killed, kill_after=count // 2)
        resumed = watched([*killed, "--resume"])["summary"]
        rows = list(read_rows(f"{folder}/killed/manifest.parquet"))
        figures["killed_and_resumed"] = {
            "done_before": resumed["before"],
            "done_after": resumed["ok"] + resumed["failed"],
            "same_files": _results(folder / "killed") == _results(folder / "out1"),
            "ok": sum(row["status"] == "ok" for row in rows),
            "failed": sum(row["status"] == "failed" for row in rows),
        }
    figures["data_set"] = data_set(min(count, 400), 2)
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--broken", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    text = json.dumps(measure(options.pictures, options.broken), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
