"""Do files of one machine's CPU decode on the device, and the other way round?

Symbols must be identical, always; pixels may differ by one level.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import codec
from benchmarks.bench.images import read_rgb

#: Files written once, with the checksums of their symbols; only in a checkout.
CORPUS = Path(__file__).parents[2] / "tests" / "conformance"
QUALITIES = (20, 50, 85)


@dataclass(frozen=True)
class Check:
    """One file, decoded on two devices."""

    name: str
    encoded_on: str
    decoded_on: str
    symbols: bool
    """Whether they are identical."""
    largest: int
    """Largest difference of a pixel, in levels of 255."""
    share: float
    """Of values that differ at all."""

    @property
    def passed(self) -> bool:
        return self.symbols and self.largest <= 1


def compared(name: str, data: bytes, encoded_on: str, devices: tuple[str, str]) -> Check:
    """One file, decoded on both devices."""
    one, other = (codec.decode_detailed(data, device=device) for device in devices)
    difference = np.abs(np.array(one.image).astype(int) - np.array(other.image))
    return Check(
        name,
        encoded_on,
        devices[1],
        one.symbol_checksums == other.symbol_checksums,
        int(difference.max()),
        float((difference > 0).mean()),
    )


def corpus(device: str) -> list[Check]:
    """The conformance corpus on a device; none where there is no checkout."""
    listed = CORPUS / "expected.json"
    if not listed.exists():
        return []
    checks = []
    for name, expected in json.loads(listed.read_text()).items():
        data = (CORPUS / f"{name}.cci").read_bytes()
        found = codec.decode_detailed(data, device=device).symbol_checksums
        check = compared(name, data, "when it was written", ("cpu", device))
        same = [f"{crc:08x}" for crc in found] == expected["symbols"]
        checks.append(Check(**(asdict(check) | {"symbols": same and check.symbols})))
    return checks


def photographs(files: Sequence[Path], device: str, models: Sequence[str]) -> list[Check]:
    """Photographs coded on the CPU and decoded on the device, and the other way round; together on
    the device too."""
    checks = []
    for model in models:
        for number, path in enumerate(files):
            quality = QUALITIES[number % len(QUALITIES)]
            rgb = read_rgb(path)
            options = {"quality": quality, "model": model, "graphics": False}
            for source, target in (("cpu", device), (device, "cpu")):
                data = codec.encode(rgb, device=source, **options)  # type: ignore[arg-type]
                name = f"{path.name}, {model}, quality {quality}"
                checks.append(compared(name, data, source, (source, target)))
            pair = [rgb, rgb[::-1].copy()]
            for data in codec.encode_batch(pair, device=device, **options):  # type: ignore[arg-type]
                name = f"{path.name}, {model}, quality {quality}, in a batch"
                checks.append(compared(name, data, device, (device, "cpu")))
    return checks


def measure(files: Sequence[Path], device: str, models: Sequence[str]) -> dict[str, Any]:
    """All checks, and how many passed."""
    checks = corpus(device) + photographs(files, device, models)
    return {
        "checks": len(checks),
        "passed": sum(check.passed for check in checks),
        "symbols_identical": sum(check.symbols for check in checks),
        "largest_difference": max((check.largest for check in checks), default=0),
        "share_of_values_that_differ": max((check.share for check in checks), default=0.0),
        "failed": [asdict(check) for check in checks if not check.passed],
    }
