"""Images in: anything Pillow reads → RGB pixels, alpha and metadata."""

from __future__ import annotations

import io
import os
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bitstream.container import MAGIC, padded_pixels
from codec.colour import to_srgb
from codec.errors import ArgumentError, CodecError, ImageError, LimitError, reason_of
from codec.exif import exif_of_tiff, is_tiff
from codec.limits import NEVER_READ
from codec.picture import Picture
from codec.pillow_limit import BOMBS, pillow_limit

ImageLike = Image.Image | np.ndarray | str | PathLike[str]


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
    with stream, pillow_limit.of(max_pixels):
        try:
            # Where the Pillow plugin is loaded, Pillow reads our own files as well.
            ours = stream.read(len(MAGIC)) == MAGIC
            stream.seek(0)
            image = None if ours else Image.open(stream)
        except BOMBS as error:
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
    except BOMBS as error:
        raise _too_large(name, max_pixels) from error
    except Exception as error:
        raise ImageError(f"{name}: the image is damaged ({reason_of(error)})") from error


def _open(path: Path) -> io.BufferedReader:
    try:
        if os.path.isdir(path):
            raise ImageError(f"{path}: is a folder; name the files in it")
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
    transparent = image.info.get("transparency")
    if sixteen and isinstance(transparent, tuple):  # Pillow reduces samples, but not this colour
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if sixteen:
        notes.append("16-bit samples were reduced to 8 bits")
    if image.mode == "CMYK":
        shown = to_srgb(image, icc)
        converted = shown is not None
        # With an unusable profile the plain conversion is what viewers do.
        image = shown or image.convert("RGB")
        icc = None  # it described the CMYK values
        notes.append("converted from CMYK" + (" by its ICC profile to sRGB" if converted else ""))
    if image.mode == "LAB":
        icc = None  # likewise
        notes.append("converted from Lab to sRGB")
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
        exif = exif_of_tiff(image) if is_tiff(image) else turned.getexif()
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
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"{name}: pixels outside 0…65535; convert the image to 8 or 16 bits first")
    deep = image.mode.startswith("I;16") or values.max() > 255
    wide = values.astype(np.int64)
    reduced = ((wide * 255 + 32767) // 65535 if deep else wide).astype(np.uint8)
    grey = Image.fromarray(reduced, "L")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # the one 16-bit value that is see-through
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey, bool(deep)
