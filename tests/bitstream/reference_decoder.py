"""A second decoder of a layer's payload, of the fitted filter and of the lossless part, written
from docs/format.md in plain numbers.

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


def stage_tables(
    frequencies: list[int], lengths: list[list[int]], sets: list[int]
) -> list[list[list[int]]]:
    """The 64 tables of each stage, from the tensors ``coding.*`` of a weights file."""
    read, start = [], 0
    for row in lengths:
        tables = []
        for length in row:
            tables.append(frequencies[start : start + length])
            start += length
        read.append(tables)
    return [read[number] for number in sets]


def decode_layer(
    payload: bytes, skip_index: int, steps: list[tuple[list[int], list[list[int]]]]
) -> list[list[int]]:
    """Symbols of each step, given its scale indices and the tables of its stage."""
    decoder = RangeDecoder(payload[2:])
    out = []
    for indices, tables in steps:
        symbols = [0] * len(indices)
        for index in range(skip_index + 1, len(tables)):
            places = [i for i, value in enumerate(indices) if value == index]
            limit = len(tables[index]) // 2 - 1
            entries = cumulative(tables[index])
            codes = [decoder.decode(entries) for _ in places]
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


def decode_filter(payload: bytes) -> list[list[int]]:
    """Coefficients of Y, U, V from the payload of a chunk ``f``, then those before the correction;
    ValueError where it is invalid."""
    bits = [byte >> (7 - i) & 1 for byte in payload[1:] for i in range(8)]
    if not payload or not 1 <= payload[0] <= 63:
        raise ValueError("planes")

    def number(count: int) -> int:
        value = 0
        for _ in range(count):
            value = 2 * value + take()
        return value

    def take() -> int:
        if not bits:
            raise ValueError("too short")
        return bits.pop(0)

    planes: list[list[int]] = []
    for plane, count in enumerate((18, 14, 14, 18, 14, 14)):
        planes.append([])
        if not payload[0] >> plane & 1:
            continue
        for coded in (count, 16):
            if not take():
                planes[-1] += [0] * coded
                continue
            k = number(3)
            for _ in range(coded):
                q = 0
                while take():
                    q += 1
                n = q * 2**k + number(k)
                value = -(n + 1) // 2 if n % 2 else n // 2
                if not -255 <= value <= 255:
                    raise ValueError("range")
                planes[-1].append(value)
        if not any(planes[-1]):
            raise ValueError("planes")
    if len(bits) > 7 or any(bits):
        raise ValueError("too long")
    return planes


def filter_pixel(
    picture: list[list[tuple[float, ...]]], row: int, column: int, planes: list[list[int]]
) -> tuple[float, float, float]:
    """The filtered pixel of a padded picture of RGB values, before it is rounded."""

    def clamp(value: float, low: float, high: float) -> float:
        return max(low, min(high, value))

    def values(r: int, c: int) -> tuple[float, float, float]:
        r, c = int(clamp(r, 0, len(picture) - 1)), int(clamp(c, 0, len(picture[0]) - 1))
        red, green, blue = (clamp(v, 0, 1) for v in picture[r][c])
        return (red + green + blue) / 3, (red - blue) / 2, (2 * green - red - blue) / 6

    pairs = {"a": (0, 1), "d": (1, 0), "f": (1, 1), "e": (1, -1), "a2": (0, 2), "d2": (2, 0)}

    def second(p: int, name: str, r: int = row, c: int = column) -> float:
        dr, dc = pairs[name]
        return values(r + dr, c + dc)[p] + values(r - dr, c - dc)[p] - 2 * values(r, c)[p]

    def mean(name: str) -> float:
        around = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        return sum(abs(second(0, name, r, c)) for r, c in around) / 9

    a, d, f, e = (mean(name) for name in "adfe")
    axis, tilt = (a - d) / (a + d + 1 / 1024), (f - e) / (f + e + 1 / 1024)
    active = (a + d) / (a + d + 1 / 16)
    window = [values(row + i, column + j) for i in range(-2, 3) for j in range(-2, 3)]

    def average(p: int, q: int | None = None) -> float:
        return sum(v[p] * (1 if q is None else v[q]) for v in window) / 25

    def slope(p: int) -> float:
        variance = max(0.0, average(0, 0) - average(0) ** 2)
        return clamp((average(p, 0) - average(p) * average(0)) / (variance + (2 / 255) ** 2), -1, 1)

    def rings(p: int) -> list[float]:
        return [second(p, x) + second(p, y) for x, y in (("a", "d"), ("f", "e"), ("a2", "d2"))]

    beside = [values(row + i, column + j)[0] for i, j in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    nine = [
        *rings(0),
        (second(0, "a") - second(0, "d")) * axis,
        (second(0, "a2") - second(0, "d2")) * axis,
        (second(0, "f") - second(0, "e")) * tilt,
        sum(clamp(n - values(row, column)[0], -4 / 255, 4 / 255) for n in beside),
        rings(0)[0] * axis**2,
        rings(0)[1] * tilt**2,
    ]
    features = [[*nine, *(x * active for x in nine)]]
    for p in (1, 2):
        straight = (second(p, "a") - second(p, "d")) * axis
        diagonal = (second(p, "f") - second(p, "e")) * tilt
        sloped = [x * slope(p) for x in rings(0)]
        features.append([*rings(p), *rings(3 - p), *rings(0), straight, diagonal, *sloped])
    luma, a, b = values(row, column)
    t, a, b = 2 * luma - 1, 4 * a, 4 * b
    legendre = [
        1,
        t,
        (3 * t**2 - 1) / 2,
        (5 * t**3 - 3 * t) / 2,
        (35 * t**4 - 30 * t**2 + 3) / 8,
        (63 * t**5 - 70 * t**3 + 15 * t) / 8,
        (231 * t**6 - 315 * t**4 + 105 * t**2 - 5) / 16,
    ]
    mixed = [a, b, t * a, t * b, a * a, a * b, b * b, legendre[2] * a, legendre[2] * b]
    for part in features:
        part += [x / 2 for x in (*legendre, *mixed)]
    y, u, v = (
        clamp(sum(c / 256 * x for c, x in zip(plane, part, strict=bool(plane))), -1 / 8, 1 / 8)
        for plane, part in zip(planes, features, strict=True)
    )
    red, green, blue = (clamp(value, 0, 1) for value in picture[row][column])
    return red + y + u - v, green + y + 2 * v, blue + y - u - v


def graphics_head(payload: bytes) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha, of a chunk ``g``; ValueError where it is none."""
    if payload[:8] == b"\x89PNG\r\n\x1a\n":
        kinds, place = [], 8
        while place < len(payload):
            kinds.append(payload[place + 4 : place + 8])
            place += 12 + int.from_bytes(payload[place : place + 4], "big")
        form = tuple(payload[24:29])
        if (
            place != len(payload)
            or len(kinds) < 3
            or form not in ((8, 2, 0, 0, 0), (8, 6, 0, 0, 0))
        ):
            raise ValueError("PNG")
        if kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or set(kinds[1:-1]) != {b"IDAT"}:
            raise ValueError("PNG chunks")
        width, height = (int.from_bytes(payload[i : i + 4], "big") for i in (16, 20))
        return width, height, form[1] == 6
    if len(payload) < 25 or payload[:4] + payload[8:16] + payload[20:21] != b"RIFFWEBPVP8L/":
        raise ValueError("neither WebP nor PNG")
    riff, size, bits = (int.from_bytes(payload[i : i + 4], "little") for i in (4, 16, 21))
    if riff != len(payload) - 8 or size + size % 2 != len(payload) - 20 or bits >> 29:
        raise ValueError("WebP")
    return bits % 2**14 + 1, (bits >> 14) % 2**14 + 1, bool(bits >> 28 & 1)


def graphics_over(
    picture: list[list[list[int]]],
    stored: list[list[list[int]]],
    mask: list[list[bool]],
    scale: int,
) -> list[list[list[int]]]:
    """A decoded picture with the lossless pixels laid over it."""
    height, width = len(stored), len(stored[0])
    shown = []
    for r, row in enumerate(picture):
        shown.append([])
        for c, pixel in enumerate(row):
            places = [
                (i, k)
                for i in range(r * scale, min(height, (r + 1) * scale))
                for k in range(c * scale, min(width, (c + 1) * scale))
            ]
            shown[-1].append([])
            for channel in range(3):
                total = sum(
                    stored[i][k][channel] if mask[i][k] else pixel[channel] for i, k in places
                )
                shown[-1][-1].append((2 * total + len(places)) // (2 * len(places)))
    return shown
