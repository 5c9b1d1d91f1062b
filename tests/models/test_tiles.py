"""Work in tiles gives what work on the whole gives."""

import numpy as np
import pytest
import torch

import codec
from models import tiles
from models.tiles import Box, FeatureMap


@pytest.fixture(params=["kept", "computed anew"])
def small_tiles(request, monkeypatch):
    """Tiles of 128 pixels; maps that are kept, and maps computed wherever they are read."""

    def switch(on: bool) -> None:
        monkeypatch.setattr(tiles, "TILE", 128 if on else 2**20)
        kept = 0 if on and request.param == "computed anew" else 2**40
        monkeypatch.setattr(tiles, "KEPT_BYTES", kept)

    return switch


def gradient(height, width):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 255 * (x + y) / (height + width)], -1)


IMAGES = {
    "photograph": lambda photo: photo[:250, :390],
    "gradient": lambda _: gradient(250, 390).astype(np.uint8),
    "noise": lambda _: np.random.default_rng(0).integers(0, 256, (250, 390, 3), np.uint8),
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("quality", [20, 90])
def test_files_and_pictures_are_the_same(kind, quality, model, photograph, small_tiles):
    image = np.ascontiguousarray(IMAGES[kind](photograph))
    small_tiles(False)
    whole = codec.encode(image, quality=quality, model=model)
    expected = codec.decode_detailed(whole)
    small_tiles(True)
    assert codec.encode(image, quality=quality, model=model) == whole
    for options in ({}, {"layers": 1, "fill": "sample"}, {"scale": 2}, {"scale": 4}):
        small_tiles(False)
        expected = codec.decode_detailed(whole, **options)
        small_tiles(True)
        found = codec.decode_detailed(whole, **options)
        assert found.symbol_checksums == expected.symbol_checksums
        difference = np.array(found.image).astype(int) - np.array(expected.image)
        assert np.abs(difference).max() <= 1, options


def test_tiles_cover_an_image_once():
    for height, width in ((64, 64), (768, 832), (4032, 3072), (64, 20_032)):
        covered = np.zeros((height // 64, width // 64), dtype=int)
        for box in tiles.tiles(Box.of(height, width)):
            assert box.bottom - box.top <= tiles.TILE
            assert box.right - box.left <= tiles.TILE
            covered[box.top // 64 : box.bottom // 64, box.left // 64 : box.right // 64] += 1
        assert (covered == 1).all()


def test_a_grown_box_stays_in_the_image_and_on_the_grid():
    frame, box = Box.of(512, 512), Box(8, 128, 192, 504)
    assert box.grown(20, 16, frame) == Box(0, 96, 224, 512)
    assert box.grown(0, 1, frame) == box


def test_a_map_is_read_the_same_kept_or_not(monkeypatch):
    frame = Box.of(1024, 896)
    values = torch.arange(128 * 112, dtype=torch.float32).view(1, 1, 128, 112)
    calls = []

    def compute(box):
        calls.append(box)
        return box.cut(values, 8)

    box = Box(64, 128, 192, 320)
    kept = FeatureMap(frame, 1, 8, compute)
    assert torch.equal(kept.read(box), box.cut(values, 8))
    assert calls == [tile for tile in tiles.tiles(frame) if tile.meets(box)]
    assert len(calls) < len(tiles.tiles(frame))  # what nobody reads is not computed
    assert torch.equal(kept.read(frame), values)
    kept.read(frame)
    assert len(calls) == len(tiles.tiles(frame)) > 1  # nor anything twice
    monkeypatch.setattr(tiles, "KEPT_BYTES", 0)
    anew = FeatureMap(frame, 1, 8, compute)
    assert torch.equal(anew.read(box), box.cut(values, 8))
    assert calls[-1] == box
