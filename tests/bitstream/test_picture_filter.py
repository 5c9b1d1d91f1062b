"""The fitted filter's coefficients as bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitstream.errors import CorruptError
from bitstream.picture_filter import (
    COUNTS,
    LIMIT,
    MAX_BYTES,
    PlaneBits,
    pack_filter,
    plane_bits,
    unpack_filter,
)
from tests.bitstream.reference_decoder import decode_filter

VALUES = st.one_of(st.integers(-LIMIT, LIMIT), st.integers(-9, 9))
PLANES = st.tuples(*(st.lists(VALUES, min_size=n, max_size=n) | st.just([]) for n in COUNTS * 2))


def sparse(planes):
    """None where a plane that is there is all zeros, which no encoder writes."""
    return any(planes) and all(any(plane) for plane in planes if plane)


@given(PLANES.filter(sparse))
def test_coefficients_come_back_and_the_second_decoder_agrees(planes):
    payload = pack_filter(planes[:3], planes[3:])
    assert [list(plane) for each in unpack_filter(payload) for plane in each] == list(planes)
    assert decode_filter(payload) == list(planes)
    bits = sum(plane_bits(plane) for plane in planes if plane)
    assert len(payload) == 1 + -(-bits // 8) <= MAX_BYTES


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_are_coefficients_in_range_or_an_error(payload):
    try:
        planes = unpack_filter(payload)
    except CorruptError:
        with pytest.raises(ValueError, match=r"planes|short|range|long"):
            decode_filter(payload)
    else:
        both = [list(plane) for each in planes for plane in each]
        assert both == decode_filter(payload)
        assert all(abs(value) <= LIMIT for plane in both for value in plane)


def test_what_an_encoder_would_not_write_is_refused():
    good = pack_filter([[3] * COUNTS[0], [], [-2] * COUNTS[2]])
    beyond = pack_filter([[LIMIT] * COUNTS[0], [], []])
    for wrong in (
        b"",
        good[:1],
        good[:-1],
        good + b"\0",
        bytes([0]) + good[1:],
        bytes([8]) + good[1:],
        bytes([64]) + good[1:],
        bytes([1, 0b11100000 | 31]) + b"\xff" * (MAX_BYTES - 2),
        b"\1" + b"\xff" * 10**6,
        beyond[:1] + b"\xe7" + b"\xff" * 40,
    ):
        with pytest.raises(CorruptError):
            unpack_filter(wrong)


@pytest.mark.parametrize("count", COUNTS)
def test_bits_kept_up_to_date_are_the_bits_of_the_plane(count):
    """Also where a part becomes all zero, and where it stops being so."""
    rng = np.random.default_rng(count)
    plane = [0] * count
    bits = PlaneBits(plane)
    for number in range(400):
        place = int(rng.integers(count))
        other = int(rng.integers(-LIMIT, LIMIT + 1)) if number % 3 == 0 else 0
        changed = [*plane[:place], other, *plane[place + 1 :]]
        assert bits.after(place, plane[place], other) == plane_bits(changed)
        assert bits.total == plane_bits(plane)
        if number % 4:
            bits.change(place, plane[place], other)
            plane = changed
    assert bits.total == plane_bits(plane)
