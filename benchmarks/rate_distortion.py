"""The judgement of a set of weights on a folder, from files really written and really decoded.

``python -m benchmarks.rate_distortion FOLDER -o results.json`` prints mean bpp and PSNR (RGB, mean
over images) of each codec and setting; BD-rates against JPEG, JPEG 2000 and AVIF, overall and by
bands of PSNR; what fails on single images. ``--anchors FILE`` keeps the anchors' points, so that a
second run measures ours alone; ``--compare OLD.json`` sets ours beside an earlier run. Needs the
extra ``bench``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.bench import metrics
from benchmarks.bench.codecs import OUR_PERCEPTUAL, OUR_QUALITIES, Ours, missing
from benchmarks.bench.images import image_files, read_rgb
from benchmarks.bench.judgement import comparison_lines, judge, lines
from benchmarks.bench.measuring import code_ours, start_worker
from benchmarks.bench.points import (
    Known,
    Point,
    known_of,
    measure_anchors,
    perceived,
    read_known,
    rounded,
    write_known,
)
from codec.installed import resolve_device
from models.names import MODEL_IDS
from models.training.hardware import machine
from models.weights_file import weights_info


def measure_ours(
    name: str,
    rgb: np.ndarray,
    ours: Ours,
    *,
    qualities: Iterable[int],
    perceptual: bool,
    device: str,
) -> list[Point]:
    """Files at each quality, also decoded from their first 1, 2 … layers.

    Args:
        perceptual: what people see too, at the qualities of :data:`OUR_PERCEPTUAL`.
    """
    points = []
    pixels = rgb.shape[0] * rgb.shape[1]
    for quality, _, trials in code_ours(rgb, ours, qualities, device):
        for count, trial in enumerate(trials, start=1):
            label = "ours" if count == len(trials) else f"ours, first {count}"
            seen = perceived(rgb, trial.decoded) if perceptual and trial.perceptual else []
            error = metrics.psnr(rgb, trial.decoded)
            points.append(Point(name, label, quality, 8 * trial.bytes / pixels, error, *seen))
    return points


def measure_file(
    path: Path, known: Known, *, anchors: list[str], perceptual: bool, **options: Any
) -> tuple[list[Point], Known]:
    """All points of one image, and those of its anchors for the next run."""
    rgb = read_rgb(path)
    rivals, entries = measure_anchors(path.name, rgb, anchors, known, perceptual=perceptual)
    return [*measure_ours(path.name, rgb, perceptual=perceptual, **options), *rivals], entries


def _measure(
    files: list[Path], known: Known, workers: int, **options: Any
) -> Iterator[tuple[list[Point], Known]]:
    # Processes of one thread each do more in the same time than one of several threads.
    with ProcessPoolExecutor(workers, get_context("spawn"), start_worker) as pool:
        each = pool.map(
            partial(measure_file, **options), files, [known_of(p.name, known) for p in files]
        )
        yield from track(each, "measuring", len(files))


def write_results(path: Path, result: dict[str, Any], points: list[Point]) -> None:
    """The judgement, then one point a line."""
    ratios = ",\n".join("  " + json.dumps(row) for row in result["ratio_to_jpeg"])
    rows = ",\n".join("  " + json.dumps(rounded(p)) for p in points)
    short = {key: value for key, value in result.items() if key != "ratio_to_jpeg"}
    text = json.dumps(short, indent=1).removesuffix("\n}")
    path.write_text(f'{text},\n "ratio_to_jpeg": [\n{ratios}\n ],\n "points": [\n{rows}\n ]\n}}\n')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_distortion")
    parser.add_argument("files", type=image_files, metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, help="write all points and figures as JSON")
    parser.add_argument("--anchors", type=Path, help="keep the anchors' points in this JSON file")
    parser.add_argument("--compare", type=Path, help="results of an earlier run to set ours beside")
    parser.add_argument("--model", choices=list(MODEL_IDS), default="ssvae")
    parser.add_argument("--effort", type=int, choices=range(1, 10), default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2, help="images measured at a time")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    parser.add_argument("--qualities", type=int, nargs="+", default=OUR_QUALITIES)
    listed = ", ".join(map(str, OUR_PERCEPTUAL))
    parser.add_argument(
        "--perceptual",
        action="store_true",
        help=f"SSIMULACRA2, MS-SSIM and butteraugli too, at qualities {listed} (slow)",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    files = options.files[: options.limit or None]
    if options.perceptual and len({*options.qualities} & {*OUR_PERCEPTUAL}) < 4:
        parser.error("--perceptual needs four of its qualities among --qualities, see --help")
    try:
        known = read_known(options.anchors)
        older = json.loads(options.compare.read_text())["points"] if options.compare else None
        earlier = None if older is None else [Point(**row) for row in older]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--anchors or --compare cannot be read: {error}")
    wanted = ["jpeg", "jpeg2000", "avif-psnr", *(["avif-iq", "jxl"] if options.perceptual else [])]
    for name in wanted:
        if lacks := missing(name):
            print(f"without {name}, which needs {lacks}")
    about = {
        "images": len(files),
        "model": options.model,
        "weights": weights_info(options.model).fingerprint.hex(),
        "effort": options.effort,
        "machine": machine(),
        "device": options.device,
    }
    points: list[Point] = []
    for measured, entries in _measure(
        files,
        known,
        options.workers,
        anchors=[name for name in wanted if not missing(name)],
        perceptual=options.perceptual,
        qualities=tuple(options.qualities),
        ours=Ours(options.model, options.effort),
        device=str(resolve_device(options.device)),
    ):
        points += measured
        known |= entries
        if options.anchors:
            write_known(options.anchors, known)
    result = about | judge(points)
    print(f"{options.model} {about['weights']}, effort {options.effort}, {len(files)} images")
    print("\n".join(lines(result)))
    if earlier is not None:
        print("\n".join(comparison_lines(points, earlier)))
    if options.output:
        write_results(options.output, result, points)


if __name__ == "__main__":
    main()
