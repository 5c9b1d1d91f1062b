"""How many pixels Pillow may unpack: one number of the process, of which threads want several."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class PillowLimit:
    """Pillow's fixed pixel limit, replaced by the highest that any thread is reading with.

    Pillow checks it not only against the size a file declares, but also against what is inside:
    the PNG in an icon, the tiles of a TIFF. It refuses what has more than twice as many pixels.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: list[int | None] = []
        self._before: int | None = None

    @contextmanager
    def of(self, max_pixels: int | None) -> Iterator[None]:
        """Read with a limit; None: without."""
        with self._lock:
            if not self._reading:
                self._before = Image.MAX_IMAGE_PIXELS
            self._reading.append(max_pixels)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._reading.remove(max_pixels)
                self._set()

    def _set(self) -> None:
        limits = [limit for limit in self._reading if limit is not None]
        if not self._reading:
            Image.MAX_IMAGE_PIXELS = self._before
        else:
            Image.MAX_IMAGE_PIXELS = max(limits) if len(limits) == len(self._reading) else None


BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
pillow_limit = PillowLimit()
