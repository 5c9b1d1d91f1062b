"""Bytes → image."""

from __future__ import annotations

import itertools
import warnings
import zlib
from dataclasses import dataclass
from os import PathLike
from typing import TypedDict, Unpack

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitstream.container import ALPHA, EXIF, ICC, XMP, Chunk, Container, Header
from bitstream.picture_filter import UNIT, unpack_filter
from bitstream.range_coder import LayerDecoder
from codec.errors import (
    ArgumentError,
    CorruptError,
    DamageWarning,
    ImageError,
    UnsupportedFileError,
)
from codec.image_io import Picture, to_pillow, unpack_alpha, unpack_metadata
from codec.inspection import read_bytes, require_whole, stages_of
from codec.installed import model_for_file
from codec.layer_coding import fill_rest, tables_of
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.progress import split
from models.picture_filter import PictureFilter
from models.protocol import CodingModel, LayerSpec, PriorState, Progress

FILLS = ("mean", "sample")


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    ``symbol_checksums`` holds the CRC-32 of each decoded layer's symbols (little-endian int32 in
    coding order): equal on every machine. ``stages`` of the ``stages_declared`` that the file
    declares are used. ``notes`` name what was missing or damaged; ``damaged``
    tells damage from a mere cut. ``filtered``: the file's fitted filter was applied.
    """

    image: Image.Image
    layers: int
    layers_declared: int
    stages: int
    stages_declared: int
    quality: int
    symbol_checksums: tuple[int, ...]
    notes: tuple[str, ...]
    damaged: bool = False
    filtered: bool = False


class DecodeOptions(TypedDict, total=False):
    """Options of :func:`decode`, explained at :func:`decode_detailed`."""

    layers: int | None
    stages: int | None
    fill: str
    seed: int
    temperature: float
    scale: int
    device: str
    max_pixels: int | None
    strict: bool
    progress: Progress | None


def decode(data: bytes | str | PathLike[str], **options: Unpack[DecodeOptions]) -> Image.Image:
    """Decode a .cci file (bytes or path); see :func:`decode_detailed` for the options.

    Warns:
        codec.errors.DamageWarning: a later layer or metadata is damaged and was left out. A file
            that is merely cut brings no warning: the layers that arrived are what was asked for.
    """
    result = decode_detailed(data, **options)
    if result.damaged:
        warnings.warn("; ".join(result.notes), DamageWarning, stacklevel=2)
    return result.image


@out_of_memory_as_limit
def decode_detailed(
    data: bytes | str | PathLike[str],
    *,
    layers: int | None = None,
    stages: int | None = None,
    fill: str = "mean",
    seed: int = 0,
    temperature: float = 1.0,
    scale: int = 1,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    strict: bool = False,
    progress: Progress | None = None,
) -> Decoded:
    """Decode a .cci file, whole or cut anywhere behind its first layer.

    Args:
        data: the file's bytes or its path.
        layers: use only the first so many layers; default all that arrived.
        stages: use only the first so many stages of those; a finer cut where the model's layers
            consist of several (:func:`codec.info` lists them).
        fill: how missing layers are completed: ``mean`` (smooth) or ``sample`` (drawn from the
            prior: invented detail).
        seed: makes samples reproducible.
        temperature: of the samples; 0 equals ``mean``.
        scale: 1, or 2 and 4 for the picture at half and quarter size (rounded up) without running
            the rest of the network.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: refuse files that declare more; None: no limit.
        strict: a file that is cut or damaged anywhere is an error, even where the layers before
            would give a picture.
        progress: called with the share done, 0…1.

    Raises:
        codec.errors.CodecError: unreadable or damaged file, bad argument, missing weights.
    """
    check_options(layers, stages, fill, seed, temperature, scale)
    container = Container.from_bytes(read_bytes(data), max_pixels=max_pixels)
    if strict:
        require_whole(container)
    header = container.header
    model = model_of(header, device)
    notes = arrival_notes(container)
    upto = model.layers_for_scale(scale)
    cut = Stages(model, container, stages)
    stored = container.layers[: cut.layers(upto, layers)]
    coding, drawing = split(progress, [1.0, 2.0])
    before = len(notes)
    while True:
        # The generator is made anew, so that a picture depends on the layers used and the seed.
        rng = fill_generator(fill, seed)
        try:
            latents, checksums = decode_layers(
                model,
                stored,
                header,
                upto=upto,
                stages=cut,
                rng=rng,
                temperature=temperature,
                progress=coding,
            )
            break
        except LayerError as error:
            if strict or error.index == 0:
                raise
            notes.append(error.note(header))
            stored = stored[: error.index]
    invented = rng is not None and temperature > 0
    finish = fitted_filter(container, cut, len(stored), notes, scale=scale, invented=invented)
    drawn = model.synthesize(latents, header.quality, scale, drawing, finish=finish)
    del latents  # of a large image, as much memory as the picture
    pixels = to_pixels(drawn, header, scale)
    del drawn
    picture = Picture(pixels, header.grey)
    add_side_data(picture, container, scale, notes)
    if strict and len(notes) > before:
        raise CorruptError("; ".join(notes[before:]))
    return Decoded(
        to_pillow(picture),
        len(stored),
        header.layers,
        cut.used(len(stored)),
        cut.declared,
        header.quality,
        checksums,
        tuple(notes),
        damaged=container.damage is not None or len(notes) > before,
        filtered=finish is not None,
    )


def check_options(
    layers: int | None,
    stages: int | None,
    fill: str,
    seed: int,
    temperature: float,
    scale: int,
) -> None:
    """Raises ArgumentError where an option of :func:`decode_detailed` is out of range."""
    if layers is not None and not 1 <= layers <= 3:
        raise ArgumentError(f"layers must be 1, 2 or 3, not {layers}")
    if stages is not None and stages < 1:
        raise ArgumentError(f"stages must be 1 or more, not {stages}")
    if fill not in FILLS:
        raise ArgumentError(f"fill must be mean or sample, not {fill!r}")
    if scale not in (1, 2, 4):
        raise ArgumentError(f"scale must be 1, 2 or 4, not {scale}")
    if seed < 0:
        raise ArgumentError(f"the seed must not be negative, not {seed}")
    if not 0 <= temperature <= 10:
        raise ArgumentError(f"the temperature must be between 0 and 10, not {temperature}")


def fill_generator(fill: str, seed: int) -> np.random.Generator | None:
    """What samples are drawn from; None for the mean."""
    return np.random.Generator(np.random.Philox(seed)) if fill == "sample" else None


def arrival_notes(container: Container) -> list[str]:
    """What of a file is missing or damaged, in words."""
    arrived, declared = len(container.layers), container.header.layers
    notes = []
    if container.damage is not None:
        kept = f"; {arrived} of {declared} layers are used" if arrived < declared else ""
        notes.append(f"{container.damage}{kept}")
    elif arrived < declared:
        notes.append(f"the file is cut: {arrived} of its {declared} layers are whole")
    elif container.truncated:
        notes.append("the file is cut behind its last layer: metadata is missing")
    elif container.appended:
        notes.append(f"{container.appended} bytes behind the end of the file are ignored")
    return notes


def model_of(header: Header, device: str) -> CodingModel:
    """The model that a file asks for. Raises CodecError where there is none, or an older one."""
    model = model_for_file(header.model_id, header.fingerprint, device)
    if header.layers > len(model.layers):
        raise UnsupportedFileError(
            f"the file declares {header.layers} layers: a newer program is needed"
        )
    return model


class Stages:
    """How many stages a file holds, and how many of them are used.

    Args:
        model: of the file.
        container: with all that stands before the first layer.
        asked: use only the first so many; None: all.

    Raises:
        CorruptError: the file declares a number that its layers cannot hold.
        ArgumentError: the model has not so many stages as are asked for.
    """

    def __init__(self, model: CodingModel, container: Container, asked: int | None) -> None:
        counts = [layer.stages for layer in model.layers_at(container.header.quality)]
        self._ends = list(itertools.accumulate(counts))
        if asked is not None and asked > self._ends[-1]:
            raise ArgumentError(
                f"a file of model {model.name} has {self._ends[-1]} stages at quality "
                f"{container.header.quality}, not {asked}"
            )
        self.declared = sum(stages_of(counts, container))
        self.asked = asked

    def layers(self, upto: int, layers: int | None) -> int:
        """How many layers, ``upto`` at most, are needed for what is asked."""
        needed = upto
        if self.asked is not None:
            needed = 1 + sum(end < self.asked for end in self._ends)
        return min(upto, layers or upto, needed)

    def used(self, layers: int) -> int:
        """How many stages are used of the first so many layers."""
        there = min(self._ends[layers - 1], self.declared)
        return there if self.asked is None else min(there, self.asked)

    @property
    def left_out(self) -> bool:
        """Whether the file itself declares fewer stages than the model has."""
        return self.declared < self._ends[-1]

    def whole(self, layers: int) -> bool:
        """Whether all stages of the first so many layers are used."""
        return self.used(layers) == self._ends[layers - 1]


def fitted_filter(
    container: Container,
    cut: Stages,
    layers: int,
    notes: list[str],
    *,
    scale: int,
    invented: bool,
) -> PictureFilter | None:
    """The filter for the picture at hand, if the file has one and it was fitted to this picture.

    That is the one of all stages that the file declares, in full size, with the prior's mean for
    what it leaves out. A malformed filter is left out with a note.

    Args:
        layers: how many are used.
        notes: where damage is noted.
        invented: missing stages are filled with samples.
    """
    payload = container.filter
    whole = layers == container.header.layers and cut.used(layers) == cut.declared
    if payload is None or not whole or scale > 1 or (invented and cut.left_out):
        return None
    try:
        return PictureFilter(unpack_filter(payload), UNIT)
    except CorruptError as error:
        notes.append(f"the picture's filter is left out: {error}")
        return None


class LayerError(CorruptError):
    """The data of layer number ``index`` decode to nothing, or to other symbols than encoded."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index

    def note(self, header: Header) -> str:
        """What is done without it."""
        return f"{self}; {self.index} of {header.layers} layers are used"


@torch.no_grad()
def decode_layers(
    model: CodingModel,
    stored: list[Chunk],
    header: Header,
    *,
    upto: int,
    stages: Stages | None = None,
    rng: np.random.Generator | None = None,
    temperature: float = 0.0,
    progress: Progress | None = None,
) -> tuple[list[Tensor], tuple[int, ...]]:
    """The loop of :mod:`models.protocol` with a range decoder, then with the fill.

    Returns:
        The latents of all stages of the first ``upto`` layers, and the checksum of each decoded
        layer.

    Raises:
        LayerError: a layer's data are wrong.
    """
    prior = start_prior(model, header)
    checksums = []
    layers = model.layers_at(header.quality)[:upto]
    parts = split(progress, [layer.density for layer in layers])
    for index, chunk in enumerate(stored):
        layer = layers[index]
        checksums.append(decode_layer(model, prior, layer, chunk.payload, parts[index], stages))
    fill_rest(layers, prior, rng, temperature, parts[len(stored) :])
    return prior.latents, tuple(checksums)


def start_prior(model: CodingModel, header: Header) -> PriorState:
    """The prior of a file's image, before its first layer."""
    multiple = model.size_multiple
    height, width = (side + -side % multiple for side in (header.height, header.width))
    return model.prior(height, width, header.quality)


def decode_layer(
    model: CodingModel,
    prior: PriorState,
    layer: LayerSpec,
    payload: bytes,
    progress: Progress | None = None,
    stages: Stages | None = None,
) -> int:
    """Walk ``prior`` through one stored layer, as far as ``stages`` says; the CRC-32 of its symbols
    as int32.

    Raises:
        LayerError: its data are wrong; the prior is then of no more use.
    """
    crc = 0
    try:
        coder = LayerDecoder(payload)
        tables = tables_of(model)
        for report in split(progress, [1.0] * (layer.stages * layer.steps)):
            if stages is not None and len(prior.latents) == stages.declared:
                break
            if stages is not None and len(prior.latents) == stages.asked:
                return crc
            scale_index = prior.predict().scale_index.cpu().numpy()
            symbols = coder.decode(scale_index, tables[len(prior.latents)])
            crc = zlib.crc32(symbols.astype("<i4").tobytes(), crc)
            prior.push(torch.from_numpy(symbols))
            report(1.0)
        coder.finish()
    except CorruptError as error:
        index = [each.name for each in model.layers].index(layer.name)
        raise LayerError(index, f"layer {layer.name}: {error}") from error
    return crc


def verify_symbols(container: Container, device: str, progress: Progress | None) -> None:
    """Decode the symbols of all layers of a parsed file. Raises LayerError where they are wrong."""
    header = container.header
    model = model_of(header, device)
    decode_layers(
        model,
        container.layers,
        header,
        upto=header.layers,
        stages=Stages(model, container, None),
        progress=progress,
    )


def to_pixels(drawn: Tensor, header: Header, scale: int) -> np.ndarray:
    """What a model draws, 3×H×W uint8, cropped to the image and as H×W×3."""
    height, width = -(-header.height // scale), -(-header.width // scale)
    return drawn[:, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()


def add_side_data(picture: Picture, container: Container, scale: int, notes: list[str]) -> None:
    """Alpha, ICC, EXIF, XMP. Damaged metadata is left out with a note: the picture is intact.

    Raises CorruptError for a damaged alpha plane, without which the picture would be another.
    """
    header = container.header

    def metadata(kind: bytes, name: str) -> bytes | None:
        payload = container.first(kind)
        if payload is None:
            return None
        try:
            return unpack_metadata(payload)
        except ImageError as error:
            notes.append(f"{name} left out: {error}")
            return None

    picture.icc = metadata(ICC, "ICC profile")
    picture.exif = metadata(EXIF, "EXIF")
    picture.xmp = metadata(XMP, "XMP")
    coded = container.first(ALPHA)
    if coded is not None:
        try:
            alpha = unpack_alpha(coded, header.width, header.height)
        except ImageError as error:
            raise CorruptError(str(error)) from error
        if scale > 1:
            height, width = picture.rgb.shape[:2]
            reduced = Image.fromarray(alpha, "L").resize((width, height), Image.Resampling.BOX)
            alpha = np.array(reduced)
        picture.alpha = alpha
