"""Do files of one machine's CPU decode on the device, and the other way round?

Symbols must be identical, always; pixels may differ by one level.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from benchmarks.bench.images import read_rgb
from codec.errors import CodecError, reason_of
from models.metrics.psnr import psnr

#: Files written once, with the checksums of their symbols; only in a checkout.
CORPUS = Path(__file__).parents[2] / "tests" / "conformance"
QUALITIES = (20, 50, 85)
#: A file that one device cannot decode is what is looked for, torch's own failures included.
_ERRORS = (CodecError, RuntimeError)


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
    error: str | None = None
    """Why one of them did not decode it."""

    @property
    def passed(self) -> bool:
        return self.symbols and self.largest <= 1


def compared(name: str, data: bytes, encoded_on: str, devices: tuple[str, str]) -> Check:
    """One file, decoded on both devices. Where u has other symbols on one, nothing is decoded."""
    try:
        one, other = (codec.decode_detailed(data, device=device) for device in devices)
    except _ERRORS as error:
        return _failed(name, encoded_on, devices[1], error)
    same = one.symbol_checksums == other.symbol_checksums
    return Check(name, encoded_on, devices[1], same, *_distance(one.image, other.image))


def _failed(name: str, encoded_on: str, decoded_on: str, error: Exception) -> Check:
    return Check(name, encoded_on, decoded_on, False, 255, 1.0, reason_of(error))


def _distance(one: Image.Image, other: Image.Image) -> tuple[int, float]:
    """Largest difference, and share of values that differ."""
    difference = np.abs(np.array(one).astype(int) - np.array(other))
    return int(difference.max()), float((difference > 0).mean())


def corpus(device: str) -> list[Check]:
    """The conformance corpus on a device; none where there is no checkout."""
    listed = CORPUS / "expected.json"
    if not listed.exists():
        return []
    checks = []
    for name, expected in json.loads(listed.read_text()).items():
        data = (CORPUS / f"{name}.cci").read_bytes()
        check = compared(name, data, "when it was written", ("cpu", device))
        if check.symbols:  # on both devices, then: are they those that were written?
            found = codec.decode_detailed(data, device="cpu").symbol_checksums
            same = [f"{crc:08x}" for crc in found] == expected["symbols"]
            check = replace(check, symbols=same)
        checks.append(check)
    return checks


def photographs(files: Sequence[Path], device: str, models: Sequence[str]) -> list[Check]:
    """Photographs coded on the CPU and decoded on the device, and the other way round; together on
    the device too."""
    checks = []
    for model in models:
        for number, path in enumerate(files):
            # Of many photographs each has one quality, of few all have all.
            few = len(files) < len(QUALITIES)
            for quality in QUALITIES if few else [QUALITIES[number % len(QUALITIES)]]:
                name = f"{path.name}, {model}, quality {quality}"
                try:
                    checks += _photograph(name, read_rgb(path), device, model, quality)
                except _ERRORS as error:
                    checks.append(_failed(name, device, device, error))
    return checks


def _photograph(name: str, rgb: np.ndarray, device: str, model: str, quality: int) -> list[Check]:
    options: dict[str, Any] = {"quality": quality, "model": model, "graphics": False}
    checks = []
    for source, target in (("cpu", device), (device, "cpu")):
        data = codec.encode(rgb, device=source, **options)
        checks.append(compared(name, data, source, (source, target)))
    pair = [rgb, rgb[::-1].copy()]
    files = codec.encode_batch(pair, device=device, **options)
    checks += [compared(f"{name}, in a batch", file, device, (device, "cpu")) for file in files]
    return checks + _batch_decoded(name, pair, files, device)


def _batch_decoded(
    name: str, images: Sequence[np.ndarray], files: Sequence[bytes], device: str
) -> list[Check]:
    """Files decoded together on the device beside each on the CPU; no two may change places."""
    name, checks = f"{name}, decoded in a batch", []
    together = codec.decode_batch(files, device=device)
    for image, file, picture in zip(images, files, together, strict=True):
        alone = codec.decode(file, device="cpu")
        largest, share = _distance(alone, picture)
        nearest = max(images, key=lambda other: psnr(other, np.array(picture)))
        error = None if nearest is image else "the picture of another file"
        checks.append(Check(name, device, device, error is None, largest, share, error))
    return checks


def measure(files: Sequence[Path], device: str, models: Sequence[str]) -> dict[str, Any]:
    """All checks, and how many passed."""
    checks = corpus(device) + photographs(files, device, models)
    return {
        "photographs": len(files),
        "checks": len(checks),
        "passed": sum(check.passed for check in checks),
        "symbols_identical": sum(check.symbols for check in checks),
        "largest_difference": max((check.largest for check in checks), default=0),
        "share_of_values_that_differ": max((check.share for check in checks), default=0.0),
        "failed": [asdict(check) for check in checks if not check.passed],
    }
