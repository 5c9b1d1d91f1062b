"""``codec bench --speed``: stages, peers, and what it prints."""

import numpy as np
import pytest
import torch

import codec
from benchmarks.bench import peers, speed, stages
from codec.filter_sample import Sample
from codec.installed import get_model
from codec.walk import pad_image


@pytest.mark.parametrize("quality", [50, 85])
def test_the_timed_loops_code_what_the_codec_codes(crop, quality):
    model = get_model("ssvae-psnr", "cpu")
    image = pad_image(crop, model.size_multiple)
    clock = stages.Clock(torch.device("cpu"))
    samples = [Sample.of(image[0], crop.shape[:2])]
    (payloads,), filters = stages.encode(model, image, quality, clock, samples)
    assert set(clock.seconds) == set(stages.ENCODING)
    data = codec.encode(crop, quality=quality, model="ssvae-psnr", device="cpu")
    assert all(payload in data for payload in payloads)
    clock = stages.Clock(torch.device("cpu"))
    size = tuple(image.shape[-2:])
    drawn = stages.decode(model, [payloads], size, quality, clock, filters)
    assert set(clock.seconds) == set(stages.DECODING)
    shown = drawn[0, :, : crop.shape[0], : crop.shape[1]].permute(1, 2, 0).numpy()
    assert np.array_equal(shown, np.array(codec.decode(data, device="cpu")))


@pytest.mark.parametrize("megapixels", [0.01, 0.4, 2.0])
def test_the_photograph_has_the_size_asked_for(megapixels):
    rgb = speed.photograph(megapixels)
    assert rgb.shape[0] * rgb.shape[1] / 1e6 == pytest.approx(megapixels, rel=0.02)


@pytest.mark.slow
def test_speed_measures_and_prints():
    result = speed.measure(
        megapixels=[0.02], threads=[1], device="cpu", model="ssvae", runs=1, peers=False
    )
    (size,) = result["sizes"]
    assert size["threads"] == 1
    assert size["peak_memory_mb"] > 50
    assert 0 < sum(size["decode_stages"].values()) < 10
    assert {b["batch"] for b in result["batches"]} == {1, 4, 8}
    text = speed.as_markdown(result)
    assert "decode: priors / entropy coding / synthesis / transfers" in text
    assert "1 threads" in text


def test_peers_take_turns_and_classic_ones_are_always_there(monkeypatch):
    monkeypatch.setattr(speed, "TIMED_ZOO", ())  # minutes, where CompressAI is installed
    rows = {p["codec"]: p for p in speed.beside_peers(torch.get_num_threads(), "cpu", "ssvae", 1)}
    assert {"ssvae", "jpeg", "jpeg2000"} <= set(rows)
    assert all(p["encode_seconds"] > 0 and p["bpp"] > 0.05 for p in rows.values())


@pytest.mark.skipif(not peers.installed(), reason="CompressAI is not installed")
def test_a_learned_peer_returns_a_picture_of_the_same_size(crop):
    peer = peers.load("mbt2018-mean", 1, "cpu", pretrained=False)
    decoded = peer.decode(peer.encode(crop))
    assert decoded.shape == crop.shape
    assert decoded.dtype == np.uint8
