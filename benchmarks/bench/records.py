"""The record that every rate–distortion measurement makes, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

#: Digits that mean something, by figure.
_DIGITS = {"bpp": 5, "psnr": 3, "ssimulacra2": 3, "ms_ssim": 6, "butteraugli": 4}
_DIGITS |= {"encode_seconds": 4, "decode_seconds": 4}


@dataclass(frozen=True)
class Record:
    """One image × codec × setting; a file of ours also after its first 1, 2 … layers.

    ``psnr`` in dB over RGB, ``ms_ssim`` 0…1; of ``butteraugli`` less is better. A metric is None
    where it was not computed or is not defined. Seconds are those of a busy machine: ``codec bench
    --speed`` times.
    """

    image: str
    codec: str
    setting: float
    bpp: float
    psnr: float
    ssimulacra2: float | None = None
    ms_ssim: float | None = None
    butteraugli: float | None = None
    bytes: int | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None

    @property
    def encode_seconds_per_mpx(self) -> float:
        """Of one that has bytes and seconds."""
        assert self.bytes is not None
        assert self.encode_seconds is not None
        return self.encode_seconds / (8e-6 * self.bytes / self.bpp)

    def stored(self) -> dict[str, Any]:
        """What is known, for a results file."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return known | {key: round(known[key], n) for key, n in _DIGITS.items() if key in known}


@dataclass(frozen=True)
class Stop:
    """A file cut after ``layers``, and the largest whole file of at most the cut's size."""

    image: str
    codec: str
    quality: int
    layers: int
    cut_bpp: float
    cut_psnr: float
    sized_quality: int | None = None
    """None: even quality 0 is larger than the cut."""
    sized_bpp: float | None = None
    sized_psnr: float | None = None

    def stored(self) -> dict[str, Any]:
        """All of it, for a results file."""
        digits = {"cut_bpp": 5, "cut_psnr": 4, "sized_bpp": 5, "sized_psnr": 4}
        known = asdict(self)
        return known | {k: round(known[k], n) for k, n in digits.items() if known[k] is not None}


def read_points(path: Path) -> list[Record]:
    """Points of a results file. Raises OSError, ValueError, KeyError or TypeError."""
    return [Record(**row) for row in json.loads(path.read_text())["points"]]


def of_image(item: Record | Stop) -> dict[str, Any]:
    """What a journal keeps of it, unrounded: it knows the setting, and images by their pixels."""
    names = [f.name for f in fields(item) if f.name not in ("image", "setting")]
    return {name: getattr(item, name) for name in names}
