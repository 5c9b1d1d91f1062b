"""Tar shards in the manner of WebDataset: files of one sample share their name up to the suffix.

Reading and writing are streams: neither side holds more than one picture.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from codec.batch.stores import Store, reason
from codec.errors import ImageError, OutputError


def read_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a shard's files, in order.

    Raises:
        ImageError: it is no tar file, or is cut or damaged from here on.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                content = tar.extractfile(member)
                data = content.read() if content else b""
                if len(data) != member.size:
                    raise tarfile.ReadError(f"cut within {member.name}")
                yield clean_name(member.name), data
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(f"the shard is cut or damaged ({reason(error)})") from error


def clean_name(name: str) -> str:
    """A member's name below the shard: no absolute paths, no way up."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


class ShardWriter:
    """A shard that grows in a local file and goes to its store at once.

    Owner, mode and time are fixed: equal pictures give equal shards. Where the local file cannot be
    written, :meth:`finish` says so.
    """

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._file: IO[bytes] | None = None
        self._failure: OSError | None = None
        with self._local():
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - until finish
                dir=store.make_scratch(), suffix=".tar"
            )
            # PAX: names of any length and script.
            self._tar = tarfile.open(  # noqa: SIM115
                fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT
            )

    @contextmanager
    def _local(self) -> Iterator[None]:
        """Keeps what goes wrong with the local file, for the end."""
        try:
            yield
        except OSError as error:
            self._failure = self._failure or error

    def add(self, name: str, data: bytes) -> None:
        """Append a file."""
        if self._failure is not None:
            return
        member = tarfile.TarInfo(name)
        member.size = len(data)
        with self._local():
            self._tar.addfile(member, io.BytesIO(data))

    def finish(self) -> None:
        """Put the shard in its place. Raises OutputError."""
        if self._failure is None and self._file is not None:
            with self._local():
                self._tar.close()
                self._file.flush()
        if self._failure is not None:
            raise OutputError(
                f"{self._path}: cannot be written ({self._store.scratch}: {reason(self._failure)})"
            ) from self._failure
        if self._file is not None:
            self._store.put(self._path, Path(self._file.name))
            self._file.close()

    def discard(self) -> None:
        """Drop what was written."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
