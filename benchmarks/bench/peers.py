"""Learned codecs from CompressAI's zoo, where CompressAI is installed.

It has an extra of its own, ``peers``: it asks for numpy < 2 and for torchvision, whose usual build
does not fit a torch without CUDA. ``make peers`` makes an environment of versions that go together,
in which :func:`compressai` imports it.

Pretrained weights are fetched by CompressAI; without them networks are timed with random weights
(the operations are the same, the entropy coder sees other symbols) and are not compared in quality.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
import torch.nn.functional as F
from torch import library

from codec.errors import ModelError

#: Name → (function of the zoo, number of qualities, what it is).
ZOO = {
    "bmshj2018-hyperprior": ("bmshj2018_hyperprior", 8, "Ballé et al. 2018"),
    "mbt2018-mean": ("mbt2018_mean", 8, "Minnen et al. 2018, mean-scale hyperprior"),
    "cheng2020-anchor": ("cheng2020_anchor", 6, "Cheng et al. 2020"),
    "cheng2020-attn": ("cheng2020_attn", 6, "Cheng et al. 2020, attention"),
}
_MULTIPLE = 64
HOW = "`make peers` makes an environment that has it, .venv-peers"


def installed() -> bool:
    """Whether CompressAI and what it imports are installed."""
    return all(find_spec(name) for name in ("compressai", "torchvision", "einops"))


def compressai() -> Any:
    """The package, with its modules ``zoo`` and ``entropy_models``.

    Raises:
        ModelError: it is not installed, or cannot be imported.
    """
    if not installed():
        raise ModelError(f"CompressAI is not installed: {HOW}")
    try:
        _prepare_torchvision()
        import compressai
        import compressai.entropy_models
        import compressai.zoo
    except (ImportError, RuntimeError) as error:
        raise ModelError(f"CompressAI cannot be imported ({error}): {HOW}") from error
    return compressai


def _prepare_torchvision() -> None:
    """Declare the operators that torchvision's usual build misses beside a torch without CUDA.

    Tried without them first: the build that belongs to the torch brings them, and may not find them
    declared already.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"torchvision::{name}", schema)


@dataclass(frozen=True)
class Peer:
    """A network with CompressAI's methods, ready to write and read bytes: evaluating, its tables
    updated."""

    name: str
    network: Any
    pretrained: bool

    @torch.no_grad()
    def encode(self, rgb: np.ndarray) -> bytes:
        """uint8 H×W×3 → bytes: sizes, then each string after its length."""
        height, width = rgb.shape[:2]
        device = next(self.network.parameters()).device
        image = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255
        padding = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)
        coded = self.network.compress(F.pad(image, padding, mode="replicate"))
        strings = [group[0] for group in coded["strings"]]
        head = struct.pack("<HHHHB", height, width, *coded["shape"], len(strings))
        return head + b"".join(struct.pack("<I", len(s)) + s for s in strings)

    @torch.no_grad()
    def decode(self, data: bytes) -> np.ndarray:
        """Bytes of :meth:`encode` → uint8 H×W×3."""
        height, width, *shape, count = struct.unpack_from("<HHHHB", data)
        position, strings = struct.calcsize("<HHHHB"), []
        for _ in range(count):
            (length,) = struct.unpack_from("<I", data, position)
            position += 4
            strings.append([data[position : position + length]])
            position += length
        image = self.network.decompress(strings, tuple(shape))["x_hat"][0, :, :height, :width]
        return image.permute(1, 2, 0).mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


@lru_cache(maxsize=8)
def load(name: str, quality: int, device: str, *, pretrained: bool) -> Peer:
    """A network of the zoo.

    Raises:
        ModelError: CompressAI is missing, or its weights cannot be fetched.
    """
    builder = getattr(compressai().zoo, ZOO[name][0])
    try:
        # Not every machine may fetch; what was fetched before is found without asking.
        network = builder(quality, metric="mse", pretrained=pretrained)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"the weights of {name} cannot be fetched ({error}); its published Kodak curve is "
            "drawn with --kodak, and --speed times it with random weights"
        ) from error
    network = network.eval().to(device)
    network.update(force=True)
    return Peer(name, network, pretrained)


def load_for_timing(name: str, quality: int, device: str) -> Peer:
    """With pretrained weights where they can be had, else with random ones."""
    try:
        return load(name, quality, device, pretrained=True)
    except ModelError:
        torch.manual_seed(0)
        return load(name, quality, device, pretrained=False)
