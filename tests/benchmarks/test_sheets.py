"""The commands that draw contact sheets, and those that time, on very small images."""

import json

import pytest
from PIL import Image

from benchmarks import batch, conceptual, drawings, equal_bits, few_bits, looks, progressive
from benchmarks.bench import metrics
from benchmarks.bench.images import contact_sheet
from codec.generation.grid import GAP, LINE


@pytest.fixture
def folder(tmp_path, crop):
    """Two images of 64×96."""
    images = tmp_path / "images"
    images.mkdir()
    for name, left in (("a.png", 0), ("b.png", 50)):
        Image.fromarray(crop[:64, left : left + 96]).save(images / name)
    return images


def test_short_rows_of_a_sheet_end_in_empty_places(crop):
    sheet = contact_sheet([[("a", crop[:8, :8]), ("b", crop[:8, :8])], [("c", crop[:8, :8])]])
    assert sheet.size == (8 + GAP + 8, 2 * (8 + LINE) + GAP)
    assert sheet.getpixel((8 + GAP, 2 * LINE + 8 + GAP)) == (255, 255, 255)


def test_conceptual_writes_a_sheet_and_a_table(tmp_path, folder):
    sheet, figures = tmp_path / "s.webp", tmp_path / "f.json"
    conceptual.main([str(folder), "--count", "1", "-o", str(sheet), "--json", str(figures)])
    result = json.loads(figures.read_text())
    stops = result["sheet"]
    assert [stop["stages"] for stop in stops] == [1, 2, 3]
    assert [row["stages"] for row in result["stages"]] == [1, 2, 3]
    assert set(stops[0]["psnr"]) == {"fill mean", "fill sample", "JPEG", "JPEG 2000"}
    assert Image.open(sheet).width == 5 * 96 + 4 * GAP


def test_drawings_shows_six_pictures_of_an_image(tmp_path, folder):
    sheet = tmp_path / "s.png"
    drawings.main([str(folder), "--count", "1", "-o", str(sheet)])
    assert Image.open(sheet).size == (6 * 96 + 5 * GAP, 64 + LINE)


def test_equal_bits_compares_by_points(folder, monkeypatch):
    monkeypatch.setattr(equal_bits, "ssimulacra2", metrics.psnr)  # quick, and of no package
    rgb = equal_bits.read_rgb(folder / "a.png")
    compared = equal_bits.compare(("a.png", rgb), models=["ssvae"], bpp=1.0)
    table = equal_bits.summary([compared])
    assert {"JPEG", "JPEG 2000", "ssvae u mean", "ssvae u+z1 sample"} <= set(table)
    assert table["ssvae u mean"]["bytes"] <= 64 * 96 / 8
    assert "beats JPEG" in table["ssvae u mean"]
    assert equal_bits.reduced(rgb).shape == (64, 64, 3)
    assert equal_bits.sheet([(rgb, compared)], ["ssvae"]).width > 7 * 96


def test_few_bits_keeps_its_budgets_and_counts_payloads(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(few_bits, "BITS", (400, 1228))
    sheet, figures = tmp_path / "s.png", tmp_path / "f.json"
    options = ["--models", "ssvae", "--images", "1", "--count", "1"]
    few_bits.main([str(folder), *options, "-o", str(sheet), "--json", str(figures)])
    result = json.loads(figures.read_text())
    for side, rows in result["sides"].items():
        names = {row["name"] for row in rows}
        assert names == {"ssvae mean", "ssvae sample", "JPEG", "JPEG 2000"}, side
        for row in rows:
            assert (row["bits"] <= row["budget"]) == (row["within"] == 1)
            assert row["bits"] < 8 * row["file_bytes"]
            assert row["within"] == 1 or not row["name"].startswith("ssvae")
    assert Image.open(sheet).size == (6 * 128 + 5 * GAP, 4 * (128 + LINE) + 3 * GAP)


def test_payloads_are_what_lies_between_the_headers(crop):
    rgb = crop[:32, :32]
    jpeg = few_bits.encode_jpeg(rgb, 50)
    better = few_bits.encode_jpeg(rgb, 90)
    grown = few_bits.jpeg_bits(better) - few_bits.jpeg_bits(jpeg)
    assert grown == 8 * (len(better) - len(jpeg))  # headers are as long at every quality
    assert few_bits.jpeg_bits(jpeg) < 8 * len(jpeg) - 8 * 600  # standard tables: 420 bytes
    files = [few_bits.encode_jpeg2000(rgb, bpp) for bpp in (1, 4)]
    grown = few_bits.jpeg2000_bits(files[1]) - few_bits.jpeg2000_bits(files[0])
    assert grown == 8 * (len(files[1]) - len(files[0]))


def test_a_duel_gives_the_rival_no_more_bytes(folder, monkeypatch):
    monkeypatch.setattr(metrics, "ssimulacra2", metrics.psnr)
    monkeypatch.setattr(looks, "CROPS", {"all": ("a", 0.5, 0.5)})
    duel, pieces = looks._pieces(folder / "a.png", 2.0)
    assert duel.avif_bpp <= duel.bpp <= 2.0
    assert looks.draw_sheet(pieces).size == (3 * 96 + 2 * GAP, 64 + LINE)
    (row,) = looks.summary([duel])
    assert row["wins"] in (0, 1)


def test_progressive_times_every_frame(tmp_path, capsys):
    out = tmp_path / "p.json"
    progressive.main(["--megapixels", "0.05", "--runs", "1", "--threads", "1", "--out", str(out)])
    result = json.loads(out.read_text())
    assert list(result["seconds_to_frame"]) == ["y1", "y2", "x"]
    assert result["seconds_all_frames"] > 0


def test_the_pictures_of_an_archive_are_of_three_formats_and_some_are_broken(tmp_path):
    batch.make_pictures(tmp_path, 20, broken=3, low=8, high=24)
    files = sorted(tmp_path.rglob("*.*"))
    assert len(files) == 20
    assert {path.suffix for path in files} == {".png", ".jpg", ".webp"}
    unreadable = 0
    for path in files:
        try:
            Image.open(path).load()
        except OSError:
            unreadable += 1
    assert unreadable == 3
