"""``python -m models.export_web ssvae -o web/weights``: a model's weights for the browser.

Two files, named by the fingerprint that coded files carry::

    7c93438e-u.bin      all that the first layer and the picture of quarter size need, and all
                        frequency tables
    7c93438e-rest.bin   the rest of the decoder

Each is one zlib stream of: the length of a JSON object (uint32, little endian), the object, padding
to a multiple of 8 bytes, then the tensors in the order of the object. A tensor of k-byte numbers is
stored as k planes, the low bytes of all numbers first: that takes a sixth less than the numbers one
behind the other. Tensors have the names and types of the weights file (``docs/format.md``).
"""

from __future__ import annotations

import argparse
import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from models.names import FINE_FROM, MODEL_IDS, WEIGHTS_FOLDER, fingerprint_of, stages_at

#: What the encoder alone needs.
_ENCODER = ("analysis.", "heads.", "fine.take.")
#: What the first layer and its picture need.
_FIRST = (
    "coding.",
    "prior.quality.",
    "prior.layers.0.",
    "log_gains.0.",
    "synthesis.inject.0.",
    "synthesis.modulate.0.",
    "synthesis.stage_32.",
    "synthesis.up_16.",
    "synthesis.stage_16.",
    "synthesis.head_y1.",
)
#: The browser's kernels work on so many channels at once.
_CHANNEL_MULTIPLE = 8


@lru_cache(maxsize=4)
def web_fingerprint(name: str) -> str:
    """Of an installed model that the browser decodes, as its files name it in hex. Raises
    ValueError as :func:`web_weights`."""
    data, _ = _decoder(name)
    return fingerprint_of(data).hex()


def web_weights(name: str) -> dict[str, bytes]:
    """The files of an installed model, by file name.

    Raises:
        ValueError: the model is not installed, or of a family that the browser cannot decode.
    """
    data, tensors = _decoder(name)
    fingerprint = fingerprint_of(data).hex()
    header = {
        "model": name,
        "model_id": MODEL_IDS[name],
        "fingerprint": fingerprint,
        "skip_index": _skip_index(data),
        "fine_from": FINE_FROM if stages_at(name, 0) != stages_at(name, 100) else None,
    }
    first = {k: v for k, v in tensors.items() if k.startswith(_FIRST)}
    rest = {k: v for k, v in tensors.items() if k not in first}
    return {
        f"{fingerprint}-u.bin": _packed(header, first),
        f"{fingerprint}-rest.bin": _packed(header, rest),
    }


def _decoder(name: str) -> tuple[bytes, dict[str, np.ndarray]]:
    """The weights file of a model, and what of it decodes. Raises ValueError."""
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if name not in MODEL_IDS or not path.exists():
        raise ValueError(f"no model named {name!r} is installed")
    data = path.read_bytes()
    tensors = {k: v for k, v in load(data).items() if not k.startswith(_ENCODER)}
    if "synthesis.head_y1.mix.weight" not in tensors:
        raise ValueError(f"{name} is of a family that the browser's decoder does not know")
    odd = [k for k, v in tensors.items() if k.endswith("knots") and v.shape[1] % _CHANNEL_MULTIPLE]
    if odd:
        raise ValueError(f"{odd[0]}: channels are not a multiple of {_CHANNEL_MULTIPLE}")
    return data, tensors


def _skip_index(data: bytes) -> int:
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8:end])["__metadata__"]["coding"])["skip_index"]


def _packed(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    names = sorted(tensors)
    index = [[name, tensors[name].dtype.name, list(tensors[name].shape)] for name in names]
    text = json.dumps(header | {"tensors": index}, separators=(",", ":")).encode()
    text += b" " * (-(4 + len(text)) % 8)
    planes = [_planes(tensors[name]) for name in names]
    return zlib.compress(b"".join([len(text).to_bytes(4, "little"), text, *planes]), 9)


def _planes(values: np.ndarray) -> bytes:
    """Numbers of any size as planes of bytes, low bytes first."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def write(name: str, folder: Path) -> dict[str, int]:
    """Write the files of a model into a folder, which is made if it is missing; their sizes."""
    files = web_weights(name)
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return {file: len(data) for file, data in files.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a model's weights for the browser.")
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("-o", "--output", type=Path, default=Path("web/weights"))
    arguments = parser.parse_args()
    for name in arguments.models:
        try:
            sizes = write(name, arguments.output)
        except ValueError as error:
            parser.error(str(error))
        parts = ", ".join(f"{file} {size:,} bytes" for file, size in sizes.items())
        print(f"{name}: {parts}; {sum(sizes.values()):,} in all")


if __name__ == "__main__":
    main()
