"""One image through one codec at one setting: a file really written and decoded, then judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import codec
from benchmarks.bench import metrics
from benchmarks.bench.codecs import OTHERS, OUR_PERCEPTUAL, OUR_QUALITIES, Ours, cut_name
from benchmarks.bench.images import read_rgb
from benchmarks.bench.records import Record, Stop
from benchmarks.bench.sizes import largest_within
from codec.errors import ImageError

#: Qualities whose files are cut and set beside files encoded for the size of the cut.
STOP_QUALITIES = (50, 80)


class Metrics(NamedTuple):
    """Names of the metrics computed beside PSNR: at every setting, and (slow ones) only at those
    that the registry of codecs names for them."""

    always: tuple[str, ...] = ()
    sometimes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A codec, and how it is measured on every image.

    ``cuts``: files of ours also after their first 1, 2 … layers; ``stops``: and, at
    :data:`STOP_QUALITIES`, beside whole files of the cuts' sizes.
    """

    piece: Ours | str
    settings: tuple[float, ...]
    metrics: Metrics = field(default_factory=Metrics)
    cuts: bool = False
    stops: bool = False
    device: str = "cpu"

    @property
    def name(self) -> str:
        return self.piece if isinstance(self.piece, str) else self.piece.name

    def metrics_at(self, setting: float) -> tuple[str, ...]:
        """Metrics that a setting's records have."""
        piece = self.piece
        seen = OTHERS[piece].perceptual if isinstance(piece, str) else OUR_PERCEPTUAL
        return self.metrics.always + self.metrics.sometimes * (setting in seen)

    def stops_at(self, setting: float) -> bool:
        """Whether a setting's file is set beside files of its cuts' sizes."""
        return self.stops and setting in STOP_QUALITIES


def compared(piece: Ours | str, device: str) -> Job:
    """How ``codec bench`` measures a codec."""
    metrics = Metrics(always=("ms_ssim",), sometimes=("ssimulacra2",))
    if isinstance(piece, str):
        return Job(piece, OTHERS[piece].settings, metrics)
    return Job(piece, OUR_QUALITIES, metrics, cuts=piece.cuts, stops=piece.cuts, device=device)


class _Coded(NamedTuple):
    """A picture that came back, before it is judged."""

    codec: str
    bytes: int
    decoded: np.ndarray
    encode_seconds: float
    decode_seconds: float


class Unit(NamedTuple):
    """One image × codec × setting, and what must be equal for a measurement to be taken over."""

    key: str
    path: Path
    job: Job
    setting: float


def measure(unit: Unit) -> tuple[list[Record], list[Stop]]:
    """Records of one file, those of its cuts first. Runs in worker processes.

    Raises:
        codec.errors.CodecError: the codec cannot code the image, or a model is not installed.
    """
    _, path, job, setting = unit
    rgb = _pixels(path)
    records = []
    for coded in _code(path, rgb, job, setting):
        records.append(
            Record(
                path.name,
                coded.codec,
                setting,
                8 * coded.bytes / (rgb.shape[0] * rgb.shape[1]),
                metrics.psnr(rgb, coded.decoded),
                bytes=coded.bytes,
                encode_seconds=coded.encode_seconds,
                decode_seconds=coded.decode_seconds,
                **{m: getattr(metrics, m)(rgb, coded.decoded) for m in job.metrics_at(setting)},
            )
        )
    if isinstance(job.piece, Ours) and job.stops_at(setting):
        return records, _stops(path.name, rgb, job.piece, int(setting), records[:-1], job.device)
    return records, []


#: Images come one after the other, each in many settings.
_pixels = lru_cache(maxsize=1)(read_rgb)


def _code(path: Path, rgb: np.ndarray, job: Job, setting: float) -> Iterator[_Coded]:
    if isinstance(job.piece, Ours):
        yield from _code_ours(rgb, job.piece, int(setting), job.device, cuts=job.cuts)
        return
    other = OTHERS[job.piece]
    try:
        started = time.perf_counter()
        data = other.encode(rgb, setting)
        between = time.perf_counter()
        decoded = other.decode(data)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path}: {job.piece} cannot code it ({error}); leave out the image or the codec"
        ) from error
    seconds = between - started, time.perf_counter() - between
    yield _Coded(job.piece, len(data), decoded, *seconds)


def _encode(rgb: np.ndarray, ours: Ours, quality: int, device: str) -> bytes:
    # Curves are those of the networks: what is lossless has no PSNR.
    return codec.encode(
        rgb,
        quality=quality,
        effort=ours.effort,
        model=ours.model,
        device=device,
        graphics=False,
    )


def _decode(data: bytes, device: str) -> np.ndarray:
    return np.array(codec.decode(data, device=device, warn=False).convert("RGB"))  # cuts are meant


def _code_ours(
    rgb: np.ndarray, ours: Ours, quality: int, device: str, *, cuts: bool
) -> Iterator[_Coded]:
    """With ``cuts`` the pictures of the first 1, 2 … layers, then that of the whole file."""
    started = time.perf_counter()
    data = _encode(rgb, ours, quality, device)
    encoding = time.perf_counter() - started
    ends = [layer.end for layer in codec.info(data).layers] if cuts else [len(data)]
    parts = [(cut_name(ours.name, count), end) for count, end in enumerate(ends[:-1], start=1)]
    for name, size in [*parts, (ours.name, len(data))]:
        started = time.perf_counter()
        decoded = _decode(data[:size], device)
        yield _Coded(name, size, decoded, encoding, time.perf_counter() - started)


def _stops(
    image: str, rgb: np.ndarray, ours: Ours, quality: int, cuts: list[Record], device: str
) -> list[Stop]:
    """The cuts of one file, each beside the best whole file of at most its bytes."""
    coded = lru_cache(maxsize=None)(lambda q: _encode(rgb, ours, q, device))
    stops = []
    for layers, cut in enumerate(cuts, start=1):
        assert cut.bytes is not None
        start = image, ours.name, quality, layers, cut.bpp, cut.psnr
        fitting = largest_within(cut.bytes, coded, range(quality))
        if fitting is None:
            stops.append(Stop(*start))
            continue
        chosen, data = fitting
        bpp = 8 * len(data) / (rgb.shape[0] * rgb.shape[1])
        stops.append(Stop(*start, chosen, bpp, metrics.psnr(rgb, _decode(data, device))))
    return stops
