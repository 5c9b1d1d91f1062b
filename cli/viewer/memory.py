"""Files that exist in memory alone: a bounded number, the oldest forgotten first."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codec.inspection import read_bytes


@dataclass(frozen=True)
class Item:
    """One file to look at. ``original`` is a path, coded bytes, or None."""

    name: str
    title: str
    source: bytes | Path
    original: bytes | Path | None

    def read(self) -> bytes:
        """The .cci file's bytes."""
        return read_bytes(self.source)


class Memory:
    """Dropped files, under names that cannot be guessed.

    Args:
        keep: how many are remembered.
        keep_bytes: how large they may be together, originals included.
    """

    def __init__(self, *, keep: int = 32, keep_bytes: int = 512 << 20) -> None:
        self._keep, self._keep_bytes = keep, keep_bytes
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str) -> Item | None:
        """The file of a name, which now counts as looked at last."""
        with self._lock:
            if name in self._items:
                self._items.move_to_end(name)
            return self._items.get(name)

    def names(self) -> list[str]:
        """What is remembered, that looked at last at the end."""
        with self._lock:
            return list(self._items)

    def add(self, title: str, data: bytes, original: bytes | Path | None) -> Item:
        """Remember a file; forget the oldest that have no place beside it."""
        return self.put(Item(f"dropped-{secrets.token_urlsafe(12)}", title, data, original))

    def put(self, item: Item) -> Item:
        """Remember a file in place of that of the same name, if there is one."""
        with self._lock:
            self._items[item.name] = item
            self._items.move_to_end(item.name)
            while len(self._items) > 1 and (
                len(self._items) > self._keep or self._size() > self._keep_bytes
            ):
                self._items.popitem(last=False)
        return item

    def _size(self) -> int:
        return sum(sum(map(len, _held(item))) for item in self._items.values())


def _held(item: Item) -> Iterable[bytes]:
    return (part for part in (item.source, item.original) if isinstance(part, bytes))
