"""``python -m models.training.fine_start INIT DATA -o OUT``: give a trained model a fine stage.

The fine stage of z2 (:mod:`models.ssvae.networks`) starts from the principal components of what the
trained pictures lack; it and its prior are then trained at high qualities with all else frozen,
which takes minutes, before a run trains everything together
(``python -m models.training DATA --init OUT``).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

from models.names import FINE_FROM
from models.registry import BUILDERS
from models.ssvae.networks import FINE_STRIDE, SSVAE
from models.training.arithmetic import keep_freed_memory
from models.training.card import read_history, write_history
from models.training.data import ImageSet
from models.training.hardware import machine
from models.training.optimizer import ModelOptimizer
from models.weights_file import export_weights, load_trainable

#: Qualities whose pictures the principal components are of; crops at each.
_QUALITIES, _CROPS = (65, 75, 85, 95), 24
#: Tensors of the fine stage: of the model, and of its prior.
_NEW = (
    "fine.",
    "log_gains.3.",
    *(f"prior.{part}." for part in ("layers.3", "latent_in.2", "trunks.2", "ups.2")),
)


@torch.no_grad()
def principal_components(model: SSVAE, images: ImageSet, size: int, seed: int = 0) -> float:
    """Give the fine stage the principal components of 8×8 blocks of residuals, in place.

    Args:
        model: float face, trained but for the fine stage.
        images: crops are drawn from them.
        size: side of the crops, a multiple of 64.

    Returns:
        The share of the residuals' energy that the stage's channels hold.

    Raises:
        ValueError: the model has no fine stage.
    """
    fine = model.fine
    if fine is None:
        raise ValueError("this model has no fine stage")
    generator = torch.Generator().manual_seed(seed)
    covariance = torch.zeros(3 * FINE_STRIDE**2, 3 * FINE_STRIDE**2, dtype=torch.float64)
    model.fine = None
    try:
        for value in _QUALITIES:
            quality = torch.full((_CROPS,), float(value))
            crops = images.crops(_CROPS, size, generator, quality).float() / 255
            kept = torch.full((_CROPS,), len(model.stages))
            lacking = crops - model(crops, quality, kept, noisy=False).image
            # Each quality counts by what its errors cost.
            blocks = F.pixel_unshuffle(lacking, FINE_STRIDE) * model.lagrangian(quality[:1]).sqrt()
            flat = blocks.transpose(0, 1).flatten(1).double()  # (192, N)
            covariance += flat @ flat.T
    finally:
        model.fine = fine
    energies, vectors = torch.linalg.eigh(covariance)  # rising
    count = fine.take.out_channels
    fine.start_from(vectors[:, -count:].flip(1).T.float())
    return float(energies[-count:].sum() / energies.sum())


def train_fine_stage(
    model: SSVAE, images: ImageSet, *, steps: int, batch: int, size: int, rate: float, seed: int = 0
) -> list[float]:
    """Train the fine stage and its prior alone, in place; the loss of each step.

    Args:
        rate: learning rate; falls linearly to zero.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(_NEW))
    optimizer = ModelOptimizer(model, "adam", rate)
    generator = torch.Generator().manual_seed(seed)
    kept = torch.full((batch,), len(model.stages))
    losses = []
    for step in track(range(steps), "training the fine stage"):
        optimizer.set_learning_rate(rate * (1 - step / steps))
        quality = FINE_FROM + (100 - FINE_FROM) * torch.rand(batch, generator=generator)
        image = images.crops(batch, size, generator, quality).float() / 255
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            result = model(image, quality, kept)
        loss = _loss(model, result.image, image, result.bits, quality)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _loss(model: SSVAE, drawn: Tensor, image: Tensor, bits: Tensor, quality: Tensor) -> Tensor:
    lagrangian = model.lagrangian(quality)
    bpp = bits.sum(1) / (image.shape[-1] * image.shape[-2])
    error = (drawn - image).square().mean(dim=(1, 2, 3))
    return 30 * ((bpp + lagrangian * error) / lagrangian.sqrt()).mean()


def load_without_fine(path: Path, name: str) -> tuple[SSVAE, list[dict[str, Any]]]:
    """A model whose fine stage is fresh, all else from a checkpoint (not its average) or a weights
    file; and the history of the weights.

    Raises:
        models.weights_file.WeightsError: the weights file cannot be used.
    """
    if path.suffix == ".safetensors":
        model, history = load_trainable(path, name, partly=True), read_history(path)
    else:
        model = BUILDERS[name]()
        saved = torch.load(path, map_location="cpu", weights_only=True)
        state = {k: v for k, v in saved["model"].items() if not k.startswith(_NEW)}
        model.load_state_dict(state, strict=False)
        history = saved["history"]
    assert isinstance(model, SSVAE)
    return model, history


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.fine_start", description=__doc__
    )
    parser.add_argument("init", type=Path, help="a run's checkpoint, or a weights file")
    parser.add_argument("data", type=Path, help="folder of images and tar shards")
    parser.add_argument("-o", "--out", type=Path, required=True, help="weights file to write")
    parser.add_argument("--model", default="ssvae")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--enlarge", type=float, default=0.2, help="share of enlarged crops")
    parser.add_argument("--limit", type=int, default=0, help="read the first N images; 0: all")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.manual_seed(0)
    model, history = load_without_fine(options.init, options.model)
    started = time.monotonic()
    images = ImageSet(
        options.data, device=torch.device("cpu"), limit=options.limit, enlarge=options.enlarge
    )
    share = principal_components(model, images, options.crop)
    print(f"the fine stage holds {share:.1%} of the energy that the pictures lack")
    losses = train_fine_stage(
        model,
        images,
        steps=options.steps,
        batch=options.batch,
        size=options.crop,
        rate=options.learning_rate,
    )
    tenth = max(1, len(losses) // 10)
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    options.out.write_bytes(export_weights(model, options.model))
    run = {
        "run": "fine stage",
        "images": len(images),
        "megapixels": round(images.megapixels),
        "enlarge": options.enlarge,
        "batch": options.batch,
        "crop": options.crop,
        "optimizer": "adam",
        "learning_rate": options.learning_rate,
        "decay_steps": options.steps,
        "hardware": machine(),
        "steps": options.steps,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "note": "the fine stage of z2 alone, at high qualities",
    }
    write_history(options.out, [*history, run])
    print(f"loss {first:.4f} → {last:.4f}; wrote {options.out}")


if __name__ == "__main__":
    main()
