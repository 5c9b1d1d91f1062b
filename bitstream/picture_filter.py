"""The fitted filters' coefficients as bytes: the payload of chunk ``f`` (``docs/format.md``).

One byte says which planes are filtered (bit 0 luma, bits 1 and 2 the two chroma planes, bits 3 … 5
the same before the correction). The coefficients of a plane are those of its differences, then
those of its tones: for either one bit whether there are any, then three bits ``k`` and the
coefficients in Rice codes of parameter ``k``.
"""

from __future__ import annotations

from collections.abc import Sequence

from bitstream.errors import CorruptError

#: Coefficients of the differences of luma and of the two chroma planes.
DIFFERENCES = (18, 14, 14)
#: Coefficients of the tones of any plane.
TONES = 16
#: All coefficients of luma and of the two chroma planes.
COUNTS = tuple(count + TONES for count in DIFFERENCES)
#: Of the planes of both filters: that of the picture, that of the picture before its correction.
_BOTH = COUNTS * 2
#: Coefficients are whole multiples of 1/UNIT, at most LIMIT of them.
UNIT = 256
LIMIT = 255
_RICE_BITS = 3
#: No filter takes more bytes: the least suitable ``k`` for the largest coefficients.
MAX_BYTES = 1 + (2 * len(_BOTH) * (1 + _RICE_BITS) + sum(_BOTH) * (2 * LIMIT + 1) + 7) // 8


#: Coefficients of three planes, each as many whole numbers within ±:data:`LIMIT` as :data:`COUNTS`
#: says; an empty plane is not filtered.
Planes = Sequence[Sequence[int]]
#: A filter that does nothing.
NONE: Planes = ((), (), ())


def pack_filter(last: Planes, before: Planes = NONE) -> bytes:
    """Coefficients → payload.

    Args:
        last: of the filter of the picture.
        before: of the filter of the picture before it is corrected.
    """
    planes = [*last, *before]
    assert [len(plane) for plane in planes] == [
        count if plane else 0 for plane, count in zip(planes, _BOTH, strict=True)
    ]
    bits, mask = "", 0
    for index, plane in enumerate(planes):
        if plane:
            mask |= 1 << index
            bits += "".join(_coded(part) for part in _parts(plane))
    bits += "0" * (-len(bits) % 8)
    return bytes([mask, *(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))])


def _parts(plane: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """The coefficients of a plane's differences, and those of its tones."""
    return plane[:-TONES], plane[-TONES:]


def plane_bits(plane: Sequence[int]) -> int:
    """Bits that the coefficients of one plane take."""
    return PlaneBits(plane).total


class PlaneBits:
    """:func:`plane_bits` of a plane whose coefficients are changed one at a time.

    Args:
        plane: at first; never looked at again.
    """

    def __init__(self, plane: Sequence[int]) -> None:
        parts = _parts(plane)
        self._first_tone = len(parts[0])
        self._sizes = [_rice_bits(part) for part in parts]
        self._used = [sum(map(bool, part)) for part in parts]
        self._bits = [*map(self._of_part, self._sizes, self._used)]

    @property
    def total(self) -> int:
        return sum(self._bits)

    def after(self, place: int, value: int, other: int) -> int:
        """The total if the ``value`` at a place becomes another."""
        part = place >= self._first_tone
        return self._of_part(*self._changed(part, value, other)) + self._bits[not part]

    def change(self, place: int, value: int, other: int) -> None:
        """The ``value`` at a place becomes another."""
        part = place >= self._first_tone
        self._sizes[part], self._used[part] = self._changed(part, value, other)
        self._bits[part] = self._of_part(self._sizes[part], self._used[part])

    def _changed(self, part: int, value: int, other: int) -> tuple[list[int], int]:
        old, new = _UNARY[_unsigned(value)], _UNARY[_unsigned(other)]
        sizes = [size - a + b for size, a, b in zip(self._sizes[part], old, new, strict=True)]
        return sizes, self._used[part] - bool(value) + bool(other)

    @staticmethod
    def _of_part(sizes: Sequence[int], used: int) -> int:
        return 1 + (_RICE_BITS + min(sizes) if used else 0)


def _coded(part: Sequence[int]) -> str:
    if not any(part):
        return "0"
    sizes = _rice_bits(part)
    k = sizes.index(min(sizes))
    return f"1{k:0{_RICE_BITS}b}" + "".join(_rice(value, k) for value in part)


def _rice_bits(plane: Sequence[int]) -> list[int]:
    """Bits of a part's codes for each parameter."""
    numbers = [_unsigned(value) for value in plane]
    return [
        sum([number >> k for number in numbers]) + (k + 1) * len(numbers)
        for k in range(1 << _RICE_BITS)
    ]


def _unsigned(value: int) -> int:
    """0, −1, 1, −2, 2, … → 0, 1, 2, 3, 4, …"""
    return 2 * value if value >= 0 else -2 * value - 1


#: Of each number that :func:`_unsigned` gives, how long its unary part is for each parameter.
_UNARY = [[number >> k for k in range(1 << _RICE_BITS)] for number in range(2 * LIMIT + 1)]


def _rice(value: int, k: int) -> str:
    number = _unsigned(value)
    low = f"{number & ((1 << k) - 1):0{k}b}" if k else ""
    return "1" * (number >> k) + "0" + low


def unpack_filter(payload: bytes) -> tuple[Planes, Planes]:
    """Payload → coefficients of both filters, as :func:`pack_filter` takes them.

    Raises:
        CorruptError: the payload is not what an encoder writes.
    """
    if not 2 <= len(payload) <= MAX_BYTES or not 1 <= payload[0] < 1 << len(_BOTH):
        raise CorruptError("its size or its planes are impossible")
    reader = _Bits(payload[1:])
    planes = tuple(
        _read_plane(reader, count) if payload[0] >> index & 1 else ()
        for index, count in enumerate(_BOTH)
    )
    reader.finish()
    return planes[: len(COUNTS)], planes[len(COUNTS) :]


def _read_plane(reader: _Bits, count: int) -> tuple[int, ...]:
    plane = (*_read_part(reader, count - TONES), *_read_part(reader, TONES))
    if not any(plane):
        raise CorruptError("one of its planes has no coefficients")
    return plane


def _read_part(reader: _Bits, count: int) -> list[int]:
    if not reader.take(1):
        return [0] * count
    k = reader.take(_RICE_BITS)
    values = []
    for _ in range(count):
        number = reader.ones() << k | reader.take(k)
        value = -(number + 1) // 2 if number & 1 else number // 2
        if abs(value) > LIMIT:
            raise CorruptError(f"its coefficient {value} is out of range")
        values.append(value)
    return values


class _Bits:
    """Reads bits, high bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._place = 0

    def take(self, count: int) -> int:
        part = self._bits[self._place : self._place + count]
        if len(part) < count:
            raise CorruptError("it ends inside a coefficient")
        self._place += count
        return int(part, 2) if count else 0

    def ones(self) -> int:
        """How many ones stand before the next zero; both are taken."""
        end = self._bits.find("0", self._place)
        if end < 0:
            raise CorruptError("it ends inside a coefficient")
        count, self._place = end - self._place, end + 1
        return count

    def finish(self) -> None:
        rest = self._bits[self._place :]
        if len(rest) > 7 or "1" in rest:
            raise CorruptError("bytes follow its coefficients")
