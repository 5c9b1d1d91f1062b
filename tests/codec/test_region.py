"""A region is the crop of the whole picture, to the last bit, and not all of it is drawn."""

import io

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import codec
from cli.main import app
from codec.errors import ArgumentError
from models import tiles
from tests.codec.drawings import captioned, page

#: Corners, an edge of tiles (128), one pixel, all; of a picture of 390×250.
REGIONS = [
    (0, 0, 40, 30),
    (350, 220, 40, 30),
    (100, 90, 60, 70),
    (127, 127, 2, 2),
    (389, 0, 1, 250),
    (13, 200, 1, 1),
    (0, 0, 390, 250),
]


@pytest.fixture(params=["kept", "computed anew"])
def small_tiles(request, monkeypatch):
    """Tiles of 128 pixels; maps that are kept, and maps computed wherever they are read."""
    monkeypatch.setattr(tiles, "TILE", 128)
    monkeypatch.setattr(tiles, "KEPT_BYTES", 2**40 if request.param == "kept" else 0)


def same(data, region, **options) -> bool:
    x, y, width, height = region
    whole = codec.decode(data, **options)
    part = codec.decode(data, region=region, **options)
    expected = whole.crop((x, y, x + width, y + height))
    return (
        part.mode == whole.mode
        and part.info == whole.info
        and part.size == (width, height)
        and np.array_equal(np.array(part), np.array(expected))
    )


@pytest.fixture(scope="module")
def filtered(photograph, model) -> bytes:
    """With a fitted filter, EXIF, alpha, and turned by its orientation."""
    image = Image.fromarray(photograph[:390, :250]).convert("RGBA")
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    data = codec.encode(buffer.getvalue(), quality=80, model=model)
    assert codec.info(data).filter_bytes
    assert (codec.info(data).width, codec.info(data).height) == (390, 250)
    return data


@pytest.mark.parametrize("region", REGIONS)
def test_it_is_the_crop_of_the_whole(filtered, small_tiles, region):
    assert same(filtered, region)


@pytest.mark.parametrize("options", [{"layers": 1, "fill": "sample"}, {"layers": 2}])
def test_it_is_the_crop_of_fewer_layers(filtered, small_tiles, options):
    assert same(filtered, (100, 90, 60, 70), **options)


@pytest.mark.parametrize("scale", [2, 4])
def test_it_is_counted_in_pixels_of_the_small_picture(filtered, small_tiles, scale):
    width, height = -(-390 // scale), -(-250 // scale)
    for region in ((0, 0, 9, 9), (width - 5, height - 7, 5, 7), (31, 30, 4, 5)):
        assert same(filtered, region, scale=scale)


@pytest.mark.parametrize("scale", [1, 2])
def test_graphics_are_cut_as_well(photograph, small_tiles, scale):
    for image in (page(), captioned(photograph).crop((0, 134, 390, 384))):
        data = codec.encode(image)
        assert codec.info(data).graphics_bytes
        for region in ((0, 0, 40, 30), (90, 100, 80, 25), (180, 110, 15, 15)):
            assert same(data, region, scale=scale)


def test_tiles_that_are_not_needed_are_not_drawn(filtered, small_tiles, monkeypatch):
    drawn = []
    compute = tiles.assemble

    def counting(frame, stride, make, progress=None, within=None):
        def counted(box):
            drawn.append((stride, box))
            return make(box)

        return compute(frame, stride, counted, progress, within)

    for module in ("models.ssvae.maps", "models.convdraw.coding"):
        monkeypatch.setattr(f"{module}.assemble", counting)
    codec.decode(filtered, region=(10, 10, 20, 20))
    assert len([box for stride, box in drawn if stride == 1]) == 1


@pytest.mark.parametrize("region", [(380, 0, 11, 5), (0, 0, 391, 250), (0, 250, 1, 1)])
def test_what_lies_outside_is_an_error(filtered, region):
    with pytest.raises(ArgumentError, match="beyond the picture of 390×250"):
        codec.decode(filtered, region=region)


def test_the_command_writes_it(filtered, tmp_path):
    (tmp_path / "a.cci").write_bytes(filtered)
    line = ["decode", str(tmp_path / "a.cci"), "-o", str(tmp_path / "a.png")]
    result = CliRunner().invoke(app, [*line, "--region", "10, 20, 30, 40"])
    assert result.exit_code == 0, result.stderr
    expected = codec.decode(filtered).crop((10, 20, 40, 60))
    assert np.array_equal(np.array(Image.open(tmp_path / "a.png")), np.array(expected))
    result = CliRunner().invoke(app, [*line, "--region", "10,20,30"])
    assert result.exit_code == 2
    assert "x,y,width,height" in result.stderr
    with pytest.raises(ArgumentError, match="step by step"):
        codec.ProgressiveDecoder(region="1,1,1,1")
