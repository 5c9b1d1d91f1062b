"""Folders and object stores, all through fsspec."""

from __future__ import annotations

import io
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codec.batch.retrying import retrying
from codec.errors import ArgumentError, ImageError, OutputError

#: Folder for results that are being written; a rename puts them in their place. Every run, and
#: whoever else writes, has a folder of its own in it.
STAGING = ".codec-batch"
_READ_AHEAD = 2**22
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a store: its path below the store's root, and its size in bytes."""

    path: str
    size: int


class Store:
    """All files below a folder or a URL such as ``s3://bucket/prefix``.

    Paths are relative to it, with ``/``. Stores of URLs try again where a request fails. A result
    appears whole or not at all: on disk by a rename, on object stores by the nature of a put.

    Args:
        place: path or URL.
        staging: name that whoever belongs together shares for what is half written; only they
            clear it away. Default: one of its own.

    Raises:
        ArgumentError: no driver for such a URL is installed.
    """

    def __init__(self, place: str, staging: str | None = None) -> None:
        import fsspec

        self.place = place
        self._staging = staging or secrets.token_hex(4)
        self.local = is_local(place)
        if self.local:
            self._fs = fsspec.filesystem("file")
            self._root = absolute(place)
        else:
            try:
                self._fs, root = fsspec.core.url_to_fs(place)
            except (ImportError, ValueError) as error:
                raise ArgumentError(f"{place}: {error}") from error
            self._root = root.rstrip("/")
        self._made: set[str] = set()
        self._numbers = itertools.count()

    def __str__(self) -> str:
        return self.place

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def list(self) -> list[Found]:
        """All files, sorted by path. Raises ImageError where the place cannot be listed."""
        try:
            if self.local:
                files = list(_below(self._root))
            else:
                self._fs.invalidate_cache()
                entries = retrying(lambda: self._fs.find(self._root, detail=True))
                files = [(name, info["size"] or 0) for name, info in entries.items()]
        except Exception as error:
            raise ImageError(f"{self.place}: cannot be listed ({reason(error)})") from error
        start = len(self._root.rstrip("/")) + 1
        below = (Found(name[start:], size) for name, size in files)
        return sorted(
            (f for f in below if f.path and not f.path.startswith(STAGING + "/")),
            key=lambda f: f.path,
        )

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None where there is none."""
        try:
            if not self.local:
                self._fs.invalidate_cache(self._fs._parent(self._full(path)))
            info = retrying(lambda: self._fs.info(self._full(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info["size"] if info["type"] == "file" else None

    def modified(self, path: str) -> float | None:
        """When a file of this machine was last written, in seconds; None elsewhere, or without
        one."""
        try:
            return os.path.getmtime(self._full(path)) if self.local else None
        except OSError:
            return None

    def read(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """A file's bytes, or those from ``start`` to ``end``. Raises ImageError."""
        try:
            full = self._full(path)
            return retrying(lambda: self._fs.cat_file(full, start=start, end=end))
        except FileNotFoundError as error:
            raise ImageError("no such file") from error
        except Exception as error:
            raise ImageError(f"cannot be read ({reason(error)})") from error

    def open(self, path: str) -> BinaryIO:
        """A file to be read from beginning to end, without holding it. Raises ImageError."""
        if self.local:
            try:
                return open(self._full(path), "rb")
            except OSError as error:
                raise ImageError(f"cannot be read ({reason(error)})") from error
        size = self.size(path)
        if size is None:
            raise ImageError("no such file")
        return io.BufferedReader(_Ranges(self, path, size), _READ_AHEAD)

    def write(self, path: str, data: bytes) -> None:
        """Put a file in its place. Raises OutputError."""
        try:
            if self.local:
                self._rename(path, lambda staged: Path(staged).write_bytes(data))
            else:
                retrying(lambda: self._fs.pipe_file(self._full(path), data))
        except Exception as error:
            raise OutputError(f"{path}: cannot be written ({reason(error)})") from error

    def put(self, path: str, file: Path) -> None:
        """The same with the content of a local file, which may be large. Raises OutputError."""
        try:
            if self.local:
                self._rename(path, lambda staged: shutil.copyfile(file, staged))
            else:
                retrying(lambda: self._fs.put_file(str(file), self._full(path)))
        except Exception as error:
            raise OutputError(f"{path}: cannot be written ({reason(error)})") from error

    def _rename(self, path: str, fill) -> None:
        target = self._full(path)
        self._make(os.path.dirname(target))
        staged = f"{self.make_scratch()}/{os.getpid()}-{id(self)}-{next(self._numbers)}"
        try:
            fill(staged)
            os.replace(staged, target)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise

    @property
    def scratch(self) -> str:
        """A folder of this machine for what is half written, which :meth:`clear_staging` clears; it
        need not exist."""
        if self.local:
            return f"{self._full(STAGING)}/{self._staging}"
        return os.path.join(tempfile.gettempdir(), f"{STAGING.lstrip('.')}-{self._staging}")

    def make_scratch(self) -> str:
        """:attr:`scratch`, which is there from now on."""
        return self._make(self.scratch)

    def _make(self, folder: str) -> str:
        if folder not in self._made:
            _make_folder(folder)
            self._made.add(folder)
        return folder

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with all in it; none is fine."""
        full = self._full(path)
        if not self.local:
            self._fs.invalidate_cache()
        if self._fs.exists(full):
            retrying(lambda: self._fs.rm(full, recursive=True))

    def clear_staging(self) -> None:
        """Delete what killed workers left half written."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._made.clear()
        if self.local:
            with suppress(OSError):  # others write there too, or nobody ever did
                os.rmdir(self._full(STAGING))


class _Ranges(io.RawIOBase):
    """A remote file read piece by piece, each piece with its own tries."""

    def __init__(self, store: Store, path: str, size: int) -> None:
        self._store, self._path, self._size, self._at = store, path, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        data = self._store.read(self._path, self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _make_folder(folder: str) -> None:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # another run removed the empty folder around it
            os.makedirs(folder, exist_ok=True)
            return
    os.makedirs(folder, exist_ok=True)


def _below(root: str) -> Iterator[tuple[str, int]]:
    """Files below a folder with their sizes; links to files count, links to folders do not.

    fsspec leaves out what it may not list. That would be pictures lost without a word, so here it
    is an error.
    """

    def fail(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(root, onerror=fail):
        for name in names:
            path = os.path.join(folder, name)
            try:
                yield path, os.path.getsize(path)
            except OSError:  # a link to nowhere: reading it will say so
                yield path, 0


def is_local(place: str) -> bool:
    """Whether a place is a path of this machine."""
    return "://" not in place or place.startswith(("file://", "local://"))


def absolute(place: str) -> str:
    """A place's name that does not depend on the working folder."""
    if not is_local(place):
        return place.rstrip("/")
    return os.path.abspath(place.removeprefix("file://").removeprefix("local://"))


def split_place(place: str) -> tuple[str, str]:
    """Folder (or URL prefix) and name of a file given by path or URL."""
    folder, slash, name = place.rpartition("/")
    if not name or (not slash and "://" in place) or folder.endswith(":/"):
        raise ArgumentError(f"{place}: name a file")
    return (folder or "/") if slash else ".", name


def reason(error: BaseException) -> str:
    """Why something failed, without the name of the file where that can be left out."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
