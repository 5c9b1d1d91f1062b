"""Targets are met: sizes from below and closely, looks from above, closely too."""

import math

import numpy as np
import pytest

import codec
from bitstream.container import Header, nearest_quality
from codec import errors
from codec.measures import ssimulacra2_of
from codec.search import highest_within, ladder
from models.metrics.psnr import psnr

_HEADER = {"model_id": 1, "fingerprint": b"abcd", "width": 5, "height": 6, "layers": 3}


@pytest.mark.parametrize("quality", [0, 0.25, 50, 50.5, 99.75, 100])
def test_headers_keep_quarters_of_quality(quality):
    header = Header(quality=quality, flags=1, **_HEADER)
    assert Header.from_bytes(header.to_bytes()) == header
    assert isinstance(Header.from_bytes(header.to_bytes()).quality, int) == (quality % 1 == 0)


def test_a_quality_above_100_is_refused():
    with pytest.raises(errors.FormatError, match=r"quality 100\.25"):
        Header.from_bytes(Header(quality=100.25, **_HEADER).to_bytes())


def test_qualities_are_rounded_to_quarters():
    assert [nearest_quality(q) for q in (7, 7.1, 7.13, 7.9)] == [7, 7, 7.25, 8]
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert codec.info(codec.encode(pixels, quality=20.3, graphics=False)).quality == 20.25


def test_files_of_quarters_decode_and_lie_between_their_neighbours(crop, model):
    found = [codec.encode_detailed(crop, quality=q, model=model) for q in (60, 60.5, 61)]
    assert len(found[0].data) < len(found[1].data) < len(found[2].data)
    shown = codec.decode_detailed(found[1].data, strict=True)
    assert shown.quality == 60.5
    assert psnr(crop, np.array(shown.image)) > 30


@pytest.mark.parametrize("bpp", [0.2, 0.7, 1.4])
def test_sizes_are_met_within_a_percent(photograph, bpp):
    limit = int(bpp * photograph.shape[0] * photograph.shape[1] / 8)
    assert 0.99 * limit <= len(codec.encode(photograph, target_bytes=limit)) <= limit


@pytest.mark.parametrize("goal", [28.0, 34.0])
def test_a_target_psnr_is_met_closely(crop, model, goal):
    data = codec.encode(crop, target_psnr=goal, model=model)
    assert goal <= psnr(crop, np.array(codec.decode(data))) < goal + 0.1


@pytest.mark.parametrize("goal", [40.0, 75.0])
def test_a_target_ssimulacra2_is_met_closely(photograph, goal):
    data = codec.encode(photograph, target_ssimulacra2=goal)
    assert goal <= ssimulacra2_of(photograph, np.array(codec.decode(data))) < goal + 0.5


def test_what_no_quality_reaches_is_said_with_what_it_does_reach(crop):
    with pytest.raises(errors.TargetError, match=r"99 dB cannot be reached: quality 100 gives \d"):
        codec.encode(crop, target_psnr=99)


def test_pictures_too_small_for_a_measure_are_refused():
    with pytest.raises(errors.ArgumentError, match="at least 8 pixels"):
        codec.encode(np.zeros((5, 40, 3), np.uint8), target_ssimulacra2=80)


def test_ladders_rise_in_quarters_and_bridge_a_new_stage(model):
    network = codec.installed.get_model(model, "cpu")
    rungs = ladder(network, 3, None)
    whole = [rung.quality for rung in rungs if rung.stages is None]
    assert whole == [q / 4 for q in range(401)]
    bridged = [rung for rung in rungs if rung.stages is not None]
    assert bool(bridged) == (network.layers_at(0) != network.layers_at(100))


@pytest.mark.parametrize("bend", [lambda x: x, lambda x: x**3 / 1e4, lambda x: 1e3 * x**0.3])
@pytest.mark.parametrize("start", [0, 200, 399])
def test_the_highest_index_within_a_goal_is_found_in_few_steps(bend, start):
    for goal in (-1.0, bend(0), bend(17) + 1e-9, bend(250), bend(399), 1e9):
        tried: list[int] = []

        def value(index: int, tried=tried) -> float:
            tried.append(index)
            return bend(index)

        ends = {"low": -1, "high": 400}
        found = highest_within(value, goal, **ends, slope=1.0, start=start)
        assert found == max((i for i in range(400) if bend(i) <= goal), default=-1)
        assert len(tried) <= 20
        assert len(set(tried)) == len(tried)


def test_a_measure_without_end_is_searched_too():
    found = highest_within(
        lambda index: math.inf if index > 5 else index,
        3.5,
        low=-1,
        high=400,
        slope=1.0,
        start=200,
    )
    assert found == 3


@pytest.mark.slow
def test_a_target_takes_the_number_of_layers_that_is_best(photograph):
    """No file of two layers and equal size is better than what a target gives, and u alone is
    taken where nothing else is small enough."""
    piece = np.ascontiguousarray(photograph[64:448, 128:640])
    for tune, measure in (("psnr", psnr), ("eye", ssimulacra2_of)):
        for bpp in (0.06, 0.15):
            options = {"target_bpp": bpp, "tune": tune}
            seen = {
                layers: measure(
                    piece, np.array(codec.decode(codec.encode(piece, **options, **given)))
                )
                for layers, given in {0: {}, 3: {"layers": 3}, 2: {"layers": 2}}.items()
            }
            assert seen[0] == max(seen.values())
    tiny = codec.encode_detailed(piece, target_bytes=350)
    assert len(tiny.layer_bytes) == 1
    assert len(tiny.data) <= 350
