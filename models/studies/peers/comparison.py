"""``python -m models.studies.peers.comparison TRAIN VALIDATION --out DIR``: the ssVAE beside
networks of CompressAI, all trained from nothing for the same time.

``bmshj2018-hyperprior`` and ``mbt2018-mean`` are trained for one λ each, at two of them; the ssVAE
for all qualities at once, in one run of that time, without the fine stage that trained weights are
given later. All by the project's trainer on the same crops, one thread, ``--minutes`` of processor
time a run. ``ssvae-one-rate``, if asked for, is the ssVAE trained like the peers, at one λ and with
no layer dropped: what one network for all rates and early stops costs. Then every network writes
and reads real files of the validation images, in turns on one thread. In ``DIR``: ``results.json``,
``table.md``, checkpoints. Started again, training goes on where it was. Needs CompressAI:
``make peers``; with ``OMP_NUM_THREADS=1`` numpy keeps to one thread too. What came of it:
docs/decisions/0031-trained-peers.md.

To use two cores, start it a second time for some of the runs, once the first one has timed the
steps: ``--runs mbt2018-mean-36.75 mbt2018-mean-55.75`` trains these and measures nothing. The call
without ``--runs`` measures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench.images import images_in, spread
from benchmarks.bench.peers import compressai
from codec.errors import CodecError
from models.registry import BUILDERS
from models.studies.equal_time import (
    Kind,
    kept_seconds,
    make_trainer,
    step_seconds,
    train,
    write_results,
)
from models.studies.peers.coders import Coder, jpeg2000, measure, ours, theirs
from models.studies.peers.networks import PEERS, Hyperprior, coder, lagrangian_of, quality_of
from models.studies.peers.results import rows_of, runs_table, table
from models.studies.peers.training import OneRateTrainer
from models.trainable import TrainableModel
from models.training.data import ImageSet
from models.training.export import export
from models.training.hardware import machine
from models.training.tables import CROPS
from models.training.trainer import Trainer
from models.weights_file import load_coding_model

#: λ' of CompressAI's qualities 2 and 4, which have the same widths.
LAMBDAS = (0.0035, 0.013)
#: Of the ssVAE's curve; the qualities of the λ are added.
QUALITIES = (0, 5, 15, 25, 35, 45, 55, 65, 80)
OURS, ONE_RATE, UNFITTED = "ssvae", "ssvae-one-rate", "ssvae, no fitted filter"
NETWORKS = (OURS, *PEERS, ONE_RATE)
#: The peers' authors take Adam at 1e-4 for millions of steps; docs/decisions/0031-trained-peers.md.
PEER_RATE = 3e-4


@dataclass(frozen=True)
class Run:
    """A training run of a network: for one quality, or (None) for all."""

    network: str
    quality: float | None = None

    @property
    def name(self) -> str:
        return self.network if self.quality is None else f"{self.network}-{self.quality:g}"

    @property
    def kind(self) -> Kind:
        return Trainer if self.quality is None else partial(OneRateTrainer, quality=self.quality)


def runs_of(networks: Sequence[str], lambdas: Sequence[float]) -> list[Run]:
    """All runs of the networks; λ' as CompressAI counts them. Raises ValueError for a strange λ."""
    qualities = [quality_of(lagrangian_of(value)) for value in lambdas]
    found = [Run(name) for name in networks if name == OURS]
    return found + [Run(n, q) for n in networks if n != OURS for q in qualities]


def builder(network: str, options: argparse.Namespace) -> Callable[[], TrainableModel]:
    return PEERS[network] if network in PEERS else BUILDERS[options.model]


def changes(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Of the trainer's configuration. Muon is for 1×1 convolutions, which the peers have not."""
    shared = {"model": options.model, "crop": options.crop}
    if network in PEERS:
        return shared | {"optimizer": "adam", "learning_rate": options.peer_rate}
    return shared


def timed_steps(images: ImageSet, options: argparse.Namespace) -> dict[str, float]:
    """Processor time of a step of each network, each in the number formats fastest here."""
    trainers = {
        name: make_trainer(builder(name, options), options, kind=kind, **changes(name, options))
        for name in options.networks
        for kind in [Run(name, None if name == OURS else 50.0).kind]
    }
    for name, trainer in trainers.items():
        print(f"{name}: {trainer.choose_arithmetic(trainer.draw(images))}", flush=True)
    return step_seconds(trainers, lambda t: t.draw(images), Trainer.train_step)


def train_all(runs: Sequence[Run], options: argparse.Namespace) -> dict[str, Trainer]:
    """Train what is not trained yet; the trainers by the names of the runs."""
    images = ImageSet(options.data, device=torch.device("cpu"), limit=options.limit)
    seconds = kept_seconds(options, lambda: timed_steps(images, options))
    trained = {}
    for run in runs:
        if run.network not in seconds:
            raise ValueError(
                f"{options.out}: has no step times of {run.network}; name another folder with --out"
            )
        steps = max(1, round(options.minutes * 60 / seconds[run.network]))
        print(f"== {run.name}: {seconds[run.network]:.3f} s a step, {steps} steps", flush=True)
        trained[run.name] = train(
            run.name,
            builder(run.network, options),
            steps,
            images,
            options,
            kind=run.kind,
            fastest=True,
            **changes(run.network, options),
        )
    return trained


def coders_of(run: Run, trainer: Trainer, options: argparse.Namespace) -> list[Coder]:
    """What codes with the averaged weights of a run: at its quality, or the ssVAE's curve twice."""
    if isinstance(trainer.ema, Hyperprior):
        assert run.quality is not None
        return [theirs(coder(trainer.ema, run.network), run.quality)]
    stem = options.out / f"{run.name}-{trainer.step}"
    weights = stem.with_name(f"{stem.name}.safetensors")
    if not weights.exists():
        export(
            stem.with_name(f"{stem.name}.pt"),
            options.model,
            weights,
            data=options.data,
            # Tables are learned over all qualities, of which one run knows a single one.
            gaussian_tables=run.quality is not None,
            crops=options.table_crops,
        )
    model = load_coding_model(weights, name=options.model, device=torch.device("cpu"))
    if run.quality is not None:
        return [ours(run.network, model, run.quality)]
    own = {quality_of(lagrangian_of(value)) for value in options.lambdas}
    qualities = sorted({*map(float, options.qualities)} | own)
    return [
        ours(name, model, q, fitted=name == OURS) for q in qualities for name in (OURS, UNFITTED)
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m models.studies.peers.comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("data", type=Path, help="training images")
    add("validation", type=Path, help="validation images")
    add("--out", type=Path, required=True, help="folder of the results")
    add("--minutes", type=float, default=90.0, help="processor time per run")
    default = list(NETWORKS[:-1])
    add("--networks", nargs="+", choices=NETWORKS, default=default, help="besides ssvae")
    add("--lambdas", type=float, nargs="+", default=list(LAMBDAS), help="as CompressAI counts")
    add("--qualities", type=int, nargs="+", default=list(QUALITIES), help="of the ssVAE's curve")
    add("--runs", nargs="+", default=[], help="train these runs only, and measure nothing")
    add("--model", default="ssvae-base", choices=list(BUILDERS), help="what the ssVAE is built as")
    add("--optimizer", default="muon", help="of the ssVAE")
    add("--peer-rate", type=float, default=PEER_RATE, help="learning rate of the peers")
    add("--batch", type=int, default=6)
    add("--crop", type=int, default=192)
    add("--limit", type=int, default=0, help="training images; 0: all")
    add("--held-out", type=int, default=0, help="validation images; 0: all")
    add("--table-crops", type=int, default=CROPS, help="crops to learn the ssVAE's tables from")
    return found


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    options.networks = [n for n in NETWORKS if n == OURS or n in options.networks]
    try:
        compressai()
        files = images_in(options.validation)
        runs = runs_of(options.networks, options.lambdas)
        names = [run.name for run in runs]
        for name in options.runs:
            if name not in names:
                raise ValueError(f"no run {name!r}; there are: {', '.join(names)}")
        options.out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        trained = train_all([r for r in runs if r.name in (options.runs or names)], options)
        if options.runs:
            return
        coders = [c for run in runs for c in coders_of(run, trained[run.name], options)]
    except (CodecError, ValueError, OSError) as error:
        sys.exit(f"models.studies.peers.comparison: {error}")
    chosen = spread(files, options.held_out or len(files))
    records = measure(chosen, [*coders, *jpeg2000()])
    rows = rows_of(records, [quality_of(lagrangian_of(v)) for v in options.lambdas], OURS)
    seconds = json.loads((options.out / "step_seconds.json").read_text())["seconds"]
    networks = {
        run.name: {
            "parameters": sum(p.numel() for p in trained[run.name].model.parameters()),
            "steps": trained[run.name].step,
            "skipped": trained[run.name].skipped,
            "seconds_a_step": round(seconds[run.network], 4),
        }
        for run in runs
    }
    settings = {
        key: getattr(options, key)
        for key in ("minutes", "lambdas", "model", "optimizer", "peer_rate", "batch", "crop")
    }
    settings |= {"images": len(chosen), "machine": machine()}
    result = {"settings": settings, "runs": networks, "rows": rows}
    result |= {"points": [r.stored() for r in records]}
    write_results(options.out, result, f"{runs_table(networks)}\n\n{table(rows, OURS)}")


if __name__ == "__main__":
    main()
