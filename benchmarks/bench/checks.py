"""What should hold on every single image, and where it does not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.bench.records import Record


def _layers_of(point: Record) -> float:
    """1, 2 … for a file cut after that many layers; infinity for a whole one."""
    return float(point.codec.removeprefix("ours, first ")) if "," in point.codec else np.inf


def _ours(points: Iterable[Record]) -> list[Record]:
    return [p for p in points if p.codec == "ours" or p.codec.startswith("ours, first ")]


def rising_layers(points: Iterable[Record]) -> dict[str, float]:
    """Per quality the share of images whose PSNR rises strictly with each layer."""
    shares: dict[float, list[bool]] = defaultdict(list)
    for members in _files(points).values():
        steps = pairwise(members)
        shares[members[0].setting].append(all(a.psnr < b.psnr for a, b in steps))
    return {f"quality {s:g}": float(np.mean(v)) for s, v in sorted(shares.items())}


def _files(points: Iterable[Record]) -> dict[tuple[str, float], list[Record]]:
    """Per image and quality the points of one file, by increasing number of layers."""
    files: dict[tuple[str, float], list[Record]] = defaultdict(list)
    for point in sorted(_ours(points), key=_layers_of):
        files[point.image, point.setting].append(point)
    return files


def falling_layers(points: Iterable[Record]) -> list[str]:
    """Where a layer more does not raise PSNR."""
    return [
        f"{image}, quality {quality:g}: {a.codec} {a.psnr:.2f} dB, {b.codec} {b.psnr:.2f} dB"
        for (image, quality), members in sorted(_files(points).items())
        for a, b in pairwise(members)
        if b.psnr <= a.psnr
    ]


def falling_qualities(points: Iterable[Record]) -> list[str]:
    """Where a higher quality does not raise PSNR, but for one that gave the same file."""
    images: dict[str, list[Record]] = defaultdict(list)
    for point in sorted((p for p in points if p.codec == "ours"), key=lambda p: p.setting):
        images[point.image].append(point)
    return [
        f"{image}: quality {a.setting:g} {a.psnr:.2f} dB, {b.setting:g} {b.psnr:.2f} dB"
        for image, members in sorted(images.items())
        for a, b in pairwise(members)
        if b.psnr <= a.psnr and (a.bpp, a.psnr) != (b.bpp, b.psnr)
    ]


@dataclass(frozen=True)
class Comparison:
    """Bits of ours relative to a JPEG of equal PSNR, minus 1."""

    image: str
    quality: int
    psnr: float
    bpp: float
    excess: float


def against_jpeg(points: Iterable[Record]) -> list[Comparison]:
    """All images and qualities whose PSNR lies within the range of the image's JPEGs, the worst
    first."""
    by_image: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        by_image[point.image][point.codec].append(point)
    compared = []
    for image, codecs in by_image.items():
        jpeg = np.array(sorted((p.psnr, p.bpp) for p in codecs["jpeg"]))
        for ours in codecs["ours"]:
            if jpeg[0, 0] <= ours.psnr <= jpeg[-1, 0]:
                rival = np.exp(np.interp(ours.psnr, jpeg[:, 0], np.log(jpeg[:, 1])))
                excess = ours.bpp / rival - 1
                compared.append(Comparison(image, int(ours.setting), ours.psnr, ours.bpp, excess))
    return sorted(compared, key=lambda c: -c.excess)


def worst_of_images(compared: Iterable[Comparison]) -> list[Comparison]:
    """Each image at its worst quality, the worst image first."""
    first: dict[str, Comparison] = {}
    for case in sorted(compared, key=lambda c: -c.excess):
        first.setdefault(case.image, case)
    return list(first.values())
