"""What a file says about itself, without decoding it (and without torch)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from bitstream.container import ALPHA, EXIF, ICC, MAGIC, XMP, Chunk, Container
from codec.errors import ArgumentError, CorruptError, ImageError, TruncatedError
from codec.limits import DEFAULT_MAX_PIXELS
from models.names import LAYER_NAMES, MODEL_IDS, stages_at

_MODEL_NAMES = {number: name for name, number in MODEL_IDS.items()}
_METADATA = {ICC: "icc", EXIF: "exif", XMP: "xmp", ALPHA: "alpha"}


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a file.

    ``end`` is the number of leading bytes that suffice to decode it; ``stages`` the number of
    stages it consists of, None for a model that this version does not know.
    """

    name: str
    bytes: int
    end: int
    stages: int | None


@dataclass(frozen=True)
class FileInfo:
    """A file's header and layout. ``bpp`` counts all bytes of the file, also ``appended_bytes``,
    which follow its end and are no part of it. ``filter_bytes``: of the fitted filter's
    coefficients, 0 without one; ``graphics_bytes``: of the lossless part, likewise."""

    width: int
    height: int
    bytes: int
    bpp: float
    model: str
    weights: str
    quality: float
    grey: bool
    layers: tuple[LayerInfo, ...]
    layers_declared: int
    metadata: dict[str, int]
    overhead_bytes: int
    complete: bool
    damage: str | None
    appended_bytes: int = 0
    filter_bytes: int = 0
    graphics_bytes: int = 0


def is_coded(source: object) -> bool:
    """Whether bytes or a file are .cci, whatever the name. What cannot be read is told by who reads
    it."""
    if isinstance(source, bytes):
        return source.startswith(MAGIC)
    if not isinstance(source, str | PathLike):
        return False
    try:
        with open(source, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_bytes(source: bytes | bytearray | memoryview | str | PathLike[str]) -> bytes:
    """Bytes of a file given as bytes or path. Raises ArgumentError, or ImageError where it cannot
    be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if not isinstance(source, str | PathLike):
        raise ArgumentError(f"a file is bytes or a path, not {type(source).__name__}")
    path = Path(source)
    try:
        return path.read_bytes()
    except IsADirectoryError as error:
        raise ImageError(f"{path}: is a folder, not a file") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def info(
    source: bytes | str | PathLike[str], *, max_pixels: int | None = DEFAULT_MAX_PIXELS
) -> FileInfo:
    """Describe a .cci file.

    Args:
        source: the file's bytes or its path.
        max_pixels: refuse files that declare more; None: no limit.

    Raises:
        codec.errors.CodecError: not a readable .cci file.
    """
    data = read_bytes(source)
    return describe(data, Container.from_bytes(data, max_pixels=max_pixels))


def require_whole(container: Container) -> None:
    """Raises CorruptError if a parsed file is damaged, TruncatedError if it is cut."""
    whole, declared = len(container.layers), container.header.layers
    if container.damage is not None:
        raise CorruptError(f"{container.damage}; {whole} of its {declared} layers are whole")
    if whole < declared:
        raise TruncatedError(f"the file is cut: {whole} of its {declared} layers are whole")
    if container.truncated:
        raise TruncatedError("the file is cut after its last layer, or has bytes after its end")
    if container.appended:
        raise CorruptError(
            f"{container.appended} bytes after the end of the file are no part of it"
        )


def stages_of(counts: Sequence[int], container: Container) -> list[int]:
    """Stages that each declared layer of a file holds.

    Args:
        counts: stages of the model's layers at the file's quality.
        container: with all that stands before the first layer.

    Raises:
        codec.errors.CorruptError: the file declares a number that its layers cannot hold.
    """
    stored = list(counts[: container.header.layers])
    if container.stages is not None:
        stored[-1] = container.stages - sum(stored[:-1])
    if not 1 <= stored[-1] <= counts[len(stored) - 1]:
        raise CorruptError(f"the file declares {sum(stored)} stages in {len(stored)} layers")
    return stored


def metadata_of(chunks: Iterable[Chunk]) -> dict[str, int]:
    """Bytes of each kind of metadata, and of the alpha plane."""
    return {_METADATA[c.type]: len(c.payload) for c in chunks if c.type in _METADATA}


def describe(data: bytes, container: Container) -> FileInfo:
    """What a parsed file contains."""
    header = container.header
    model = _MODEL_NAMES.get(header.model_id)
    stages = stages_of(stages_at(model, header.quality), container) if model else []
    layers = tuple(
        LayerInfo(
            LAYER_NAMES[i] if i < len(LAYER_NAMES) else f"layer{i}",
            len(chunk.payload),
            chunk.end,
            stages[i] if i < len(stages) else None,
        )
        for i, chunk in enumerate(container.layers)
    )
    payload = sum(len(chunk.payload) for chunk in container.chunks)
    end = container.chunks[-1].end
    return FileInfo(
        width=header.width,
        height=header.height,
        bytes=len(data),
        bpp=8 * len(data) / (header.width * header.height),
        model=model or f"unknown ({header.model_id})",
        weights=header.fingerprint.hex(),
        quality=header.quality,
        grey=header.grey,
        layers=layers,
        layers_declared=header.layers,
        metadata=metadata_of(container.chunks),
        overhead_bytes=end - payload,
        complete=not container.truncated and container.damage is None,
        damage=str(container.damage) if container.damage else None,
        appended_bytes=container.appended,
        filter_bytes=len(container.filter or b""),
        graphics_bytes=len(container.graphics or b""),
    )
