"""What a viewer may show: the .cci files of one folder (or one file), and what was dropped in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cli.output import printable
from cli.viewer.memory import Item, Memory
from codec.errors import CodecError, ImageError

SUFFIX = ".cci"
#: Formats in which an original may stand beside its file, the exact ones first.
ORIGINALS = (".png", ".tif", ".tiff", ".bmp", ".ppm", ".webp", ".avif", ".jp2", ".jpg", ".jpeg")
#: A folder may hold a disk full of them: the list ends with this many files, and the search for
#: them after this many names.
MAX_FILES, MAX_NAMES = 1000, 100_000


class UnknownFileError(CodecError):
    """A name that is none of the viewer's files."""


class Library:
    """Files below a folder by their relative name, and a bounded number of dropped ones.

    Args:
        place: a folder, or one file: then that file alone is shown.
        originals: a folder where originals are looked for first.
        coded: the .cci file's bytes where ``place`` is the picture that they are made of.
        memory: of what was dropped.

    Raises:
        ImageError: there is no such file or folder.
    """

    def __init__(
        self,
        place: Path,
        *,
        originals: Path | None = None,
        coded: bytes | None = None,
        memory: Memory | None = None,
    ) -> None:
        if not place.exists():
            raise ImageError(f"{place}: no such file or folder")
        if originals is not None and not originals.is_dir():
            raise ImageError(f"{originals}: no such folder")
        self._only = None if place.is_dir() else place.name
        self._root = (place if place.is_dir() else place.parent).resolve()
        self._originals = originals.resolve() if originals is not None else None
        self._memory = memory or Memory()
        self._lock = threading.Lock()
        self._anew: dict[str, str] = {}  # files on disk → what they were coded anew as
        self._picture: Item | None = None
        if coded is not None:
            self._picture = Item(place.name, place.name, coded, place)

    def names(self) -> tuple[list[str], bool]:
        """The .cci files of the folder and below it, sorted; whether there may be more."""
        if self._only is not None:
            return [self._only], False
        names: list[str] = []
        for seen, path in enumerate(_below(self._root)):
            if len(names) == MAX_FILES or seen == MAX_NAMES:
                return sorted(names), True
            name = path.relative_to(self._root).as_posix()
            # Bytes that are no UTF-8 have no place in an address.
            shown = path.suffix.lower() == SUFFIX and printable(name) == name
            if shown and _inside(path, self._root):
                names.append(name)
        return sorted(names), False

    def find(self, name: str) -> Item:
        """The file of a name. Raises UnknownFileError for all that must not be seen."""
        if (held := self._memory.find(name)) is not None:
            return held
        with self._lock:
            if self._picture is not None and name == self._picture.name:
                return self._picture
        refused = UnknownFileError(f"{name!r} is none of the files shown here")
        if not name or "\0" in name or Path(name).is_absolute():
            raise refused
        path = self._root / name
        allowed = path.suffix.lower() == SUFFIX if self._only is None else name == self._only
        if not allowed or ".." in path.parts or not _inside(path, self._root):
            raise refused
        return Item(name, name, path, self._original(path))

    def add(self, title: str, data: bytes, original: bytes | None) -> Item:
        """Remember a dropped file under a name that cannot be guessed; forget the oldest."""
        return self._memory.add(title, data, original)

    def touch(self, name: str) -> None:
        """Have a file of that name, if it is in memory, be the last to be forgotten."""
        self._memory.find(name)

    def held(self) -> list[str]:
        """Names of the files that are in memory alone."""
        return self._memory.names()

    def recoded(self, item: Item, data: bytes) -> Item:
        """Remember other bytes for a file's original: in place of those before where they are held
        in memory, else as a new file beside that on disk, of which there is one at a time."""
        with self._lock:
            if self._picture is not None and item.name == self._picture.name:
                self._picture = replace(item, source=data)
                return self._picture
            if isinstance(item.source, Path):
                name = self._anew.get(item.name)
                if name is None or self._memory.find(name) is None:
                    made = self._memory.add(item.title, data, item.original)
                    self._anew[item.name] = made.name
                    return made
                item = replace(item, name=name)
        return self._memory.put(replace(item, source=data))

    def _original(self, path: Path) -> Path | None:
        """The original of a file: in the folder of originals, under the same relative name or the
        same name alone, or beside the file."""
        places = [(path, self._root)]
        if (folder := self._originals) is not None:
            relative = path.relative_to(self._root)
            places[:0] = [(folder / relative, folder), (folder / relative.name, folder)]
        for place, root in places:
            beside = (
                place.with_suffix(s) for suffix in ORIGINALS for s in (suffix, suffix.upper())
            )
            for candidate in beside:
                if _inside(candidate, root):
                    return candidate
        return None


def _below(root: Path) -> Iterator[Path]:
    """Files of a folder, then of its subfolders, nearest first. Links to folders are not followed:
    they may lead outside, or round in circles."""
    folders = [root]
    for folder in folders:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # one that must not be read is as good as empty
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            yield Path(entry.path)


def _inside(path: Path, root: Path) -> bool:
    """Whether it is a file below the root, links followed."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # missing, unreadable, too long, a loop of links
        return False
    return real.is_relative_to(root) and real.is_file()
