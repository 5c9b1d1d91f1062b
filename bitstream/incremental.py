"""Parsing a .cci file whose bytes arrive piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from bitstream.container import (
    HEADER_BYTES,
    KNOWN,
    MAGIC,
    Chunk,
    Container,
    Header,
    next_chunk,
)
from bitstream.errors import CorruptError


class ContainerReader:
    """The incremental form of :meth:`Container.from_bytes`, with the same result and errors.

    ``header`` is None until its 24 bytes are there; ``container`` holds what arrived so far.

    Args:
        max_pixels: refuse files that declare more, as soon as their header is there.
    """

    def __init__(self, *, max_pixels: int | None = None) -> None:
        self._max_pixels = max_pixels
        self._data = bytearray()
        self._end = HEADER_BYTES  # of the last whole chunk
        self.container: Container | None = None

    @property
    def header(self) -> Header | None:
        return self.container.header if self.container else None

    @property
    def received(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def push(self, data: bytes) -> Iterator[Chunk]:
        """Take more bytes; iterate over the chunks of known types that they complete.

        The bytes are taken at once, chunks are parsed as the iteration asks for them. After
        damage nothing more comes: ``container.damage`` says what it was.

        Raises:
            FormatError: as :meth:`Container.from_bytes`; as early as the bytes allow.
        """
        self._data += data
        return self._chunks()

    def _chunks(self) -> Iterator[Chunk]:
        if self.container is None:
            start = bytes(self._data[: len(MAGIC)])
            if len(self._data) < HEADER_BYTES and MAGIC.startswith(start):
                return
            self.container = Container(self._parse_header())
        while self.container.damage is None:
            try:
                chunk = next_chunk(self._data, self._end)
            except CorruptError as error:
                if not self.container.layers:
                    raise
                self.container.damage = error
                return
            if chunk is None:
                return
            self._end = chunk.end
            if chunk.type in KNOWN:
                self.container.chunks.append(chunk)
                yield chunk

    def _parse_header(self) -> Header:
        return Header.from_bytes(bytes(self._data[:HEADER_BYTES]), max_pixels=self._max_pixels)

    def finish(self) -> Container:
        """No more bytes will come: what :meth:`Container.from_bytes` gives for all of them.

        Raises:
            FormatError: as there, so TruncatedError where the first layer is not whole.
        """
        for _ in self._chunks():  # what an abandoned iteration left
            pass
        container = self.container or Container(self._parse_header())
        container.close(self._data, self._end)
        return container
