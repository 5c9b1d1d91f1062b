"""Layers of symbols → bytes: what encoders need of models and range coder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bitstream.range_coder import SYMBOL_LIMIT, CodingTables, LayerEncoder
from codec.progress import split
from models.protocol import CodingModel, LayerSpec, Posterior, Prediction, PriorState, Progress


@lru_cache(maxsize=8)
def tables_of(model: CodingModel) -> tuple[CodingTables, ...]:
    """The range coder's tables of each stage of a model, built once; stages may share them."""
    built: dict[int, CodingTables] = {}
    for frequencies in model.frequencies:
        if id(frequencies) not in built:
            built[id(frequencies)] = CodingTables(frequencies, model.skip_index)
    return tuple(built[id(frequencies)] for frequencies in model.frequencies)


def pad_image(rgb: np.ndarray, multiple: int) -> Tensor:
    """uint8 H×W×3 → uint8 3×H'×W', sides extended by edge replication to a multiple."""
    height, width = rgb.shape[:2]
    if height % multiple or width % multiple:
        rgb = np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")
    writable = np.require(rgb, requirements="W")  # torch warns of memory it might write to
    return torch.from_numpy(writable).permute(2, 0, 1)


@torch.no_grad()
def encode_layers(
    posterior: Posterior,
    prior: PriorState,
    layers: Sequence[LayerSpec],
    tables: Sequence[CodingTables],
    progress: Progress | None = None,
    *,
    stages: int | None = None,
) -> list[bytes]:
    """The loop of :mod:`models.protocol` with a range encoder: one payload per layer.

    ``tables`` are those of each stage. With ``stages`` it ends after so many, all layers counted.
    """
    payloads = []
    for layer, part in zip(layers, split(progress, [x.density for x in layers]), strict=True):
        coder = LayerEncoder()
        for stage in split(part, [1.0] * layer.stages):
            if len(prior.latents) == stages:
                break
            # A posterior takes about as long as the coding steps of its stage.
            first, second = split(stage, [1.0, 1.0])
            own = tables[len(prior.latents)]
            target = posterior.target(prior.latents, first)
            for report in split(second, [1.0] * layer.steps):
                _encode_step(target, prior, coder, own)
                report(1.0)
        payloads.append(coder.finish())
    return payloads


def _encode_step(
    target: Tensor, prior: PriorState, coder: LayerEncoder, tables: CodingTables
) -> None:
    prediction = prior.predict()
    symbols = symbols_of(target, prior, prediction, tables.skip_index)
    prior.push(symbols)
    values = symbols.to(torch.int16).cpu().numpy()
    coder.encode(values, prediction.scale_index.cpu().numpy(), tables)


def symbols_of(
    target: Tensor, prior: PriorState, prediction: Prediction, skip_index: int
) -> Tensor:
    """The whole numbers, (N,) float32, that a file stores of a stage's posterior mean in one step:
    zero up to scale index ``skip_index``."""
    symbols = prior.gather(target).sub_(prediction.mean).round_()
    symbols.clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)
    return symbols.mul_(prediction.scale_index > skip_index)


def fill_rest(
    layers: Sequence[LayerSpec],
    prior: PriorState,
    rng: np.random.Generator | None,
    temperature: float,
    progress: Sequence[Progress] = (),
) -> None:
    """Walk ``prior`` through all that is missing of ``layers``, but for their corrections.

    ``progress`` holds the reports of the layers that are missing as a whole.
    """
    first = 0
    for layer in layers:
        filled = first + layer.stages - layer.corrections
        missing = filled - max(first, len(prior.latents))
        for _ in range(missing * layer.steps):
            prior.predict()
            prior.push_fill(rng, temperature)
        first += layer.stages
    for report in progress:
        report(1.0)
