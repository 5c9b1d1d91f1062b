"""Limits that keep a hostile or mistaken input from taking all memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from codec.errors import LimitError

#: Images above this are refused unless the caller raises it (``max_pixels=…``, ``--max-pixels``).
#: Sides count rounded up to multiples of 64.
DEFAULT_MAX_PIXELS = 200_000_000

#: Formats of Pillow that are programs: it would run Ghostscript on them, without a limit of time.
NEVER_READ = frozenset({"EPS"})

#: How torch says so; the last is the word of cuBLAS and cuDNN.
_NO_MEMORY = ("DefaultCPUAllocator", "out of memory", "can't allocate memory", "ALLOC_FAILED")

P = ParamSpec("P")
R = TypeVar("R")


def out_of_memory_as_limit(work: Callable[P, R]) -> Callable[P, R]:
    """Raise LimitError where Python, torch on the CPU or torch on a GPU run out of memory."""

    @wraps(work)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except (MemoryError, RuntimeError) as error:
            message = str(error)
            if isinstance(error, MemoryError) or any(word in message for word in _NO_MEMORY):
                raise LimitError("there is not enough memory for an image of this size") from error
            raise

    return guarded
