"""``codec compare`` and :func:`codec.compare`."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import codec
from cli.main import app
from codec.errors import ArgumentError, ImageError
from codec.measures import ssimulacra2_of
from models.metrics.ms_ssim import ms_ssim
from models.metrics.psnr import psnr


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *(str(a) for a in arguments)])


@pytest.fixture
def here(tmp_path, monkeypatch, crop):
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(crop)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("one", "two"):
        image.save(f"a/{name}.png")
    image.save("b/one.jpg", quality=80)
    (tmp_path / "b" / "two.cci").write_bytes(codec.encode(image, quality=30))
    return tmp_path


def test_a_file_of_ours_is_compared_as_any_other(here, crop):
    found = codec.compare("a/two.png", "b/two.cci")
    decoded = np.asarray(codec.decode("b/two.cci"))
    assert (found.height, found.width) == crop.shape[:2]
    assert found.psnr == pytest.approx(psnr(crop, decoded))
    assert found.ms_ssim == pytest.approx(ms_ssim(crop, decoded))
    assert found.ssimulacra2 == pytest.approx(ssimulacra2_of(crop, decoded))
    assert not found.equal
    result = run("a/two.png", "b/two.cci")
    assert f"{found.psnr:.2f} dB" in result.stdout
    assert f"{found.ssimulacra2:.2f}" in result.stdout
    figures = json.loads(run("a/two.png", "b/two.cci", "--json").stdout)
    assert figures["ms_ssim"] == pytest.approx(found.ms_ssim)
    assert (figures["original"], figures["other"]) == ("a/two.png", "b/two.cci")


def test_folders_are_matched_by_name(here):
    result = run("a", "b")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [
        "b/one.jpg",
        "b/two.cci",
        "mean",
    ]
    (here / "b" / "two.cci").unlink()
    result = run("a", "b", "--json")
    assert result.exit_code == 1
    assert "a/two.png: has no counterpart" in result.stderr
    assert json.loads(result.stdout)["other"] == "b/one.jpg"


def test_pictures_in_subfolders_are_pointed_at(here, crop):
    for name in "cd":
        (here / name / "deep").mkdir(parents=True)
        Image.fromarray(crop[:16, :16]).save(here / name / "deep" / "one.png")
    result = run("c", "d")
    assert result.exit_code == 1
    assert "subfolders were not looked into: --recursive" in result.stderr
    assert run("c", "d", "--recursive").exit_code == 0


def test_equal_pictures_are_called_equal(here):
    assert "equal" in run("a/one.png", "a/two.png").stdout
    figures = json.loads(run("a/one.png", "a/two.png", "--json").stdout)
    assert figures["equal"]
    assert figures["psnr"] is None  # JSON has no infinity


def test_what_is_transparent_is_laid_over_white(crop):
    image = Image.fromarray(crop[:16, :16]).convert("RGBA")
    image.putalpha(0)
    assert codec.compare(image, Image.new("RGB", (16, 16), "white")).equal
    assert codec.compare(codec.encode(image), Image.new("L", (16, 16), 255)).equal


def test_what_cannot_be_compared_is_one_clear_line(here, crop):
    Image.fromarray(crop[:90]).save("small.png")
    height, width = crop.shape[:2]
    result = run("a/one.png", "small.png")
    assert result.exit_code == 1
    assert f"different sizes: a/one.png {width}×{height}, small.png {width}×90" in result.stderr
    assert "no such file" in run("a/one.png", "none.png").stderr
    assert "two files or two folders" in run("a", "b/one.jpg").stderr
    with pytest.raises(ImageError, match="not an image"):
        codec.compare(b"GIF", crop)
    Image.fromarray(crop).save("a/one.webp")
    assert "two pictures of one name" in run("a", "b").stderr
    with pytest.raises(ArgumentError, match="an image is a path"):
        codec.compare(crop, 7)


def test_small_pictures_lack_measures_that_need_larger_ones(crop):
    found = codec.compare(crop[:7, :7], crop[1:8, :7])
    assert found.psnr > 0
    assert found.ms_ssim is None
    assert found.ssimulacra2 is None
