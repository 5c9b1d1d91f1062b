"""A trained network continued as a wider or deeper one that draws the same picture at first.

Function-preserving growth, after Net2Net (Chen et al. 2016) and the zero-started blocks of residual
networks: new channels begin with fresh weights, but what is old listens to them with weight zero;
a new block begins as the identity. Training then finds use for both, instead of from nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.blocks import GatedBlock
from models.trainable import TrainableModel
from models.training.card import read_history
from models.weights_file import WeightsError, take_tables, trainable_state

#: Convolutions whose outputs (expand) or inputs (merge) are two groups of equal width.
_PAIRED_OUTPUTS, _PAIRED_INPUTS = ("expand",), ("merge",)


@torch.no_grad()
def grow(model: TrainableModel, state: dict[str, Tensor]) -> None:
    """Put the weights of a smaller network of the same kind into ``model``, in place.

    ``model`` may have wider trunks and more blocks at the end of a stage; its latents and priors
    must be those of the smaller one.

    Raises:
        ValueError: something else differs; the message names the tensor.
    """
    blocks = tuple(
        f"{name}." for name, module in model.named_modules() if isinstance(module, GatedBlock)
    )
    own = model.state_dict()
    for name in state:
        if name not in own:
            raise ValueError(f"{name}: the model to grow into lacks it")
    for name, value in own.items():
        if name in state:
            value.copy_(_grown(name, value, state[name].to(value.dtype)))
        elif not name.startswith(blocks):
            raise ValueError(f"{name}: only blocks can be new in a grown model")
        elif ".project." in name:
            value.zero_()


def _grown(name: str, fresh: Tensor, old: Tensor) -> Tensor:
    """``old`` at its place in a tensor of the shape of ``fresh``."""
    if fresh.shape == old.shape:
        return old
    if fresh.dim() != old.dim() or any(a < b for a, b in zip(fresh.shape, old.shape, strict=True)):
        raise ValueError(f"{name}: {tuple(old.shape)} does not fit into {tuple(fresh.shape)}")
    new = fresh.clone()
    layer, kind = name.rsplit(".", 2)[-2:]
    if kind == "knots":  # knots×channels; new channels begin as they would in a fresh network
        new[:, : old.shape[1]] = old
        return new
    rows = _places(fresh.shape[0], old.shape[0], paired=layer in _PAIRED_OUTPUTS)
    if old.dim() == 1:
        new[rows] = old
        return new
    columns = _places(fresh.shape[1], old.shape[1], paired=layer in _PAIRED_INPUTS)
    new[rows] = 0
    new[rows[:, None], columns] = old
    return new


def _places(wide: int, narrow: int, *, paired: bool) -> Tensor:
    """Where ``narrow`` old channels lie among ``wide`` new ones."""
    if not paired:
        return torch.arange(narrow)
    half = torch.arange(narrow // 2)
    return torch.cat([half, half + wide // 2])


def load_grown(model: TrainableModel, path: Path) -> list[dict[str, Any]]:
    """Grow the weights of a checkpoint (its average) or of a weights file into ``model``.

    Returns the history of the weights.

    Raises:
        WeightsError: the file is unreadable, or its network is not a smaller one of the same kind.
    """
    try:
        if path.suffix == ".safetensors":
            grow(model, trainable_state(path, model))
            take_tables(model, path)
            return read_history(path)
        saved = torch.load(path, map_location="cpu", weights_only=True)
        grow(model, saved["ema"])
        return saved["history"]
    except Exception as error:
        raise WeightsError(f"{path}: these weights cannot be grown ({error})") from error
