"""The options of a training run, and its schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _option(default: Any, text: str) -> Any:
    """A field with the text that ``--help`` shows for it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """One run. The schedule counts steps, so that it does not depend on the machine's speed."""

    data: Path
    out: Path = field(metadata={"help": "folder of the run: checkpoints and log.csv"})
    model: str = _option("ssvae", "which network to build")
    validation: Path | None = field(
        default=None, metadata={"help": "images for the table printed now and then"}
    )
    steps: int = _option(40_000, "of the whole run, decay included")
    decay_steps: int = _option(8_000, "at the end, in which the rate falls linearly to zero")
    warmup_steps: int = _option(500, "at the start, in which the rate rises linearly")
    batch: int = _option(8, "crops per step and process")
    crop: int = _option(192, "side of the crops in pixels, a multiple of 64")
    learning_rate: float = _option(1.2e-3, "of the constant phase")
    optimizer: str = _option("muon", "muon or adam")
    clip_norm: float = _option(1.0, "largest norm of a step's gradient")
    ema: float = _option(0.9995, "decay of the averaged weights, which are the ones exported")
    seed: int = _option(0, "of the first weights, the crops and the noise")
    device: str = _option("auto", "auto, cpu or cuda")
    precision: str = _option(
        "auto",
        "of analysis and synthesis: float32, bfloat16, mixed (depthwise float32), or auto: "
        "what is fastest on this machine",
    )
    compile: bool = _option(False, "torch.compile; pays on a GPU, not on a CPU")
    init: Path | None = field(
        default=None,
        metadata={
            "help": "what a new run begins from: another run's checkpoint (its constant.pt, say), "
            "or a weights file of the codec"
        },
    )
    init_partly: bool = _option(False, "take from --init only the weights that fit the model")
    init_grow: bool = _option(
        False, "--init holds a narrower or shallower network: begin by drawing what it draws"
    )
    pages: int = _option(0, "drawn pages of text and graphics that join the images")
    recolour: float = _option(0.0, "share of the crops in other, stronger colours")
    enlarge: float = _option(0.0, "share of the crops that are enlarged by up to 2: smooth ones")
    whole: float = _option(
        0.65, "share of the crops coded with all layers; the rest ends after an earlier one"
    )
    small: float = _option(
        1.0, "factor of the weights of the errors of the small pictures drawn on the way"
    )
    eye: float = _option(
        0.0, "share of the distortion that is measured as people see it, by --eye-loss: 0.8, say"
    )
    eye_loss: str = _option("xyb-ssim", "how --eye measures: xyb-ssim or ssimulacra2")
    limit: int = _option(0, "read the first N images; 0: all")
    max_minutes: float = _option(0.0, "stop after so long, with a checkpoint; 0: never")
    save_minutes: float = _option(10.0, "between checkpoints")
    validate_minutes: float = _option(15.0, "between validations")
    log_steps: int = _option(100, "between lines of the log")


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Warm-up, constant, then linear decay to zero over the last ``decay_steps``."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = config.steps - step
    return warm * min(1.0, left / max(1, config.decay_steps))
