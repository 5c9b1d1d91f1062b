import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitstream import range_coder
from bitstream.errors import CorruptError
from bitstream.range_coder import SYMBOL_LIMIT, CodingTables, LayerDecoder, LayerEncoder
from models.exact.scales import SKIP_INDEX, frequency_tables, scale_table
from models.exact.tables import pack_tables, smoothed_table
from tests.bitstream.reference_decoder import decode_layer, stage_tables

FREQUENCIES = frequency_tables()
TABLES = CodingTables(FREQUENCIES, SKIP_INDEX)
#: Those of another stage: small magnitudes are likelier, as if a few thousand had been seen.
OTHERS = [smoothed_table(5000 // np.arange(1, len(f) // 2 + 2) ** 2, f, 1000) for f in FREQUENCIES]
OTHER_TABLES = CodingTables(OTHERS, SKIP_INDEX)


def draw(rng: np.random.Generator, count: int, spread: float = 1.0):
    """Scale indices and symbols that follow them (times ``spread``)."""
    index = rng.integers(0, len(FREQUENCIES), count)
    symbols = np.round(rng.standard_normal(count) * scale_table()[index] * spread)
    symbols = np.clip(symbols, -SYMBOL_LIMIT, SYMBOL_LIMIT).astype(np.int32)
    symbols[index <= SKIP_INDEX] = 0
    return index, symbols


def encode(steps, tables=(TABLES,)) -> bytes:
    """Steps of (scale indices, symbols), the tables taking turns."""
    encoder = LayerEncoder()
    for (index, symbols), own in zip(steps, itertools.cycle(tables), strict=False):
        encoder.encode(symbols, index, own)
    return encoder.finish()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    counts=st.lists(st.integers(0, 400), min_size=1, max_size=4),
    spread=st.sampled_from([0.0, 1.0, 3.0, 40.0]),  # 40: nearly everything escapes
)
def test_what_goes_in_comes_out(seed, counts, spread):
    rng = np.random.default_rng(seed)
    steps = [draw(rng, count, spread) for count in counts]
    stages = (TABLES, OTHER_TABLES)  # a layer may hold stages of different tables
    decoder = LayerDecoder(encode(steps, stages))
    for (index, symbols), own in zip(steps, itertools.cycle(stages), strict=False):
        np.testing.assert_array_equal(decoder.decode(index, own), symbols)
    decoder.finish()


def test_long_steps_that_are_not_sorted_give_the_same(monkeypatch):
    rng = np.random.default_rng(4)
    steps = [draw(rng, 3000, 3.0)]
    expected = encode(steps)
    monkeypatch.setattr(range_coder, "_SORTED", 100)
    assert encode(steps) == expected
    decoder = LayerDecoder(expected)
    np.testing.assert_array_equal(decoder.decode(steps[0][0], TABLES), steps[0][1])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([0.3, 1.0, 20.0]))
def test_a_decoder_written_from_the_specification_agrees(seed, spread):
    rng = np.random.default_rng(seed)
    steps = [draw(rng, 120, spread) for _ in range(3)]
    packed = pack_tables([FREQUENCIES, OTHERS], [0, 1, 0])
    tables = stage_tables(
        *(packed[f"coding.{n}"].tolist() for n in ("frequencies", "lengths", "sets"))
    )
    indices = [index.tolist() for index, _ in steps]
    payload = encode(steps, (TABLES, OTHER_TABLES))
    found = decode_layer(payload, SKIP_INDEX, list(zip(indices, tables, strict=True)))
    assert found == [s.tolist() for _, s in steps]


def test_measured_bits_are_the_information_content():
    rng = np.random.default_rng(1)
    index, symbols = draw(rng, 60_000)
    coded = index > SKIP_INDEX
    bits = 0.0
    for i, symbol in zip(index[coded], symbols[coded], strict=True):
        frequency = FREQUENCIES[i]
        limit = len(frequency) // 2 - 1
        if abs(symbol) <= limit:
            bits -= np.log2(frequency[symbol + limit] / frequency.sum())
        else:
            bits -= np.log2(frequency[-1] / frequency.sum()) - 6
    assert 8 * len(encode([(index, symbols)])) == pytest.approx(bits, rel=1e-3)


def test_golden_bytes():
    """Changing these bytes changes the format: a new version number is due."""
    index = np.array([0, 5, 20, 20, 40, 63, 63, 10])
    symbols = np.array([0, 0, 1, -2, 7, 300, -4000, 1], dtype=np.int32)
    assert encode([(index, symbols)]).hex() == "2de7722691f6b4906b93"
    two_stages = encode([(index, symbols), (index, -symbols)], (TABLES, OTHER_TABLES))
    assert two_stages.hex() == "6697722691f6bd906b93b5203857783a6634"


def test_an_empty_layer_takes_only_its_checksum():
    index = np.zeros(50, dtype=int)
    payload = encode([(index, np.zeros(50, dtype=np.int32))])
    assert len(payload) == 2
    decoder = LayerDecoder(payload)
    assert not decoder.decode(index, TABLES).any()
    decoder.finish()


def test_flipped_bits_never_pass_as_right():
    rng = np.random.default_rng(2)
    index, symbols = draw(rng, 500)
    payload = bytearray(encode([(index, symbols)]))
    undetected = 0
    for position in range(2, len(payload)):
        damaged = bytearray(payload)
        damaged[position] ^= 1 << (position % 8)
        decoder = LayerDecoder(bytes(damaged))
        try:
            found = decoder.decode(index, TABLES)
            decoder.finish()
        except CorruptError:
            continue
        undetected += not np.array_equal(found, symbols)
    assert undetected == 0


def test_a_payload_without_checksum_is_refused():
    with pytest.raises(CorruptError, match="too short"):
        LayerDecoder(b"\x01")
