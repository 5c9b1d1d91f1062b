"""One image through one codec: files really written, really decoded, then judged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import codec
from benchmarks.bench import metrics
from benchmarks.bench.codecs import OTHERS, OUR_PERCEPTUAL, OUR_QUALITIES, Ours, cut_name
from benchmarks.bench.images import read_rgb
from benchmarks.bench.sizes import largest_within

#: Qualities whose files are cut and set beside files encoded for the size of the cut.
STOP_QUALITIES = (50, 80)


@dataclass(frozen=True)
class Row:
    """One image × codec × setting. Seconds are those of a busy machine: see ``--speed``."""

    image: str
    codec: str
    setting: float
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    ssimulacra2: float | None
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Stop:
    """A file cut after ``layers``, and the largest whole file of at most the cut's size."""

    image: str
    codec: str
    quality: int
    layers: int
    cut_bpp: float
    cut_psnr: float
    sized_quality: int | None
    """None: even quality 0 is larger than the cut."""
    sized_bpp: float | None
    sized_psnr: float | None


@dataclass(frozen=True)
class Trial:
    """A picture that came back, before it is judged."""

    codec: str
    setting: float
    bytes: int
    decoded: np.ndarray
    encode_seconds: float
    decode_seconds: float
    perceptual: bool


def judge(path: Path, trials: list[Trial]) -> list[Row]:
    """Rows of trials of one image. Runs in worker processes."""
    rgb = read_rgb(path)
    rows = []
    for trial in trials:
        structure = metrics.ms_ssim(rgb, trial.decoded)
        seen = metrics.ssimulacra2(rgb, trial.decoded) if trial.perceptual else None
        rows.append(
            Row(
                path.name,
                trial.codec,
                trial.setting,
                trial.bytes,
                round(8 * trial.bytes / (rgb.shape[0] * rgb.shape[1]), 5),
                round(metrics.psnr(rgb, trial.decoded), 4),
                None if structure is None else round(structure, 6),
                None if seen is None else round(seen, 3),
                round(trial.encode_seconds, 4),
                round(trial.decode_seconds, 4),
            )
        )
    return rows


def code_other(rgb: np.ndarray, name: str, setting: float) -> Trial:
    """One setting of a codec other than ours."""
    other = OTHERS[name]
    started = time.perf_counter()
    data = other.encode(rgb, setting)
    between = time.perf_counter()
    decoded = other.decode(data)
    times = between - started, time.perf_counter() - between
    return Trial(name, setting, len(data), decoded, *times, setting in other.perceptual)


def measure_other(path: Path, name: str) -> list[Row]:
    """All settings of a codec other than ours on one image. Runs in worker processes."""
    rgb = read_rgb(path)
    return judge(path, [code_other(rgb, name, setting) for setting in OTHERS[name].settings])


def start_worker() -> None:
    """One thread per worker process: there are as many workers as cores."""
    torch.set_num_threads(1)


def code_ours(
    rgb: np.ndarray, ours: Ours, qualities: Iterable[int], device: str, *, cuts: bool = True
) -> Iterator[tuple[int, bytes, list[Trial]]]:
    """Quality, file, and the pictures of its first 1, 2 … layers (or with ``cuts`` off of all
    layers alone), for each quality."""
    options = {"effort": ours.effort, "model": ours.model, "device": device}
    for quality in qualities:
        started = time.perf_counter()
        # Curves are those of the networks: what is lossless has no PSNR.
        data = codec.encode(rgb, quality=quality, graphics=False, **options)  # type: ignore[arg-type]
        encoding = time.perf_counter() - started
        ends = [layer.end for layer in codec.info(data).layers]
        trials = []
        for count, end in enumerate(ends, start=1):
            whole = count == len(ends)
            if whole or cuts:
                decoded, seconds = _decode(data[:end], device)
                name = ours.name if whole else cut_name(ours.name, count)
                size = len(data) if whole else end
                seen = quality in OUR_PERCEPTUAL
                trials.append(Trial(name, quality, size, decoded, encoding, seconds, seen))
        yield quality, data, trials


def run_ours(path: Path, ours: Ours, device: str) -> tuple[list[Trial], list[Stop]]:
    """All qualities of one of our codecs on one image, with the cuts of its files."""
    rgb = read_rgb(path)
    trials: list[Trial] = []
    files: dict[int, bytes] = {}
    for quality, data, each in code_ours(rgb, ours, OUR_QUALITIES, device, cuts=ours.cuts):
        files[quality] = data
        trials += [*(replace(trial, perceptual=False) for trial in each[:-1]), each[-1]]
    return trials, _stops(path, rgb, ours, files, device) if ours.cuts else []


def _decode(data: bytes, device: str) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    decoded = np.array(codec.decode(data, device=device).convert("RGB"))
    return decoded, time.perf_counter() - started


def _stops(
    path: Path, rgb: np.ndarray, ours: Ours, files: dict[int, bytes], device: str
) -> list[Stop]:
    known = dict(files)

    def coded(quality: int) -> bytes:
        if quality not in known:
            known[quality] = codec.encode(
                rgb, quality=quality, model=ours.model, device=device, graphics=False
            )
        return known[quality]

    stops = []
    pixels = rgb.shape[0] * rgb.shape[1]
    for quality in STOP_QUALITIES:
        for count, layer in enumerate(codec.info(files[quality]).layers[:-1], start=1):
            cut, _ = _decode(files[quality][: layer.end], device)
            start = Stop(
                path.name,
                ours.name,
                quality,
                count,
                round(8 * layer.end / pixels, 5),
                round(metrics.psnr(rgb, cut), 4),
                None,
                None,
                None,
            )
            smaller = max((q for q, data in files.items() if len(data) <= layer.end), default=0)
            larger = min((q for q in files if q > smaller), default=101)
            fitting = largest_within(layer.end, coded, range(smaller, larger))
            if fitting is not None:
                data = fitting[1]
                shown, _ = _decode(data, device)
                start = replace(
                    start,
                    sized_quality=fitting[0],
                    sized_bpp=round(8 * len(data) / pixels, 5),
                    sized_psnr=round(metrics.psnr(rgb, shown), 4),
                )
            stops.append(start)
    return stops
