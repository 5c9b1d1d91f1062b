import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitstream.container import (
    EXIF,
    HEADER_BYTES,
    LAYER,
    Chunk,
    Container,
    Header,
    encode_length,
)
from bitstream.errors import (
    CodecError,
    CorruptError,
    FormatError,
    LimitError,
    NotACodecFileError,
    TruncatedError,
    UnsupportedFileError,
)

HEADER = Header(1, b"\x12\x34\x56\x78", 768, 512, 50, 3)
LAYERS = [Chunk(LAYER, bytes([i]) * (50 * 4**i)) for i in range(3)]
FILE = HEADER.to_bytes() + b"".join(c.to_bytes() for c in LAYERS)


def resealed(header: bytes) -> bytes:
    """A header with its checksum made right again."""
    return header[:20] + struct.pack("<I", zlib.crc32(header[:20]))


def test_header_golden_bytes():
    assert HEADER.to_bytes().hex() == "8f43434902011234567800030000000200003203" + (
        struct.pack("<I", zlib.crc32(HEADER.to_bytes()[:20])).hex()
    )


def test_a_file_reads_back():
    container = Container.from_bytes(FILE)
    assert container.header == HEADER
    assert [c.payload for c in container.layers] == [c.payload for c in LAYERS]
    assert container.layers[-1].end == len(FILE)
    assert not container.truncated
    assert container.damage is None


def test_overhead_is_at_most_64_bytes():
    payload = 2**20
    chunks = [Chunk(LAYER, b"\0" * payload).to_bytes() for _ in range(3)]
    assert len(HEADER.to_bytes()) + sum(map(len, chunks)) - 3 * payload + 3 * 2 <= 64


@given(
    st.builds(
        Header,
        st.integers(0, 255),
        st.binary(min_size=4, max_size=4),
        st.integers(1, 2**24),
        st.integers(1, 2**24),
        st.integers(0, 100),
        st.integers(1, 15),
        st.integers(0, 1),
    )
)
def test_every_header_reads_back(header):
    assert Header.from_bytes(header.to_bytes()) == header


def test_cut_anywhere_the_whole_layers_remain():
    ends = [c.end for c in Container.from_bytes(FILE).layers]
    for length in range(len(FILE)):
        arrived = sum(end <= length for end in ends)
        if arrived:
            container = Container.from_bytes(FILE[:length])
            assert len(container.layers) == arrived
            assert container.truncated
        else:
            with pytest.raises(FormatError):
                Container.from_bytes(FILE[:length])


def test_any_damaged_byte_is_noticed():
    first_end = Container.from_bytes(FILE).layers[0].end
    for position in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[position] ^= 0x10
        try:
            container = Container.from_bytes(bytes(damaged))
        except CodecError:
            assert position < first_end
            continue
        assert position >= first_end
        intact = [c.payload for c in container.layers]
        assert intact == [c.payload for c in LAYERS][: len(intact)]
        assert container.damage is not None or container.truncated or container.appended


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    with pytest.raises(FormatError):
        Container.from_bytes(data)


@given(st.binary(max_size=200))
def test_random_bytes_behind_a_header_are_refused(data):
    with pytest.raises(FormatError):
        Container.from_bytes(HEADER.to_bytes() + data)


def test_unknown_optional_chunks_are_skipped():
    data = HEADER.to_bytes() + Chunk(b"q", b"news").to_bytes() + FILE[HEADER_BYTES:]
    assert len(Container.from_bytes(data).layers) == 3


def test_unknown_critical_chunks_ask_for_a_newer_version():
    data = HEADER.to_bytes() + Chunk(b"Q", b"news").to_bytes() + FILE[HEADER_BYTES:]
    with pytest.raises(UnsupportedFileError, match="newer"):
        Container.from_bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "error", "words"),
    [
        (0, 0x00, NotACodecFileError, "not a .cci"),
        (4, 3, UnsupportedFileError, "newer"),
        (4, 1, UnsupportedFileError, "version 1.*release 0.1"),
        (18, 101, FormatError, "quality 101"),
        (19, 0, FormatError, "0 layers"),
        (13, 0xFF, FormatError, "impossible size"),
    ],
)
def test_impossible_headers_say_what_is_wrong(offset, value, error, words):
    header = bytearray(HEADER.to_bytes())
    header[offset] = value
    with pytest.raises(error, match=words):
        Header.from_bytes(resealed(bytes(header)))


def test_a_header_checksum_guards_every_field():
    header = bytearray(HEADER.to_bytes())
    header[10] ^= 1
    with pytest.raises(CorruptError):
        Header.from_bytes(bytes(header))


def test_the_pixel_limit_is_checked_before_anything_is_allocated():
    huge = Header(1, b"\0" * 4, 2**24, 2**24, 50, 3)
    with pytest.raises(LimitError, match="max-pixels"):
        Header.from_bytes(huge.to_bytes(), max_pixels=10**8)


def test_a_giant_chunk_length_is_a_cut_not_an_allocation():
    data = HEADER.to_bytes() + b"L" + encode_length(2**34) + b"\0\0\0\0" + b"x" * 100
    with pytest.raises(TruncatedError):
        Container.from_bytes(data)


def test_metadata_behind_the_layers_does_not_cost_them():
    data = FILE + Chunk(EXIF, b"something").to_bytes()[:-2]
    container = Container.from_bytes(data)
    assert len(container.layers) == 3
    assert container.truncated


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 700, b"nonsense", b"\xff\xd8\xff"])
def test_bytes_behind_a_complete_file_are_no_damage(tail):
    container = Container.from_bytes(FILE + tail)
    assert (container.appended, container.truncated, container.damage) == (len(tail), False, None)


def test_bytes_behind_a_cut_file_are_damage():
    end = len(FILE) - len(LAYERS[2].to_bytes())
    container = Container.from_bytes(FILE[:end] + b"\0" * 9)
    assert (container.appended, container.truncated) == (0, True)
    assert container.damage is not None
