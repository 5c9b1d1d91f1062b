"""Where the time of encoding and decoding goes: analysis, priors, entropy coding, synthesis.

The loop of :mod:`models.protocol` is driven here with a clock around each part, so that the codec
itself carries no timers. What is not among the parts (reading pixels, the container) is the
difference to the times of ``codec.encode`` and ``codec.decode``.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bitstream.range_coder import SYMBOL_LIMIT, LayerDecoder, LayerEncoder
from codec.layer_coding import pad_image, tables_of
from models.protocol import CodingModel

STAGES = ("analysis", "priors", "entropy coding", "synthesis")


class Clock:
    """Seconds per stage; waits for the GPU at each boundary, where there is one."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = self._now()
        yield
        self.seconds[name] += self._now() - started


@torch.no_grad()
def encode(model: CodingModel, image: torch.Tensor, quality: int, clock: Clock) -> list[bytes]:
    """One payload per layer, as the codec makes them. ``image``: padded uint8 3×H×W."""
    with clock.stage("analysis"):
        posterior = model.posterior(image, quality)
    with clock.stage("priors"):
        prior = model.prior(image.shape[-2], image.shape[-1], quality)
    tables, payloads = tables_of(model), []
    for layer in model.layers_at(quality):
        coder = LayerEncoder()
        for step in range(layer.stages * layer.steps):
            if step % layer.steps == 0:
                with clock.stage("analysis"):  # and the part of the synthesis that it needs
                    target = posterior.target(prior.latents)
            with clock.stage("priors"):
                own = tables[len(prior.latents)]
                prediction = prior.predict()
                symbols = prior.gather(target).sub_(prediction.mean).round_()
                symbols.clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)
                symbols.mul_(prediction.scale_index > model.skip_index)
                prior.push(symbols)
                values = symbols.to(torch.int16).cpu().numpy()
                indices = prediction.scale_index.cpu().numpy()
            with clock.stage("entropy coding"):
                coder.encode(values, indices, own)
        with clock.stage("entropy coding"):
            payloads.append(coder.finish())
    return payloads


@torch.no_grad()
def decode(
    model: CodingModel,
    payloads: list[bytes],
    size: tuple[int, int],
    quality: int,
    clock: Clock,
) -> torch.Tensor:
    """uint8 3×H×W from whole payloads; ``size``: padded height and width."""
    tables = tables_of(model)
    with clock.stage("priors"):
        prior = model.prior(*size, quality)
    for layer, payload in zip(model.layers_at(quality), payloads, strict=True):
        coder = LayerDecoder(payload)
        for _ in range(layer.stages * layer.steps):
            with clock.stage("priors"):
                indices = prior.predict().scale_index.cpu().numpy()
            with clock.stage("entropy coding"):
                symbols = coder.decode(indices, tables[len(prior.latents)])
            with clock.stage("priors"):
                prior.push(torch.from_numpy(symbols))
        with clock.stage("entropy coding"):
            coder.finish()
    with clock.stage("synthesis"):
        return model.synthesize(prior.latents, quality, 1)


def split(
    model: CodingModel,
    rgb: np.ndarray,
    quality: int,
    device: torch.device,
    *,
    repeat: Callable[[], bool],
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Seconds per stage of encodings and of decodings, one entry a run, while ``repeat()``."""
    tables_of(model)  # built once, outside of what is timed
    image = pad_image(rgb, model.size_multiple)
    encoded, decoded = [], []
    while repeat():
        clock = Clock(device)
        payloads = encode(model, image, quality, clock)
        encoded.append(dict(clock.seconds))
        clock = Clock(device)
        decode(model, payloads, (image.shape[-2], image.shape[-1]), quality, clock)
        decoded.append(dict(clock.seconds))
    return encoded, decoded
