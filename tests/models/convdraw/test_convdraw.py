"""ConvDRAW: its exact recurrent unit, its steps as stages, its layers as the codec sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import codec
from codec import errors
from codec.installed import get_model
from models.convdraw.coding import ConvDRAWCoding
from models.convdraw.networks import ConvDRAW, ConvDRAWConfig, Level
from models.exact.arithmetic import ACTIVATION_BITS, ACTIVATION_LIMIT, freeze
from models.exact.recurrent import ExactGate, ExactRecurrentUnit
from models.names import MODEL_IDS, STAGES, stages_at

UNIT = 2**ACTIVATION_BITS


def integers(*shape, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * spread).round()


def test_the_gate_equals_int64_arithmetic():
    gate = ExactGate()
    gate.freeze()
    state, candidate, x = (integers(1, 5, 9, 9, spread=2.0**21, seed=s) for s in range(3))
    x = x / 2**10  # about ±2 in units of 1: some gates are open, some closed, most in between
    x = x.round()
    found = gate(state, candidate, x)
    s, c, g = (v.numpy().astype(np.int64) for v in (state, candidate, x))
    share = np.clip((g >> 2) + UNIT // 2, 0, UNIT)
    expected = s + (((c - s) * share + UNIT // 2) >> ACTIVATION_BITS)
    expected = np.clip(expected, -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    assert np.array_equal(found.numpy().astype(np.int64), expected)
    assert (share == 0).any()
    assert (share == UNIT).any()


def test_the_frozen_recurrent_unit_follows_the_float_one():
    torch.manual_seed(0)
    unit = ExactRecurrentUnit(12)
    state, x = torch.randn(1, 12, 8, 8), torch.randn(1, 12, 8, 8)
    with torch.no_grad():
        expected = unit(state, x)
        found = freeze(unit)(*((v.double() * UNIT).round() for v in (state, x))) / UNIT
    assert (found - expected).abs().max() < 0.02


def test_a_closed_gate_keeps_the_state_and_an_open_one_replaces_it():
    gate = ExactGate()
    state, candidate = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    assert torch.equal(gate(state, candidate, torch.full_like(state, -5.0)), state)
    assert torch.allclose(gate(state, candidate, torch.full_like(state, 5.0)), candidate)


@pytest.mark.parametrize("name", MODEL_IDS)
def test_the_names_page_and_the_networks_agree_on_stages(name):
    model = get_model(name, "cpu")
    assert tuple(layer.stages for layer in model.layers) == STAGES[name]
    for quality in range(101):
        stages = tuple(layer.stages for layer in model.layers_at(quality))
        assert stages == stages_at(name, quality)


def test_a_layer_of_steps_with_different_shapes_is_refused():
    levels = (
        Level(stride=16, steps=1, channels=8, hidden=16, prior_width=16),
        Level(stride=8, steps=3, channels=8, hidden=16, prior_width=16),
    )
    config = ConvDRAWConfig(levels, (2, 1, 1), (8, 16, 16), (1, 1, 1), (16, 8), (1, 1))
    with pytest.raises(ValueError, match="layer u"):
        ConvDRAWCoding(
            ConvDRAW(config),
            name="x",
            model_id=0,
            fingerprint=b"",
            thresholds=torch.zeros(63),
            frequencies=[],
            skip_index=0,
        )


# -- stages in files ---------------------------------------------------------------------------


def test_a_file_may_end_with_any_stage(crop):
    """Without filters, which are fitted to the picture of all stages that a file holds."""
    plain = {"model": "convdraw", "filter": False}
    whole = codec.encode(crop, **plain)
    sizes = []
    for stages in range(1, 9):
        data = codec.encode(crop, stages=stages, **plain)
        found = codec.info(data)
        assert sum(layer.stages for layer in found.layers) == stages
        result = codec.decode_detailed(data)
        assert (result.stages, result.stages_declared) == (stages, stages)
        expected = codec.decode(whole, stages=stages)
        assert np.array_equal(np.array(result.image), np.array(expected))
        *_, last = codec.progressive(data)
        assert np.array_equal(np.array(last.image), np.array(expected))
        codec.verify(data, deep=True)
        sizes.append(len(data))
    assert sizes == sorted(set(sizes))
    assert codec.encode(crop, stages=8, **plain) == whole
    assert codec.encode(crop, stages=4, **plain) == codec.encode(crop, layers=2, **plain)


def test_wrong_symbols_are_found_in_a_layer_of_some_stages(crop):
    from tests.codec.test_hostile import with_broken_layer

    data = codec.encode(crop, model="convdraw", stages=3)
    broken = with_broken_layer(data, 1, sealed=True)
    result = codec.decode_detailed(broken)
    assert (result.layers, result.damaged) == (1, True)
    assert np.array_equal(np.array(result.image), np.array(codec.decode(data, layers=1)))


@pytest.mark.parametrize("payload", [b"", b"\0", b"\x03", b"\x09", b"\x05\x05"])
def test_a_number_of_stages_that_cannot_be_is_refused(crop, payload):
    from bitstream.container import STAGES as KIND
    from bitstream.container import Chunk

    data = codec.encode(crop[:64, :64], model="convdraw")
    wrong = data[:24] + Chunk(KIND, payload).to_bytes() + data[24:]
    for work in (codec.decode, codec.info, codec.verify, lambda d: list(codec.progressive(d))):
        with pytest.raises(errors.CorruptError, match="stages"):
            work(wrong)


@pytest.mark.parametrize(("options", "there"), [({}, 8), ({"layers": 1}, 2)])
def test_more_stages_than_there_are_cannot_be_stored(crop, options, there):
    for stages in (0, there + 1):
        with pytest.raises(errors.ArgumentError, match=f"1…{there}"):
            codec.encode(crop, model="convdraw", stages=stages, **options)


def test_efforts_that_a_model_does_not_know_are_refused(crop):
    with pytest.raises(errors.ArgumentError, match="convdraw has no effort above 1"):
        codec.encode(crop, model="convdraw", effort=2)
