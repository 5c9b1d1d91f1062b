"""Trying again where a store answers badly for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

TRIES = 6
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0

#: What another try does not change.
_FINAL = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
    ImportError,
    TypeError,
    ValueError,
)


def retrying(call: Callable[[], R], *, pause: Callable[[float], None] = time.sleep) -> R:
    """``call``'s result, with up to 6 tries over about 7 seconds.

    Drivers raise errors of their own kinds (botocore's, aiohttp's, plain OSError), so everything
    counts as passing except what names a lasting reason.
    """
    for attempt in range(TRIES - 1):
        try:
            return call()
        except _FINAL:
            raise
        except Exception:  # noqa: BLE001 - see above
            wait = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
            pause(wait * random.uniform(0.75, 1.25))  # workers must not all come back at once
    return call()
