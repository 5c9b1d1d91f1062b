"""``python -m models.studies.network.search TRAIN VALIDATION --out DIR``: networks at equal time.

Each variant of a model family is trained from nothing for the same time on one thread, with the
same images in the same order, then measured on the validation images with estimated bits
(:mod:`models.studies.equal_time`). The table gives the bits at equal PSNR relative to the first
variant (BD-rate). What came of it: docs/decisions/0006-network-search.md for the ssVAE,
0011-convdraw.md for ConvDRAW.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.convdraw.networks import ConvDRAW, ConvDRAWConfig, Level
from models.registry import build_convdraw, build_ssvae_base
from models.ssvae.networks import SSVAE, SSVAEConfig, Synthesis
from models.studies.equal_time import (
    QUALITIES,
    kept_seconds,
    make_trainer,
    step_seconds,
    verdict,
)
from models.studies.network.two_steps import TwoStepSSVAE
from models.trainable import TrainableModel
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated
from models.training.optimizer import OPTIMIZERS
from models.training.trainer import Trainer


class CorrectedSynthesis(Synthesis):
    """Latent residual correction (Minnen & Singh 2020): up to half a step is added to each latent.

    The correction is drawn from the latent and the features so far; it stays in the synthesis, so
    that coding remains exact.

    Args:
        gain: symbols per unit of a latent, by stage and quality.
    """

    def __init__(self, config: SSVAEConfig, gain: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__(config)
        self._gain = gain
        c, w = config.latents, config.widths
        # z1 and z2 see features of their own resolution: 1/16 and 1/8.
        inputs = [c[0], c[1] + w[1], c[2] + w[2]]
        self.corrections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs[i], w[i], 1), nn.SiLU(), nn.Conv2d(w[i], c[i], 1))
            for i in range(3)
        )

    def advance(
        self, index: int, top_down: tuple[Tensor, ...], value: Tensor, quality: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        gain = self._gain(index, quality)
        drawn = self.corrections[index](torch.cat([value * gain, *top_down], dim=1))
        return super().advance(index, top_down, value + 0.5 * torch.tanh(drawn) / gain, quality)


class CorrectedSSVAE(SSVAE):
    """The ssVAE with such a synthesis."""

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__(config)
        self.synthesis = CorrectedSynthesis(config, self.gain)


#: As training from nothing begins; a fine stage comes later.
_DEFAULT = SSVAEConfig(fine=0)


def _with(**changes: object) -> Callable[[], SSVAE]:
    return lambda: SSVAE(dataclasses.replace(_DEFAULT, **changes))  # type: ignore[arg-type]


Variants = dict[str, tuple[Callable[[], TrainableModel], dict[str, object]]]
_SSVAE: Variants = {
    "default": (build_ssvae_base, {}),
    "kernel 3": (_with(kernel=3, coarse_kernel=3), {}),
    "kernel 7": (_with(kernel=7, coarse_kernel=7), {}),
    "channels at 1/8": (_with(widths=(192, 160, 160, 64)), {}),
    "channels at 1/16": (_with(widths=(320, 256, 96, 64)), {}),
    "2 coding steps": (lambda: TwoStepSSVAE(_DEFAULT), {}),
    "latent correction": (lambda: CorrectedSSVAE(_DEFAULT), {}),
    "96 channels of z2": (_with(latents=(64, 96, 96)), {}),
    "Adam": (build_ssvae_base, {"optimizer": "adam"}),
}
_FINE = Level(stride=8, steps=4, channels=16, hidden=96, prior_width=80)
_CONVDRAW: Variants = {
    "one level": (build_convdraw, {"learning_rate": 2.4e-3}),
    "two levels": (
        lambda: ConvDRAW(
            ConvDRAWConfig(
                levels=(
                    Level(stride=16, steps=4, channels=32, hidden=160, prior_width=128, kernel=5),
                    _FINE,
                ),
                features=(160, 128, 64),
                feature_depths=(2, 2, 1),
            )
        ),
        {"learning_rate": 2.4e-3},
    ),
    "three levels": (
        lambda: ConvDRAW(
            ConvDRAWConfig(
                levels=(
                    Level(stride=32, steps=2, channels=48, hidden=192, prior_width=128, kernel=5),
                    Level(stride=16, steps=2, channels=48, hidden=192, prior_width=128, kernel=5),
                    _FINE,
                ),
                features=(192, 160, 128, 64),
                feature_depths=(1, 2, 2, 1),
            )
        ),
        {"learning_rate": 2.4e-3},
    ),
}
#: family → name → (builder, changes of the training configuration)
FAMILIES: dict[str, Variants] = {"ssvae": _SSVAE, "convdraw": _CONVDRAW}


def _trainer(name: str, options: argparse.Namespace, steps: int = 10**6) -> Trainer:
    build, changes = FAMILIES[options.family][name]
    return make_trainer(build, options, steps, **{"crop": options.crop, **changes})


def time_steps(options: argparse.Namespace) -> dict[str, float]:
    """Processor time of a step of each variant."""
    images = ImageSet(options.data, device=torch.device("cpu"), limit=20)
    trainers = {name: _trainer(name, options) for name in FAMILIES[options.family]}
    return step_seconds(trainers, lambda trainer: trainer.draw(images), Trainer.train_step)


def run(name: str, seconds: float, options: argparse.Namespace) -> dict[str, object]:
    """Train and measure one variant whose step takes ``seconds``."""
    steps = round(options.minutes * 60 / seconds)
    print(f"== {name}: {seconds:.3f} s a step, {steps} steps", flush=True)
    trainer = _trainer(name, options, steps)
    images = ImageSet(options.data, device=trainer.device, limit=options.limit)
    for step in range(steps):
        record, _ = trainer.train_step(trainer.draw(images))
        if step % 100 == 0:
            print(f"step {step} loss {float(record.loss):.3f}", flush=True)
    rows = evaluate_estimated(
        trainer.ema, options.validation, limit=options.images, qualities=QUALITIES, layers=(3,)
    )
    return {
        "variant": name,
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "curve": [[row.quality, round(sum(row.bpp), 5), round(row.psnr, 3)] for row in rows],
    }


def table(results: list[dict]) -> str:
    """Markdown: the variants against the first."""
    lines = [
        "| variant | parameters | steps | bits at equal PSNR |",
        "| --- | ---: | ---: | ---: |",
    ]
    for result in results:
        lines.append(
            f"| {result['variant']} | {result['parameters'] / 1e6:.2f} M | {result['steps']} "
            f"| {verdict(results[0]['curve'], result['curve'])} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.network.search", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="processor time per variant")
    parser.add_argument("--family", choices=list(FAMILIES), default="ssvae")
    names = [name for variants in FAMILIES.values() for name in variants]
    parser.add_argument("--only", nargs="*", choices=names, help="default: all of the family")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="muon")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--images", type=int, default=16, help="validation images, 0: all")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    seconds = kept_seconds(options, lambda: time_steps(options))
    found = options.out / "variants"
    found.mkdir(exist_ok=True)
    for name in options.only or FAMILIES[options.family]:
        path = found / f"{name.replace(' ', '-').replace('/', '_')}.json"
        if not path.exists():
            path.write_text(json.dumps(run(name, seconds[name], options), indent=1))
    results = [json.loads(path.read_text()) for path in found.glob("*.json")]
    order = list(FAMILIES[options.family])
    results.sort(key=lambda result: order.index(result["variant"]))
    print(table(results))


if __name__ == "__main__":
    main()
