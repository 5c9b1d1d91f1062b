"""Which part of a picture is stored losslessly, and what the layers code in its place.

Three files are compared: the ordinary one; a *mixed* one, whose graphics are lossless and blurred
for the layers; and a *lossless* one, whose layers hold a sketch of next to no bytes. The cheapest
by bits + λ·squared error is taken. Where a size is given, the lossless one is if it fits, else the
one with the smallest error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from bitstream.container import (
    FLAG_GRAPHICS,
    GRAPHICS,
    HEADER_BYTES,
    LAYER,
    Chunk,
    Container,
)
from codec.decoding import decode_detailed
from codec.errors import TargetError
from codec.graphics import Graphics, pack_graphics
from codec.graphics_detection import BLOCK, block_sums, grow, lossless_bits, opened, to_pixels
from codec.measures import Measured
from codec.options import EncodeOptions
from codec.picture import Picture, to_pillow
from codec.picture_writing import seen_pixels
from codec.progress import split
from codec.search import STEPS, highest_within
from models.protocol import CodingModel

if TYPE_CHECKING:
    from codec.encoding import Encoded

Encoder = Callable[[Picture, EncodeOptions], "Encoded"]

#: Of this share of a picture on, graphics may make all of it lossless.
_MOSTLY = 1 / 4
#: Of the bytes of a lossless picture, how many its sketch may take.
_SKETCH_SHARE = 0.02
#: Radii of the blur of sketches, in pixels; the last try is the mean colour.
_SKETCH_BLURS = (8, 32)
_MIXED_BLUR = 24
#: Flat areas may cost this share of an ordinary file's cost more, to be exactly white or black.
_FLAT_BONUS = 0.04
#: A lossless file may cost so many bits more than another: tiny ones are hardly larger.
_EXACT_BONUS = 512


def wants_graphics(options: EncodeOptions, model: CodingModel) -> bool:
    """Whether a file may have a lossless part: it is the last thing of a file with all layers."""
    whole = options.layers in (None, len(model.layers)) and options.stages is None
    return options.graphics and whole


def encode_graphics(
    picture: Picture,
    blocks: np.ndarray,
    options: EncodeOptions,
    model: CodingModel,
    encode: Encoder,
) -> Encoded:
    """The best file of a picture with graphics in it.

    Args:
        blocks: as :func:`codec.graphics_detection.find_graphics` gives them.
        encode: makes the ordinary file of a picture.

    Raises:
        TargetError: no file is small enough.
    """
    height, width = picture.rgb.shape[:2]
    limit, goal = options.size_limit(height * width), None
    if options.goal is not None:
        name, least_value = options.goal
        original = seen_pixels(to_pillow(picture))
        goal = Measured(name, original, options.device), least_value
    plain, mixing, sketching = split(options.progress, [1.0, 1.0, 0.5])
    whole = pack_graphics(Graphics(picture.rgb)) if blocks.mean() >= _MOSTLY else None
    if limit is not None and whole is not None and len(whole) < limit:
        sketched = _sketched(picture, whole, options, len(model.layers), encode)
        if len(sketched.data) <= limit:
            return sketched

    def cost(encoded: Encoded, errors: np.ndarray) -> float:
        """In bits; where the size is given, the squared error alone; where a measure is to be
        reached, the bits alone."""
        if limit is not None:
            return float(errors.sum())
        if goal is not None:
            return 8 * len(encoded.data)
        return 8 * len(encoded.data) + float(_worth(model, encoded.quality) * errors.sum())

    best, least, failure = None, float("inf"), None
    chosen, flat = blocks, False
    try:
        best = encode(picture, replace(options, progress=plain))
        errors = _errors(picture.rgb, best.data, options.device)
        least = cost(best, errors)
        lost = errors * _worth(model, best.quality)
        chosen, flat = _worthwhile(picture.rgb, blocks, lost, 8 * len(best.data))
    except TargetError as error:
        failure = error
    if chosen.any() and not chosen.all():
        how = replace(options, progress=mixing)
        if goal is None:
            mixed = _mixed(picture, chosen, limit, how, encode)
        else:
            mixed = _mixed_reaching(picture, chosen, goal, how, encode)
        if mixed is not None:
            mixed_cost = cost(mixed, _errors(picture.rgb, mixed.data, options.device))
            if mixed_cost < least * (1 + _FLAT_BONUS if flat else 1):
                best, least = mixed, mixed_cost
    if limit is None and whole is not None and 8 * len(whole) < least + _EXACT_BONUS:
        sketched = _sketched(picture, whole, options, len(model.layers), encode)
        if 8 * len(sketched.data) < least + _EXACT_BONUS:
            best = sketched
    sketching(1.0)
    if best is None:
        assert failure is not None
        raise failure
    return best


def _mixed_reaching(
    picture: Picture,
    blocks: np.ndarray,
    goal: tuple[Measured, float],
    options: EncodeOptions,
    encode: Encoder,
) -> Encoded | None:
    """The smallest file with these blocks lossless that reaches a measure, or None."""
    measure, least = goal
    files: dict[int, Encoded | None] = {}

    def value(index: int) -> float:
        fixed = replace(
            options, target_psnr=None, target_ssimulacra2=None, quality=index / STEPS, progress=None
        )
        mixed = files[index] = _mixed(picture, blocks, None, fixed, encode)
        return measure(mixed.data) if mixed is not None else 0.0

    end = 100 * STEPS + 1
    below = np.nextafter(least, -np.inf)
    slope, start = measure.slope, end // 2
    index = 1 + highest_within(value, below, low=-1, high=end, slope=slope, start=start)
    if index < end and index not in files:
        value(index)
    return files.get(index)


def _mixed(
    picture: Picture,
    blocks: np.ndarray,
    limit: int | None,
    options: EncodeOptions,
    encode: Encoder,
) -> Encoded | None:
    """A file with these blocks lossless; None where it cannot be as small as the limit."""
    height, width = picture.rgb.shape[:2]
    payload = pack_graphics(Graphics(picture.rgb, to_pixels(blocks, height, width)))
    size = len(Chunk(GRAPHICS, payload).to_bytes())
    if limit is not None:
        if size >= limit:
            return None
        options = replace(options, target_bpp=None, target_bytes=limit - size)
    # Beside the rest of the picture errors count, for what is seen must not end in a seam.
    softened = to_pixels(~grow(~blocks), height, width)
    try:
        encoded = encode(
            replace(picture, rgb=soften(picture.rgb, blocks), replaced=softened), options
        )
    except TargetError:
        return None
    return _with_graphics(encoded, payload)


def soften(rgb: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """What the layers code of a mixed picture: graphics blurred, but for one block's width beside
    the rest, which keeps the border as it is; a blend of half a block follows."""
    height, width = rgb.shape[:2]
    rows, columns = blocks.shape
    kept = Image.fromarray(np.where(grow(~blocks), 255, 0).astype(np.uint8))
    ramp = kept.resize((columns * BLOCK, rows * BLOCK), Image.Resampling.BILINEAR)
    ramp = ramp.point([min(255, 2 * value) for value in range(256)]).crop((0, 0, width, height))
    image = Image.fromarray(rgb)
    blurred = image.filter(ImageFilter.BoxBlur(_MIXED_BLUR))
    return np.array(Image.composite(image, blurred, ramp))


def _sketched(
    picture: Picture, whole: bytes, options: EncodeOptions, layers: int, encode: Encoder
) -> Encoded:
    """A lossless file: u, of quality 0, is a sketch where that costs little; other layers are
    empty."""
    plain = EncodeOptions(
        quality=0,
        layers=1,
        filter=False,
        model=options.model,
        tune=options.tune,
        device=options.device,
        strip=options.strip,
        max_pixels=options.max_pixels,
    )
    image = Image.fromarray(picture.rgb)
    mean = np.rint(picture.rgb.mean(axis=(0, 1))).astype(np.uint8)
    sketches = [np.array(image.filter(ImageFilter.BoxBlur(radius))) for radius in _SKETCH_BLURS]
    for sketch in [*sketches, np.broadcast_to(mean, picture.rgb.shape)]:
        encoded = encode(replace(picture, rgb=sketch), plain)
        if encoded.layer_bytes[0] <= _SKETCH_SHARE * len(whole):
            break
    else:
        encoded = _with_layers(encoded, 0, 1)
    return _with_graphics(_with_layers(encoded, 1, layers), whole)


def _with_layers(encoded: Encoded, kept: int, count: int) -> Encoded:
    """The file with ``count`` layers, of which all but the first ``kept`` are empty."""
    container = Container.from_bytes(encoded.data)
    header = replace(container.header, layers=count)
    place = next(i for i, chunk in enumerate(container.chunks) if chunk.type == LAYER)
    empty = [Chunk(LAYER, b"")] * (count - kept)
    chunks = container.chunks
    chunks[place : place + len(container.layers)] = [*container.layers[:kept], *empty]
    data = header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
    sizes = (*encoded.layer_bytes[:kept], *[0] * (count - kept))
    return replace(encoded, data=data, layer_bytes=sizes)


def _with_graphics(encoded: Encoded, payload: bytes) -> Encoded:
    """The file with a lossless part after its last layer."""
    container = Container.from_bytes(encoded.data)
    header = replace(container.header, flags=container.header.flags | FLAG_GRAPHICS)
    end = container.layers[-1].end
    layers = encoded.data[HEADER_BYTES:end]
    part = Chunk(GRAPHICS, payload).to_bytes()
    data = header.to_bytes() + layers + part + encoded.data[end:]
    return replace(encoded, data=data, graphics_bytes=len(payload))


def _worth(model: CodingModel, quality: float) -> float:
    """Bits that a unit of squared error of one channel is worth."""
    return model.lagrangian(quality) / 3


def _worthwhile(
    rgb: np.ndarray, blocks: np.ndarray, lost: np.ndarray, bits: int
) -> tuple[np.ndarray, bool]:
    """All of the blocks, those that seem to gain by themselves, or the flat ones, whichever seem to
    gain most; and whether they are the flat ones.

    Beside the rest of the picture layers code what they would anyway. Elsewhere they are spared it,
    and the bits of a block are taken to be in proportion to its errors.

    Args:
        lost: what the errors of each block are worth in the ordinary file, in bits.
        bits: of that file.
    """
    cost = bits + float(lost.sum())
    spared = cost / max(1.0, float(lost.sum()))
    needed = lossless_bits(rgb)
    flat = opened(blocks & (needed <= 1))
    size = len(pack_graphics(Graphics(rgb, to_pixels(blocks, *rgb.shape[:2]))))
    needed *= 8 * size / max(1.0, needed[blocks].sum())

    def gains(chosen: np.ndarray) -> np.ndarray:
        return np.where(grow(~chosen), 1, spared) * lost - needed

    fewer = opened(blocks & (gains(blocks) >= 0))
    fewer = opened(fewer & (gains(fewer) >= 0))
    plans = [(float(gains(plan)[plan].sum()), plan) for plan in (blocks, fewer)]
    gain, plan = max(plans, key=lambda scored: scored[0])
    bonus = _FLAT_BONUS * cost if flat.any() else 0.0
    if gain < float(gains(flat)[flat].sum()) + bonus:
        return flat, True
    return plan, False


def _errors(rgb: np.ndarray, data: bytes, device: str) -> np.ndarray:
    """Squared errors of a file's picture in each block, summed over channels; of a range 0…1."""
    decoded = decode_detailed(data, device=device, max_pixels=None)
    shown = np.asarray(decoded.image.convert("RGB"))
    strips = []
    for top in range(0, len(rgb), 16 * BLOCK):
        rows = np.s_[top : top + 16 * BLOCK]
        difference = rgb[rows].astype(np.int32) - shown[rows]
        strips.append(block_sums(np.square(difference).sum(axis=2)))
    return np.concatenate(strips) / 255**2
