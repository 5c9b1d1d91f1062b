"""How near two pictures come to each other: PSNR, MS-SSIM, SSIMULACRA2."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from codec.errors import ArgumentError, ImageError, naming
from codec.files import files_in
from codec.inspection import is_coded
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.picture import to_pillow
from codec.picture_reading import ImageLike, load_picture
from codec.picture_writing import seen_pixels


@dataclass(frozen=True)
class Comparison:
    """Two pictures of ``width``×``height``.

    ``psnr`` is in dB, infinite for equal pictures; ``ms_ssim`` 0…1, None where a side is below 161
    pixels; ``ssimulacra2`` in points (90 visually lossless, 70 good), None below 8 pixels.
    """

    width: int
    height: int
    psnr: float
    ms_ssim: float | None
    ssimulacra2: float | None

    @property
    def equal(self) -> bool:
        """Whether all pixels are the same."""
        return math.isinf(self.psnr)


@out_of_memory_as_limit
def compare(
    original: ImageLike | bytes,
    other: ImageLike | bytes,
    *,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
) -> Comparison:
    """Compare a picture with its original.

    The pixels are compared as they are stored: colour profiles are not applied, transparent
    pictures are laid over white.

    Args:
        original: path, bytes (an image of any format, or a .cci file), PIL image or uint8 array.
        other: likewise. SSIMULACRA2 tells which is which, the others do not.
        device: for decoding .cci files.
        max_pixels: refuse larger images; None: no limit.

    Raises:
        codec.errors.ImageError: one cannot be read, or they have different sizes.
    """
    a, b = (_pixels(picture, device, max_pixels) for picture in (original, other))
    if a.shape != b.shape:
        raise ImageError(
            f"the pictures have different sizes: {_named(original, 'the first')} "
            f"{a.shape[1]}×{a.shape[0]}, {_named(other, 'the second')} {b.shape[1]}×{b.shape[0]}"
        )
    from codec.measures import LEAST_SIDE, ssimulacra2_of
    from models.metrics.ms_ssim import ms_ssim
    from models.metrics.psnr import psnr

    seen = ssimulacra2_of(a, b) if min(a.shape[:2]) >= LEAST_SIDE else None
    return Comparison(a.shape[1], a.shape[0], psnr(a, b), ms_ssim(a, b), seen)


def pairs_of(
    originals: str | PathLike[str],
    others: str | PathLike[str],
    accepts: Callable[[str], bool],
    *,
    recursive: bool = False,
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Files of two folders that have the same name but for the suffix, and those without a partner.

    Args:
        originals, others: the folders.
        accepts: which suffixes are pictures.
        recursive: look into subfolders, which have the same names in both.

    Raises:
        ArgumentError: a folder has two pictures of one stem.
        ImageError: a folder cannot be read, or there is no pair.
    """
    first, second = (_by_stem(Path(f), accepts, recursive) for f in (originals, others))
    pairs = [(path, second[stem]) for stem, path in first.items() if stem in second]
    alone = [path for stem, path in first.items() if stem not in second]
    alone += [path for stem, path in second.items() if stem not in first]
    if not pairs:
        hint = "" if recursive else " (their subfolders were not looked into: --recursive)"
        raise ImageError(f"{originals}, {others}: no picture of the same name in both{hint}")
    return pairs, alone


def _by_stem(folder: Path, accepts: Callable[[str], bool], recursive: bool) -> dict[Path, Path]:
    found: dict[Path, Path] = {}
    for path in files_in(folder, recursive=recursive):
        if not accepts(path.suffix):
            continue
        stem = path.relative_to(folder).with_suffix("")
        if stem in found:
            raise ArgumentError(
                f"{found[stem]}, {path}: two pictures of one name; compare them file by file"
            )
        found[stem] = path
    return found


def _pixels(picture: ImageLike | bytes, device: str, max_pixels: int | None) -> np.ndarray:
    """H×W×3 uint8."""
    if not (isinstance(picture, bytes | str | PathLike) and is_coded(picture)):
        return seen_pixels(to_pillow(load_picture(picture, max_pixels=max_pixels)))
    from codec.decoding import decode

    with naming(_named(picture, "the data")):
        return seen_pixels(decode(picture, device=device, max_pixels=max_pixels, strict=True))


def _named(picture: ImageLike | bytes, otherwise: str) -> str:
    return os.fspath(picture) if isinstance(picture, str | PathLike) else otherwise
