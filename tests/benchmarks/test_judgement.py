"""The figures of ``benchmarks.rate_distortion``, on curves whose answers are known."""

from dataclasses import replace

import bjontegaard
import numpy as np
import pytest

from benchmarks.bench import bands, checks, judgement, metrics
from benchmarks.bench.codecs import OTHERS
from benchmarks.bench.records import Record
from benchmarks.rate_distortion import as_point, settings_of


def curve(factor=1.0, low=24.0, high=44.0, steps=9, bend=0.0):
    """Rows (setting, bpp, PSNR): bits double every 3 dB, and ``bend`` more so at high rates."""
    decibel = np.linspace(low, high, steps)
    bpp = factor * 0.1 * 2 ** ((decibel - 24) / 3 + bend * (decibel - 24) ** 2)
    return np.stack([np.arange(steps), bpp, decibel], axis=1)


def points_of(codec, rows, image="a.png"):
    return [Record(image, codec, *row) for row in rows.tolist()]


def test_a_codec_of_a_tenth_fewer_bits_saves_a_tenth_in_every_band():
    anchor, test = curve(bend=0.002), curve(0.9, low=22, steps=12, bend=0.002)
    found = bands.band_rates(anchor, test)
    assert [rate.percent for rate in found.values()] == pytest.approx([-10] * 3, abs=0.1)
    assert [(rate.low, rate.high) for rate in found.values()] == [(24, 30), (30, 36), (36, 44)]
    assert [rate.share for rate in found.values()] == [pytest.approx(6 / 8), 1, 1]


def test_without_bounds_a_band_is_the_bd_rate():
    anchor, test = curve(bend=0.01), curve(0.8, low=25, high=40, steps=6, bend=0.004)
    columns = anchor[:, 1], anchor[:, 2], test[:, 1], test[:, 2]
    options = {"require_matching_points": False, "min_overlap": 0}
    known = bjontegaard.bd_rate(*columns, method="akima", **options)
    assert bands.band_rate(anchor, test).percent == pytest.approx(known, abs=1e-3)
    assert bands.bd_rate(anchor, test) == pytest.approx(known)


def test_a_codec_that_wins_low_and_loses_high_shows_it():
    low, middle, high = bands.band_rates(curve(), curve(0.8, bend=0.004)).values()
    assert low.percent < -15
    assert low.percent < middle.percent < high.percent
    assert high.percent > 10


def test_a_band_that_is_not_shared_has_no_rate():
    assert bands.band_rates(curve(), curve(high=35))["above 36 dB"] is None
    assert bands.bd_rate(curve(high=30), curve(low=31)) is None


def test_each_image_counts_once_in_the_mean_over_images():
    members = [
        *points_of("jpeg", curve(), "a.png"),
        *points_of("ours", curve(0.9), "a.png"),
        *points_of("jpeg", curve(20), "b.png"),
        *points_of("ours", curve(20 * 0.7, high=35), "b.png"),
    ]
    found = bands.means_of_images(members, "jpeg")
    assert found["below 30 dB"] == (pytest.approx(-20, abs=0.01), 2)
    assert found["above 36 dB"] == (pytest.approx(-10, abs=0.01), 1)
    assert found["overall"] == (pytest.approx(-20, abs=0.01), 2)


def test_other_metrics_have_bands_of_their_own():
    members = []
    for name, factor in (("jpeg", 1), ("ours", 0.7)):
        for row in points_of(name, curve(factor)):
            # Scores of 0 … 80, 10 … 22 dB, and distances of 5 … 0.2.
            score, low = 4 * (row.psnr - 24), 10 ** -((row.psnr - 24) * 0.06 + 1)
            distance = 5 - (row.psnr - 24) * 0.24
            seen = {"ssimulacra2": score, "ms_ssim": 1 - low, "butteraugli": distance}
            members.append(replace(row, **seen))
    result = judgement.judge(members)
    for metric in ("ssimulacra2", "ms_ssim", "butteraugli"):
        found = result[f"bands_{metric}"]["jpeg"]
        assert list(found) == list(bands.BANDS[metric])
        assert [rate["percent"] for rate in found.values()] == pytest.approx([-30] * 3, abs=0.1)
        own = result[f"bands_of_images_{metric}"]["jpeg"]
        assert own["overall"] == [pytest.approx(-30, abs=0.1), 1]
    assert result["bands_ssimulacra2"]["jpeg"]["above 70"]["low"] == 70
    assert result["bands_butteraugli"]["jpeg"]["better than 1.5"]["low"] == -1.5
    assert any("above 70 -30.0%" in line for line in judgement.lines(result))


def test_what_does_not_rise_is_named():
    good = points_of("ours", curve(steps=4))
    first = [replace(p, codec="ours, first 1", bpp=p.bpp / 3, psnr=p.psnr - 3) for p in good]
    same_file = replace(good[-1], setting=4)
    assert checks.falling_qualities([*good, same_file]) == []
    assert checks.falling_layers([*good, *first]) == []
    assert set(checks.rising_layers([*good, *first]).values()) == {1.0}
    bad = [*good[:2], replace(good[2], psnr=good[1].psnr - 0.5)]
    assert len(checks.falling_qualities(bad)) == 1
    assert "a.png: quality 1" in checks.falling_qualities(bad)[0]
    worse = [replace(first[0], psnr=99.0), *first[1:]]
    assert len(checks.falling_layers([*good, *worse])) == 1
    assert checks.rising_layers([*good, *worse])["quality 0"] == 0


def test_the_judgement_names_the_image_that_is_larger_than_its_jpeg():
    members = []
    for image, factor in (("a.png", 0.5), ("b.png", 1.2)):
        for name, share in (("jpeg", 1), ("ours", factor), ("ours, first 1", factor / 3)):
            members += points_of(name, curve(share), image)
    result = judgement.judge(members)
    assert result["worst_against_jpeg"][0]["image"] == "b.png"
    assert result["worst_against_jpeg"][0]["ratio"] == pytest.approx(1.2)
    assert len(result["ratio_to_jpeg"]) == 18
    assert result["bands"]["jpeg"]["30-36 dB"]["percent"] == pytest.approx(-15, abs=0.01)
    assert any("b.png" in line and "1.20" in line for line in judgement.lines(result))


def test_ours_beside_an_older_run():
    cut = "ours, first 1"
    steps = curve()
    steps[:, 0] *= 10  # qualities 0, 10 … 80
    cheaper = steps * [1, 0.8, 1]
    old = [*points_of("ours", steps), *points_of(cut, steps), *points_of("ours", steps, "b.png")]
    new = [*points_of("ours", cheaper), *points_of(cut, cheaper)]
    text = "\n".join(judgement.comparison_lines(new, old))
    assert "1 images" in text
    assert text.count("-20.0%") == 8  # whole and cut: overall and three bands each
    gained = 3 * np.log2(1 / 0.8)
    assert judgement.decibel_at_equal_bytes(steps, cheaper, 50) == pytest.approx(gained, abs=0.01)
    assert f"{gained:+.2f} dB" in text
    assert judgement.decibel_at_equal_bytes(steps, cheaper, 55) is None
    assert "nothing to compare" in judgement.comparison_lines(new, points_of("ours", steps, "c"))[0]


def test_records_become_points_by_their_part():
    cut = Record("a.png", "ssvae:effort=2:layers=1", 50, 0.1, 30.0, bytes=9, encode_seconds=1.0)
    whole, rival = replace(cut, codec="ssvae:effort=2"), replace(cut, codec="jpeg")
    assert [as_point(r, whole.codec).codec for r in (whole, rival)] == ["ours", "jpeg"]
    assert as_point(cut, "ssvae:effort=2") == Record("a.png", "ours, first 1", 50, 0.1, 30.0)


def test_anchors_reach_beyond_44_decibels(crop):
    for name in ("jpeg2000", "avif-psnr"):
        best = settings_of(name)[-1]
        shown = OTHERS[name].decode(OTHERS[name].encode(crop, best))
        assert metrics.psnr(crop, shown) > 44
