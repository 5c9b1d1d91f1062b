"""``python -m models.training.export RUN``: EMA weights of a run → a weights file for the codec.

The float networks are stored in half precision, the exact prior in integers. Frequency tables are
learned from crops of the training images (:mod:`models.training.tables`). The export is verified
before it is written: the loaded file and the model it came from must predict the same symbols'
scale indices and means, bit for bit.

RUN may also be a weights file, whose tables are then learned anew.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from models.exact.arithmetic import freeze
from models.exact.scales import raw_thresholds
from models.exact.tables import TableSet
from models.protocol import CodingModel
from models.registry import BUILDERS, coding_model
from models.trainable import TrainableModel
from models.training.card import keep_card, read_history, write_card, write_history
from models.training.tables import CROPS, learn_tables
from models.weights_file import (
    WEIGHTS_FOLDER,
    WeightsError,
    export_weights,
    load_coding_model,
    load_trainable,
)

_WEIGHTS = ".safetensors"


def load_ema(checkpoint: Path, name: str) -> TrainableModel:
    """The EMA weights of a training checkpoint, or those of a weights file, unfrozen.

    Raises:
        WeightsError: a weights file is unreadable or does not fit the model.
    """
    if checkpoint.suffix == _WEIGHTS:
        return load_trainable(checkpoint, name)
    model = BUILDERS[name]()
    model.load_state_dict(_state(checkpoint)["ema"])
    return model


def _state(checkpoint: Path) -> dict[str, Any]:
    return torch.load(checkpoint, map_location="cpu", weights_only=True)


def training_images(checkpoint: Path) -> Path:
    """The folder of images that a run was trained on.

    Raises:
        ValueError: it is not recorded, or missing.
    """
    if checkpoint.suffix == _WEIGHTS:
        raise ValueError(
            f"{checkpoint} does not say what it was trained on: name the folder with --data"
        )
    recorded = _state(checkpoint).get("config", {}).get("data")
    if recorded is None:
        raise ValueError(f"{checkpoint} does not name its training images: do so with --data")
    folder = Path(recorded)
    if not folder.is_dir():
        raise ValueError(
            f"{folder}, which the run was trained on, is not there: name its images with --data"
        )
    return folder


@torch.no_grad()
def verify_export(model: TrainableModel, loaded: CodingModel) -> None:
    """Raises ValueError unless the file predicts exactly what the frozen model predicts.

    Runs every layer and step of the prior on pseudo-random symbols, at several qualities.
    """
    freeze(model)
    reference = coding_model(
        model,
        name=loaded.name,
        model_id=0,
        fingerprint=b"",
        thresholds=torch.from_numpy(raw_thresholds()).double(),
        frequencies=loaded.frequencies,
        skip_index=loaded.skip_index,
    )
    generator = torch.Generator().manual_seed(1)
    for quality in (0, 33, 100):
        states = [m.prior(128, 192, quality) for m in (reference, loaded)]
        for layer in loaded.layers_at(quality):
            for _ in range(layer.stages * layer.steps):
                a, b = (state.predict() for state in states)
                same = torch.equal(a.mean, b.mean) and torch.equal(a.scale_index, b.scale_index)
                if not same:
                    raise ValueError(f"layer {layer.name}: the exported prior differs")
                symbols = torch.randn(a.mean.shape, generator=generator).mul(3).round()
                for state in states:
                    state.push(symbols)


def verify_tables(sets: list[TableSet], loaded: CodingModel, stages: tuple[int, ...]) -> None:
    """Raises ValueError unless the file codes each stage with its set of tables.

    ``stages`` holds the set of each stage.
    """
    for number, tables in zip(stages, loaded.frequencies, strict=True):
        if not all(map(np.array_equal, sets[number], tables)):
            raise ValueError("the exported frequency tables differ")


def learn(model: TrainableModel, folder: Path, crops: int) -> list[TableSet]:
    """Frequency tables from crops of a folder, with a progress bar on standard error."""
    console = Console(stderr=True)
    bar = ProgressBar(
        TextColumn("learning tables"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=1.0)
        learned = learn_tables(
            model, folder, crops=crops, progress=lambda share: bar.update(task, completed=share)
        )
    print(
        f"tables: {learned.saved:.2%} of the bits saved on held-out crops beside Gaussian tables, "
        f"which count for {learned.strength:g} symbols each"
    )
    return learned.sets


def export(
    checkpoint: Path,
    name: str,
    out: Path,
    *,
    data: Path | None = None,
    gaussian_tables: bool = False,
    crops: int = CROPS,
) -> None:
    """Write ``out``, its history and its card; nothing is written unless the export verifies.

    The card of a run has no results yet: they are measured with the installed weights, then added
    by ``models.training.card``. A weights file keeps its history and its card.

    Args:
        checkpoint: of a training run, or a weights file.
        name: of the model.
        out: the weights file.
        data: images to learn the frequency tables from; default: those of the run.
        gaussian_tables: learn none; for trials, files become 1 … 2% larger.
        crops: how many to learn from.

    Raises:
        ValueError: there are no images to learn from, or the export does not verify.
        WeightsError: a weights file cannot be read.
    """
    folder = None if gaussian_tables else data or training_images(checkpoint)
    model = load_ema(checkpoint, name)
    sets = None if folder is None else learn(model, folder, crops)
    written = export_weights(model, name, sets)
    with tempfile.NamedTemporaryFile(dir=out.parent, delete=False) as file:
        beside = Path(file.name)
        file.write(written)
    try:
        loaded = load_coding_model(beside, name=name, device=torch.device("cpu"))
        verify_export(model, loaded)
        if sets is not None:
            verify_tables(sets, loaded, model.table_sets)
        beside.chmod(0o644)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    if checkpoint.suffix == _WEIGHTS:
        write_history(out, read_history(checkpoint))
        keep_card(checkpoint, out)
    else:
        write_history(out, _state(checkpoint).get("history", []))
        write_card(out, {})
    print(f"{out}: {len(written) / 1e6:.2f} MB")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m models.training.export", description=__doc__)
    parser.add_argument(
        "run", type=Path, help="folder of a training run, a checkpoint file, or a weights file"
    )
    parser.add_argument("--name", default="ssvae")
    parser.add_argument("--out", type=Path, help="default: where the codec looks for it")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of training images to learn the tables from; default: the run's own",
    )
    parser.add_argument(
        "--gaussian-tables", action="store_true", help="learn no tables (for trials)"
    )
    options = parser.parse_args(arguments)
    checkpoint = options.run / "latest.pt" if options.run.is_dir() else options.run
    out = options.out or WEIGHTS_FOLDER / f"{options.name}{_WEIGHTS}"
    try:
        export(
            checkpoint,
            options.name,
            out,
            data=options.data,
            gaussian_tables=options.gaussian_tables,
        )
    except (ValueError, WeightsError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
