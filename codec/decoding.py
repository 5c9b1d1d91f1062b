"""Bytes → image."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from os import PathLike
from typing import TypedDict, Unpack

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitstream.container import ALPHA, EXIF, ICC, XMP, Chunk, Container
from bitstream.range_coder import CodingTables, LayerDecoder
from codec.encoding import tables_of
from codec.errors import (
    ArgumentError,
    CorruptError,
    DamageWarning,
    ImageError,
    UnsupportedFileError,
)
from codec.image_io import Picture, to_pillow, unpack_alpha, unpack_metadata
from codec.inspection import read_bytes
from codec.installed import model_for_file
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from models.protocol import CodingModel, LayerSpec, PriorState

FILLS = ("mean", "sample")


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    ``symbol_checksums`` holds the CRC-32 of each decoded layer's symbols (little-endian int32 in
    coding order): equal on every machine. ``notes`` name what was missing or damaged; ``damaged``
    tells damage from a mere cut.
    """

    image: Image.Image
    layers: int
    layers_declared: int
    quality: int
    symbol_checksums: tuple[int, ...]
    notes: tuple[str, ...]
    damaged: bool = False


class DecodeOptions(TypedDict, total=False):
    """Options of :func:`decode`, explained at :func:`decode_detailed`."""

    layers: int | None
    fill: str
    seed: int
    temperature: float
    scale: int
    device: str
    max_pixels: int | None


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
    fill: str = "mean",
    seed: int = 0,
    temperature: float = 1.0,
    scale: int = 1,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
) -> Decoded:
    """Decode a .cci file, whole or cut anywhere behind its first layer.

    Args:
        data: the file's bytes or its path.
        layers: use only the first so many layers; default all that arrived.
        fill: how missing layers are completed: ``mean`` (smooth) or ``sample`` (drawn from the
            prior: invented detail).
        seed: makes samples reproducible.
        temperature: of the samples; 0 equals ``mean``.
        scale: 1, or 2 and 4 for the picture at half and quarter size (rounded up) without running
            the rest of the network.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: refuse files that declare more; None: no limit.

    Raises:
        codec.errors.CodecError: unreadable or damaged file, bad argument, missing weights.
    """
    check_options(layers, fill, seed, temperature, scale)
    container = Container.from_bytes(read_bytes(data), max_pixels=max_pixels)
    header = container.header
    model = model_for_file(header.model_id, header.fingerprint, device)
    if header.layers > len(model.layers):
        raise UnsupportedFileError(
            f"the file declares {header.layers} layers: a newer one is needed"
        )
    notes = arrival_notes(container)
    upto = model.layers_for_scale(scale)
    stored = container.layers[: min(upto, layers or upto)]
    rng = np.random.Generator(np.random.Philox(seed)) if fill == "sample" else None
    latents, checksums = decode_layers(
        model,
        stored,
        (header.height, header.width),
        header.quality,
        upto=upto,
        rng=rng,
        temperature=temperature,
    )
    pixels = to_pixels(model.synthesize(latents, header.quality, scale), header, scale)
    picture = Picture(pixels, header.grey)
    before = len(notes)
    add_side_data(picture, container, scale, notes)
    return Decoded(
        to_pillow(picture),
        len(stored),
        header.layers,
        header.quality,
        checksums,
        tuple(notes),
        damaged=container.damage is not None or len(notes) > before,
    )


def check_options(layers: int | None, fill: str, seed: int, temperature: float, scale: int) -> None:
    """Raises ArgumentError where an option of :func:`decode_detailed` is out of range."""
    if layers is not None and not 1 <= layers <= 3:
        raise ArgumentError(f"layers must be 1, 2 or 3, not {layers}")
    if fill not in FILLS:
        raise ArgumentError(f"fill must be mean or sample, not {fill!r}")
    if scale not in (1, 2, 4):
        raise ArgumentError(f"scale must be 1, 2 or 4, not {scale}")
    if seed < 0:
        raise ArgumentError(f"the seed must not be negative, not {seed}")
    if not 0 <= temperature <= 10:
        raise ArgumentError(f"the temperature must be between 0 and 10, not {temperature}")


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
    return notes


@torch.no_grad()
def decode_layers(
    model: CodingModel,
    stored: list[Chunk],
    size: tuple[int, int],
    quality: int,
    *,
    upto: int,
    rng: np.random.Generator | None,
    temperature: float,
) -> tuple[list[Tensor], tuple[int, ...]]:
    """The loop of :mod:`models.protocol` with a range decoder, then with the fill.

    Returns:
        The latents of the first ``upto`` layers, and the checksum of each decoded layer.
    """
    height, width = (side + -side % model.size_multiple for side in size)
    prior = model.prior(height, width, quality)
    tables = tables_of(model)
    latents: list[Tensor] = []
    checksums = []
    for index, layer in enumerate(model.layers[:upto]):
        if index < len(stored):
            checksums.append(decode_layer(prior, layer, tables, stored[index].payload))
        else:
            fill_layer(prior, layer, rng, temperature)
        latents.append(prior.latent)
    return latents, tuple(checksums)


def decode_layer(prior: PriorState, layer: LayerSpec, tables: CodingTables, payload: bytes) -> int:
    """Walk ``prior`` through one stored layer; the CRC-32 of its symbols as int32.

    Raises CorruptError where the symbols are not those that were encoded.
    """
    coder = LayerDecoder(tables, payload)
    crc = 0
    for _ in range(layer.steps):
        symbols = coder.decode(prior.predict().scale_index.cpu().numpy())
        crc = zlib.crc32(symbols.astype("<i4").tobytes(), crc)
        prior.push(torch.from_numpy(symbols))
    try:
        coder.finish()
    except CorruptError as error:
        raise CorruptError(f"layer {layer.name}: {error}") from error
    return crc


def fill_layer(
    prior: PriorState, layer: LayerSpec, rng: np.random.Generator | None, temperature: float
) -> None:
    """Walk ``prior`` through one missing layer."""
    for _ in range(layer.steps):
        prior.predict()
        prior.push_fill(rng, temperature)


def to_pixels(drawn: Tensor, header, scale: int) -> np.ndarray:
    height, width = -(-header.height // scale), -(-header.width // scale)
    cropped = drawn[:, :height, :width].permute(1, 2, 0)
    return cropped.mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()


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
