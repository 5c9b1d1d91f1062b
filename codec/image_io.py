"""Images in and out: anything Pillow reads ↔ RGB pixels, alpha and metadata."""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from bitstream.container import MAGIC, padded_pixels
from codec.colour import pixels_to_srgb, to_srgb
from codec.errors import ArgumentError, CodecError, ImageError, LimitError
from codec.limits import NEVER_READ

ImageLike = Image.Image | np.ndarray | str | PathLike[str]


@dataclass
class Picture:
    """Pixels as the codec wants them.

    ``rgb`` is uint8 H×W×3; for grey pictures the three channels are equal. ``alpha`` is uint8 H×W.
    ``notes`` say what was changed on the way in. ``replaced``, bool H×W, are the pixels that a
    lossless part will replace, so that their errors do not count.
    """

    rgb: np.ndarray
    grey: bool = False
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: list[str] = field(default_factory=list)
    replaced: np.ndarray | None = None


def load_picture(source: ImageLike | bytes, *, max_pixels: int | None) -> Picture:
    """Read an image from a path, coded bytes, a PIL image or a uint8 array H×W×3 (or ×4, or H×W).

    EXIF orientation is applied. Raises ArgumentError, ImageError, LimitError.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _load(source, "the image", max_pixels)
    if not isinstance(source, bytes | str | PathLike):
        raise ArgumentError(
            "an image is a path, coded bytes, a PIL image or a uint8 array, "
            f"not {type(source).__name__}"
        )
    name = "the data" if isinstance(source, bytes) else str(source)
    if source == b"":
        raise ImageError(f"{name}: is empty")
    stream = io.BytesIO(source) if isinstance(source, bytes) else _open(Path(source))
    with stream, _pillow_limit.of(max_pixels):
        try:
            # Where the Pillow plugin is loaded, Pillow reads our own files as well.
            ours = stream.read(len(MAGIC)) == MAGIC
            stream.seek(0)
            image = None if ours else Image.open(stream)
        except _BOMBS as error:
            raise _too_large(name, max_pixels) from error
        except Exception as error:
            raise ImageError(f"{name}: is not an image Pillow can read") from error
        if image is None:
            raise ImageError(f"{name}: is a .cci file already; decode it first")
        with image:
            if image.format in NEVER_READ:
                raise ImageError(f"{name}: is PostScript, a program; convert it to an image first")
            return _load(image, name, max_pixels)


def _load(image: Image.Image, name: str, max_pixels: int | None) -> Picture:
    _check_size(image.size, name, max_pixels)
    _check_tiles(image, name, max_pixels)
    sixteen = _is_16_bit(image)  # before loading, which forgets how the samples were stored
    try:
        image.load()
        _check_size(image.size, name, max_pixels)  # the PNG in an icon may be larger than declared
        return _from_pillow(image, name, sixteen)
    except CodecError:
        raise
    except _BOMBS as error:
        raise _too_large(name, max_pixels) from error
    except Exception as error:
        raise ImageError(f"{name}: the image is damaged ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """In one line. Pillow's plugins raise anything, some of it without a word."""
    return " ".join(str(error).split()) or type(error).__name__


class _PillowLimit:
    """Pillow's fixed pixel limit, replaced by the highest that any thread is reading with.

    Pillow checks it not only against the size a file declares, but also against what is inside:
    the PNG in an icon, the tiles of a TIFF. It refuses what has more than twice as many pixels.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: list[int | None] = []
        self._before: int | None = None

    @contextmanager
    def of(self, max_pixels: int | None) -> Iterator[None]:
        with self._lock:
            if not self._reading:
                self._before = Image.MAX_IMAGE_PIXELS
            self._reading.append(max_pixels)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._reading.remove(max_pixels)
                self._set()

    def _set(self) -> None:
        limits = [limit for limit in self._reading if limit is not None]
        if not self._reading:
            Image.MAX_IMAGE_PIXELS = self._before
        else:
            Image.MAX_IMAGE_PIXELS = max(limits) if len(limits) == len(self._reading) else None


_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_pillow_limit = _PillowLimit()


def _open(path: Path) -> io.BufferedReader:
    try:
        if os.path.isdir(path):
            raise ImageError(f"{path}: is a folder; give the files in it or use --recursive")
        file = path.open("rb")
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            file.close()
            raise ImageError(f"{path}: the file is empty")
        return file
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _too_large(name: str, max_pixels: int | None) -> LimitError:
    return LimitError(
        f"{name}: more pixels would have to be unpacked than the limit of {max_pixels} allows; "
        "raise it with --max-pixels (max_pixels=…)"
    )


def _check_size(size: tuple[int, int], name: str, max_pixels: int | None) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width}×{height})")
    if max_pixels is not None and padded_pixels(width, height) > max_pixels:
        raise LimitError(
            f"{name}: has {width}×{height} pixels, more than the limit of {max_pixels} (sides "
            "rounded up to multiples of 64); raise it with --max-pixels (max_pixels=…)"
        )


def _check_tiles(image: Image.Image, name: str, max_pixels: int | None) -> None:
    """A small TIFF may declare a tile for which libtiff takes two gigabytes."""
    tags = getattr(image, "tag_v2", {})
    width, length = tags.get(_TILE_WIDTH), tags.get(_TILE_LENGTH)
    if max_pixels is None or not isinstance(width, int) or not isinstance(length, int):
        return
    if width * length > max_pixels:
        raise _too_large(name, max_pixels)


_TILE_WIDTH, _TILE_LENGTH = 322, 323


def _from_array(array: np.ndarray, max_pixels: int | None) -> Picture:
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise ImageError(
            f"the array has dtype {array.dtype} and shape {array.shape}; uint8 H×W×3 is needed"
        )
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise ImageError(f"the array has {array.shape[2]} channels; 1, 3 or 4 are needed")
    _check_size((array.shape[1], array.shape[0]), "the array", max_pixels)
    if array.ndim == 2 or array.shape[2] == 1:
        grey = array.reshape(array.shape[:2])
        return Picture(np.repeat(grey[:, :, None], 3, axis=2), grey=True)
    alpha = np.ascontiguousarray(array[:, :, 3]) if array.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(array[:, :, :3]), alpha=alpha)


def _from_pillow(image: Image.Image, name: str, sixteen: bool) -> Picture:
    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"only the first of {frames} frames is kept")
    image, exif = _upright(image, notes)
    icc = image.info.get("icc_profile")
    xmp = image.info.get("xmp")  # after _upright, which takes the orientation out of it as well
    if image.mode.startswith("I") or image.mode == "F":
        image, sixteen = _reduce_depth(image, name)
    if sixteen:
        notes.append("16-bit samples were reduced to 8 bits")
    if image.mode == "CMYK":
        shown = to_srgb(image, icc)
        converted = shown is not None
        # With an unusable profile the plain conversion is what viewers do.
        image = shown or image.convert("RGB")
        icc = None  # it described the CMYK values
        notes.append("converted from CMYK" + (" by its ICC profile to sRGB" if converted else ""))
    alpha = None
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        grey_alpha = image.mode in ("L", "LA", "La", "1")
        image = image.convert("RGBA").convert("LA") if grey_alpha else image.convert("RGBA")
        alpha = np.array(image.getchannel("A"))
    grey = image.mode in ("1", "L", "LA")
    try:
        rgb = np.array(image.convert("L").convert("RGB") if grey else image.convert("RGB"))
    except ValueError as error:
        raise ImageError(f"{name}: mode {image.mode} cannot be converted to RGB") from error
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return Picture(rgb, grey, alpha, icc or None, exif, xmp or None, notes)


def _upright(image: Image.Image, notes: list[str]) -> tuple[Image.Image, bytes | None]:
    """Apply the EXIF orientation; the EXIF data without it, or None."""
    try:
        exif = image.getexif()
        if not exif:
            return image, None
        turned = ImageOps.exif_transpose(image)
        exif = turned.getexif()
        exif.pop(0x0112, None)
        return turned, exif.tobytes() if exif else None
    except Exception:  # noqa: BLE001 - damaged EXIF must not cost the picture
        notes.append("EXIF left out: it is damaged")
        return image, None


def _is_16_bit(image: Image.Image) -> bool:
    """Whether samples are stored in 16 bits; Pillow reduces colour ones silently on loading."""
    if image.mode.startswith("I;16"):
        return True
    for entry in getattr(image, "tile", None) or []:
        parts = (entry[3],) if isinstance(entry[3], str) else entry[3] or ()
        if any(isinstance(part, str) and ";16" in part for part in parts):
            return True
    return image.info.get("bits") == 16


def _reduce_depth(image: Image.Image, name: str) -> tuple[Image.Image, bool]:
    """16-bit, 32-bit and floating-point grey → 8 bits, and whether depth was lost."""
    values = np.array(image)
    if image.mode == "F":
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
            raise ImageError(
                f"{name}: floating-point pixels outside 0…255; convert the image first"
            )
        if 0 < values.max() <= 1:
            raise ImageError(f"{name}: floating-point pixels of 0…1; convert the image to 8 bits")
        return Image.fromarray(np.round(values).astype(np.uint8), "L"), False
    deep = image.mode.startswith("I;16") or values.max() > 255
    wide = np.clip(values.astype(np.int64), 0, 65535)
    reduced = ((wide * 255 + 32767) // 65535 if deep else wide).astype(np.uint8)
    grey = Image.fromarray(reduced, "L")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # the one 16-bit value that is see-through
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey, bool(deep)


def convert_to_srgb(picture: Picture) -> None:
    """Apply the ICC profile of a picture, which is then no longer needed. A profile that cannot be
    used stays, with a note."""
    if picture.icc is None:
        return
    rgb = pixels_to_srgb(picture.rgb, picture.icc, grey=picture.grey)
    if rgb is None:
        picture.notes.append("not converted to sRGB: the ICC profile cannot be used, and is kept")
        return
    picture.rgb, picture.icc = rgb, None
    picture.notes.append("converted to sRGB by the ICC profile")


def reduce_to_side(picture: Picture, max_side: int) -> None:
    """Reduce a picture whose longer side has more pixels to that many, with a note."""
    height, width = picture.rgb.shape[:2]
    longer = max(height, width)
    if longer <= max_side:
        return
    size = max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))  # what is not seen must not tint the edges
    reduced = np.array(image.resize(size, Image.Resampling.LANCZOS))
    picture.rgb = np.ascontiguousarray(reduced[:, :, :3])
    picture.alpha = None if picture.alpha is None else np.ascontiguousarray(reduced[:, :, 3])
    picture.notes.append(f"reduced from {width}×{height} to {size[0]}×{size[1]} pixels")


# -- out -------------------------------------------------------------------------------------------


def to_pillow(picture: Picture) -> Image.Image:
    """RGB, L, RGBA or LA image with ``info`` filled."""
    if picture.grey:
        image = Image.fromarray(np.round(picture.rgb.mean(axis=2)).astype(np.uint8), "L")
    else:
        image = Image.fromarray(picture.rgb, "RGB")
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha, "L"))
    for key, value in (("icc_profile", picture.icc), ("exif", picture.exif), ("xmp", picture.xmp)):
        if value:
            image.info[key] = value
    return image


#: Formats whose files have a quality.
_WITH_QUALITY = ("JPEG", "WEBP", "AVIF", "JXL")


def check_writable(suffix: str, quality: int | None = None) -> str:
    """Pillow's name of the format of a suffix. Raises ArgumentError if it cannot be written, or not
    with a quality."""
    form = Image.registered_extensions().get(suffix.lower())
    if form is None or form not in Image.SAVE:
        name = f"{suffix!r} is" if suffix else "a name without a suffix is"
        raise ArgumentError(f"{name} not an image format Pillow can write; try .png")
    if quality is not None and form not in _WITH_QUALITY:
        raise ArgumentError(
            f"{suffix} files have no quality; leave out --output-quality, or write .jpg, .webp or "
            ".avif"
        )
    return form


def coded_image(
    image: Image.Image, suffix: str, *, quality: int | None = None
) -> tuple[bytes, list[str]]:
    """The image in the format of a file name's suffix, and notes on what did not fit into it.

    Metadata goes along where the format takes it. ``quality``: as of
    :class:`codec.options.SaveOptions`.

    Raises:
        ArgumentError: the format has no quality.
        ImageError: Pillow cannot write that format, or not this kind of image.
    """
    form = check_writable(suffix, quality)
    metadata = {k: image.info[k] for k in ("icc_profile", "exif", "xmp") if k in image.info}
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    if quality is not None:
        options["quality"] = quality
    notes = []
    if form in _WITHOUT_ALPHA and image.mode in ("LA", "RGBA"):
        if image.getchannel("A").getextrema() != (255, 255):
            notes.append(f"laid over white: {suffix} holds no transparency")
        image = over_white(image)
    if form == "PNG" and "xmp" in metadata:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", metadata.pop("xmp").decode("utf-8", "replace"))
        options["pnginfo"] = text
    try:
        return _save(image, form, options | metadata), notes
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything
        reason = _reason(error)
    options.pop("pnginfo", None)
    notes.append(f"metadata left out: {suffix} refused it ({reason})")
    try:
        return _save(image, form, options), notes
    except Exception as error:
        raise ImageError(
            f"{suffix}: cannot hold this {image.mode} image ({_reason(error)})"
        ) from error


def _save(image: Image.Image, form: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    plain = image.copy()
    plain.info = {}  # what to write is said by the options alone
    plain.save(buffer, form, **options)
    return buffer.getvalue()


#: Pillow refuses transparent images for these, or drops their alpha without a word.
_WITHOUT_ALPHA = ("JPEG", "MPO", "BMP", "DIB", "PPM", "PCX", "EPS")


def over_white(image: Image.Image) -> Image.Image:
    """Lay a transparent image over white, L or RGB."""
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image.convert("RGBA"))
    return flat.convert("L" if image.mode == "LA" else "RGB")


# -- lossless side data ----------------------------------------------------------------------------


def pack_alpha(alpha: np.ndarray) -> bytes:
    """Lossless alpha plane, as a PNG image of mode L."""
    buffer = io.BytesIO()
    Image.fromarray(alpha, "L").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def unpack_alpha(data: bytes, width: int, height: int) -> np.ndarray:
    """Inverse of :func:`pack_alpha`. Raises ImageError on other data."""
    try:
        with open_stored(data, "PNG", width * height) as image:
            if image.size != (width, height):
                raise ImageError("the alpha plane has another size than the image")
            return np.array(image.convert("L"))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"the alpha plane is damaged ({error})") from error


@contextmanager
def open_stored(data: bytes, form: str, pixels: int) -> Iterator[Image.Image]:
    """An image of so many pixels in Pillow's format ``form``. Raises anything."""
    with _pillow_limit.of(pixels), Image.open(io.BytesIO(data), formats=[form]) as image:
        yield image


def pack_metadata(data: bytes) -> bytes:
    """Deflate, since profiles and XMP shrink to a fraction."""
    return zlib.compress(data, 9)


def unpack_metadata(data: bytes, limit: int = 2**26) -> bytes:
    """Inverse of :func:`pack_metadata`; never more than ``limit`` bytes. Raises ImageError."""
    try:
        unpacker = zlib.decompressobj()
        out = unpacker.decompress(data, limit)
    except zlib.error as error:
        raise ImageError(f"a metadata chunk is damaged ({error})") from error
    if not unpacker.eof:
        raise ImageError("a metadata chunk is damaged or too large")
    return out
