"""The walk through a model's prior, which encoder, decoder and generation share.

:func:`walk` is the loop drawn in :mod:`models.protocol`. What becomes known at each coding step is
the business of a *source*, one for each layer::

    Coded      the posterior means of an image, rounded; into a recorder: an encoder
    Stored     read from a file by range decoders: a decoder
    Analysed   the posterior means of an image as they are
    Given      latents that are known
    Filled     the prior's mean, or samples of it: what no file holds
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bitstream.range_coder import (
    SYMBOL_LIMIT,
    CodingTables,
    EmptyLayer,
    LayerDecoder,
    LayerEncoder,
)
from codec.progress import split
from models.protocol import CodingModel, LayerSpec, Posterior, Prediction, PriorState, Progress

#: Latents are multiples of 1 / n (see :class:`models.protocol.Prediction`).
_GRID = 2**10


class Source(Protocol):
    """Where the latents of a layer come from. Keeps state: one for each walk."""

    invents: bool
    """Whether nothing is known, so that there is nothing to correct either."""
    analysis: float
    """How long :meth:`begin` takes, as a multiple of the coding steps of its stage."""

    def begin(self, latents: Sequence[Tensor], progress: Progress) -> None:
        """A stage begins; the stages before it are ``latents``, each B×C×H×W in symbol units."""

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        """Push one coding step."""


@torch.no_grad()
def walk(
    model: CodingModel,
    size: tuple[int, int],
    quality: float,
    sources: Sequence[Source],
    progress: Progress | None = None,
    *,
    prior: PriorState | None = None,
    stages: int | None = None,
    batch: int = 1,
) -> PriorState:
    """Walk the prior through the first layers, as many as there are sources.

    Args:
        size: height and width of the image, any numbers.
        sources: of each layer in turn; a source may stand for several layers.
        progress: called with the share done.
        prior: a walk that was begun, to go on from where it stands: sources of what it has done
            are not asked.
        stages: end after n stages, counted over all layers; None: do all.
        batch: how many images of that size are walked at once.

    Returns:
        The prior, whose ``latents`` are those of all stages done.
    """
    if prior is None:
        height, width = (side + -side % model.size_multiple for side in size)
        prior = model.prior(height, width, quality, batch)
    layers = model.layers_at(quality)[: len(sources)]
    ends = itertools.accumulate(layer.stages for layer in layers)
    ahead = [
        (layer, source, end)
        for layer, source, end in zip(layers, sources, ends, strict=True)
        if end > len(prior.latents)
    ]
    parts = split(progress, [layer.density for layer, _, _ in ahead])
    for (layer, source, end), part in zip(ahead, parts, strict=True):
        last = end - layer.corrections if source.invents else end
        if stages is not None:
            last = min(last, stages)
        for report in split(part, [1.0] * (last - len(prior.latents))):
            beginning, *steps = split(report, [source.analysis] + [1 / layer.steps] * layer.steps)
            source.begin(prior.latents, beginning)
            for done in steps:
                source.step(prior, prior.predict())
                done(1.0)
        part(1.0)  # stages may have been left out
    return prior


class Analysed:
    """The posterior means of a batch of images, given the stages before.

    Args:
        posterior: of the images.
    """

    invents = False
    analysis = 1.0

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior
        self._asked = 0

    def begin(self, latents: Sequence[Tensor], progress: Progress) -> None:
        while self._asked <= len(latents):  # a recurrent posterior must see every stage
            self._target = self._posterior.target(latents[: self._asked], progress)
            self._asked += 1

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        _push(prior, prediction, self._target)


class Coded(Analysed):
    """The posterior means as a file stores them: rounded, and the prior's mean where a place
    stands for nothing that is seen.

    Args:
        posterior: of the images.
        skip_index: of the model.
        seen: which squares of 8×8 pixels show something of each image, bool B×H/8×W/8; None: all.
        recorder: takes the symbols down.
    """

    def __init__(
        self,
        posterior: Posterior,
        skip_index: int,
        seen: Tensor | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(posterior)
        self._skip_index, self._recorder = skip_index, recorder
        self._seen = None if seen is None or bool(seen.all()) else seen[:, None].float()

    def begin(self, latents: Sequence[Tensor], progress: Progress) -> None:
        super().begin(latents, progress)
        if self._seen is not None:
            squares = self._seen.shape[-1] // self._target.shape[-1]
            places = F.max_pool2d(self._seen, squares).to(self._target.device)
            self._shown = places.expand(self._target.shape)

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        stage = len(prior.latents)
        symbols = prior.gather(self._target).sub_(prediction.mean).round_()
        symbols.clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)
        symbols.mul_(prediction.scale_index > self._skip_index)
        if self._seen is not None:
            symbols.mul_(prior.gather(self._shown))
        prior.push(symbols)
        if self._recorder is not None:
            self._recorder.add(stage, symbols, prediction.scale_index)


class Recorder:
    """Range encoders of the layers of a file, or of a batch of them.

    Args:
        layers: that are stored.
        tables: of each stage.
        batch: how many files.
    """

    def __init__(
        self, layers: Sequence[LayerSpec], tables: Sequence[CodingTables], batch: int = 1
    ) -> None:
        self.coders = [[LayerEncoder() for _ in layers] for _ in range(batch)]
        self._layer = [i for i, layer in enumerate(layers) for _ in range(layer.stages)]
        self._tables = tables

    def add(self, stage: int, symbols: Tensor, scale_index: Tensor) -> None:
        """Append one coding step: symbols and scale indices, (B, N)."""
        # Together, so that a GPU is waited for once.
        both = self.fetch(torch.stack([symbols.to(torch.int16), scale_index.to(torch.int16)]))
        layer, tables = self._layer[stage], self._tables[stage]
        for coders, values, indices in zip(self.coders, *both, strict=True):
            coders[layer].encode(values, indices, tables)

    def fetch(self, values: Tensor) -> np.ndarray:
        """From the device to the host; a benchmark times it."""
        return values.cpu().numpy()

    def payloads(self) -> list[list[bytes]]:
        """What each file stores of each layer."""
        return [[coder.finish() for coder in coders] for coders in self.coders]


class Stored:
    """The symbols of one layer of a file, or of a batch of them.

    Args:
        coders: of the layer's payload in each file.
        tables: of each stage.

    Raises:
        CorruptError: from :meth:`step`; the walk's prior is then of no more use.
    """

    invents = False
    analysis = 0.0

    def __init__(
        self, coders: Sequence[LayerDecoder | EmptyLayer], tables: Sequence[CodingTables]
    ) -> None:
        self._coders, self._tables = coders, tables
        self.checksums = [0] * len(coders)
        """CRC-32 of each file's symbols so far as little-endian int32."""

    def begin(self, latents: Sequence[Tensor], progress: Progress) -> None:
        pass

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        tables = self._tables[len(prior.latents)]
        scale_index = self.fetch(prediction.scale_index)
        symbols = np.empty(scale_index.shape, dtype=np.int32)
        for number, (coder, indices) in enumerate(zip(self._coders, scale_index, strict=True)):
            symbols[number] = decoded = coder.decode(indices, tables)
            crc = self.checksums[number]
            self.checksums[number] = zlib.crc32(decoded.astype("<i4", copy=False).data, crc)
        prior.push(self.send(symbols, prediction.mean.device))

    def fetch(self, values: Tensor) -> np.ndarray:
        """From the device to the host; a benchmark times it."""
        return values.cpu().numpy()

    def send(self, symbols: np.ndarray, device: torch.device) -> Tensor:
        """From the host to the device; a benchmark times it."""
        return torch.from_numpy(symbols).to(device)


class Given:
    """Known latents of all stages from the first on, each B×C×H×W in symbol units."""

    invents = False
    analysis = 0.0

    def __init__(self, latents: Sequence[Tensor]) -> None:
        self._latents = latents

    def begin(self, latents: Sequence[Tensor], progress: Progress) -> None:
        self._target = self._latents[len(latents)]

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        _push(prior, prediction, self._target)


def _push(prior: PriorState, prediction: Prediction, latent: Tensor) -> None:
    """Push a step so that the latent becomes the given one, to the precision that latents have."""
    residual = prior.gather(latent) - prediction.mean
    prior.push(residual.mul_(_GRID).round_().div_(_GRID))


class Filled:
    """The prior's mean, or samples of it from ``rng`` (Gregor et al. 2016)."""

    invents = True
    analysis = 0.0

    def __init__(self, rng: np.random.Generator | None = None, temperature: float = 0.0) -> None:
        self._rng, self._temperature = rng, temperature

    def begin(self, latents: Sequence[Tensor], progress: Progress) -> None:
        pass

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        prior.push_fill(self._rng, self._temperature)


@lru_cache(maxsize=8)
def tables_of(model: CodingModel) -> tuple[CodingTables, ...]:
    """The range coder's tables of each stage of a model, built once; stages may share them."""
    built: dict[int, CodingTables] = {}
    for frequencies in model.frequencies:
        if id(frequencies) not in built:
            built[id(frequencies)] = CodingTables(frequencies, model.skip_index)
    return tuple(built[id(frequencies)] for frequencies in model.frequencies)


def pad_image(rgb: np.ndarray, multiple: int) -> Tensor:
    """uint8 H×W×3 → uint8 1×3×H'×W', sides extended by edge replication to a multiple."""
    height, width = rgb.shape[:2]
    if height % multiple or width % multiple:
        rgb = np.pad(rgb, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")
    writable = np.require(rgb, requirements="W")  # torch warns of memory it might write to
    return torch.from_numpy(writable).permute(2, 0, 1)[None]
