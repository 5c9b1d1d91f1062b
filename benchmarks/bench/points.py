"""Points of a rate–distortion curve, and the anchors' points kept from one run to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from benchmarks.bench import metrics
from benchmarks.bench.codecs import OTHERS, version
from benchmarks.bench.measuring import code_other
from codec.files import write_atomic
from models.training.anchors import ANCHORS

#: Key of :func:`_key` → bpp, PSNR in dB and, where they were computed, the metrics of
#: :func:`perceived`.
Known = dict[str, list[float | None]]


@dataclass(frozen=True)
class Point:
    """One image, codec and setting, one entry per number of layers for ours. ``psnr`` in dB,
    ``ms_ssim`` 0…1; of ``butteraugli`` less is better."""

    image: str
    codec: str
    setting: float
    bpp: float
    psnr: float
    ssimulacra2: float | None = None
    ms_ssim: float | None = None
    butteraugli: float | None = None


def perceived(rgb: np.ndarray, shown: np.ndarray) -> list[float | None]:
    """SSIMULACRA2, MS-SSIM and butteraugli of a decoded picture."""
    return [
        metrics.ssimulacra2(rgb, shown),
        metrics.ms_ssim(rgb, shown),
        metrics.butteraugli(rgb, shown),
    ]


def rounded(point: Point) -> dict[str, Any]:
    """A point with as many digits as mean something."""
    result = asdict(point) | {"bpp": round(point.bpp, 5), "psnr": round(point.psnr, 3)}
    for name, digits in (("ssimulacra2", 3), ("ms_ssim", 6), ("butteraugli", 4)):
        if result[name] is None:
            del result[name]
        else:
            result[name] = round(result[name], digits)
    return result


def settings_of(anchor: str) -> tuple[float, ...]:
    """The settings an anchor's curve is measured at."""
    return ANCHORS[anchor][1] if anchor in ANCHORS else OTHERS[anchor].settings


def _key(image: str, digest: str, anchor: str, setting: float) -> str:
    return f"{image} {digest} {anchor} {setting:g} pillow {PIL.__version__}, {version(anchor)}"


def measure_anchors(
    image: str, rgb: np.ndarray, anchors: Iterable[str], known: Known, *, perceptual: bool
) -> tuple[list[Point], Known]:
    """The anchors' points of one image; those in ``known`` are taken from there.

    Args:
        image: the file's name.
        rgb: uint8 H×W×3.
        known: see :func:`read_known`. Change an anchor's name where its options change.
        perceptual: what people see too, at the settings that :data:`OTHERS` names for it.

    Returns:
        The points, and the entries of ``known`` they stand for.
    """
    digest = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
    pixels = rgb.shape[0] * rgb.shape[1]
    points, entries = [], {}
    for anchor in anchors:
        for setting in settings_of(anchor):
            seen = perceptual and setting in OTHERS[anchor].perceptual
            key = _key(image, digest, anchor, setting)
            values = known.get(key, [])
            if len(values) < 2 + 3 * seen:
                trial = code_other(rgb, anchor, setting)
                values = [8 * trial.bytes / pixels, metrics.psnr(rgb, trial.decoded)]
                values += perceived(rgb, trial.decoded) if seen else []
            entries[key] = values
            points.append(Point(image, anchor, setting, *values[: 2 + 3 * seen]))  # type: ignore[arg-type]
    return points, entries


def read_known(path: Path | None) -> Known:
    """The points of an earlier run; none where there is no such file yet.

    Raises:
        ValueError: the file is something else.
    """
    if path is None or not path.exists():
        return {}
    known = json.loads(path.read_text())
    if not isinstance(known, dict) or not all(isinstance(v, list) for v in known.values()):
        raise ValueError(f"{path} does not hold the points of anchors")
    return known


def known_of(image: str, known: Known) -> Known:
    """The entries of one image, so that its worker process is not sent all."""
    return {key: values for key, values in known.items() if key.startswith(f"{image} ")}


def write_known(path: Path, known: Known) -> None:
    """One entry a line."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(v)}" for key, v in sorted(known.items()))
    write_atomic(path, f"{{\n{lines}\n}}\n".encode())
