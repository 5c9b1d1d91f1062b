"""What nobody sees costs next to nothing: padding to multiples of 64, and transparent pixels."""

import numpy as np
import pytest

import codec
from codec.installed import get_model
from codec.unseen import seen_squares
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
        seen = seen_squares(size, (128, 128))[None]
        coded = Coded(network.posterior(padded, 90), network.skip_index, seen, places)
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


def test_a_margin_goes_around_what_is_seen_but_not_into_the_padding():
    unseen = np.ones((60, 100), bool)
    unseen[20:24, 90:] = False
    shown = seen_squares((60, 100), (64, 128), unseen)
    assert shown.nonzero().tolist() == [[2, 11], [2, 12]]
    wider = seen_squares((60, 100), (64, 128), unseen, margin=1)
    assert wider.nonzero().tolist() == [[row, x] for row in (1, 2, 3) for x in (10, 11, 12)]


@pytest.fixture
def cut_out(photograph):
    """A picture, and an alpha plane that shows an ellipse of it with a soft edge."""
    rgb = photograph[40:200, 60:252]
    y, x = np.mgrid[-1:1:160j, -1:1:192j]
    return rgb, np.clip((0.5 - np.hypot(x, y)) * 4000, 0, 255).astype(np.uint8)


def test_colours_of_transparent_pixels_make_no_difference(cut_out, model):
    rgb, alpha = cut_out
    seen = alpha > 0
    assert 0 < seen.mean() < 0.3
    assert (alpha[seen] < 255).any()
    files = set()
    for hidden in (0, 255, rgb[::-1]):
        picture = np.dstack([np.where(seen[:, :, None], rgb, hidden), alpha])
        files.add(codec.encode(picture.astype(np.uint8), model=model))
    assert len(files) == 1
    (file,) = files
    shown = np.array(codec.decode(file))
    assert np.array_equal(shown[:, :, 3], alpha)
    whole = codec.encode(rgb, model=model)
    sizes = [sum(layer.bytes for layer in codec.info(data).layers) for data in (file, whole)]
    assert sizes[0] < 0.6 * sizes[1]
    known = psnr(rgb[seen], np.array(codec.decode(whole))[seen])
    assert psnr(rgb[seen], shown[seen][:, :3]) > known - 1


def test_a_target_counts_what_is_seen(cut_out):
    picture = np.dstack(cut_out)
    data = codec.encode(picture, target_psnr=44)
    assert 44 <= codec.compare(picture, data).psnr < 44.3


def test_a_drawing_on_nothing_stays_lossless():
    logo = np.zeros((96, 96, 4), np.uint8)
    logo[20:70, 30:80] = (200, 30, 60, 255)
    logo[40:50, 40:70] = (255, 255, 255, 255)
    shown = np.array(codec.decode(codec.encode(logo)))
    assert np.array_equal(shown[:, :, 3], logo[:, :, 3])
    assert np.array_equal(shown[logo[:, :, 3] > 0], logo[logo[:, :, 3] > 0])


def test_a_picture_of_nothing_is_a_picture():
    nothing = np.zeros((70, 50, 4), np.uint8)
    assert not np.array(codec.decode(codec.encode(nothing)))[:, :, 3].any()
