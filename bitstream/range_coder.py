"""Range coding of one layer's symbols under fixed tables of integer frequencies.

Symbols come in coding steps, each with the tables of its stage. Within a step they are grouped by
scale index, in increasing order, so that each group is coded by one table in one call. Indices up
to ``skip_index`` are not coded: their symbols are zero. A symbol outside its table is coded as the
escape entry; its value follows the group (sign, then the excess in Elias-gamma form).

The coder is constriction's range coder (32-bit words, 64-bit state, 24-bit probabilities).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import constriction
import numpy as np

from bitstream.errors import CorruptError

SYMBOL_LIMIT = 4095
_CHECKSUM_BYTES = 2


class CodingTables:
    """Entropy models of all scales, for one stage or several.

    Args:
        frequencies: per scale, integers of shape (2 L + 2,) summing to a power of two: the symbols
            −L…L, then the escape.
        skip_index: scale indices up to this one are not coded.
    """

    def __init__(self, frequencies: Sequence[np.ndarray], skip_index: int) -> None:
        self.skip_index = skip_index
        self.limits = [(len(f) - 2) // 2 for f in frequencies]
        self.models = [
            constriction.stream.model.Categorical(f.astype(np.float64), perfect=False)
            for f in frequencies
        ]


_BIT = constriction.stream.model.Uniform(2)
_PART = 2**20
#: Steps of more symbols than this are not sorted.
_SORTED = 2**23
_LENGTH = constriction.stream.model.Uniform(16)


def _groups(scale_index: np.ndarray, skip_index: int) -> Iterator[tuple[int, np.ndarray]]:
    """(scale index, positions) in coding order, without the skipped ones."""
    # In parts, because bincount takes a copy of eight bytes for each.
    parts = np.split(scale_index, range(_PART, len(scale_index), _PART))
    counts = np.sum([np.bincount(part, minlength=256) for part in parts], axis=0)
    indices = [int(index) for index in np.flatnonzero(counts) if index > skip_index]
    if len(scale_index) > _SORTED:  # one group at a time: slower, but a sort takes eight bytes each
        yield from ((index, np.flatnonzero(scale_index == index)) for index in indices)
        return
    order = np.argsort(scale_index, kind="stable")
    ends = np.cumsum(counts)
    yield from ((index, order[ends[index] - counts[index] : ends[index]]) for index in indices)


def symbol_checksum(crc: int, symbols: np.ndarray) -> int:
    """CRC-32 over symbols as little-endian int16, continued from ``crc``."""
    return zlib.crc32(symbols.astype("<i2").tobytes(), crc)


class LayerEncoder:
    """Encode one layer, step by step, then :meth:`finish`."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self._crc = 0

    def encode(self, symbols: np.ndarray, scale_index: np.ndarray, tables: CodingTables) -> None:
        """Append one step: integers within ±SYMBOL_LIMIT, zero where the index is skipped.

        ``scale_index`` holds integers of 0…255; ``tables`` are those of the step's stage.
        """
        self._crc = symbol_checksum(self._crc, symbols)
        for index, places in _groups(scale_index, tables.skip_index):
            limit = tables.limits[index]
            values = symbols[places].astype(np.int32)
            escaped = np.abs(values) > limit
            codes = np.where(escaped, 2 * limit + 1, values + limit).astype(np.int32)
            self._coder.encode(codes, tables.models[index])
            for value in values[escaped].tolist():
                self._encode_escape(value, limit)

    def _encode_escape(self, value: int, limit: int) -> None:
        self._coder.encode(int(value < 0), _BIT)
        excess = abs(value) - limit  # at least 1
        low_bits = excess.bit_length() - 1
        self._coder.encode(low_bits, _LENGTH)
        for shift in reversed(range(low_bits)):
            self._coder.encode(excess >> shift & 1, _BIT)

    def finish(self) -> bytes:
        """The layer's payload: symbol checksum (2 bytes), then the range coder's words."""
        words = self._coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
        return (self._crc & 0xFFFF).to_bytes(_CHECKSUM_BYTES, "little") + words


class LayerDecoder:
    """Decode one layer's payload, step by step, then :meth:`finish` checks it."""

    def __init__(self, payload: bytes) -> None:
        if len(payload) < _CHECKSUM_BYTES:
            raise CorruptError("a layer is too short to hold its checksum")
        self._expected = int.from_bytes(payload[:_CHECKSUM_BYTES], "little")
        stream = payload[_CHECKSUM_BYTES:]
        words = np.frombuffer(stream + b"\0" * (-len(stream) % 4), dtype="<u4")
        self._coder = constriction.stream.queue.RangeDecoder(words.astype(np.uint32))
        self._crc = 0

    def decode(self, scale_index: np.ndarray, tables: CodingTables) -> np.ndarray:
        """The next step's symbols, int32, in the order of ``scale_index``."""
        symbols = np.zeros(scale_index.shape, dtype=np.int32)
        try:
            for index, places in _groups(scale_index, tables.skip_index):
                limit = tables.limits[index]
                codes = self._coder.decode(tables.models[index], len(places))
                values = codes - limit
                for place in np.flatnonzero(codes == 2 * limit + 1):
                    values[place] = self._decode_escape(limit)
                symbols[places] = values
        except (AssertionError, ValueError) as error:  # what constriction raises on invalid data
            raise CorruptError(f"a layer's data cannot be decoded ({error})") from error
        self._crc = symbol_checksum(self._crc, symbols)
        return symbols

    def _decode_escape(self, limit: int) -> int:
        negative = self._coder.decode(_BIT)
        low_bits = self._coder.decode(_LENGTH)
        excess = 1
        for _ in range(low_bits):
            excess = excess << 1 | self._coder.decode(_BIT)
        value = limit + excess
        if value > SYMBOL_LIMIT:
            raise CorruptError("a layer contains an impossible symbol")
        return -value if negative else value

    def finish(self) -> None:
        """Raises CorruptError unless the symbols are those that were encoded."""
        if self._crc & 0xFFFF != self._expected:
            raise CorruptError("a layer decoded to other symbols than were encoded")


class EmptyLayer:
    """A layer with no payload at all, in place of a :class:`LayerDecoder`: all symbols are zero."""

    def decode(self, scale_index: np.ndarray, tables: CodingTables) -> np.ndarray:
        """Zeros, int32, as many as there are scale indices."""
        return np.zeros(scale_index.shape, dtype=np.int32)

    def finish(self) -> None:
        """Nothing was stored that could be wrong."""


def layer_decoder(payload: bytes) -> LayerDecoder | EmptyLayer:
    """Of a layer's payload. Raises CorruptError where it is too short."""
    return LayerDecoder(payload) if payload else EmptyLayer()
