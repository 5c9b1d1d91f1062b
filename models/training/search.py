"""``python -m models.training.search TRAIN VALIDATION --out DIR``: compare networks at equal time.

Each variant of the default model is trained from nothing for the same processor time on one thread
(so that runs side by side, and a busy machine, do not disturb the comparison), with the same images
in the same order, then measured on the validation images with estimated bits. The table gives the
bits at equal PSNR relative to the first variant (BD-rate).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.registry import build_ssvae
from models.ssvae import SSVAE, SSVAEConfig
from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated
from models.training.optimizer import OPTIMIZERS
from models.training.trainer import Trainer

#: Qualities of the measurement; enough for a curve of six points.
QUALITIES = (5, 20, 35, 50, 70, 95)
_TIMED_STEPS = 15


class CorrectedSSVAE(SSVAE):
    """Latent residual correction (Minnen & Singh 2020): up to half a step is added to each latent.

    The correction is drawn from the latent and the synthesis' features so far; it stays in the
    synthesis, so that coding remains exact.
    """

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__(config)
        c, w = config.latents, config.widths[::-1]
        # z1 and z2 see features of their own resolution: 1/16 and 1/8.
        inputs = [c[0], c[1] + w[1], c[2] + w[2]]
        self.corrections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs[i], w[i], 1), nn.SiLU(), nn.Conv2d(w[i], c[i], 1))
            for i in range(3)
        )

    def dequantize(
        self, index: int, latent: Tensor, quality: Tensor, top_down: tuple[Tensor, ...]
    ) -> Tensor:
        drawn = self.corrections[index](torch.cat([latent, *top_down], dim=1))
        return super().dequantize(index, latent + 0.5 * torch.tanh(drawn), quality, top_down)


def _with(**changes: object) -> Callable[[], SSVAE]:
    return lambda: SSVAE(dataclasses.replace(SSVAEConfig(), **changes))  # type: ignore[arg-type]


#: name → (builder, changes of the training configuration)
VARIANTS: dict[str, tuple[Callable[[], SSVAE], dict[str, object]]] = {
    "default": (build_ssvae, {}),
    "kernel 3": (_with(kernel=3, coarse_kernel=3), {}),
    "kernel 7": (_with(kernel=7, coarse_kernel=7), {}),
    "channels at 1/8": (_with(widths=(64, 160, 160, 192)), {}),
    "channels at 1/16": (_with(widths=(64, 96, 256, 320)), {}),
    "2 coding steps": (_with(coding_steps=2), {}),
    "latent correction": (lambda: CorrectedSSVAE(SSVAEConfig()), {}),
    "96 channels of z2": (_with(latents=(64, 96, 96)), {}),
    "Adam": (build_ssvae, {"optimizer": "adam"}),
}


def train_for(trainer: Trainer, images: ImageSet, seconds: float) -> None:
    """Train for so much processor time: timed for a few steps, then scheduled to end in time."""
    config = trainer.config
    # The timed steps run at a rate close to zero, at the beginning of a long warm-up.
    trainer.config = dataclasses.replace(config, warmup_steps=10**9)
    begin = time.process_time()
    for step in range(_TIMED_STEPS + 3):
        if step == 3:  # the first steps allocate
            begin = time.process_time()
        trainer.train_step(trainer.draw(images))
    per_step = (time.process_time() - begin) / _TIMED_STEPS
    steps = max(10, round(seconds / per_step))
    trainer.step = 0
    trainer.config = dataclasses.replace(
        config, steps=steps, decay_steps=round(0.6 * steps), warmup_steps=min(200, steps // 5)
    )
    print(f"{per_step:.3f} s a step, {steps} steps", flush=True)
    for step in range(steps):
        record, _ = trainer.train_step(trainer.draw(images))
        if step % 100 == 0:
            print(f"step {step} loss {float(record.loss):.3f}", flush=True)


def run(name: str, options: argparse.Namespace) -> dict[str, object]:
    """Train and measure one variant; the result is kept in the output folder."""
    build, changes = VARIANTS[name]
    torch.set_num_threads(1)
    config = dataclasses.replace(
        TrainConfig(
            data=options.data,
            out=options.out,
            optimizer=options.optimizer,
            batch=options.batch,
            crop=options.crop,
            ema=0.998,
        ),
        **changes,  # type: ignore[arg-type]
    )
    trainer = Trainer(config, build)
    images = ImageSet(options.data, device=trainer.device, minimum=64, limit=options.limit)
    begin = time.process_time()
    train_for(trainer, images, options.minutes * 60)
    seconds = time.process_time() - begin
    rows = evaluate_estimated(
        trainer.ema, options.validation, limit=options.images, qualities=QUALITIES, layers=(3,)
    )
    return {
        "variant": name,
        "steps": trainer.step,
        "processor_seconds": round(seconds),
        "skipped": trainer.skipped,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "curve": [[row.quality, round(sum(row.bpp), 5), round(row.psnr, 3)] for row in rows],
    }


def table(results: list[dict]) -> str:
    """Markdown: the variants against the first."""
    import bjontegaard

    def axis(result: dict, column: int) -> list[float]:
        return [point[column] for point in result["curve"]]

    lines = [
        "| variant | parameters | steps | bits at equal PSNR |",
        "| --- | ---: | ---: | ---: |",
    ]
    first = results[0]
    for result in results:
        rate = bjontegaard.bd_rate(
            axis(first, 1), axis(first, 2), axis(result, 1), axis(result, 2), method="akima"
        )
        lines.append(
            f"| {result['variant']} | {result['parameters'] / 1e6:.2f} M "
            f"| {result['steps']} | {rate:+.1f}% |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.training.search", description=__doc__)
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="processor time per variant")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="muon")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--limit", type=int, default=0, help="only so many training images")
    parser.add_argument("--images", type=int, default=16, help="validation images, 0: all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        path = options.out / f"{name.replace(' ', '-').replace('/', '_')}.json"
        if not path.exists():
            print(f"== {name}", flush=True)
            path.write_text(json.dumps(run(name, options), indent=1))
    results = [json.loads(path.read_text()) for path in options.out.glob("*.json")]
    results.sort(key=lambda result: list(VARIANTS).index(result["variant"]))
    if len(results) > 1 and results[0]["variant"] == "default":
        print(table(results))


if __name__ == "__main__":
    main()
