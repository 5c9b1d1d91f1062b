"""Pictures and megapixels a second by size and batch, whole and split into parts.

*Whole* is :func:`codec.encode_batch` and :func:`codec.decode_batch` from arrays to arrays. The
*parts* (networks, priors, transfers, entropy coding) are timed in runs of their own, synchronised
at each boundary, which takes longer than the whole. Everything is warmed up. Each size and batch
has a process of its own: its peak of memory is its own, and if it fails the others go on.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

import codec
from benchmarks.bench import stages
from benchmarks.bench.images import PHOTOGRAPH, read_rgb
from benchmarks.bench.speed import QUALITY, peak_bytes
from codec.errors import CodecError, reason_of
from codec.filter_sample import Sample
from codec.installed import get_model, resolve_device
from codec.together import images_at_once
from codec.walk import pad_image, tables_of
from models.training.anchors import encode_jpeg
from models.training.hardware import seconds_of

#: Names of the clock's stages → what they are here.
_PARTS = {"analysis": "networks", "synthesis": "networks"}


def pictures(width: int, height: int, count: int) -> list[np.ndarray]:
    """Different pieces of the bundled photograph, mirrored on where it ends; uint8 H×W×3."""
    tile = read_rgb(PHOTOGRAPH)
    tile = np.concatenate([tile, tile[::-1]])
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)  # now it goes on at its own edges
    rows, columns = np.arange(height), np.arange(width)
    return [
        tile[np.ix_((rows + 37 * i) % tile.shape[0], (columns + 53 * i) % tile.shape[1])]
        for i in range(count)
    ]


def _spread(seconds: Sequence[float], count: int, megapixels: float) -> dict[str, float]:
    middle = statistics.median(seconds)
    return {
        "seconds": middle,
        "least": min(seconds),
        "most": max(seconds),
        "pictures_per_second": count / middle,
        "megapixels_per_second": megapixels / middle,
    }


def _parts(
    images: list[np.ndarray], model: str, place: torch.device, runs: int
) -> dict[str, dict[str, float]]:
    """Median seconds of each part, one batch each way."""
    network = get_model(model, str(place))
    tables_of(network)
    padded = torch.cat([pad_image(rgb, network.size_multiple) for rgb in images])
    size = padded.shape[-2], padded.shape[-1]
    samples = [Sample.of(image, rgb.shape[:2]) for image, rgb in zip(padded, images, strict=True)]
    found: dict[str, dict[str, list[float]]] = {
        way: defaultdict(list) for way in ("encode", "decode")
    }
    for run in range(runs + 1):
        clock = stages.Clock(place)
        with clock.stage("transfers"):
            there = padded.to(place)
        payloads, filters = stages.encode(network, there, QUALITY, clock, samples)
        back = stages.Clock(place)
        drawn = stages.decode(network, payloads, size, QUALITY, back, filters)
        with back.stage("transfers"):
            drawn.cpu()
        for way, seconds in (("encode", clock.seconds), ("decode", back.seconds)):
            total: dict[str, float] = defaultdict(float)
            for stage, value in seconds.items():
                total[_PARTS.get(stage, stage)] += value
            for name, value in total.items():
                if run:  # the first warms up
                    found[way][name].append(value)
    return {
        way: {name: statistics.median(values) for name, values in parts.items()}
        for way, parts in found.items()
    }


def _memory(place: torch.device) -> float:
    """Peak in MB: of the GPU since the last reset, or of the process."""
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place) / 1e6
    return peak_bytes() / 1e6


def one(width: int, height: int, batch: int, device: str, model: str, runs: int) -> dict[str, Any]:
    """One size and batch. Where there is not enough memory, the result says so."""
    place = resolve_device(device)
    images = pictures(width, height, batch)
    options: dict[str, Any] = {"device": device, "max_pixels": None}
    how: dict[str, Any] = {"quality": QUALITY, "model": model, "graphics": False} | options
    megapixels = width * height * batch / 1e6
    result: dict[str, Any] = {"size": f"{width}×{height}", "batch": batch}
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    try:
        files = codec.encode_batch(images, **how)  # warms up
        codec.decode_batch(files, **options)
        encode, decode = partial(codec.encode_batch, images), partial(codec.decode_batch, files)
        for way, work in (
            ("encode", partial(encode, **how)),
            ("decode", partial(decode, **options)),
        ):
            times = [seconds_of(work, place) for _ in range(runs)]
            result[way] = _spread(times, batch, megapixels)
        result["peak_memory_mb"] = _memory(place)  # the parts would add to it
        padded = (-(-width // 64) * 64) * (-(-height // 64) * 64)
        at_once = min(batch, images_at_once(padded, place))
        result["at_once"] = at_once
        result["parts"] = _parts(images[:at_once], model, place, runs)
    except (CodecError, RuntimeError) as error:  # of memory, or torch's own
        result["failed"] = reason_of(error)
    result["jpeg"] = jpeg(width, height, batch, device, runs)
    return result


def jpeg(width: int, height: int, batch: int, device: str, runs: int) -> dict[str, Any]:
    """torchvision's JPEG decoder on the device, or why there is none."""
    try:
        from torchvision.io import decode_jpeg
    except ModuleNotFoundError:
        return {"missing": "torchvision is not installed"}
    except (ImportError, OSError, RuntimeError) as error:  # made for another torch
        return {"missing": f"torchvision: {reason_of(error)}"}
    place = resolve_device(device)
    coded = [encode_jpeg(rgb, QUALITY) for rgb in pictures(width, height, batch)]
    files = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in coded]

    def decode() -> None:
        for picture in decode_jpeg(files, device=place):
            picture.cpu()  # as decode_batch gives them

    try:
        decode()
        times = [seconds_of(decode, place) for _ in range(runs)]
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        return {"missing": reason_of(error)}
    return _spread(times, batch, width * height * batch / 1e6)


def measure(
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    device: str,
    model: str,
    *,
    runs: int,
    largest: float,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """All sizes and batches of at most ``largest`` megapixels together; what is larger is named.

    Args:
        keep: called with the result so far after each, so that an interruption loses little.
    """
    result: dict[str, Any] = {"model": model, "quality": QUALITY, "runs": runs}
    result |= {"rows": [], "left_out": []}
    for width, height in sizes:
        for batch in batches:
            if width * height * batch > largest * 1e6:
                result["left_out"].append(f"{batch} of {width}×{height}")
                continue
            result["rows"].append(_alone(width, height, batch, device, model, runs))
            keep(result)
    return result


def _alone(width: int, height: int, batch: int, *how: Any) -> dict[str, Any]:
    """:func:`one` in a fresh process."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(one, width, height, batch, *how).result()
    except BrokenProcessPool:
        failed = "its process was killed: is there too little memory?"
        return {"size": f"{width}×{height}", "batch": batch, "failed": failed}
