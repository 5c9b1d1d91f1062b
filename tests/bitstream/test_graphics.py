"""What a graphics chunk may hold is told from its bytes, before a pixel is decoded."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitstream.errors import CorruptError
from bitstream.graphics import read_head
from tests.bitstream.reference_decoder import graphics_head


def payload(form, mode, size=(37, 21)) -> bytes:
    buffer = io.BytesIO()
    image = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.new("L", size, 0))
    image.save(buffer, form, **({"lossless": True} if form == "WEBP" else {}))
    return buffer.getvalue()


FILES = [payload(form, mode) for form in ("WEBP", "PNG") for mode in ("RGB", "RGBA")]


def agree(data):
    """The head as both decoders read it, None where both refuse it."""
    try:
        expected = graphics_head(data)
    except (ValueError, IndexError):
        with pytest.raises(CorruptError):
            read_head(data)
        return None
    found = read_head(data)
    assert (found.width, found.height, found.alpha) == expected
    return found


def test_size_and_alpha_are_read():
    for data, alpha in zip(FILES, (False, True) * 2, strict=True):
        found = agree(data)
        assert (found.width, found.height, found.alpha) == (37, 21, alpha)
    assert agree(payload("WEBP", "RGB", (16383, 2))).width == 16383


@given(st.sampled_from(FILES), st.data())
def test_changed_and_cut_bytes_are_judged_alike_by_both_decoders(data, draw):
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        changed[draw.draw(st.integers(0, min(60, len(data)) - 1))] = draw.draw(st.integers(0, 255))
    agree(bytes(changed))
    agree(data[: draw.draw(st.integers(0, len(data)))])


@given(st.binary(max_size=80))
def test_any_bytes_are_judged_alike_by_both_decoders(data):
    agree(data)
    agree(b"\x89PNG\r\n\x1a\n" + data)
    agree(b"RIFF" + data)
