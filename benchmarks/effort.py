"""What encoder effort buys: size at equal SSIMULACRA2 (or PSNR, by the tuning), and time.

``python -m benchmarks.effort FOLDER`` encodes images at several qualities and efforts, decodes the
files, and prints the BD-rate of each effort against effort 1 and the median encoding time.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.bench.bands import bd_rate
from benchmarks.bench.codecs import Ours
from benchmarks.bench.curves import mean_curves
from benchmarks.bench.images import folder_parser
from benchmarks.bench.measuring import Job, Metrics
from benchmarks.bench.runner import Journal, measure_all
from codec.errors import CodecError
from codec.files import write_atomic
from codec.installed import resolve_device
from codec.options import DEFAULT_MODEL
from models.names import MODEL_IDS, tuning_of
from models.training.hardware import machine
from models.weights_file import weights_info

QUALITIES = (15, 40, 65, 90)
EFFORTS = (1, 2, 4, 6, 9)


def main(arguments: list[str] | None = None) -> None:
    parser = folder_parser("effort", __doc__)
    parser.add_argument("-o", "--output", type=Path, help="write points and summary as JSON")
    parser.add_argument("--every", type=int, default=1, help="take every Nth image")
    parser.add_argument("--limit", type=int, default=0, help="and of these the first N")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    parser.add_argument("--efforts", type=int, nargs="+", default=EFFORTS)
    parser.add_argument("--model", choices=list(MODEL_IDS), default=DEFAULT_MODEL)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cache", type=Path, help="keep what was measured in this file, times too")
    parser.add_argument("--workers", type=int, default=1, help="processes; more disturb the times")
    options = parser.parse_args(arguments)
    files = options.files[:: options.every][: options.limit or None]
    measure = "ssimulacra2" if tuning_of(options.model) == "eye" else "psnr"
    metrics = Metrics(always=("ssimulacra2",) if measure == "ssimulacra2" else ())
    efforts = {effort: Ours(options.model, effort) for effort in options.efforts}
    try:
        device = str(resolve_device(options.device))
        jobs = [
            Job(ours, tuple(options.qualities), metrics, device=device) for ours in efforts.values()
        ]
        measured = measure_all(files, jobs, Journal(options.cache), processes=options.workers)
    except CodecError as error:
        parser.error(str(error))
    records = measured.records
    table = mean_curves(records, measure)
    rows = []
    for line in measured.left_out:
        print(line)
    if measured.earlier:
        print(f"{measured.earlier} of {len(records)} files and their times are of an earlier run")
    print(f"{len(files)} images, qualities {options.qualities}, {machine()}")
    print(f"effort  BD-rate ({measure})   s per megapixel (median)")
    for effort, ours in efforts.items():
        rate = bd_rate(table[records[0].codec], table[ours.name])
        percent = "      –" if rate is None else f"{rate:+6.1f}%"
        median = statistics.median(
            r.encode_seconds_per_mpx for r in records if r.codec == ours.name
        )
        rows.append({"effort": effort, "bd_rate_percent": rate, "seconds_per_mpx": median})
        print(f"{effort:6d}  {percent}   {median:.2f}")
    if options.output:
        result = {
            "images": [path.name for path in files],
            "model": options.model,
            "measure": measure,
            "weights": weights_info(options.model).fingerprint.hex(),
            "machine": machine(),
            "device": options.device,
            "of_an_earlier_run": measured.earlier,
            "efforts": rows,
            "points": [record.stored() for record in records],
        }
        write_atomic(options.output, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
