"""Folders of millions: coding whole archives on all cores or on a cluster.

>>> from codec.batch import Settings, run
>>> summary = run(Settings("photos", "s3://bucket/coded", options={"quality": 60}), workers=8)
>>> from codec.batch import CodedImages  # a PyTorch data set over .cci files
>>> quarter = CodedImages("coded", size="y1")[0]  # uint8 3×H/4×W/4

How the parts fit: :mod:`.planning` cuts a source into units, an engine (:mod:`.local`,
:mod:`.cluster`) has workers (:mod:`.worker`) do them, :mod:`.manifest` remembers what became of
each file, :mod:`.driver` holds them together. Needs the extra ``batch``; importing this package
does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.batch.dataset import CodedImages
    from codec.batch.driver import Summary, run
    from codec.batch.report import write_report
    from codec.batch.settings import Settings
    from codec.batch.verification import verify_set

__all__ = ["CodedImages", "Settings", "Summary", "run", "verify_set", "write_report"]

_LAZY = {
    "CodedImages": "codec.batch.dataset",
    "Settings": "codec.batch.settings",
    "Summary": "codec.batch.driver",
    "run": "codec.batch.driver",
    "verify_set": "codec.batch.verification",
    "write_report": "codec.batch.report",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'codec.batch' has no attribute {name!r}")
