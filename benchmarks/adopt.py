"""``python -m benchmarks.adopt RUN IMAGES``: install the weights of a run if they are better.

The run's averaged weights are exported (frequency tables learned, verified) and set beside the
installed ones on a folder of validation images, with estimated bits, which agree with real files to
a percent. They replace the installed weights only where the BD-rate of whole files is below zero:
by SSIMULACRA2 where the weights are tuned for the eye, by PSNR elsewhere.
What belongs to weights is then made anew by the commands that are printed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.bench.bands import bd_rate
from models.names import tuning_of
from models.training.card import history_path
from models.training.evaluate import Row, evaluate_estimated, format_table
from models.training.export import export
from models.training.tables import CROPS
from models.weights_file import WEIGHTS_FOLDER, WeightsError, load_trainable

#: Qualities whose means make the curves.
QUALITIES = (0, 15, 30, 45, 60, 75, 90, 100)


def curve(rows: Sequence[Row], layers: int, measure: str) -> np.ndarray:
    """(quality, bpp, measure) of the files with n layers, by rising quality."""
    members = sorted((r for r in rows if r.layers == layers), key=lambda r: r.quality)
    return np.array([(r.quality, sum(r.bpp[:layers]), getattr(r, measure)) for r in members])


def compare(
    old: Sequence[Row], new: Sequence[Row], measure: str = "psnr"
) -> dict[int, float | None]:
    """BD-rate in percent of the new weights against the old, per number of layers."""
    return {
        count: bd_rate(curve(old, count, measure), curve(new, count, measure))
        for count in (3, 2, 1)
    }


def install(weights: Path, folder: Path) -> None:
    """Put a weights file, its history and its card where the codec looks for them."""
    for path in (weights, history_path(weights), weights.with_suffix(".md")):
        beside = folder / f"{path.name}.partial"
        shutil.copyfile(path, beside)
        beside.replace(folder / path.name)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adopt", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run (a decay), or a checkpoint file")
    parser.add_argument("images", type=Path, help="folder of validation images")
    parser.add_argument("--name", default="ssvae", help="of the model")
    parser.add_argument("--data", type=Path, help="images to learn tables from; default: the run's")
    parser.add_argument("--crops", type=int, default=CROPS, help="to learn tables from")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS_FOLDER, help="where weights are installed"
    )
    parser.add_argument("--dry-run", action="store_true", help="compare only")
    options = parser.parse_args(arguments)
    checkpoint = options.run / "latest.pt" if options.run.is_dir() else options.run
    installed = options.weights / f"{options.name}.safetensors"
    seen = tuning_of(options.name) == "eye"
    try:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / installed.name
            if installed.with_suffix(".md").exists():  # its notes are kept
                shutil.copyfile(installed.with_suffix(".md"), fresh.with_suffix(".md"))
            export(checkpoint, options.name, fresh, data=options.data, crops=options.crops)
            old, new = (
                evaluate_estimated(
                    load_trainable(path, options.name),
                    options.images,
                    limit=options.limit,
                    qualities=QUALITIES,
                    ssimulacra2=seen,
                )
                for path in (installed, fresh)
            )
            print(format_table(new, options.images, limit=options.limit))
            measure = "ssimulacra2" if seen else "psnr"
            rates = compare(old, new, measure)
            for count, rate in rates.items():
                shown = "–" if rate is None else f"{rate:+.2f}%"
                print(f"{count} layers: BD-rate ({measure}) against the installed weights {shown}")
            whole = rates[3]
            if whole is None or whole >= 0:
                sys.exit("not better: the installed weights stay")
            if options.dry_run:
                return
            install(fresh, options.weights)
    except (WeightsError, ValueError, OSError) as error:
        sys.exit(f"adopt: {error}")
    print(
        f"installed. Now:\n  python -m tests.conformance.make_corpus\n"
        f"  python -m benchmarks.rate_distortion {options.images} --model {options.name} "
        f"-o benchmarks/results/{options.name}-eval-cpu.json\n"
        f"  python -m models.training.card {options.name} --results TITLE RESULTS.json"
    )


if __name__ == "__main__":
    main()
