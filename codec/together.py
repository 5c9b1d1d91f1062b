"""Many images at once: those of one padded size and quality are coded in one walk.

A GPU is busy only with several small images at a time, and waits for the processor once per coding
step of a batch instead of once per image. On a CPU the wider products of small images pay too, and
the files are the same to the last byte, as are the pictures. On a GPU files of a batch decode
alike, but may differ in single symbols (docs/decisions/0030-batches.md).

What needs more than one pass or a random draw is coded one by one: targets, effort above 1,
graphics, regions, samples, and files that are cut or damaged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Generic, TypeVar, Unpack

import torch
from PIL import Image

from bitstream.container import Container
from bitstream.range_coder import layer_decoder
from codec.decoding import Decoded, Decoder, decode_with, warn_of
from codec.decoding_plan import Plan
from codec.encoding import (
    Encoded,
    ImageEncoder,
    analysed_picture,
    encode_together,
    encode_with,
    encode_with_graphics,
    rung_of,
)
from codec.errors import CodecError, naming
from codec.filters import of_batch
from codec.inspection import read_bytes, require_whole
from codec.installed import get_model, resolve_device
from codec.limits import out_of_memory_as_limit
from codec.options import DecodeKeywords, DecodeOptions, EncodeKeywords, EncodeOptions
from codec.picture_reading import ImageLike
from codec.walk import Filled, Source, Stored, tables_of, walk
from models.protocol import PriorState, Progress

#: Pixels of a batch. On a CPU more no longer fit into its caches; what suits a GPU is a guess, see
#: docs/decisions/0030-batches.md.
CPU_PIXELS, GPU_PIXELS = 2**19, 2**25
#: Images of a batch, however small.
MOST_IMAGES = 128
#: Batches whose images wait for others of their size.
MOST_WAITING = 4

File = bytes | str | PathLike[str]
Item = TypeVar("Item")
Subject = TypeVar("Subject")
Result = TypeVar("Result")


def encode_batch(
    images: Sequence[ImageLike | bytes], **options: Unpack[EncodeKeywords]
) -> list[bytes]:
    """Encode images as :func:`codec.encode` does one; on a CPU to the same files.

    Args:
        images: of any sizes; those that have the same size after padding to multiples of 64 are
            coded together.
        options: explained at :class:`codec.options.EncodeOptions`; of all images. ``progress`` is
            called with the share of the images done.

    Returns:
        The bytes of a .cci file for each image, in order.

    Raises:
        codec.errors.CodecError: as :func:`codec.encode`, of the first image that cannot be encoded;
            the message begins with its number, counted from 1.
    """
    given = EncodeOptions.of("encode_batch", options)
    return [encoded.data for encoded in _in_order(encode_each(images, given), len(images))]


def decode_batch(files: Sequence[File], **options: Unpack[DecodeKeywords]) -> list[Image.Image]:
    """Decode .cci files (bytes or paths) as :func:`codec.decode` does one, to the same pictures.

    Args:
        files: of any sizes and qualities; those alike are decoded together.
        options: explained at :class:`codec.options.DecodeOptions`; of all files. ``progress`` is
            called with the share of the files done.

    Returns:
        The image of each file, in order.

    Raises:
        codec.errors.CodecError: as :func:`codec.decode`, of the first file that cannot be decoded;
            the message begins with its number, counted from 1.

    Warns:
        As :func:`codec.decode`.
    """
    given = DecodeOptions.of("decode_batch", options)
    results = _in_order(decode_each(files, given), len(files))
    if given.warn:
        for result in results:
            warn_of(result, stacklevel=3)
    return [result.image for result in results]


def images_at_once(pixels: int, device: torch.device) -> int:
    """How many images of so many padded pixels make up a batch."""
    room = CPU_PIXELS if device.type == "cpu" else GPU_PIXELS
    return max(1, min(MOST_IMAGES, room // pixels))


def encode_each(
    images: Sequence[ImageLike | bytes], options: EncodeOptions
) -> Iterator[tuple[int, Encoded | CodecError]]:
    """Number and result of each image, as they get done: not in order.

    Raises:
        CodecError: no image can be encoded with these options.
    """
    model, device = get_model(options.weights, options.device), resolve_device(options.device)
    options.check_model(model)
    alone = options.has_target or options.effort > 1
    single, multiple = replace(options, progress=None), model.size_multiple

    @out_of_memory_as_limit
    def prepare(image: ImageLike | bytes) -> Encoded | _Waiting[ImageEncoder]:
        if alone:
            return encode_with(image, single)
        picture, blocks = analysed_picture(image, single, model)
        if blocks is not None:
            return encode_with_graphics(picture, blocks, single, model)
        encoder = ImageEncoder(picture, model, single)
        height, width = (side + -side % multiple for side in encoder.size)
        room = images_at_once(height * width, device)
        return _Waiting(encoder, (height, width), room)

    @out_of_memory_as_limit
    def work(encoders: Sequence[ImageEncoder]) -> Sequence[Encoded]:
        # A group may be taken up again in halves, which need their images.
        return encode_together(encoders, rung_of(single, model), last=len(encoders) == 1)

    return _grouped(images, prepare, work, options.progress)


def decode_each(
    files: Sequence[File], options: DecodeOptions
) -> Iterator[tuple[int, Decoded | CodecError]]:
    """Number and result of each file, as they get done: not in order."""
    single, device = replace(options, progress=None), resolve_device(options.device)

    def planned(data: bytes) -> tuple[Decoder, Plan | None]:
        container = Container.from_bytes(data, max_pixels=options.max_pixels)
        if options.strict:
            require_whole(container)
        decoder = Decoder(container, single)
        return decoder, decoder.plan()

    @out_of_memory_as_limit
    def prepare(file: File) -> Decoded | _Waiting[bytes]:
        data = read_bytes(file)
        _, plan = planned(data)
        if plan is None:
            return decode_with(data, single)
        return _Waiting(data, plan, images_at_once(plan.pixels, device))

    def work(files: Sequence[bytes]) -> Sequence[Decoded]:
        if len(files) == 1:  # damage in it is a note
            return [decode_with(files[0], single)]
        decoders, plans = zip(*map(planned, files), strict=True)
        return _decode_together(decoders, plans[0])

    return _grouped(files, prepare, work, options.progress)


@dataclass(frozen=True)
class _Waiting(Generic[Subject]):
    """What waits for others that are like it, until there are ``room`` of them."""

    subject: Subject
    like: Hashable
    room: int


def _grouped(
    items: Sequence[Item],
    prepare: Callable[[Item], Result | _Waiting[Subject]],
    work: Callable[[Sequence[Subject]], Sequence[Result]],
    progress: Progress | None,
) -> Iterator[tuple[int, Result | CodecError]]:
    """Prepare items one after the other, and work on those that wait as soon as they are enough,
    or as :data:`MOST_WAITING` batches wait in all."""
    groups: dict[Hashable, list[tuple[int, Subject]]] = defaultdict(list)
    rooms: dict[Hashable, int] = {}
    done = 0

    def finished(
        results: Sequence[tuple[int, Result | CodecError]],
    ) -> Sequence[tuple[int, Result | CodecError]]:
        nonlocal done
        done += len(results)
        if progress is not None:
            progress(done / len(items))
        return results

    def worked(group: list[tuple[int, Subject]]) -> Sequence[tuple[int, Result | CodecError]]:
        numbers, subjects = [number for number, _ in group], [subject for _, subject in group]
        group.clear()
        return finished(list(zip(numbers, _divided(work, subjects), strict=True)))

    for number, item in enumerate(items):
        ready = _attempt(prepare, item)
        if not isinstance(ready, _Waiting):
            yield from finished([(number, ready)])
            continue
        group, rooms[ready.like] = groups[ready.like], ready.room
        group.append((number, ready.subject))
        if len(group) >= ready.room:
            yield from worked(group)
        elif sum(len(groups[like]) / room for like, room in rooms.items()) >= MOST_WAITING:
            yield from worked(max(groups.values(), key=len))
    for group in groups.values():
        if group:
            yield from worked(group)


def _divided(
    work: Callable[[Sequence[Subject]], Sequence[Result]], subjects: Sequence[Subject]
) -> list[Result | CodecError]:
    """Results of a group; where there is an error, of its halves: there may be too little memory
    for all at once, and which one else it is about shows alone."""
    try:
        return [*work(subjects)]
    except CodecError as error:
        if len(subjects) == 1:
            return [error]
    # Not in the handler: its traceback keeps what the group has in memory.
    middle = len(subjects) // 2
    return [*_divided(work, subjects[:middle]), *_divided(work, subjects[middle:])]


def _attempt(work: Callable[[Item], Result], item: Item) -> Result | CodecError:
    try:
        return work(item)
    except CodecError as error:
        return error


def _in_order(results: Iterator[tuple[int, Result | CodecError]], count: int) -> list[Result]:
    """All results. Raises the error of the first that has none."""
    found = dict(results)
    ordered = []
    for number in range(count):
        result = found[number]
        if isinstance(result, CodecError):
            with naming(f"number {number + 1} of {count}"):
                raise result
        ordered.append(result)
    return ordered


@out_of_memory_as_limit
@torch.no_grad()
def _decode_together(decoders: Sequence[Decoder], plan: Plan) -> list[Decoded]:
    """Decode whole files of one plan. Raises CodecError where any of them cannot be."""
    model, prior = plan.model, None
    checksums: list[list[int]] = [[] for _ in decoders]
    for index, end in enumerate(plan.ends):
        coders = [layer_decoder(decoder.payload(index)) for decoder in decoders]
        source = Stored(coders, tables_of(model))
        prior = _walked(plan, [source] * (index + 1), prior, len(decoders), end)
        for coder, crc, each in zip(coders, source.checksums, checksums, strict=True):
            if plan.whole[index]:
                coder.finish()
            each.append(crc)
    prior = _walked(plan, [Filled()] * plan.upto, prior, len(decoders))
    latents = prior.latents
    del prior  # its maps are no longer needed
    filters = [decoder.take(crcs) for decoder, crcs in zip(decoders, checksums, strict=True)]
    before, last = of_batch(filters)
    drawn = model.synthesize(latents, plan.quality, plan.scale, prepared=before, finish=last)
    pixels = drawn.permute(0, 2, 3, 1).contiguous().cpu().numpy()  # (B, H, W, 3)
    for decoder, picture in zip(decoders, pixels, strict=True):
        decoder.take_pixels(picture)
    return [decoder.finish() for decoder in decoders]


def _walked(
    plan: Plan,
    sources: Sequence[Source],
    prior: PriorState | None,
    batch: int,
    stages: int | None = None,
) -> PriorState:
    size, quality = plan.size, plan.quality
    return walk(plan.model, size, quality, sources, prior=prior, stages=stages, batch=batch)
