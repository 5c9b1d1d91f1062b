import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from benchmarks import (
    complexity,
    data_loading,
    demo,
    effort,
    rate_distortion,
    training_step,
    worst_cases,
)
from benchmarks.bench import checks, images, sizes
from benchmarks.bench.bands import bd_rate
from benchmarks.bench.records import Record
from models.metrics.psnr import psnr
from models.registry import BUILDERS
from models.training.anchors import decode_rgb, encode_jpeg
from models.weights_file import weights_info


def test_psnr_of_a_known_error():
    a = np.full((8, 8, 3), 100, dtype=np.uint8)
    assert psnr(a, a + np.uint8(5)) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(a, a) == float("inf")


def test_bd_rate_of_a_curve_that_is_a_tenth_cheaper():
    bpp = np.array([0.2, 0.4, 0.8, 1.6])
    decibel = np.array([28.0, 31.0, 34.0, 37.0])
    anchor = np.stack([bpp, bpp, decibel], axis=1)
    cheaper = np.stack([bpp, 0.9 * bpp, decibel], axis=1)
    assert bd_rate(anchor, cheaper) == pytest.approx(-10, abs=0.01)


def test_rivals_stay_below_the_size_and_close_to_it(crop):
    for name in sizes.RIVALS:
        data, fits = sizes.rival(name, crop, 6000)
        assert fits
        assert 5500 < len(data) <= 6000
        assert psnr(crop, decode_rgb(data)) > 25
    smallest, fits = sizes.rival("jpeg", crop, 50)
    assert not fits
    assert smallest == encode_jpeg(crop, 1)


def test_the_largest_file_within_a_size_is_that_of_a_linear_search():
    coded = [bytes(n) for n in (3, 5, 5, 8, 13, 21)]
    for limit in range(3, 25):
        setting, data = sizes.largest_within(limit, coded.__getitem__, range(6))
        assert setting == max(i for i, d in enumerate(coded) if len(d) <= limit)
        assert data == coded[setting]
    assert sizes.largest_within(2, coded.__getitem__, range(6)) is None


def test_settings_that_meet_a_size_are_whole_where_qualities_are():
    assert sizes.between(1, 95) == [*range(1, 95)]
    fine = sizes.between(0.05, 2.5)
    assert len(fine) > 500
    assert (fine[0], max(fine) < 2.5) == (0.05, True)


def test_pieces_stay_inside_the_image(crop):
    height, width = crop.shape[:2]
    for x, y in ((0, 0), (0.5, 0.5), (1, 1)):
        assert images.piece(crop, 32, 48, x=x, y=y).shape == (32, 48, 3)
    assert images.piece(crop, 9999, 48, x=0).tolist() == crop[:, :48].tolist()
    middle = images.piece(crop, height - 2, width - 2)
    assert middle.tolist() == crop[1:-1, 1:-1].tolist()
    assert images.spread(range(10), 3) == [0, 4, 9]
    assert images.spread([7], 3) == [7]


def test_demo_writes_pictures_and_files(tmp_path, crop, capsys):
    Image.fromarray(crop).save(tmp_path / "a.png")
    demo.main([str(tmp_path / "a.png"), "-o", str(tmp_path)])
    names = {p.name for p in tmp_path.iterdir()}
    assert {f"layers{n}.{s}" for n in (1, 2, 3) for s in ("cci", "png")} <= names
    assert "layers.webp" in names
    assert "JPEG 2000" in capsys.readouterr().out


def test_rate_distortion_measures_real_files(tmp_path, crop, capsys):
    for i in range(2):
        Image.fromarray(crop[:, i * 40 : i * 40 + 130]).save(tmp_path / f"{i}.png")
    out, kept = tmp_path / "r.json", tmp_path / "anchors"
    arguments = [str(tmp_path), "--cache", str(kept), "--workers", "1"]
    rate_distortion.main([*arguments, "-o", str(out), "--qualities", "5", "30", "60", "90"])
    result = json.loads(out.read_text())
    assert result["images"] == 2
    assert result["weights"] == weights_info("ssvae").fingerprint.hex()
    assert (result["model"], result["effort"]) == ("ssvae", 1)
    assert set(result["bd_rate_percent"]) == {"jpeg", "jpeg2000", "avif-psnr"}
    assert [row[0] for row in result["curves"]["ours"]] == [5, 30, 60, 90]
    assert {p["codec"] for p in result["points"]} == {
        "ours", "ours, first 1", "ours, first 2", "jpeg", "jpeg2000", "avif-psnr",
    }  # fmt: skip
    again, entries = tmp_path / "again.json", kept.read_bytes()
    options = ["--limit", "1", "--qualities", "5", "30", "60", "90"]
    rate_distortion.main([*arguments, *options, "-o", str(again), "--compare", str(out)])
    assert kept.read_bytes() == entries
    repeated = json.loads(again.read_text())["points"]
    assert repeated == [p for p in result["points"] if p["image"] == "0.png"]
    assert "1 images" in capsys.readouterr().out


def test_rate_distortion_says_what_it_cannot_read(tmp_path, crop, capsys):
    Image.fromarray(crop[:64, :64]).save(tmp_path / "a.png")
    (tmp_path / "old.json").write_text("{}")
    for wrong, words in (
        (["--compare", str(tmp_path / "old.json")], "cannot be read"),
        (["--compare", str(tmp_path / "none.json")], "cannot be read"),
        (["--cache", str(tmp_path / "old.json")], "does not hold measurements"),
        (["--device", "tpu"], "device 'tpu' is unknown"),
        (["--perceptual", "--qualities", "10", "50"], "needs four"),
        (["--effort", "0"], "invalid choice"),
    ):
        with pytest.raises(SystemExit):
            rate_distortion.main([str(tmp_path), *wrong])
        assert words in capsys.readouterr().err


def test_the_default_model_stays_within_its_budget():
    parts = complexity.measure(BUILDERS["ssvae"]())
    decode = parts["synthesis"][1] + parts["prior"][1]
    assert decode <= 70
    assert parts["analysis"][1] + decode <= 80
    assert sum(size for size, _ in parts.values()) <= 12


def test_data_loading_reports_all_figures(tmp_path, photograph, capsys):
    Image.fromarray(photograph).save(tmp_path / "a.png")
    out = tmp_path / "out.json"
    options = ["--model", "ssvae-tiny", "--batch", "2", "--crop", "64", "--steps", "8"]
    data_loading.main([str(tmp_path), *options, "-o", str(out)])
    found = json.loads(out.read_text())
    assert found["crops_per_s"] > 0
    assert 0 < found["drawing_share"] < 1
    assert 0 <= found["lost_share"] < 1
    assert "images/s" in capsys.readouterr().out


def test_effort_compares_with_the_first(tmp_path, crop):
    Image.fromarray(crop).save(tmp_path / "a.png")
    out = tmp_path / "out.json"
    kept = tmp_path / "cache"
    command = [str(tmp_path), "--efforts", "1", "3", "-o", str(out), "--cache", str(kept)]
    effort.main(command)
    first, second = json.loads(out.read_text())["efforts"]
    assert first["bd_rate_percent"] == pytest.approx(0, abs=1e-6)
    assert second["bd_rate_percent"] < -1
    assert second["seconds_per_mpx"] > first["seconds_per_mpx"]
    before, size = json.loads(out.read_text()), kept.stat().st_size
    effort.main(command)
    assert kept.stat().st_size == size
    again = json.loads(out.read_text())
    assert (before.pop("of_an_earlier_run"), again.pop("of_an_earlier_run")) == (0, 8)
    assert again == before


def test_the_worst_image_is_found_at_its_worst_quality(tmp_path, crop, capsys):
    def points(image, factor):
        for setting, (bpp, decibel) in enumerate([(0.5, 30.0), (1.0, 33.0), (2.0, 37.0)]):
            yield Record(image, "jpeg", setting, bpp, decibel)
            yield Record(image, "ours", setting, bpp * factor[setting], decibel)
        # Above the best JPEG there is nothing to compare with.
        yield Record(image, "ours", 9, 99.0, 60.0)

    both = [*points("a.png", (0.5, 0.6, 0.9)), *points("b.png", (0.5, 1.25, 1.1))]
    first, second = checks.worst_of_images(checks.against_jpeg(both))
    assert (first.image, first.quality) == ("b.png", 1)
    assert first.excess == pytest.approx(0.25)
    assert (second.image, second.quality) == ("a.png", 2)
    Image.fromarray(crop).save(tmp_path / "b.png")
    results = tmp_path / "r.json"
    results.write_text(json.dumps({"points": [asdict(point) for point in both]}))
    out = tmp_path / "worst.png"
    worst_cases.main([str(results), "--images", str(tmp_path), "--sheet", str(out), "--count", "1"])
    assert Image.open(out).width == 3 * 2 * crop.shape[1] + 2 * 4
    assert "b.png: +25.0% at quality 1" in capsys.readouterr().out


def test_a_training_step_is_timed_as_it_was_and_as_it_is():
    for kind in ("plain", "fast"):
        assert training_step.measure(kind, "ssvae-tiny", batch=2, crop=64, steps=1) > 0
