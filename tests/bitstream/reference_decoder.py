"""A second decoder of a layer's payload, written from docs/format.md in plain integers.

It shares no code with ``bitstream``; if it agrees, the specification is complete.
"""

from __future__ import annotations

import bisect
import struct

PRECISION = 24
MASK64 = 2**64 - 1


def cumulative(frequencies: list[int]) -> list[int]:
    """Left-sided 24-bit cumulatives of a frequency table, with the total 2^24 at the end."""
    total, count = sum(frequencies), len(frequencies)
    out, running = [], 0
    for i, frequency in enumerate(frequencies):
        out.append(running * (2**PRECISION - count) // total + i)
        running += frequency
    return [*out, 2**PRECISION]


class RangeDecoder:
    """32-bit words, 64-bit state, 24-bit probabilities."""

    def __init__(self, stream: bytes) -> None:
        stream += b"\0" * (-len(stream) % 4)
        self.words = list(struct.unpack(f"<{len(stream) // 4}I", stream))
        self.lower, self.range = 0, MASK64
        self.point = self.next_word() << 32 | self.next_word()

    def next_word(self) -> int:
        return self.words.pop(0) if self.words else 0

    def decode(self, table: list[int]) -> int:
        scale = self.range >> PRECISION
        quantile = ((self.point - self.lower) & MASK64) // scale
        assert quantile < 2**PRECISION
        symbol = bisect.bisect_right(table, quantile) - 1
        self.lower = (self.lower + scale * table[symbol]) & MASK64
        self.range = scale * (table[symbol + 1] - table[symbol])
        if self.range < 2**32:
            self.lower = self.lower << 32 & MASK64
            self.range = self.range << 32
            self.point = (self.point << 32 | self.next_word()) & MASK64
        return symbol

    def uniform(self, count: int) -> int:
        width = 2**PRECISION // count
        return self.decode([i * width for i in range(count)] + [2**PRECISION])


def decode_layer(
    payload: bytes, tables: list[list[int]], skip_index: int, steps: list[list[int]]
) -> list[list[int]]:
    """Symbols of each step, given the scale indices of each step."""
    cumulatives = [cumulative(table) for table in tables]
    decoder = RangeDecoder(payload[2:])
    out = []
    for indices in steps:
        symbols = [0] * len(indices)
        for index in range(skip_index + 1, len(tables)):
            places = [i for i, value in enumerate(indices) if value == index]
            limit = len(tables[index]) // 2 - 1
            codes = [decoder.decode(cumulatives[index]) for _ in places]
            for place, code in zip(places, codes, strict=True):
                if code <= 2 * limit:
                    symbols[place] = code - limit
                    continue
                negative = decoder.uniform(2)
                excess = 1
                for _ in range(decoder.uniform(16)):
                    excess = excess << 1 | decoder.uniform(2)
                symbols[place] = -(limit + excess) if negative else limit + excess
        out.append(symbols)
    return out
