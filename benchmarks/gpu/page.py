"""The Markdown page of a run on a device: what was measured, on which hardware."""

from __future__ import annotations

import platform
import shutil
import subprocess
from typing import Any

import torch

from benchmarks.bench.tables import markdown
from models.training.hardware import processor

PARTS = ("networks", "priors", "transfers", "entropy coding", "filter")


def hardware(device: str) -> dict[str, str]:
    """What a figure depends on: processor, GPU, driver, versions."""
    found = {
        "machine": processor(),
        "device": device,
        "system": platform.platform(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
    }
    if device == "cpu":
        return found | {"gpu": "none: measured on the CPU"}
    about = torch.cuda.get_device_properties(device)
    return found | {
        "gpu": f"{about.name}, {about.total_memory / 2**30:.0f} GiB",
        "driver": _driver(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
    }


def _driver() -> str:
    """The driver's version as nvidia-smi gives it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = done.stdout.splitlines()
    return lines[0].strip() if lines and done.returncode == 0 else "unknown"


def page(result: dict[str, Any]) -> str:
    """Markdown of what a run has measured so far."""
    found = result["hardware"]
    about = [[name, value] for name, value in found.items()]
    place = f"the CPU: {found['machine']}" if found["device"] == "cpu" else found["gpu"]
    parts = [f"# Measured on {place}", "", markdown(["", ""], about), ""]
    sections = {"Exactness": _exactness, "Speed": _speed, "Rate and quality": _rate_and_quality}
    for title, lines in sections.items():
        found = result.get(title.split()[0].lower())
        parts += [f"## {title}", "", *(lines(found) if found else ["Not measured yet."]), ""]
    return "\n".join(parts).rstrip() + "\n"


def _rate_and_quality(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['images']} images, coded and decoded on the device.", "", found["text"]]
    missing = [f"{name} ({why})" for name, why in found["anchors_missing"].items()]
    if missing:
        lines += ["", f"Anchors that are missing here: {', '.join(missing)}."]
    return lines + [f"- {line}" for line in found["left_out"]]


def _exactness(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['photographs']} photographs and the files of the conformance corpus, decoded on "
        f"both devices: {found['passed']} of {found['checks']} checks passed; symbols identical in "
        f"{found['symbols_identical']}, largest difference of a pixel "
        f"{found['largest_difference']}, at most "
        f"{found['share_of_values_that_differ']:.2e} of the values of a picture differ."
    ]
    lines += [f"- failed: {check['name']} ({check})" for check in found["failed"]]
    return lines


def _speed(found: dict[str, Any]) -> list[str]:
    rows = []
    for row in found["rows"]:
        name = f"{row['batch']} of {row['size']}"
        if "failed" in row:
            rows.append([name, row["failed"], *[""] * 5])
            continue
        shares = []
        for way in ("encode", "decode"):
            seconds = row["parts"][way]
            total = sum(seconds.values())
            shares.append(
                " / ".join(f"{seconds[p] / total:.0%}" if p in seconds else "–" for p in PARTS)
            )
        jpeg = row["jpeg"]
        beside = jpeg.get("missing") or f"{jpeg['pictures_per_second']:.1f}"
        rates = [_rate(row[way]) for way in ("encode", "decode")]
        rows.append([name, *rates, *shares, f"{row['peak_memory_mb']:.0f} MB", beside])
    split = " / ".join(PARTS)
    head = ["pictures", "encode pictures/s (MP/s)", "decode pictures/s (MP/s)"]
    head += [f"encode: {split}", f"decode: {split}", "peak memory", "torchvision JPEG decode"]
    lines = [
        f"Model {found['model']}, quality {found['quality']}, median of {found['runs']} runs "
        "(least … most), warmed up, synchronised. Pictures are arrays before and after.",
        "",
        markdown(head, rows),
    ]
    if found["left_out"]:
        lines += ["", f"Not measured, too large here: {', '.join(found['left_out'])}."]
    return lines


def _rate(way: dict[str, float]) -> str:
    count = way["pictures_per_second"] * way["seconds"]
    least, most = count / way["most"], count / way["least"]
    middle = way["pictures_per_second"]
    return f"{middle:.1f} ({least:.1f} … {most:.1f}; {way['megapixels_per_second']:.2f} MP/s)"
