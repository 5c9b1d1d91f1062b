"""Trained networks as codecs: files really written and decoded, in turns, every byte counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bench.curves import mean_curves, rising
from benchmarks.bench.images import read_rgb
from benchmarks.bench.peers import Peer
from benchmarks.bench.records import Record
from bitstream.container import Container
from codec.decoding import Decoder
from codec.encoding import ImageEncoder, prepared_picture, rung_of
from codec.options import DecodeOptions, EncodeOptions
from models.metrics.psnr import psnr
from models.protocol import CodingModel
from models.training.anchors import ANCHORS, decode_rgb

#: What everybody has: tells how far a training has come.
ANCHOR = "JPEG 2000"


@dataclass(frozen=True)
class Coder:
    """A network at one setting: uint8 H×W×3 → the bytes of a file, and back."""

    name: str
    quality: float
    """0 … 100; of a network with one rate that of its λ."""
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]


def ours(name: str, model: CodingModel, quality: float, *, fitted: bool = True) -> Coder:
    """The codec with weights that are not installed; ``fitted``: with its filter per picture.

    Graphics are left to the networks, as wherever networks are compared.
    """
    options = EncodeOptions(quality=quality, device="cpu", graphics=False, filter=fitted)

    def encode(rgb: np.ndarray) -> bytes:
        encoder = ImageEncoder(prepared_picture(rgb, options), model, options)
        return encoder.encode(rung_of(options, model), last=True).data

    def decode(data: bytes) -> np.ndarray:
        container = Container.from_bytes(data)
        decoder = Decoder(container, DecodeOptions(device="cpu"), model=model)
        for layer in container.layers:
            decoder.push(layer)
        return np.array(decoder.finish().image.convert("RGB"))

    return Coder(name, quality, encode, decode)


def theirs(peer: Peer, quality: float) -> Coder:
    """A network of CompressAI with its own entropy coder. A file holds nine bytes of sizes and
    each string after its length, four bytes; a name or a checksum, which ours have, it has not."""
    return Coder(peer.name, quality, peer.encode, peer.decode)


def jpeg2000() -> list[Coder]:
    """:data:`ANCHOR` at rates of 0.05 … 4 bits per pixel, which stand for the quality."""
    encode, settings = ANCHORS["jpeg2000"]
    return [Coder(ANCHOR, s, lambda rgb, s=s: encode(rgb, s), decode_rgb) for s in settings]  # type: ignore[misc]


def measure(files: Sequence[Path], coders: Sequence[Coder]) -> list[Record]:
    """All images through all coders, which take turns at each image; seconds are processor time.

    Every coder codes the first image once more beforehand, which does not count.
    """
    records = []
    for position, path in enumerate([files[0], *files]):
        rgb = read_rgb(path)
        for coder in coders:
            begin = time.process_time()
            data = coder.encode(rgb)
            between = time.process_time()
            decoded = coder.decode(data)
            end = time.process_time()
            record = Record(
                path.name,
                coder.name,
                coder.quality,
                8 * len(data) / (rgb.shape[0] * rgb.shape[1]),
                psnr(rgb, decoded),
                bytes=len(data),
                encode_seconds=between - begin,
                decode_seconds=end - between,
            )
            records += [record] if position else []
    return records


def cost(records: Sequence[Record], name: str, quality: float, lagrangian: float) -> float:
    """What training at one λ minimizes, bpp + λ MSE, of a coder's files; mean over images."""
    own = [r for r in records if (r.codec, r.setting) == (name, quality)]
    return float(np.mean([r.bpp + lagrangian * 10 ** (-r.psnr / 10) for r in own]))


def bits_at(curve: np.ndarray, decibel: float) -> float | None:
    """Bits per pixel of a curve at a PSNR: log bpp is linear between its points.

    Args:
        curve: rows of (setting, bpp, PSNR) by increasing bpp.
        decibel: the PSNR.

    Returns:
        None outside of the curve.
    """
    points = rising(curve)
    if not points[0, 2] <= decibel <= points[-1, 2]:
        return None
    return float(np.exp(np.interp(decibel, points[:, 2], np.log(points[:, 1]))))


@dataclass(frozen=True)
class Against:
    """What a network costs against a codec's curve at equal PSNR."""

    percent: float
    """Of the curve's bits; negative: smaller files. Both are means over images."""
    error: float | None
    """Its standard error over images; None of one image, or where one that is left out decides
    whether the curve reaches the PSNR."""
    smaller: int
    """Images on which its file is smaller, of the …"""
    images: int
    """… whose own curve reaches the PSNR."""


def against(records: Sequence[Record], name: str, quality: float, anchor: str) -> Against | None:
    """A coder at one quality against the curve of another, ``anchor``; None where that does not
    reach its PSNR."""
    own = [r for r in records if (r.codec, r.setting) == (name, quality)]
    both = own + [r for r in records if r.codec == anchor]
    percent = _percent(both, name, anchor)
    if percent is None:
        return None
    smaller = []
    for record in own:
        curve = mean_curves([r for r in both if r.image == record.image], "psnr")[anchor]
        needed = bits_at(curve, record.psnr)
        smaller += [] if needed is None else [record.bpp < needed]
    return Against(percent, _error(both, name, anchor), sum(smaller), len(smaller))


def _percent(records: Sequence[Record], name: str, anchor: str) -> float | None:
    curves = mean_curves(records, "psnr")
    ((_, bpp, decibel),) = curves[name]
    bits = bits_at(curves[anchor], decibel)
    return None if bits is None else 100 * (bpp / bits - 1)


def _error(records: Sequence[Record], name: str, anchor: str) -> float | None:
    """By the jackknife (Efron & Stein 1981), which leaves out each image in turn."""
    images = {r.image for r in records}
    if len(images) < 2:
        return None
    without_one = [_percent([r for r in records if r.image != i], name, anchor) for i in images]
    if None in without_one:
        return None
    return float(np.std(np.array(without_one)) * np.sqrt(len(images) - 1))
