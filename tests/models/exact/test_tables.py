"""Learned frequency tables: what they must be, and that they pay on files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from bitstream.range_coder import CodingTables
from codec.walk import Coded, Recorder, pad_image, tables_of, walk
from models.exact.scales import FREQUENCY_BITS, frequency_tables
from models.exact.tables import pack_tables, smoothed_table, unpack_tables
from models.registry import BUILDERS
from models.training.tables import SymbolCounts, fit, learn_tables
from models.weights_file import (
    WeightsError,
    export_weights,
    load_coding_model,
    load_trainable,
    weights_info,
)

CPU = torch.device("cpu")
GAUSSIAN = frequency_tables()


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 63),
    strength=st.sampled_from([0.5, 30.0, 1e5]),
    size=st.sampled_from([0.0, 3.0, 1e9]),
    shape=st.sampled_from(["any", "zeros", "edge", "escapes"]),
    seed=st.integers(0, 2**32),
)
def test_any_counts_make_a_symmetric_table_that_holds_every_symbol(
    index, strength, size, shape, seed
):
    gaussian = GAUSSIAN[index]
    counts = np.round(np.random.default_rng(seed).random(len(gaussian) // 2 + 1) * size)
    if shape != "any":
        counts[
            np.arange(len(counts)) != {"zeros": 0, "edge": -2, "escapes": -1}[shape] % len(counts)
        ] = 0
    table = smoothed_table(counts, gaussian, strength)
    limit = len(table) // 2 - 1
    assert table.shape == gaussian.shape
    assert table.dtype == np.int32
    assert table.sum() == 2**FREQUENCY_BITS
    assert table.min() >= 1
    assert table[-1] >= gaussian[-1]
    np.testing.assert_array_equal(table[:limit], table[2 * limit : limit : -1])


def test_without_counts_a_table_is_the_gaussian_one():
    for gaussian in GAUSSIAN:
        nothing = np.zeros(len(gaussian) // 2 + 1)
        np.testing.assert_array_equal(smoothed_table(nothing, gaussian, 30), gaussian)


def test_few_counts_move_a_table_a_little_and_many_make_it_their_own():
    gaussian = GAUSSIAN[20]
    counts = np.zeros(len(gaussian) // 2 + 1)
    counts[:3] = 2, 2, 4  # 0 twice, ±1 twice, ±2 four times
    shares = [smoothed_table(counts * n, gaussian, 100) / 2**FREQUENCY_BITS for n in (1, 10**6)]
    limit = len(gaussian) // 2 - 1
    expected = (counts[0] + 100 * gaussian[limit] / 2**FREQUENCY_BITS) / (8 + 100)
    assert shares[0][limit] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(shares[1][limit:][:3], [0.25, 0.125, 0.25], atol=1e-3)


def test_sets_read_back_and_are_shared():
    other = [smoothed_table(np.arange(len(f) // 2 + 1), f, 10) for f in GAUSSIAN]
    stages = unpack_tables(pack_tables([GAUSSIAN, other], [0, 1, 1, 0]), 4)
    assert stages[0] is stages[3]
    assert stages[1] is stages[2]
    for expected, found in ((GAUSSIAN, stages[0]), (other, stages[1])):
        assert all(map(np.array_equal, expected, found))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file of a tiny model with learned tables: a set for each of its four stages."""
    torch.manual_seed(0)
    sets = [
        [smoothed_table(np.ones(len(f) // 2 + 1), f, n) for f in GAUSSIAN]
        for n in (9, 99, 999, 9999)
    ]
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    path.write_bytes(export_weights(BUILDERS["ssvae-tiny"](), "ssvae-tiny", sets))
    return path


def wrong(tensors, kind):
    """The ``coding`` tensors with one thing wrong."""
    flat, lengths, sets = (tensors[f"coding.{n}"] for n in ("frequencies", "lengths", "sets"))
    if kind == "too few frequencies":
        flat = flat[:-1]
    elif kind == "giant length":
        lengths[1, 3] = 2**31 - 2
    elif kind == "odd lengths":
        lengths[0, 5] += 1
        lengths[0, 6] -= 1
    elif kind == "negative length":
        lengths[0, 5] *= -1
    elif kind == "63 tables":
        lengths = lengths[:, :63].contiguous()
    elif kind == "flat lengths":
        lengths = lengths.flatten()
    elif kind == "more sets than stages":
        lengths, flat = torch.cat([lengths, lengths]), torch.cat([flat, flat])
    elif kind == "no sets":
        lengths, flat = lengths[:0], flat[:0]
    elif kind == "wrong sum":
        flat[70] += 1
    elif kind == "sum that wraps":
        flat[70:74] += 2**30
    elif kind == "zero frequency":
        flat[8] += flat[7]
        flat[7] = 0
    elif kind == "negative frequency":
        flat[8] += flat[7] + 1
        flat[7] = -1
    elif kind == "unknown set":
        sets[1] = 4
    elif kind == "negative set":
        sets[1] = -1
    elif kind == "too few stages":
        sets = sets[:2]
    elif kind == "floats":
        flat = flat.double()
    new = {"frequencies": flat, "lengths": lengths, "sets": sets}
    return tensors | {f"coding.{name}": value.contiguous() for name, value in new.items()}


WRONG = (
    "too few frequencies",
    "giant length",
    "odd lengths",
    "negative length",
    "63 tables",
    "flat lengths",
    "more sets than stages",
    "no sets",
    "wrong sum",
    "sum that wraps",
    "zero frequency",
    "negative frequency",
    "unknown set",
    "negative set",
    "too few stages",
    "floats",
)


@pytest.mark.parametrize("kind", WRONG)
def test_weights_with_wrong_tables_are_refused(weights, tmp_path, kind):
    path = tmp_path / "w.safetensors"
    meta = {"coding": '{"model": "ssvae-tiny", "skip_index": 0}'}
    save_file(load_file(weights), path, meta)
    load_coding_model(path, name="ssvae-tiny", device=CPU)
    save_file(wrong(load_file(weights), kind), path, meta)
    with pytest.raises(WeightsError, match=r"w\.safetensors.*(coding|frequenc)"):
        load_coding_model(path, name="ssvae-tiny", device=CPU)


def damaged(tensors: dict, kind: str) -> dict:
    """Weights whose other entries decide on symbols that no decoder would agree on."""
    thresholds, prior = tensors["coding.thresholds"], "prior.latent_in.0.weight"
    if kind == "thresholds too many":
        thresholds = torch.cat([thresholds, thresholds[-1:] + 1])
    elif kind == "thresholds in rows":
        thresholds = thresholds.reshape(7, 9)
    elif kind == "thresholds that fall":
        thresholds = thresholds.flip(0)
    elif kind == "thresholds of floats":
        thresholds = thresholds.float()
    elif kind == "prior of floats":
        tensors[prior] = tensors[prior].float() + 0.5
    elif kind == "prior too large":
        tensors[prior] = tensors[prior].to(torch.int64) * 2**40
    return tensors | {"coding.thresholds": thresholds.contiguous()}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("thresholds too many", "must be 63 integers"),
        ("thresholds in rows", "must be 63 integers"),
        ("thresholds that fall", "do not rise"),
        ("thresholds of floats", "must be 63 integers"),
        ("prior of floats", "must be integers"),
        ("prior too large", "too large for exact arithmetic"),
    ],
)
def test_weights_that_are_not_exact_are_refused(weights, tmp_path, kind, message):
    path = tmp_path / "w.safetensors"
    meta = {"coding": '{"model": "ssvae-tiny", "skip_index": 0}'}
    save_file(damaged(load_file(weights), kind), path, meta)
    with pytest.raises(WeightsError, match=message):
        load_coding_model(path, name="ssvae-tiny", device=CPU)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{"model": "convdraw", "skip_index": 0}', "of model convdraw, not ssvae-tiny"),
        ('{"model": "ssvae-tiny", "skip_index": 64}', "skip_index 64"),
        ('{"model": "ssvae-tiny", "skip_index": -5}', "skip_index -5"),
        ('{"model": "ssvae-tiny", "skip_index": 0.5}', "skip_index 0.5"),
        ('{"model": "ssvae-tiny"}', "skip_index"),
    ],
)
def test_weights_of_another_coding_are_refused(weights, tmp_path, entry, message):
    path = tmp_path / "w.safetensors"
    save_file(load_file(weights), path, {"coding": entry})
    with pytest.raises(WeightsError, match=message):
        load_coding_model(path, name="ssvae-tiny", device=CPU)


@pytest.mark.parametrize("name", ["frequencies", "lengths", "sets"])
def test_weights_without_tables_are_refused(weights, tmp_path, name):
    path = tmp_path / "w.safetensors"
    tensors = load_file(weights)
    del tensors[f"coding.{name}"]
    save_file(tensors, path, {"coding": '{"model": "ssvae-tiny", "skip_index": 0}'})
    with pytest.raises(WeightsError, match=f"coding.{name}"):
        load_coding_model(path, name="ssvae-tiny", device=CPU)


def test_the_range_coder_and_the_estimate_take_the_tables_of_each_stage(weights):
    loaded = load_coding_model(weights, name="ssvae-tiny", device=CPU)
    tables = tables_of(loaded)
    assert len(set(map(id, tables))) == 4
    assert tables_of(loaded) is tables
    model = load_trainable(weights, "ssvae-tiny")
    symbols, raw = torch.tensor([0.0, 3.0, -1000.0]), torch.tensor([0.0, 1.0, 2.0])
    costs = [model.stage_costs(stage).bits(symbols, raw).sum() for stage in range(4)]
    assert len({float(cost) for cost in costs}) == 4


def test_layers_of_several_stages_share_a_set(tmp_path):
    model = BUILDERS["convdraw-tiny"]()
    assert model.table_sets == (0, 0, 1, 2)
    path = tmp_path / "w.safetensors"
    path.write_bytes(export_weights(model, "convdraw-tiny", [GAUSSIAN] * 3))
    tables = tables_of(load_coding_model(path, name="convdraw-tiny", device=CPU))
    assert tables[0] is tables[1]
    assert len(set(map(id, tables))) == 3


def test_smoothing_is_chosen_by_held_out_counts():
    """Folds that agree ask for little of the Gaussian, folds that do not for more."""
    rng = np.random.default_rng(3)
    index = np.full(4000, 30)

    def folds(*spreads):
        made = [SymbolCounts(1) for _ in spreads]
        for fold, spread in zip(made, spreads, strict=True):
            fold.add(0, np.round(rng.laplace(0, spread, len(index))).astype(int), index)
        return made

    assert fit(folds(5, 5, 5, 5)).strength < fit(folds(0.3, 60, 0.3, 60)).strength


def test_real_bits_fall_on_crops_the_tables_were_not_learned_from(photograph, tmp_path):
    Image.fromarray(photograph[:, :384]).save(tmp_path / "left.png")
    model = load_trainable(weights_info("ssvae").path, "ssvae")
    learned = learn_tables(model, tmp_path, crops=24)
    assert learned.saved > 0
    coding = load_coding_model(weights_info("ssvae").path, name="ssvae", device=CPU)
    right = photograph[128:384, 512:768]

    def size(tables):
        recorder = Recorder(coding.layers_at(50), tables)
        posterior = coding.posterior(pad_image(right, 64), 50)
        coded = Coded(posterior, coding.skip_index, recorder=recorder)
        walk(coding, (256, 256), 50, [coded] * 3)
        return sum(map(len, recorder.payloads()[0]))

    gaussian = size([CodingTables(GAUSSIAN, coding.skip_index)] * 4)
    assert size([CodingTables(tables, coding.skip_index) for tables in learned.sets]) < gaussian
