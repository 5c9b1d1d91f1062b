import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import complexity, demo, rate_distortion
from benchmarks.anchors import jpeg2000_of_size, jpeg_of_size
from models.registry import BUILDERS
from models.training.anchors import decode_rgb, psnr


def test_psnr_of_a_known_error():
    a = np.full((8, 8, 3), 100, dtype=np.uint8)
    assert psnr(a, a + np.uint8(5)) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(a, a) == float("inf")


def test_bd_rate_of_a_curve_that_is_a_tenth_cheaper():
    bpp = np.array([0.2, 0.4, 0.8, 1.6])
    decibel = np.array([28.0, 31.0, 34.0, 37.0])
    anchor = np.stack([bpp, bpp, decibel], axis=1)
    cheaper = np.stack([bpp, 0.9 * bpp, decibel], axis=1)
    assert rate_distortion.bd_rate(anchor, cheaper) == pytest.approx(-10, abs=0.01)


def test_rivals_stay_below_the_size_and_close_to_it(crop):
    for make in (jpeg_of_size, jpeg2000_of_size):
        data = make(crop, 6000)
        assert 4500 < len(data) <= 6000
        assert psnr(crop, decode_rgb(data)) > 25
    assert jpeg_of_size(crop, 50) is None


def test_demo_writes_pictures_and_files(tmp_path, capsys):
    demo.main(["-o", str(tmp_path)])
    names = {p.name for p in tmp_path.iterdir()}
    assert {f"layers{n}.{s}" for n in (1, 2, 3) for s in ("cci", "png")} <= names
    assert "JPEG 2000" in capsys.readouterr().out


def test_rate_distortion_measures_real_files(tmp_path, crop):
    for i in range(2):
        Image.fromarray(crop[:, i * 40 : i * 40 + 130]).save(tmp_path / f"{i}.png")
    out = tmp_path / "r.json"
    rate_distortion.main([str(tmp_path), "-o", str(out), "--qualities", "5", "30", "60", "90"])
    result = json.loads(out.read_text())
    assert result["images"] == 2
    assert set(result["bd_rate_percent"]) == {"jpeg", "jpeg2000"}
    assert [row[0] for row in result["curves"]["ours"]] == [5, 30, 60, 90]
    assert {p["codec"] for p in result["points"]} == {
        "ours", "ours, first 1", "ours, first 2", "jpeg", "jpeg2000",
    }  # fmt: skip


def test_the_default_model_stays_within_its_budget():
    parts = complexity.measure(BUILDERS["ssvae"]())
    decode = parts["synthesis"][1] + parts["prior"][1]
    assert decode <= 70
    assert parts["analysis"][1] + decode <= 80
    assert sum(size for size, _ in parts.values()) <= 12
