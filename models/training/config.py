"""What a training run is told, and its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainConfig:
    """One run. The schedule counts steps, so that it does not depend on the machine's speed."""

    data: Path
    out: Path
    model: str = "ssvae"
    validation: Path | None = None
    steps: int = 40_000
    decay_steps: int = 8_000
    warmup_steps: int = 500
    batch: int = 8
    crop: int = 192
    learning_rate: float = 1.2e-3
    optimizer: str = "adam"
    """``adam`` or ``muon``."""
    clip_norm: float = 1.0
    ema: float = 0.9995
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = True
    compile: bool = False
    start: Path | None = None
    """What a new run begins from: another run's checkpoint (its ``constant.pt``, say), or a weights
    file of the codec."""
    limit: int = 0
    max_minutes: float = 0.0
    save_minutes: float = 10.0
    validate_minutes: float = 15.0
    log_steps: int = 100


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Warm-up, constant, then linear decay to zero over the last ``decay_steps``."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = config.steps - step
    return warm * min(1.0, left / max(1, config.decay_steps))
