"""Decoded pictures in the formats that Pillow writes."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from codec.errors import ArgumentError, ImageError, reason_of
from codec.exif import exif_of_tiff, is_tiff

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
    metadata: dict[str, bytes] = {k: image.info[k] for k in _TITLES if k in image.info}
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    if quality is not None:
        options["quality"] = quality
    notes: list[str] = []
    if form in _WITHOUT_ALPHA and image.mode in ("LA", "RGBA"):
        if image.getchannel("A").getextrema() != (255, 255):
            notes.append(f"laid over white: {suffix} holds no transparency")
        image = over_white(image)
    if form == "ICO":  # by default it holds icons of some sizes, the picture itself not among them
        options["sizes"] = [image.size]
    refusals: list[Exception] = []
    for left in _LEFT_OUT:
        if not set(left) <= metadata.keys():
            continue
        kept = {key: value for key, value in metadata.items() if key not in left}
        try:
            data = _save(image, form, options | _as_options(kept, form))
        except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything
            refusals.append(error)
            continue
        if refusals:
            why = reason_of(refusals[0])
            notes.append(f"{_names(left)} left out: {suffix} refused it ({why})")
        return data, notes + _not_held(data, image, kept, suffix)
    why = reason_of(refusals[-1])
    raise ImageError(f"{suffix}: cannot hold this {image.mode} image ({why})") from refusals[-1]


_TITLES = {"icc_profile": "ICC profile", "exif": "EXIF", "xmp": "XMP"}
#: Of metadata that a format refuses: as little as possible; the profile last, without which colours
#: are others.
_LEFT_OUT: tuple[tuple[str, ...], ...] = (
    (),
    ("xmp",),
    ("exif",),
    ("exif", "xmp"),
    ("icc_profile",),
    ("icc_profile", "exif"),
    ("icc_profile", "xmp"),
    ("icc_profile", "exif", "xmp"),
)


def _names(keys: Iterable[str]) -> str:
    return ", ".join(_TITLES[key] for key in keys)


def _as_options(metadata: dict[str, bytes], form: str) -> dict[str, Any]:
    """What Pillow's writer of a format is told of metadata."""
    if form != "PNG" or "xmp" not in metadata:
        return metadata
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode("utf-8", "replace"))
    return {k: v for k, v in metadata.items() if k != "xmp"} | {"pnginfo": text}


def _not_held(data: bytes, image: Image.Image, metadata: Collection[str], suffix: str) -> list[str]:
    """What of a picture and its metadata is not in its file, in words.

    Raises:
        ImageError: the file holds a picture of another size.
    """
    try:
        written = Image.open(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - of formats that are written but not read
        unknown = f"{_names(metadata)} may be missing: {suffix} files cannot be read back to see"
        return [unknown] if metadata else []
    with written:
        if written.size != image.size:
            width, height = image.size
            raise ImageError(f"{suffix}: cannot hold a picture of {width}×{height} pixels")
        there = {
            "icc_profile": "icc_profile" in written.info,
            "exif": bool(exif_of_tiff(written) if is_tiff(written) else written.getexif()),
            "xmp": "xmp" in written.info or "XML:com.adobe.xmp" in written.info,
        }
        lost = [key for key, held in there.items() if key in metadata and not held]
        notes = [f"{_names(lost)} left out: {suffix} does not hold it"] if lost else []
        if written.mode == "P" and image.mode != "P":
            notes.append(f"reduced to 256 colours: {suffix} holds no more")
        return notes


def _save(image: Image.Image, form: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    plain = image.copy()
    plain.info = {}  # what to write is said by the options alone
    plain.save(buffer, form, **options)
    return buffer.getvalue()


#: Pillow refuses transparent images for these, or drops their alpha without a word.
_WITHOUT_ALPHA = ("JPEG", "MPO", "BMP", "DIB", "PPM", "PCX", "EPS", "GIF")


def over_white(image: Image.Image) -> Image.Image:
    """Lay a transparent image over white, L or RGB."""
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image.convert("RGBA"))
    return flat.convert("L" if image.mode == "LA" else "RGB")


def seen_pixels(image: Image.Image) -> np.ndarray:
    """What is seen of an image: uint8 H×W×3, a transparent one over white."""
    return np.asarray((over_white(image) if "A" in image.mode else image).convert("RGB"))
