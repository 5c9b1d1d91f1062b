"""Rate and distortion, exactness and speed on a device, beside the usual codecs.

``python -m benchmarks.gpu --device cuda --out FOLDER [IMAGES]`` writes ``gpu.json`` (all figures),
``gpu.md`` (a page that names hardware and driver) and ``rate/`` (curves, tables, report of the one
engine of ``codec bench``); the first two after each part, so that an interruption loses little.
Without a folder of images the bundled one is taken. Needs the extra ``bench``. The same command
runs on a CPU.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import extra, run
from benchmarks.bench.codecs import missing
from benchmarks.bench.images import PHOTOGRAPH, images_in
from benchmarks.gpu import exactness, page, speed
from codec.catalogue import installed_models
from codec.errors import ArgumentError, CodecError
from codec.files import write_atomic
from codec.installed import resolve_device
from codec.options import DEFAULT_MODEL

ANCHORS = ("jpeg", "jpegli", "jpeg2000", "avif-psnr", "avif-iq", "jxl")
SIZES, BATCHES = ("256x256", "768x512", "2449x1633"), (1, 8, 32, 128)
#: Photographs that are coded on both devices.
PHOTOGRAPHS = 20


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no size; write 768x512") from None
    return width, height


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = [model.name for model in installed_models()]
    parser.add_argument("folder", type=Path, nargs="?", default=PHOTOGRAPH.parent)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    parser.add_argument("--models", nargs="+", choices=models, default=models)
    parser.add_argument("--anchors", nargs="*", choices=ANCHORS, default=ANCHORS)
    sizes = [_size(size) for size in SIZES]
    parser.add_argument("--sizes", nargs="+", type=_size, default=sizes, help="of timed pictures")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--runs", type=int, default=5, help="timed ones, after one to warm up")
    parser.add_argument("--largest", type=float, help="megapixels of a timed batch at most")
    return parser


def measure(options: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """All parts; what takes longest comes last. ``keep`` is called with the result so far. Raises
    CodecError."""
    extra.require()
    device = str(resolve_device(options.device))
    files = images_in(options.folder)[: options.limit or None]
    anchors = [name for name in options.anchors if not missing(name)]
    largest = options.largest or (4 if device == "cpu" else 600)
    if device != "cpu":
        torch.cuda.init()
    model = DEFAULT_MODEL if DEFAULT_MODEL in options.models else options.models[0]
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"hardware": page.hardware(device)}
    result["exactness"] = exactness.measure(files[:PHOTOGRAPHS], device, options.models)
    keep(result)
    result["speed"] = speed.measure(
        options.sizes,
        options.batches,
        device,
        model,
        runs=options.runs,
        largest=largest,
        keep=lambda rows: keep(result | {"speed": rows}),
    )
    keep(result)
    compare = partial(run.compare, options.folder, out=options.out / "rate", limit=options.limit)
    if device != "cpu" and anchors:  # all cores on what needs no GPU, which is kept
        compare(",".join(anchors), device="cpu")
    everything = ",".join([*options.models, *anchors])
    text, left_out = compare(everything, device=device, processes=None if device == "cpu" else 1)
    result["rate"] = {
        "text": text,
        "images": len(files),
        "left_out": left_out,
        "summary": json.loads((options.out / "rate" / "summary.json").read_text()),
        "anchors_missing": {n: missing(n) for n in options.anchors if n not in anchors},
    }
    keep(result)
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    if min(options.batches) < 1 or options.runs < 1:
        parser.error("--batches and --runs take 1 or more")

    def keep(result: dict[str, Any]) -> None:
        write_atomic(options.out / "gpu.json", (json.dumps(result, indent=1) + "\n").encode())
        write_atomic(options.out / "gpu.md", page.page(result).encode())

    try:
        result = measure(options, keep)
    except (CodecError, ArgumentError, OSError) as error:
        parser.error(str(error))
    print(page.page(result))
    if result["exactness"]["failed"]:
        parser.exit(1, "some files do not decode alike, see above\n")


if __name__ == "__main__":
    main()
