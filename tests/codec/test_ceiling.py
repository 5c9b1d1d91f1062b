"""Above quality 90: bits are spent only where they bring something."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import codec
from codec.ceiling import CEILING, worthwhile_quality
from codec.installed import get_model


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    """Dense text, light on dark."""
    image = Image.new("RGB", (320, 256))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(10)
    for y in range(4, 256, 14):
        pen.text((4, y), "The quick brown fox jumps over the lazy dog 0123456789", font=font)
    return np.array(image)


def test_text_is_not_given_bits_that_buy_nothing(page):
    found = [codec.encode_detailed(page, quality=quality) for quality in (CEILING, 95, 100)]
    assert [result.quality for result in found] == [CEILING] * 3
    assert found[0].data == found[1].data == found[2].data
    assert not found[0].notes
    assert found[2].notes == (
        "stored at quality 90, not 100: more would make the file larger and this picture hardly "
        "better",
    )


def test_fewer_layers_and_targets(page):
    """A file with fewer layers is a cut of the whole one; a target size takes what it may."""
    whole, cut = (codec.encode(page, quality=100, layers=layers) for layers in (3, 2))
    assert cut[24:] == whole[24 : codec.info(whole).layers[1].end]
    assert codec.encode_detailed(page, target_bytes=10**6).quality == 100


def test_photographs_get_what_is_asked_for(crop):
    assert [codec.encode_detailed(crop, quality=q).quality for q in (50, 95, 100)] == [50, 95, 100]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (5000, 3), (700, 520), (1200, 800)])
def test_any_shape_is_judged(shape):
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert worthwhile_quality(rgb, get_model("ssvae", "cpu"), 99) in (CEILING, 99)
