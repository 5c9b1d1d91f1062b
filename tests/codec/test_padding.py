"""Sides are rounded up to multiples of 64: what lies outside the picture costs next to nothing."""

import numpy as np
import pytest

import codec
from codec.installed import get_model
from codec.walk import Coded, pad_image, walk
from tests.conftest import psnr


class NotZero:
    """A recorder that counts."""

    count = 0

    def add(self, stage, symbols, scale_index):
        self.count += int((symbols != 0).sum())


def test_no_symbol_stands_for_padding_alone(photograph, model):
    """Of 128 pixels 65 are 3 of 4 places a side in u, 5 of 8 in z1, 9 of 16 in z2."""
    network, counts = get_model(model, "cpu"), {}
    padded = pad_image(photograph[100:165, 200:265], network.size_multiple)
    for size in ((65, 65), (128, 128)):
        places = NotZero()
        coded = Coded(network, network.posterior(padded, 90), [size], places)
        walk(network, size, 90, [coded] * 3)
        counts[size] = places.count
    assert 0 < counts[65, 65] < 0.75 * counts[128, 128]


@pytest.mark.parametrize("quality", [20, 60, 90])
def test_padding_costs_little_and_the_picture_is_no_worse(photograph, model, quality):
    image = photograph[100:200, 200:330]
    whole = np.pad(image, ((0, 28), (0, 62), (0, 0)), mode="edge")
    options = {"quality": quality, "model": model, "graphics": False, "filter": False}
    data, padded = codec.encode(image, **options), codec.encode(whole, **options)
    assert len(data) < 0.97 * len(padded)
    shown = np.array(codec.decode(padded))[:100, :130]
    assert psnr(image, codec.decode(data)) > psnr(image, shown) - 0.1
