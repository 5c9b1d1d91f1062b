"""What is compared: a registry of codecs.

Another one is an entry in :data:`OTHERS`: a name for plots, a function from pixels and a setting
to bytes, its settings, and which of them SSIMULACRA2 (slow) is computed at. Bytes are decoded by
Pillow unless ``decode`` says otherwise.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from benchmarks.bench import peers
from benchmarks.bench.metrics import BUTTERAUGLI
from codec.errors import ArgumentError, ModelError
from models.names import MODEL_IDS
from models.training.anchors import decode_rgb, encode_jpeg, encode_jpeg2000

OUR_QUALITIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
OUR_PERCEPTUAL = (0, 20, 40, 60, 80, 100)


@dataclass(frozen=True)
class Codec:
    """A codec through one function each way; settings in order of increasing size."""

    label: str
    encode: Callable[[np.ndarray, float], bytes]
    settings: tuple[float, ...]
    perceptual: tuple[float, ...]
    """Settings at which SSIMULACRA2 is computed."""
    made_by: str
    """Its library as ``PIL.features`` (or a package) names it."""
    note: str = ""
    decode: Callable[[bytes], np.ndarray] = decode_rgb


@dataclass(frozen=True)
class Ours:
    """One of our models at one effort; its curve of 3 layers, and those of fewer."""

    model: str
    effort: int = 1

    @property
    def name(self) -> str:
        return self.model if self.effort == 1 else f"{self.model}:effort={self.effort}"

    @property
    def label(self) -> str:
        return self.name.replace(":", ", ").replace("=", " ")

    @property
    def cuts(self) -> bool:
        """Whether the first 1 and 2 layers are shown too: once per model is enough."""
        return self.effort == 1


def cut_name(name: str, layers: int) -> str:
    """The name of the curve that stops early in a codec's files."""
    return f"{name}:layers={layers}"


def _through_pillow(rgb: np.ndarray, setting: float, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, form, quality=int(setting), **options)
    return buffer.getvalue()


def _tuned_avif(rgb: np.ndarray, setting: float, tune: str, speed: int = 6) -> bytes:
    """One thread: with more, Pillow asks for tiles, and sizes would depend on the machine."""
    options = {"subsampling": "4:4:4", "speed": speed, "max_threads": 1}
    return _through_pillow(rgb, setting, "AVIF", advanced={"tune": tune}, **options)


#: From 0.05 to 3.5 bpp on photographs; above 44 dB of PSNR.
TUNED_AVIF = (2, 8, 16, 24, 32, 40, 50, 60, 68, 76, 84, 90, 94, 97)
TUNED_AVIF_PERCEPTUAL = (2, 16, 32, 50, 68, 84, 90)
#: At speed 4 a file takes seven times as long: fewer points over the same range.
_SLOW_AVIF = (*TUNED_AVIF_PERCEPTUAL, 97)


def _jxl(rgb: np.ndarray, quality: float) -> bytes:
    import pillow_jxl  # noqa: F401 - registers JPEG XL with Pillow

    return _through_pillow(rgb, quality, "JXL", effort=7)


def _jpegli(rgb: np.ndarray, quality: float) -> bytes:
    import pyjpegli

    pixels = np.ascontiguousarray(rgb)
    return pyjpegli.encode(pixels, rgb.shape[1], rgb.shape[0], quality=int(quality))


def _decode_jxl(data: bytes) -> np.ndarray:
    import pillow_jxl  # noqa: F401

    return decode_rgb(data)


_JPEG_QUALITIES = (
    (1, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95),
    (5, 15, 40, 70, 85, 95),
)
#: Each spans about 0.05 (or the least it can) … 2.5 bpp on photographs.
OTHERS: dict[str, Codec] = {
    "jpeg": Codec(
        "JPEG",
        encode_jpeg,
        *_JPEG_QUALITIES,
        "jpg",
        "4:2:0, optimized Huffman tables",
    ),
    "jpeg-444": Codec(
        "JPEG, 4:4:4",
        partial(encode_jpeg, subsampling="4:4:4"),
        *_JPEG_QUALITIES,
        "jpg",
        "4:4:4, optimized Huffman tables",
    ),
    "jpegli": Codec(
        "JPEG, jpegli",
        _jpegli,
        *_JPEG_QUALITIES,
        "pyjpegli",
        "Google's JPEG encoder; pyjpegli sets its quality alone: 4:2:0, baseline",
    ),
    "jpeg2000": Codec(
        "JPEG 2000",
        encode_jpeg2000,
        (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5),
        (0.05, 0.15, 0.3, 0.6, 1.0, 2.0),
        "jpg_2000",
        "9/7 wavelet (irreversible), mct=1, rate mode, bare codestream",
    ),
    "webp": Codec(
        "WebP",
        partial(_through_pillow, form="WEBP", method=6),
        (0, 2, 5, 10, 20, 30, 45, 60, 75, 85, 92, 97),
        (0, 5, 20, 45, 75, 92),
        "webp",
        "method 6",
    ),
    "avif": Codec(
        "AVIF",
        partial(_through_pillow, form="AVIF", subsampling="4:4:4", speed=6),
        (2, 8, 16, 24, 32, 40, 50, 60, 68, 76, 84, 90, 94),
        (2, 16, 32, 50, 68, 84),
        "avif",
        "4:4:4, speed 6 (libavif's default)",
    ),
    "avif-psnr": Codec(
        "AVIF, tune=psnr",
        partial(_tuned_avif, tune="psnr"),
        TUNED_AVIF,
        TUNED_AVIF_PERCEPTUAL,
        "avif",
        "4:4:4, speed 6, tuned for PSNR, one thread",
    ),
    "avif-iq": Codec(
        "AVIF, tune=iq",
        partial(_tuned_avif, tune="iq"),
        TUNED_AVIF,
        TUNED_AVIF_PERCEPTUAL,
        "avif",
        "4:4:4, speed 6, tuned for the eye, one thread",
    ),
    "avif-psnr-4": Codec(
        "AVIF, tune=psnr, speed 4",
        partial(_tuned_avif, tune="psnr", speed=4),
        _SLOW_AVIF,
        TUNED_AVIF_PERCEPTUAL,
        "avif",
        "4:4:4, speed 4, tuned for PSNR, one thread",
    ),
    "avif-iq-4": Codec(
        "AVIF, tune=iq, speed 4",
        partial(_tuned_avif, tune="iq", speed=4),
        _SLOW_AVIF,
        TUNED_AVIF_PERCEPTUAL,
        "avif",
        "4:4:4, speed 4, tuned for the eye, one thread",
    ),
    "jxl": Codec(
        "JPEG XL",
        _jxl,
        # Below 20 the encoder reduces pictures by two: larger files of worse pictures than at 20.
        (20, 25, 30, 38, 50, 62, 72, 82, 90, 94, 96),
        (20, 25, 38, 50, 72, 90),
        "pillow_jxl",
        "effort 7",
        _decode_jxl,
    ),
}


def _zoo_encode(rgb: np.ndarray, quality: float, name: str) -> bytes:
    peer = peers.load(name, int(quality), "cpu", pretrained=True)
    return bytes([int(quality)]) + peer.encode(rgb)


def _zoo_decode(data: bytes, name: str) -> np.ndarray:
    return peers.load(name, data[0], "cpu", pretrained=True).decode(data[1:])


# CompressAI's networks, where they are installed and their weights can be fetched.
OTHERS |= {
    name: Codec(
        name,
        partial(_zoo_encode, name=name),
        tuple(range(1, count + 1)),
        tuple(range(1, count + 1)),
        "compressai",
        f"{title}; CompressAI's weights for MSE, on the CPU",
        partial(_zoo_decode, name=name),
    )
    for name, (_, count, title) in peers.ZOO.items()
}


def missing(name: str) -> str | None:
    """What a codec other than ours lacks on this machine, or None."""
    if name == "jxl":
        return None if find_spec("pillow_jxl") else "the package pillow-jxl-plugin"
    if name == "jpegli":
        return None if find_spec("pyjpegli") else "the package pyjpegli"
    if name in peers.ZOO:
        return None if peers.installed() else f"CompressAI ({peers.HOW})"
    if features.check(OTHERS[name].made_by):
        return None
    return f"a Pillow built with {OTHERS[name].made_by}"


def parse(text: str) -> Ours | str:
    """``ssvae``, ``ssvae:effort=4`` → Ours; ``jpeg`` … → the name of another codec.

    Raises:
        ArgumentError: no such codec. ModelError: its library is not installed, or its weights
            cannot be fetched.
    """
    if text in OTHERS:
        if lacks := missing(text):
            raise ModelError(f"codec {text} needs {lacks}; leave it out of --codecs or install it")
        if text in peers.ZOO:
            peers.load(text, 1, "cpu", pretrained=True)  # tells before the run what is missing
        return text
    match = re.fullmatch(r"(\w[\w-]*)(?::effort=([1-9]))?", text)
    if match and match[1] in MODEL_IDS:
        return Ours(match[1], int(match[2] or 1))
    known = ", ".join([*MODEL_IDS, *(f"{m}:effort=2…9" for m in MODEL_IDS), *OTHERS])
    raise ArgumentError(f"codec {text!r} is unknown; known are {known}")


def label(name: str) -> str:
    """A codec's or curve's name as plots and tables show it."""
    if name in OTHERS:
        return OTHERS[name].label
    base, _, count = name.partition(":layers=")
    if count:
        return f"{label(base)}, first {'layer' if count == '1' else f'{count} layers'}"
    return base.replace(":", ", ").replace("=", " ")


#: Packages other than Pillow, and the codecs that they bring.
_PACKAGES: tuple[tuple[str, Collection[str]], ...] = (
    ("pillow-jxl-plugin", ("jxl",)),
    ("pyjpegli", ("jpegli",)),
    ("compressai", peers.ZOO),
)


def version(name: str) -> str:
    """What wrote the files: a library's version, or the fingerprint of our weights."""
    if name in OTHERS:
        for package, names in _PACKAGES:
            if name in names:
                return f"{package} {package_version(package)}"
        return f"{OTHERS[name].made_by} {features.version(OTHERS[name].made_by)}"
    from models.weights_file import weights_info

    return f"weights {weights_info(name.partition(':')[0]).fingerprint.hex()}"


def made_by(piece: Ours | str, device: str) -> str:
    """All that a codec's files depend on, but for the image and the setting: what must be equal
    for a measurement to be taken over."""
    if isinstance(piece, str):
        return f"pillow {PIL.__version__}, {version(piece)}, {OTHERS[piece].note}"
    return f"{version(piece.name)}, code {_code()}, torch {_version('torch')}, {device}"


@lru_cache(maxsize=1)
def judged_by() -> str:
    """All that the judgement of a picture depends on: what makes files, decodes them and measures,
    and the packages of the metrics."""
    folder = Path(__file__).parent
    paths = [folder / "measuring.py", folder / "metrics.py"]
    paths += sorted((folder.parents[1] / "models" / "metrics").glob("*.py"))
    tools = [f"{name} {_version(name)}" for name in ("ssimulacra2", "pytorch-msssim")]
    tools.append(f"butteraugli {'missing' if shutil.which(BUTTERAUGLI) is None else 'there'}")
    return f"{', '.join(tools)}, judged {_digest(paths)}"


def _version(package: str) -> str:
    try:
        return package_version(package)
    except PackageNotFoundError:
        return "missing"


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


@lru_cache(maxsize=1)
def _code() -> str:
    """Fingerprint of the code that encodes and decodes: the same weights may write other files."""
    root = Path(__file__).parents[2]
    paths = (p for f in ("bitstream", "codec", "models") for p in sorted((root / f).rglob("*.py")))
    apart = {"training", "studies"}
    return _digest(path for path in paths if not apart & {*path.relative_to(root).parts})
