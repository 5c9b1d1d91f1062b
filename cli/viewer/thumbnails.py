"""Small pictures of files, made of their first layer alone."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import codec
from cli.viewer.memory import Item
from cli.viewer.pictures import png
from codec.errors import LimitError

SIDE = 128
#: Nothing larger gets one: what the user looks at would wait for it.
MOST_PIXELS = 50_000_000


class Thumbnails:
    """The thumbnails made last, some ten kilobytes each.

    Args:
        keep: how many.
    """

    def __init__(self, keep: int = 500) -> None:
        self._keep = keep
        self._made: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def known(self, item: Item) -> bytes | None:
        """A PNG that was made before, of the very same file."""
        return self._made.get(_key(item))

    def make(self, item: Item, options: dict[str, Any]) -> bytes:
        """A PNG of at most ``SIDE`` pixels each way. Raises CodecError."""
        data = item.read()
        about = codec.info(data, max_pixels=options.get("max_pixels"))
        if about.width * about.height > MOST_PIXELS:
            raise LimitError(f"{item.title}: is too large for a thumbnail")
        first = data[: about.layers[0].end] if about.layers else data
        image = codec.decode_detailed(first, **options | {"layers": 1, "scale": 4}).image
        image.thumbnail((SIDE, SIDE))
        self._made[_key(item)] = made = png(image)
        while len(self._made) > self._keep:
            self._made.popitem(last=False)
        return made


def _key(item: Item) -> tuple[str, int]:
    """Another one once the file has changed."""
    source = item.source
    stamp = source.stat().st_mtime_ns if isinstance(source, Path) else hash(source)
    return item.name, stamp
