"""``python -m models.studies.given.training TRAIN --given grey --out DIR``: learn what goes with a
grey picture, or with a drawing (``--given sketch``).

The prior of :mod:`models.studies.given.networks` is trained around the installed weights of
``ssvae`` or ``ssvae-sketch``, which stay as they are. In ``DIR``: ``weights.pt`` when it is
complete, for :mod:`models.studies.given.reconstruction`; started again, it goes on from
``latest.pt``. TRAIN is a folder of images or tar shards; small images (CIFAR-10, ImageNet 32 or 64,
CelebA as files) are enlarged to ``--crop``.

On one core of an AMD EPYC a step of 4 crops of 256² takes 0.6 s, of 128² 0.3 s.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.names import WEIGHTS_FOLDER
from models.ssvae.networks import SSVAE
from models.studies.given.networks import LAYERS, GivenPrior
from models.studies.given.pictures import GIVEN, MODEL_OF
from models.training.data import ImageSet
from models.training.optimizer import ModelOptimizer, follow
from models.weights_file import load_trainable

RATE = 2.4e-3
WARM_UP_STEPS = 50
EMA = 0.998
#: Side of the least images that are taken.
LEAST_SIDE = 32
_LOG_STEPS = 50
_SAVE_SECONDS = 300.0
#: Crops that tell the mean colour.
_COLOUR_CROPS = 256


def released(kind: str) -> SSVAE:
    """The installed model that completes pictures from a kind of :data:`GIVEN`."""
    name = MODEL_OF[kind]
    model = load_trainable(WEIGHTS_FOLDER / f"{name}.safetensors", name)
    assert isinstance(model, SSVAE)
    return model


def mean_colour(images: ImageSet, side: int) -> Tensor:
    """Of random crops: red, green, blue in [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    crops = images.crops(_COLOUR_CROPS, side, generator)
    return crops.float().mean(dim=(0, 2, 3)) / 255


class Trainer:
    """Muon, or Adam; the rate falls to zero over the last 60%. Steps that are not finite are
    skipped."""

    def __init__(
        self,
        kind: str,
        base: SSVAE,
        quality: float,
        steps: int,
        batch: int,
        crop: int,
        optimizer: str = "muon",
    ) -> None:
        torch.manual_seed(0)
        self.kind, self.steps, self.batch, self.crop = kind, steps, batch, crop
        self.model = GivenPrior(base, quality)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = ModelOptimizer(self.model, optimizer, RATE)
        self.generator = torch.Generator().manual_seed(1)
        self.step = self.skipped = 0
        self.seconds = 0.0
        """Processor time of the steps so far."""

    def settings(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        return {
            "given": self.kind,
            "quality": float(self.model.quality),
            "steps": self.steps,
            "batch": self.batch,
            "crop": self.crop,
        }

    def train_step(self, images: ImageSet) -> Tensor:
        """One step; bits per pixel of each layer, (3,)."""
        left = 1 - self.step / self.steps
        warm = (self.step + 1) / min(WARM_UP_STEPS, self.steps)
        self.optimizer.set_learning_rate(RATE * min(1.0, warm, left / 0.6))
        crops = images.crops(self.batch, self.crop, self.generator)
        image = crops.float().div_(255).contiguous(memory_format=torch.channels_last)
        bits = self.model(GIVEN[self.kind](image), image).bits.mean(0) / self.crop**2
        self.optimizer.zero_grad()
        bits.sum().backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            follow(self.ema, self.model, EMA, self.step)
        else:
            self.skipped += 1
        self.step += 1
        return bits.detach()

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        return {
            "settings": self.settings(),
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "streams": (self.generator.get_state(), torch.get_rng_state()),
            "numbers": (self.step, self.skipped, self.seconds),
        }

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is of a run with other settings.
        """
        state = torch.load(path, weights_only=True)
        if state["settings"] != self.settings():
            raise ValueError(f"{path} is of a run with {state['settings']}; name another --out")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        crops, noise = state["streams"]
        self.generator.set_state(crops)
        torch.set_rng_state(noise)
        self.step, self.skipped, self.seconds = state["numbers"]

    def run(self, images: ImageSet, checkpoint: Path, stop_after: int = 0) -> None:
        """All steps that are left, or up to step ``stop_after``, with checkpoints."""
        last = min(self.steps, stop_after or self.steps)
        begin, saved = time.process_time(), time.monotonic()
        sums, since = torch.zeros(LAYERS), 0
        while self.step < last:
            sums += self.train_step(images)
            since += 1
            ended = self.step == last
            if ended or time.monotonic() - saved > _SAVE_SECONDS:
                self.seconds += time.process_time() - begin
                save(self.state(), checkpoint)
                begin, saved = time.process_time(), time.monotonic()
            if ended or self.step % _LOG_STEPS == 0:
                used = self.seconds + time.process_time() - begin
                parts = " + ".join(f"{value:.3f}" for value in (sums / since).tolist())
                print(
                    f"step {self.step} of {self.steps}: {float(sums.sum()) / since:.3f} bpp "
                    f"({parts}), {used / self.step:.3f} s a step",
                    flush=True,
                )
                sums, since = torch.zeros(LAYERS), 0


def save(state: dict[str, Any], path: Path) -> None:
    """Beside, then renamed: an interrupted save leaves the old file."""
    beside = path.with_suffix(".partial")
    torch.save(state, beside)
    os.replace(beside, path)


def write_weights(trainer: Trainer, colour: Tensor, path: Path) -> None:
    """The averaged weights in half precision, with what it takes to use them."""
    state = {key: value.half() for key, value in trainer.ema.state_dict().items()}
    kept = trainer.settings() | {"skipped": trainer.skipped, "seconds": round(trainer.seconds, 1)}
    save({"settings": kept, "colour": colour, "state": state}, path)


def load_weights(path: Path) -> tuple[GivenPrior, dict[str, Any]]:
    """The trained prior around the installed model, and its settings with the mean ``colour``.

    Raises:
        ValueError: no weights of this study, or of another version of the installed model.
    """
    try:
        stored = torch.load(path, weights_only=True)
        settings = stored["settings"]
        model = GivenPrior(released(settings["given"]), settings["quality"])
        model.load_state_dict({k: v.float() for k, v in stored["state"].items()})
    except Exception as error:
        raise ValueError(f"{path}: these weights cannot be used ({error})") from error
    return model.requires_grad_(False), settings | {"colour": stored["colour"]}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.given.training", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("--given", choices=list(GIVEN), required=True, help="what will be known")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=256, help="side, a multiple of 64")
    parser.add_argument("--quality", type=float, default=40.0, help="of the latents, below 65")
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--stop-after", type=int, default=0, help="a step to stop at; 0: the last")
    options = parser.parse_args(arguments)
    if options.crop <= 0 or options.crop % 64:
        parser.error(f"--crop must be a multiple of 64, not {options.crop}")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    checkpoint = options.out / "latest.pt"
    try:
        trainer = Trainer(
            options.given,
            released(options.given),
            options.quality,
            options.steps,
            options.batch,
            options.crop,
        )
        if checkpoint.exists():
            trainer.resume(checkpoint)
        images = ImageSet(
            options.data, device=torch.device("cpu"), minimum=LEAST_SIDE, limit=options.limit
        )
    except ValueError as error:
        parser.error(str(error))
    trainer.run(images, checkpoint, options.stop_after)
    if trainer.step == trainer.steps:
        write_weights(trainer, mean_colour(images, options.crop), options.out / "weights.pt")


if __name__ == "__main__":
    main()
