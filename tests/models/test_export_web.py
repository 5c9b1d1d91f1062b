"""Weights for the browser hold the numbers of the weights file, in two parts."""

import json
import zlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.export_web import WEIGHTS_FOLDER, web_weights


def unpacked(data):
    """(header, tensors by name) of one part, read as its docstring says."""
    plain = zlib.decompress(data)
    at = 4 + int.from_bytes(plain[:4], "little")
    header, tensors = json.loads(plain[4:at]), {}
    for name, kind, shape in header["tensors"]:
        dtype, count = np.dtype(kind).newbyteorder("<"), int(np.prod(shape))
        planes = np.frombuffer(plain, np.uint8, count * dtype.itemsize, at)
        whole = np.ascontiguousarray(planes.reshape(dtype.itemsize, count).T).view(dtype)
        tensors[name] = whole.reshape(shape)
        at += planes.size
    assert at == len(plain)
    return header, tensors


@pytest.fixture(scope="module")
def parts():
    return web_weights("ssvae")


def test_the_parts_hold_the_decoder_number_for_number(parts):
    stored = load_file(WEIGHTS_FOLDER / "ssvae.safetensors")
    (_, first), (_, rest) = map(unpacked, parts.values())
    assert not first.keys() & rest.keys()
    for name, value in (first | rest).items():
        assert value.dtype == stored[name].dtype
        assert np.array_equal(value, stored[name]), name
    left_out = {name.split(".")[0] for name in stored.keys() - first.keys() - rest.keys()}
    assert left_out == {"analysis", "heads", "fine"}


def test_they_are_small_and_named_by_fingerprint(parts):
    header, _ = unpacked(next(iter(parts.values())))
    assert list(parts) == [f"{header['fingerprint']}-{part}.bin" for part in ("u", "rest")]
    assert sum(map(len, parts.values())) <= 6_000_000


def test_a_model_of_another_family_is_refused():
    with pytest.raises(ValueError, match="convdraw"):
        web_weights("convdraw")
    with pytest.raises(ValueError, match="no model"):
        web_weights("nothing")
