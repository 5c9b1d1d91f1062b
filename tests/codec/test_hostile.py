"""No byte string may do harm: the outcome is a right picture, or an error that says why."""

from __future__ import annotations

import pickle
import warnings
import zlib
from contextlib import suppress
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codec
from bitstream.container import Chunk, Container
from bitstream.range_coder import LayerDecoder
from codec.errors import CodecError, CorruptError, DamageWarning, TruncatedError
from tests.mutations import FAITHFUL, KINDS, mutate


@pytest.fixture(scope="module")
def files(photograph, model):
    """Small files of several kinds, and their pictures by number of layers."""
    rgb = photograph[100:180, 200:310]
    alpha = np.linspace(0, 255, 80 * 110).reshape(80, 110, 1).astype(np.uint8)
    sources = (
        codec.encode(rgb, quality=30, model=model),
        codec.encode(np.concatenate([rgb, alpha], axis=2), quality=60, model=model),
        codec.encode(rgb[:, :, 0], quality=90, layers=2, model=model),
    )
    return [(data, pictures(data)) for data in sources]


def pictures(data):
    count = len(codec.info(data).layers)
    return {n: np.array(codec.decode(data, layers=n)) for n in range(1, count + 1)}


def outcome(data, shown):
    """Decode a broken file: an error's name, or how many layers its (right) picture has."""
    try:
        found = codec.decode_detailed(data, max_pixels=2**20)
    except CodecError as error:
        return type(error).__name__ if str(error) else "an error without a message"
    image = np.array(found.image)
    for expected in shown.values():
        if image.shape == expected.shape and np.array_equal(image, expected):
            return found.layers
    # Another picture than stored: then the file must have been rewritten, seals and all, into one
    # that is valid. Its symbols passed their checksum only if they are the stored ones.
    return "another"


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kind=st.sampled_from(KINDS), which=st.integers(0, 2), seed=st.integers(0, 2**32 - 1))
def test_a_broken_file_is_a_right_picture_or_an_error(files, kind, which, seed):
    data, shown = files[which]
    broken = mutate(data, kind, np.random.default_rng(seed))
    result = outcome(broken, shown)
    assert result != "an error without a message", (kind, seed)
    if kind in FAITHFUL and result == "another":
        assert matches_by_chance(broken), (kind, seed)


def matches_by_chance(broken):
    """Whether all symbols of a rewritten file have the checksums that its layers ask for.

    One in 65,536 does, and in time some are met: such a file is valid (docs/format.md). Computed
    here from the symbols themselves, so that checks left out or incomplete do not pass for chance.
    """
    decode, layers = LayerDecoder.decode, {}

    def recorded(self, *step):
        symbols = decode(self, *step)
        layers.setdefault(self, []).append(symbols.astype("<i2").tobytes())
        return symbols

    with mock.patch.object(LayerDecoder, "decode", recorded):
        codec.decode_detailed(broken)
    payloads = [c.payload for c in Container.from_bytes(broken).chunks if c.type == b"L"]
    asked = [payload[:2] for payload in payloads if payload]
    return asked == [
        (zlib.crc32(b"".join(steps)) & 0xFFFF).to_bytes(2, "little") for steps in layers.values()
    ]


def test_a_checksum_that_matches_by_chance_is_told_from_one_that_is_not_made(files, monkeypatch):
    data, _ = files[0]
    assert matches_by_chance(data)
    monkeypatch.setattr(LayerDecoder, "finish", lambda self: None)
    for index in range(3):
        changes = ((at, 1 << bit) for at in range(2, 10) for bit in range(8))  # after the checksum
        broken = (with_broken_layer(data, index, sealed=True, change=change) for change in changes)
        assert not matches_by_chance(next(file for file in broken if decodes(file)))


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_refused_in_words(data):
    for work in (codec.decode, codec.info, codec.verify, codec.encode):
        with pytest.raises(CodecError) as caught:
            work(data)
        assert str(caught.value)


def decodes(data):
    """Whether a file's layers can be decoded: some changes the range decoder refuses itself."""
    with suppress(CorruptError):
        return not codec.decode_detailed(data).damaged
    return False


def with_broken_layer(data, index, *, sealed, change=None):
    """The file with a byte of one layer changed; sealed: its chunk's checksum is right.

    ``change``: which byte, and its bits that flip; default all of that in the middle.
    """
    container = Container.from_bytes(data)
    chunks, seen = [], -1
    for chunk in container.chunks:
        seen += chunk.type == b"L"
        coded = chunk.to_bytes()
        if chunk.type == b"L" and seen == index:
            payload = bytearray(chunk.payload)
            at, bits = change or (len(payload) // 2, 255)
            payload[at] ^= bits
            broken = Chunk(b"L", bytes(payload)).to_bytes()
            coded = broken if sealed else coded[: -len(payload)] + bytes(payload)
        chunks.append(coded)
    return container.header.to_bytes() + b"".join(chunks)


def test_errors_survive_the_way_between_processes(coded):
    broken = with_broken_layer(coded, 0, sealed=True)
    with pytest.raises(CorruptError) as found:
        codec.decode(broken)
    copy = pickle.loads(pickle.dumps(found.value))
    assert (type(copy), str(copy), copy.index) == (type(found.value), str(found.value), 0)


@pytest.mark.parametrize("sealed", [False, True], ids=["bytes", "symbols"])
@pytest.mark.parametrize("index", [1, 2])
def test_damage_in_a_later_layer_leaves_the_layers_before(coded, index, sealed):
    broken = with_broken_layer(coded, index, sealed=sealed)
    found = codec.decode_detailed(broken)
    assert (found.layers, found.damaged) == (index, True)
    assert len(found.symbol_checksums) == index
    assert np.array_equal(np.array(found.image), np.array(codec.decode(coded, layers=index)))
    with pytest.warns(DamageWarning, match=f"{index} of 3 layers"):
        codec.decode(broken)
    with pytest.raises(CorruptError):
        codec.decode(broken, strict=True)
    with pytest.raises(CorruptError):
        codec.verify(broken, deep=True)


@pytest.mark.parametrize("sealed", [False, True])
def test_damage_in_the_first_layer_is_an_error(coded, sealed):
    with pytest.raises(CorruptError):
        codec.decode(with_broken_layer(coded, 0, sealed=sealed))


def test_a_sampled_fill_does_not_depend_on_damage(coded):
    """What is drawn for lost layers is what is drawn when they were left out."""
    broken = with_broken_layer(coded, 1, sealed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = codec.decode(broken, fill="sample", seed=3)
    expected = codec.decode(coded, layers=1, fill="sample", seed=3)
    assert np.array_equal(np.array(shown), np.array(expected))


def test_strict_refuses_cuts_and_verify_names_them(coded):
    end = codec.info(coded).layers[1].end
    assert codec.decode(coded[:end]).size == codec.decode(coded).size
    for work in (lambda d: codec.decode(d, strict=True), codec.verify):
        with pytest.raises(TruncatedError, match="2 of its 3 layers"):
            work(coded[:end])
    with pytest.raises(TruncatedError):
        codec.verify(coded + b"i")


def test_a_sound_file_passes(coded):
    shares = []
    assert codec.verify(coded).layers == codec.info(coded).layers
    codec.verify(coded, deep=True, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    codec.decode(coded, strict=True)


def test_damaged_metadata_is_found(photograph):
    data = codec.encode(photograph[:64, :64])
    for broken in (b"not a zlib stream", b""):
        with pytest.raises(CorruptError, match="ICC"):
            codec.verify(data + Chunk(b"i", broken).to_bytes())
    with pytest.raises(CorruptError, match="alpha"):
        codec.verify(data + Chunk(b"a", b"not a PNG image").to_bytes())
