"""Where the time of encoding and decoding goes: analysis, priors, entropy coding, synthesis,
fitting the filters, and transfers between the device and the host.

The codec itself carries no timers: :func:`codec.walk.walk` is given a posterior and range coders
with a clock around each call, and what remains of its time is that of the priors. What is not among
the parts (reading pixels, the container) is the difference to the times of ``codec.encode`` and
``codec.decode``.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from bitstream.range_coder import layer_decoder
from codec.filter_fitting import Fitting
from codec.filter_sample import Sample
from codec.filters import Filters, of_batch
from codec.unseen import seen_squares
from codec.walk import Coded, Recorder, Stored, pad_image, tables_of, walk
from models.picture_filter import EachFiltered
from models.protocol import CodingModel, Draw

#: Of each way; the synthesis of the first draws what the filters are fitted to.
ENCODING = ("analysis", "priors", "entropy coding", "synthesis", "filter", "transfers")
DECODING = ("priors", "entropy coding", "synthesis", "transfers")


class Clock:
    """Seconds per stage, a stage inside another not counted in the outer one; waits for the GPU at
    each boundary, where there is one."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._inner = 0.0  # seconds of the stages inside the one that is going on

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        before, self._inner = self._inner, 0.0
        started = self._now()
        yield
        seconds = self._now() - started
        self.seconds[name] += seconds - self._inner
        self._inner = before + seconds

    def around(self, subject: Any, name: str) -> Any:
        """The same object with its methods timed as a stage."""
        return _Timed(self, subject, name)


class _Timed:
    def __init__(self, clock: Clock, subject: Any, name: str) -> None:
        self._clock, self._subject, self._name = clock, subject, name

    def __getattr__(self, method: str) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            with self._clock.stage(self._name):
                return getattr(self._subject, method)(*arguments, **options)

        return timed


class _TimedRecorder(Recorder):
    """Entropy coding and transfers by the clock."""

    def __init__(self, clock: Clock, model: CodingModel, quality: int, batch: int) -> None:
        super().__init__(model.layers_at(quality), tables_of(model), batch)
        self._clock = clock
        self.coders = [[clock.around(c, "entropy coding") for c in each] for each in self.coders]

    def fetch(self, values: torch.Tensor) -> np.ndarray:
        with self._clock.stage("transfers"):
            return super().fetch(values)


class _TimedStored(Stored):
    """Transfers by the clock."""

    def __init__(self, clock: Clock, model: CodingModel, coders: Sequence[Any]) -> None:
        super().__init__(coders, tables_of(model))
        self._clock = clock

    def fetch(self, values: torch.Tensor) -> np.ndarray:
        with self._clock.stage("transfers"):
            return super().fetch(values)

    def send(self, symbols: np.ndarray, device: torch.device) -> torch.Tensor:
        with self._clock.stage("transfers"):
            return super().send(symbols, device)


@torch.no_grad()
def encode(
    model: CodingModel,
    images: torch.Tensor,
    quality: int,
    clock: Clock,
    samples: Sequence[Sample] = (),
) -> tuple[list[list[bytes]], list[Filters]]:
    """One payload per layer of each image, as the codec makes them, and their filters.

    Args:
        images: padded uint8 B×3×H×W.
        samples: of each image, that its filters are fitted on; without them there are none.
    """
    fitting = Fitting(model, quality, [(sample, False) for sample in samples])

    def prepare(draw: Draw) -> EachFiltered | None:
        with clock.stage("filter"):
            return fitting.prepare(draw)

    with clock.stage("analysis"):  # and the part of the synthesis that it needs
        exact = model.posterior(images, quality, prepare=prepare if samples else None)
    posterior = clock.around(exact, "analysis")
    layers = model.layers_at(quality)
    recorder = _TimedRecorder(clock, model, quality, len(images))
    size = images.shape[-2], images.shape[-1]
    contents = [sample.content for sample in samples] or [size] * len(images)
    seen = torch.stack([seen_squares(content, size) for content in contents])
    coded = Coded(posterior, model.skip_index, seen, recorder)
    with clock.stage("priors"):
        prior = walk(model, size, quality, [coded] * len(layers), batch=len(images))
    if samples:
        with clock.stage("filter"):
            fitting.complete(partial(clock.around(exact, "synthesis").draw, prior.latents))
    return recorder.payloads(), [fitted.filters for fitted in fitting.results]


@torch.no_grad()
def decode(
    model: CodingModel,
    payloads: list[list[bytes]],
    size: tuple[int, int],
    quality: int,
    clock: Clock,
    filters: Sequence[Filters] = (),
) -> torch.Tensor:
    """uint8 B×3×H×W from whole payloads of B images; ``size``: padded height and width."""
    before, last = of_batch(filters)
    layers = [
        [clock.around(layer_decoder(payload), "entropy coding") for payload in layer]
        for layer in zip(*payloads, strict=True)
    ]
    sources = [_TimedStored(clock, model, coders) for coders in layers]
    with clock.stage("priors"):
        prior = walk(model, size, quality, sources, batch=len(payloads))
    for coder in itertools.chain(*layers):
        coder.finish()
    with clock.stage("synthesis"):
        return model.synthesize(prior.latents, quality, 1, prepared=before, finish=last)


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
    samples = [Sample.of(image[0], rgb.shape[:2])]
    encoded, decoded = [], []
    while repeat():
        clock = Clock(device)
        with clock.stage("transfers"):
            there = image.to(device)
        payloads, filters = encode(model, there, quality, clock, samples)
        encoded.append(dict(clock.seconds))
        clock = Clock(device)
        size = image.shape[-2], image.shape[-1]
        drawn = decode(model, payloads, size, quality, clock, filters)
        with clock.stage("transfers"):
            drawn.cpu()
        decoded.append(dict(clock.seconds))
    return encoded, decoded
