"""What a viewer may show: the .cci files of one folder (or one file), and what was dropped in."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codec.errors import CodecError, ImageError
from codec.inspection import read_bytes

SUFFIX = ".cci"
#: Formats in which an original may stand beside its file, the exact ones first.
ORIGINALS = (".png", ".tif", ".tiff", ".bmp", ".ppm", ".webp", ".avif", ".jp2", ".jpg", ".jpeg")


class UnknownFileError(CodecError):
    """A name that is none of the viewer's files."""


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


class Library:
    """Files below a folder by their relative name, and a bounded number of dropped ones.

    Args:
        place: a folder, or one .cci file: then that file alone is shown.
        keep: how many dropped files are remembered; in memory, never on disk.
        keep_bytes: how large they may be together, originals included.

    Raises:
        ImageError: there is no such file or folder.
    """

    def __init__(self, place: Path, *, keep: int = 32, keep_bytes: int = 512 << 20) -> None:
        if not place.exists():
            raise ImageError(f"{place}: no such file or folder")
        self._only = None if place.is_dir() else place.name
        self._root = (place if place.is_dir() else place.parent).resolve()
        self._keep, self._keep_bytes = keep, keep_bytes
        self._dropped: OrderedDict[str, Item] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The folder's .cci files, sorted."""
        if self._only is not None:
            return [self._only]
        files = (p for p in self._root.iterdir() if p.suffix.lower() == SUFFIX)
        return sorted(p.name for p in files if self._inside(p))

    def find(self, name: str) -> Item:
        """The file of a name. Raises UnknownFileError for all that must not be seen."""
        with self._lock:
            if name in self._dropped:
                self._dropped.move_to_end(name)
                return self._dropped[name]
        refused = UnknownFileError(f"{name!r} is none of the files shown here")
        if not name or "\0" in name or Path(name).is_absolute():
            raise refused
        path = self._root / name
        if ".." in path.parts or path.suffix.lower() != SUFFIX or not self._inside(path):
            raise refused
        if self._only is not None and name != self._only:
            raise refused
        return Item(name, name, path, self._original(path))

    def add(self, title: str, data: bytes, original: bytes | None) -> Item:
        """Remember a dropped file under a name that cannot be guessed; forget the oldest."""
        item = Item(f"dropped-{secrets.token_urlsafe(12)}", title, data, original)
        with self._lock:
            self._dropped[item.name] = item
            while len(self._dropped) > 1 and (
                len(self._dropped) > self._keep or self._size() > self._keep_bytes
            ):
                self._dropped.popitem(last=False)
        return item

    def _size(self) -> int:
        return sum(sum(map(len, _held(item))) for item in self._dropped.values())

    def _inside(self, path: Path) -> bool:
        """Whether it is a file below the root, links followed."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # missing, unreadable, too long, a loop of links
            return False
        return real.is_relative_to(self._root) and real.is_file()

    def _original(self, path: Path) -> Path | None:
        beside = (path.with_suffix(s) for suffix in ORIGINALS for s in (suffix, suffix.upper()))
        return next((p for p in beside if self._inside(p)), None)


def _held(item: Item) -> Iterable[bytes]:
    return (part for part in (item.source, item.original) if isinstance(part, bytes))
