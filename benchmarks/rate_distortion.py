"""The judgement of a set of weights on a folder, from files really written and really decoded.

``python -m benchmarks.rate_distortion FOLDER -o results.json`` prints mean bpp and PSNR (RGB, mean
over images) of each codec and setting; BD-rates against each of ``--anchors``, overall and by bands
of PSNR; what fails on single images. ``--cache FILE`` keeps what was measured, so that an
interrupted run goes on and one of other weights measures ours alone; ``--compare OLD.json`` sets
ours beside an earlier run. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench.codecs import OTHERS, OUR_PERCEPTUAL, OUR_QUALITIES, Ours, missing
from benchmarks.bench.curves import PERCEPTUAL
from benchmarks.bench.images import folder_parser
from benchmarks.bench.judgement import comparison_lines, judge, lines
from benchmarks.bench.measuring import Job, Metrics
from benchmarks.bench.records import Record, read_points
from benchmarks.bench.runner import Journal, measure_all
from codec.errors import CodecError
from codec.files import write_atomic
from codec.installed import resolve_device
from models.names import MODEL_IDS
from models.training.anchors import ANCHORS
from models.training.hardware import machine
from models.weights_file import weights_info

#: What weights are judged by: beside it, and more with the perceptual metrics.
JUDGES = ("jpeg", "jpeg2000", "avif-psnr")
PERCEPTUAL_JUDGES = (
    *(
        "jpeg",
        "jpeg-444",
        "jpegli",
        "webp",
        "jpeg2000",
        "avif-psnr",
        "avif-psnr-4",
        "avif-iq",
        "avif-iq-4",
    ),
    "jxl",
)


def settings_of(anchor: str) -> tuple[float, ...]:
    """The settings an anchor's curve is measured at: JPEG's and JPEG 2000's reach beyond 40 dB."""
    return ANCHORS[anchor][1] if anchor in ANCHORS else OTHERS[anchor].settings


def as_point(record: Record, ours: str) -> Record:
    """A record as judgements know it: the codec ``ours`` is called so, or ``ours, first 2`` where
    its files are cut, and only rate and quality are kept."""
    name, _, layers = record.codec.partition(":layers=")
    label = f"ours, first {layers}" if layers else "ours"
    return replace(
        record,
        codec=label if name == ours else record.codec,
        bytes=None,
        encode_seconds=None,
        decode_seconds=None,
    )


def write_results(path: Path, result: dict[str, Any], points: list[Record]) -> None:
    """The judgement, then one point a line."""
    ratios = ",\n".join("  " + json.dumps(row) for row in result["ratio_to_jpeg"])
    rows = ",\n".join("  " + json.dumps(p.stored()) for p in points)
    short = {key: value for key, value in result.items() if key != "ratio_to_jpeg"}
    text = json.dumps(short, indent=1).removesuffix("\n}")
    text += f',\n "ratio_to_jpeg": [\n{ratios}\n ],\n "points": [\n{rows}\n ]\n}}\n'
    write_atomic(path, text.encode())


def _parser() -> argparse.ArgumentParser:
    parser = folder_parser("rate_distortion", __doc__)
    parser.add_argument("-o", "--output", type=Path, help="write all points and figures as JSON")
    parser.add_argument("--cache", type=Path, help="keep what was measured in this file")
    parser.add_argument("--compare", type=Path, help="results of an earlier run to set ours beside")
    parser.add_argument(
        "--anchors",
        nargs="+",
        choices=list(OTHERS),
        metavar="CODEC",
        help=f"codecs to compare with, JPEG always (default: {' '.join(JUDGES)}; with "
        f"--perceptual: {' '.join(PERCEPTUAL_JUDGES)})",
    )
    parser.add_argument("--model", choices=list(MODEL_IDS), default="ssvae")
    parser.add_argument("--effort", type=int, choices=range(1, 10), default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2, help="processes")
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
        earlier = read_points(options.compare) if options.compare else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--compare cannot be read: {error}")
    chosen = options.anchors or (PERCEPTUAL_JUDGES if options.perceptual else JUDGES)
    wanted = list(dict.fromkeys(("jpeg", *chosen)))
    for name in wanted:
        if lacks := missing(name):
            print(f"without {name}, which needs {lacks}")
    ours = Ours(options.model, options.effort)
    metrics = Metrics(sometimes=tuple(PERCEPTUAL) if options.perceptual else ())
    try:
        device = str(resolve_device(options.device))
        jobs = [
            Job(ours, tuple(options.qualities), metrics, cuts=True, device=device),
            *(Job(name, settings_of(name), metrics) for name in wanted if not missing(name)),
        ]
        measured = measure_all(files, jobs, Journal(options.cache), processes=options.workers)
        about = {
            "images": len(files) - len(measured.left_out),
            "model": options.model,
            "weights": weights_info(options.model).fingerprint.hex(),
            "effort": options.effort,
            "machine": machine(),
            "device": options.device,
        }
    except CodecError as error:
        parser.error(str(error))
    for line in measured.left_out:
        print(line)
    points = [as_point(record, ours.name) for record in measured.records]
    result = about | judge(points)
    print(f"{options.model} {about['weights']}, effort {options.effort}, {about['images']} images")
    print("\n".join(lines(result)))
    if earlier is not None:
        print("\n".join(comparison_lines(points, earlier)))
    if options.output:
        write_results(options.output, result, points)


if __name__ == "__main__":
    main()
