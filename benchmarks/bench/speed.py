"""Encode and decode speed, split into stages, and peers timed in the same run, alternating.

Each size and number of threads runs in a process of its own: torch's threads are set once, and the
peak of memory is that of this size alone.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import codec
from benchmarks.bench import peers, stages
from benchmarks.bench.codecs import OTHERS, missing
from benchmarks.bench.images import PHOTOGRAPH, read_rgb
from benchmarks.bench.tables import markdown
from codec.installed import get_model, resolve_device
from models.training.hardware import machine, seconds_of
from models.weights_file import weights_info

QUALITY = 50
BATCHES = (1, 4, 8)
#: Settings that give about the size of ours at :data:`QUALITY` on photographs.
PEER_SETTINGS = {"jpeg": 50, "jpeg2000": 0.4, "webp": 50, "avif": 50, "jxl": 50}
#: The quality of the zoo's networks: 1…5 share one width, larger ones are slower.
ZOO_QUALITY = 4
TIMED_ZOO = ("bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-attn")
_ENOUGH_SECONDS = 8.0


def photograph(megapixels: float) -> np.ndarray:
    """The bundled photograph, mirrored on until large enough, cropped to 3:2; uint8 H×W×3."""
    tile = read_rgb(PHOTOGRAPH)
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(1.5 * height)
    while tile.shape[0] < height:
        tile = np.concatenate([tile, tile[::-1]], axis=0)
    while tile.shape[1] < width:
        tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    return np.ascontiguousarray(tile[:height, :width])


def _repeat(runs: int) -> Callable[[], bool]:
    """True ``runs`` times, or until enough time has passed (but once at least)."""
    begun, count = time.perf_counter(), 0

    def more() -> bool:
        nonlocal count
        count += 1
        return count == 1 or (count <= runs and time.perf_counter() - begun < _ENOUGH_SECONDS)

    return more


def peak_bytes() -> int:
    """Most memory that the process has had.

    ``ru_maxrss`` is handed on to what a process starts: on Linux the kernel's own count is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next((x for x in status.read_text().splitlines() if x.startswith("VmHWM")), None)
        if line is not None:
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def one_size(megapixels: float, threads: int, device: str, model: str, runs: int) -> dict[str, Any]:
    """Medians at one size. Runs in a process of its own."""
    torch.set_num_threads(threads)
    place = resolve_device(device)
    options: dict[str, Any] = {"device": device}
    small = photograph(0.1)
    codec.decode(codec.encode(small, model=model, **options), **options)  # warm up
    before = peak_bytes()
    rgb = photograph(megapixels)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    encoding, decoding = [], []
    repeat = _repeat(runs)
    options["max_pixels"] = None
    data = b""
    while repeat():
        started = time.perf_counter()
        data = codec.encode(rgb, quality=QUALITY, model=model, **options)
        encoding.append(time.perf_counter() - started)
        decoding.append(seconds_of(lambda d=data: codec.decode(d, **options), place))  # type: ignore[misc]
    memory = peak_bytes()
    gpu = torch.cuda.max_memory_allocated(place) if place.type == "cuda" else None
    parts = stages.split(get_model(model, device), rgb, QUALITY, place, repeat=_repeat(runs))
    pixels = rgb.shape[0] * rgb.shape[1] / 1e6
    return {
        "megapixels": round(pixels, 3),
        "size": f"{rgb.shape[1]}×{rgb.shape[0]}",
        "threads": threads,
        "runs": len(encoding),
        "bpp": round(8e-6 * len(data) / pixels, 4),
        "encode_seconds": statistics.median(encoding),
        "decode_seconds": statistics.median(decoding),
        "encode_stages": _medians(parts[0]),
        "decode_stages": _medians(parts[1]),
        "peak_memory_mb": round(memory / 1e6),
        "memory_before_mb": round(before / 1e6),
        "gpu_memory_mb": None if gpu is None else round(gpu / 1e6),
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(r[name] for r in runs) for name in runs[0]}


def batches(threads: int, device: str, model: str, runs: int) -> list[dict[str, Any]]:
    """Throughput over several images of 768×512, each coded alone: one after the other, and
    overlapped (batches proper are timed by :mod:`benchmarks.gpu`).

    Overlapped: two or more images are on their way at once, in threads, so that the range coder of
    one works while the networks of another run. Runs in a process of its own.
    """
    torch.set_num_threads(threads)
    resolve_device(device)
    rgb = photograph(0.393216)
    data = codec.encode(rgb, quality=QUALITY, model=model, device=device)
    codec.decode(data, device=device)
    result = []
    for count in BATCHES:
        for workers in (1, 2) if device == "cpu" else (1, 2, 4):
            if workers > count:
                continue
            times = []
            for work in (
                lambda _: codec.encode(rgb, quality=QUALITY, model=model, device=device),
                lambda _: codec.decode(data, device=device),
            ):
                with ThreadPoolExecutor(workers) as pool:
                    times.append(
                        statistics.median(
                            seconds_of(lambda p=pool, w=work, n=count: list(p.map(w, range(n))))  # type: ignore[misc]
                            for _ in range(min(runs, 3))
                        )
                    )
            megapixels = count * rgb.shape[0] * rgb.shape[1] / 1e6
            result.append(
                {
                    "batch": count,
                    "at_once": workers,
                    "threads": threads,
                    "encode_mp_s": megapixels / times[0],
                    "decode_mp_s": megapixels / times[1],
                }
            )
    return result


def beside_peers(threads: int, device: str, model: str, runs: int) -> list[dict[str, Any]]:
    """Medians at 768×512, all codecs taking turns. Runs in a process of its own."""
    torch.set_num_threads(threads)
    place = resolve_device(device)
    rgb = photograph(0.393216)
    coders: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object], str]] = {
        model: (
            lambda: codec.encode(rgb, quality=QUALITY, model=model, device=device),
            lambda data: np.asarray(codec.decode(data, device=device)),
            f"quality {QUALITY}",
        )
    }
    for name, setting in PEER_SETTINGS.items():
        if missing(name) is None:
            other = OTHERS[name]
            coders[name] = (
                partial(other.encode, rgb, setting),
                other.decode,
                f"setting {setting:g}; {other.note}",
            )
    if peers.installed():
        for name in TIMED_ZOO:
            peer = peers.load_for_timing(name, ZOO_QUALITY, device)
            weights = "pretrained" if peer.pretrained else "random weights"
            coders[name] = (
                lambda p=peer: p.encode(rgb),  # type: ignore[misc]
                peer.decode,
                f"CompressAI, quality {ZOO_QUALITY}, {weights}",
            )
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in coders}
    sizes: dict[str, int] = {}
    for turn in range(runs + 1):
        for name, (encode, decode, _) in coders.items():
            slow = name.startswith("cheng")  # symbol after symbol: up to minutes
            if slow and turn > 0:
                continue
            data = b""

            def work(encode: Callable[[], bytes] = encode) -> None:
                nonlocal data
                data = encode()

            encoding = seconds_of(work, place)
            decoding = seconds_of(lambda d=data, f=decode: f(d), place)  # type: ignore[misc]
            sizes[name] = len(data)
            if turn or slow:  # the first turn warms up
                times[name].append((encoding, decoding))
    pixels = rgb.shape[0] * rgb.shape[1]
    return [
        {
            "codec": name,
            "setting": coders[name][2],
            "threads": threads,
            "runs": len(values),
            "bpp": round(8 * sizes[name] / pixels, 4),
            "encode_seconds": statistics.median(v[0] for v in values),
            "decode_seconds": statistics.median(v[1] for v in values),
        }
        for name, values in times.items()
    ]


def measure(
    *,
    megapixels: Sequence[float],
    threads: Sequence[int],
    device: str,
    model: str,
    runs: int,
    peers: bool,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """All of the above, one process after the other. Raises codec.errors.CodecError.

    Args:
        keep: called with the result so far after each part, so that an interruption loses little.
    """
    device = str(resolve_device(device))
    get_model(model, "cpu")  # a wrong name fails here, at once
    counts = list(threads) if device == "cpu" else [max(threads)]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Fresh processes: threads are set before torch starts any, and memory is counted per size.
    context = multiprocessing.get_context("spawn")
    result: dict[str, Any] = {"machine": machine(), "device": device, "model": model}
    result["weights"] = weights_info(model).fingerprint.hex()
    result |= {"sizes": [], "batches": [], "peers": []}
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("timing", total=len(counts) * (len(megapixels) + 1) + 1)

        def alone(work: Callable[..., Any], *arguments: Any) -> Any:
            progress.update(task, description=f"timing {work.__name__} {arguments[0]}")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                result = pool.submit(work, *arguments).result()
            progress.advance(task)
            return result

        if peers:
            result["peers"] = alone(beside_peers, max(counts), device, model, runs)
            keep(result)
        for count in counts:
            for size in megapixels:
                result["sizes"].append(alone(one_size, size, count, device, model, runs))
                keep(result)
            result["batches"] += alone(batches, count, device, model, runs)
            keep(result)
    return result


def _shares(parts: dict[str, float], names: Sequence[str]) -> str:
    total = sum(parts.values())
    return " / ".join(f"{parts[s] / total:.0%}" if s in parts else "–" for s in names)


def as_markdown(result: dict[str, Any]) -> str:
    """Tables of what :func:`measure` found."""
    parts = [f"{result['machine']}, device {result['device']}, model {result['model']}.", ""]
    if result["peers"]:
        ours = next(p for p in result["peers"] if p["codec"] == result["model"])
        rows = [
            [
                p["codec"],
                p["setting"],
                f"{p['bpp']:.3f}",
                *(
                    f"{p[key]:.3f} s (×{p[key] / ours[key]:.2f})"
                    for key in ("encode_seconds", "decode_seconds")
                ),
            ]
            for p in result["peers"]
        ]
        head = ["768×512, taking turns", "setting", "bpp", "encode (× ours)", "decode (× ours)"]
        parts += [markdown(head, rows), ""]
    rows = []
    for s in result["sizes"]:
        memory = f"{s['peak_memory_mb']} MB"
        if s["gpu_memory_mb"] is not None:
            memory += f", GPU {s['gpu_memory_mb']} MB"
        rows.append(
            [
                f"{s['size']}, {s['threads']} threads",
                *(
                    f"{s['megapixels'] / s[key]:.2f}"
                    for key in ("encode_seconds", "decode_seconds")
                ),
                memory,
                _shares(s["encode_stages"], stages.ENCODING),
                _shares(s["decode_stages"], stages.DECODING),
            ]
        )
    head = ["size", "encode MP/s", "decode MP/s", "peak memory"]
    head += [f"encode: {' / '.join(stages.ENCODING)}", f"decode: {' / '.join(stages.DECODING)}"]
    parts += [markdown(head, rows), ""]
    rows = [
        [
            f"{b['batch']} images, {b['at_once']} at once, {b['threads']} threads",
            f"{b['encode_mp_s']:.2f}",
            f"{b['decode_mp_s']:.2f}",
        ]
        for b in result["batches"]
    ]
    parts += [markdown(["images of 768×512, each alone", "encode MP/s", "decode MP/s"], rows), ""]
    return "\n".join(parts)
