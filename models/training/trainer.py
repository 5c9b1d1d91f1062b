"""The state of a training run, its checkpoints, and one step."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.registry import BUILDERS
from models.trainable import TrainableModel
from models.training.arithmetic import (
    ARITHMETICS,
    MUON_FORMATS,
    Arithmetic,
    default_arithmetic,
    fastest,
    fastest_muon,
)
from models.training.card import read_history
from models.training.config import TrainConfig, learning_rate_factor
from models.training.data import ImageSet
from models.training.distributed import Processes
from models.training.growth import load_grown
from models.training.losses import (
    Loss,
    LossConfig,
    draw_quality,
    draw_stages,
    rate_distortion_loss,
    with_whole,
)
from models.training.optimizer import ModelOptimizer, follow
from models.weights_file import load_trainable

#: Brings the loss to the order of one, so that clipping and logs read well.
LOSS_UNIT = 30.0


class Batch(NamedTuple):
    """Crops, B×3×H×W uint8, and the quality at which each is to be coded, (B,)."""

    crops: Tensor
    quality: Tensor


@dataclass
class Record:
    """Figures of one step, left on the device: the loss, and per image (B,) or (B, S)."""

    loss: Tensor
    norm: Tensor
    bpp: Tensor
    mse: Tensor
    quality: Tensor
    kept: Tensor


class Trainer:
    """State of a run: model, EMA, optimizer, random streams, step.

    Two random streams make a run: ``generator`` draws crops, torch's own draws everything else.
    ``crops_state`` is the generator's state from which the next batch is (or was) drawn.
    """

    def __init__(
        self, config: TrainConfig, build: Callable[[], TrainableModel] | None = None
    ) -> None:
        if build is None and config.model not in BUILDERS:
            raise ValueError(f"no model {config.model!r}; there are: {', '.join(BUILDERS)}")
        self.config = config
        self.loss_config = LossConfig(
            keep_probability=with_whole(config.whole),
            small=config.small,
            eye=config.eye,
            eye_loss=config.eye_loss,
        )
        self.loss_config.check(config.crop)
        self.processes, self.device = Processes.join(config.device)
        torch.manual_seed(config.seed)
        self.model = (BUILDERS[config.model] if build is None else build)().to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = ModelOptimizer(self.model, config.optimizer, config.learning_rate)
        self.arithmetic = default_arithmetic(config.precision, self.device)
        self.arithmetic.apply(self.model)
        seed = config.seed + 1 + 7919 * self.processes.rank
        self.generator = torch.Generator().manual_seed(seed)
        self.crops_state = self.generator.get_state()
        torch.manual_seed(seed)
        self.history: list[dict[str, Any]] = []
        self.step = 0
        self.seconds = 0.0
        self.skipped = 0
        self.forward: nn.Module = self.model
        if self.processes.count > 1:
            # Where no image of a process has a fine stage, its parameters get no gradient there.
            self.forward = DistributedDataParallel(self.model, find_unused_parameters=True)
        if config.compile:
            self.forward = torch.compile(self.forward)  # type: ignore[assignment]

    # -- checkpoints ---------------------------------------------------------------------------

    def state(self) -> dict:
        """Everything a run is; in a distributed run all processes must call this together."""
        if self.history:
            last = self.history[-1]
            minutes = self.seconds / 60 - last.get("first_minute", 0.0)
            last |= {"steps": self.step - last["first_step"], "minutes": round(minutes, 1)}
        streams = {"crops": self.crops_state, "torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            streams["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "streams": self.processes.gather(streams),
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "history": self.history,
            "config": {k: str(v) for k, v in dataclasses.asdict(self.config).items()},
        }

    def save(self, name: str) -> None:
        """Write a checkpoint beside, then rename: an interrupted save leaves the old one."""
        state = self.state()
        if not self.processes.first:
            return
        path = self.config.out / name
        beside = path.with_suffix(".partial")
        torch.save(state, beside)
        os.replace(beside, path)

    def begin_from(self, path: Path) -> None:
        """Start a new run: from a checkpoint, or at step 0 from a weights file of the codec, or
        (``init_grow``) from a smaller network's averaged weights in either."""
        if self.config.init_grow:
            self.history = load_grown(self.model, path)
        elif path.suffix != ".safetensors":
            self.resume(path)
            return
        else:
            model = load_trainable(path, self.config.model, partly=self.config.init_partly)
            self.model.load_state_dict(model.state_dict())
            self.history = read_history(path)
        self.processes.share(self.model)  # what is new in it was drawn at random
        self.ema.load_state_dict(self.model.state_dict())

    def resume(self, path: Path) -> None:
        """Continue a checkpoint, exactly if it was written by as many processes."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        if len(state["streams"]) == self.processes.count:
            streams = state["streams"][self.processes.rank]
            self.generator.set_state(streams["crops"].cpu())
            self.crops_state = self.generator.get_state()
            torch.set_rng_state(streams["torch"].cpu())
            if "cuda" in streams and self.device.type == "cuda":
                torch.cuda.set_rng_state(streams["cuda"].cpu(), self.device)
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.skipped = state["skipped"]
        self.history = state["history"]

    # -- one step ------------------------------------------------------------------------------

    def draw(self, images: ImageSet) -> Batch:
        """The next batch."""
        self.crops_state = self.generator.get_state()
        count, size = self.config.batch, self.config.crop
        quality = draw_quality(count, self.generator)
        return Batch(images.crops(count, size, self.generator, quality), quality)

    def train_step(self, batch: Batch, images: ImageSet | None = None) -> tuple[Record, Batch]:
        """One step on a batch; draws the next batch from ``images`` while the device is busy.

        Returns the step's figures and the next batch (the same one again without ``images``).
        """
        config = self.config
        factor = learning_rate_factor(self.step, config)
        self.optimizer.set_learning_rate(config.learning_rate * factor)
        loss, quality, kept = self._gradients(batch)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        following = batch if images is None else self.draw(images)
        # Gradients are averaged over processes, so that all come to the same verdict here. This is
        # the only place where the host waits for the device.
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            follow(self.ema, self.model, self.config.ema, self.step)
        else:
            self.skipped += 1
        self.step += 1
        total = loss.total.detach() * LOSS_UNIT
        return Record(total, norm, loss.bpp.detach(), loss.mse.detach(), quality, kept), following

    def _gradients(self, batch: Batch) -> tuple[Loss, Tensor, Tensor]:
        """Forward and backward on a batch; loss, quality and stages kept of its images."""
        image = batch.crops.to(self.device).float().div_(255)
        image = image.contiguous(memory_format=torch.channels_last)
        quality = batch.quality.to(self.device)
        drawn = draw_stages(len(image), self.loss_config, self.model.stages)
        kept, sample = (value.to(self.device) for value in drawn)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.arithmetic.bfloat16):
            result = self.forward(image, quality, kept, sample)
        loss = rate_distortion_loss(self.model, result, image, quality, kept, self.loss_config)
        self.optimizer.zero_grad()
        loss.total.mul(LOSS_UNIT).backward()
        return loss, quality, kept

    def choose_arithmetic(self, batch: Batch) -> str | None:
        """Take the fastest number formats on this machine; a line that says which.

        Nothing is measured (None) on a GPU or where the configuration names a precision. Gradients
        are computed and thrown away; the run's state and random streams stay as they are.
        """
        if self.config.precision != "auto" or self.device.type != "cpu":
            return None

        def work(arithmetic: Arithmetic) -> None:
            self.arithmetic = arithmetic
            arithmetic.apply(self.model)
            self._gradients(batch)

        with torch.random.fork_rng(devices=[]):
            name, seconds = fastest({n: partial(work, a) for n, a in ARITHMETICS.items()})
            name = self.processes.choose(list(ARITHMETICS), name, self.device)
            muon = self.optimizer.muon
            if muon is not None:
                form = self.processes.choose(list(MUON_FORMATS), fastest_muon(muon), self.device)
                muon.dtype = MUON_FORMATS[form]
        self.arithmetic = ARITHMETICS[name]
        self.arithmetic.apply(self.model)
        self.optimizer.zero_grad()
        times = ", ".join(f"{n} {s:.2f} s" for n, s in seconds.items())
        kind = "" if muon is None else f"; muon in {str(muon.dtype).removeprefix('torch.')}"
        return f"forward and backward: {times}; taken: {name}{kind}"
