"""The filter on decoded pictures: exact where it is flat, bounded, the same in tiles."""

import numpy as np
import pytest
import torch

from models import picture_filter, tiles
from models.picture_filter import LARGEST, PLANE_WEIGHTS, REACH, TONES, PictureFilter, Statistics
from models.tiles import Box, assemble, finished
from tests.bitstream.reference_decoder import filter_pixel

UNIT = 256
COUNTS = (18 + TONES, 14 + TONES, 14 + TONES)


def coefficients(size=30, seed=0, *, tones=True):
    rng = np.random.default_rng(seed)
    planes = [rng.integers(-size, size + 1, count).tolist() for count in COUNTS]
    return planes if tones else [plane[:-TONES] + [0] * TONES for plane in planes]


@pytest.fixture(scope="module")
def picture(photograph):
    """1×3×128×192 in [0, 1] and a little beyond."""
    piece = torch.from_numpy(photograph[200:328, 300:492].copy()).permute(2, 0, 1)[None]
    return piece.float() / 255 * 1.02 - 0.01


@pytest.mark.parametrize("colour", [(0, 0, 0), (1, 1, 1), (0.2, 0.5, 0.9)])
def test_differences_leave_flat_pictures_exactly_as_they_are_and_tones_flat(colour):
    flat = torch.tensor(colour).float().view(1, 3, 1, 1).expand(1, 3, 20, 30)
    assert torch.equal(PictureFilter(coefficients(255, tones=False), UNIT)(flat), flat)
    changed = PictureFilter(coefficients(5), UNIT)(flat)
    assert torch.equal(changed, changed[..., :1, :1].expand_as(changed))
    assert not torch.equal(changed, flat)


def test_no_coefficients_change_a_pixel_by_more_than_declared(picture):
    for seed in range(3):
        changed = PictureFilter(coefficients(255, seed), UNIT)(picture) - picture.clamp(0, 1)
        assert changed.abs().max() <= 3 * LARGEST + 1e-6
        luma = PictureFilter([coefficients(255, seed)[0], [], []], UNIT)(picture)
        assert (luma - picture.clamp(0, 1)).abs().max() <= LARGEST + 1e-6


def test_pixels_are_those_of_the_second_decoder(picture):
    planes = coefficients()
    piece = picture[..., 40:52, 60:75]
    found = PictureFilter(planes, UNIT)(piece)[0]
    listed = [[tuple(pixel) for pixel in row] for row in piece[0].permute(1, 2, 0).tolist()]
    for row, column in ((0, 0), (5, 7), (11, 14), (1, 13), (6, 0)):
        expected = filter_pixel(listed, row, column, planes)
        assert found[:, row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_tiles_and_strips_give_what_the_whole_picture_gives(picture, monkeypatch):
    filtering = PictureFilter(coefficients(), UNIT)
    whole = filtering(picture)
    monkeypatch.setattr(tiles, "TILE", 64)
    monkeypatch.setattr(picture_filter, "_STRIP", 24)
    frame = Box.of(128, 192)
    draw = finished(lambda box: box.cut(picture), filtering, 8, frame)
    assert torch.allclose(assemble(frame, 1, draw), whole, atol=1e-6)


def test_statistics_foretell_the_squared_error(picture):
    """c·gram·c − 2·c·target is what coefficients c change, whatever the pieces."""
    frame = Box.of(128, 192)
    rng = np.random.default_rng(1)
    original = torch.from_numpy(rng.integers(0, 256, (3, 128, 192), dtype=np.uint8))
    original = ((original.float() - 128) / 16 + picture[0].clamp(0, 1) * 255).clamp(0, 255)
    original = original.to(torch.uint8)
    statistics = Statistics()
    for box in (Box(0, 0, 128, 64), Box(0, 64, 50, 192), Box(50, 64, 128, 192)):
        seen = box.grown(REACH, 8, frame)
        statistics.add(seen.cut(picture), seen, box.cut(original), box, grey=False)
    assert statistics.pixels == 128 * 192

    def error(shown):
        return float((original / 255 - shown).double().square().sum())

    planes = coefficients(8)
    foretold = 0.0
    for index, plane in enumerate(planes):
        c = torch.tensor(plane).double() / UNIT
        gram, target = statistics.gram[index], statistics.target[index]
        foretold += PLANE_WEIGHTS[index] * float(c @ gram @ c - 2 * c @ target)
    changed = error(PictureFilter(planes, UNIT)(picture)[0]) - error(picture[0].clamp(0, 1))
    assert changed == pytest.approx(foretold, rel=1e-3)
