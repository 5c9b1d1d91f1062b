"""Conceptual image codec: layered, progressive, bit-exact.

>>> import codec
>>> data = codec.encode("photo.png", quality=50)  # bytes of a .cci file
>>> image = codec.decode(data, layers=2)  # PIL image from the first two layers
>>> codec.info(data).layers[0].end  # how many bytes the first layer needs

Importing this package is quick; torch is loaded by the first encode or decode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec import errors
from codec.catalogue import ModelInfo, installed_models
from codec.inspection import FileInfo, LayerInfo, info

if TYPE_CHECKING:
    from codec.comparison import Comparison, compare
    from codec.decoding import Decoded, decode, decode_detailed
    from codec.encoding import Encoded, encode, encode_detailed
    from codec.incremental import Frame, ProgressiveDecoder, progressive
    from codec.together import decode_batch, encode_batch
    from codec.verification import verify

__version__ = "0.2.0"

__all__ = [
    "Comparison",
    "Decoded",
    "Encoded",
    "FileInfo",
    "Frame",
    "LayerInfo",
    "ModelInfo",
    "ProgressiveDecoder",
    "compare",
    "decode",
    "decode_batch",
    "decode_detailed",
    "encode",
    "encode_batch",
    "encode_detailed",
    "errors",
    "info",
    "installed_models",
    "progressive",
    "verify",
]

_LAZY = {
    "encode": "codec.encoding",
    "encode_detailed": "codec.encoding",
    "Encoded": "codec.encoding",
    "decode": "codec.decoding",
    "decode_detailed": "codec.decoding",
    "Decoded": "codec.decoding",
    "encode_batch": "codec.together",
    "decode_batch": "codec.together",
    "verify": "codec.verification",
    "compare": "codec.comparison",
    "Comparison": "codec.comparison",
    "Frame": "codec.incremental",
    "ProgressiveDecoder": "codec.incremental",
    "progressive": "codec.incremental",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'codec' has no attribute {name!r}")
