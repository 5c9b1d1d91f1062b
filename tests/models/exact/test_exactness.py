"""The promise of the format: the same file gives the same symbols under every back end."""

import contextlib

import numpy as np
import pytest
import torch

import codec
from codec import installed
from codec.installed import get_model
from codec.walk import Filled, walk


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def default_of(dtype):
    """A program that has set torch's default for networks of its own, before it loads ours."""
    installed._load.cache_clear()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        installed._load.cache_clear()


@contextlib.contextmanager
def denormals_flushed():
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


CONDITIONS = {
    "one thread": lambda: threads(1),
    "two threads": lambda: threads(2),
    "five threads": lambda: threads(5),
    "no oneDNN": lambda: torch.backends.mkldnn.flags(enabled=False),
    "deterministic algorithms": deterministic,
    "denormals flushed": denormals_flushed,
}
# Sizes that make libraries choose different kernels: single tile, tall, wide, large.
SIZES = [(1, 1), (64, 64), (65, 31), (33, 300), (320, 64), (512, 640)]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("quality", [15, 90])
def test_symbols_are_identical_under_all_conditions(photograph, model, size, quality):
    tiled = np.tile(photograph, (2, 1, 1))
    piece = np.ascontiguousarray(tiled[: size[0], : size[1]])
    data = codec.encode(piece, quality=quality, model=model)
    reference = codec.decode_detailed(data)
    pixels = np.array(reference.image).astype(int)
    for name, condition in CONDITIONS.items():
        with condition():
            found = codec.decode_detailed(data)
        assert found.symbol_checksums == reference.symbol_checksums, name
        assert np.abs(np.array(found.image).astype(int) - pixels).max() <= 1, name


def test_a_file_written_under_one_condition_reads_under_the_others(crop, model):
    for condition in CONDITIONS.values():
        with condition():
            data = codec.encode(crop, quality=70, model=model)
        assert codec.decode_detailed(data).notes == ()


def test_sampled_fill_is_the_same_under_all_conditions(model):
    """The fill feeds later priors too, so it is held to the same standard."""
    coding = get_model(model, "cpu")

    def latents():
        rng = np.random.Generator(np.random.Philox(3))
        return walk(coding, (96, 128), 40, [Filled(rng, 1.0)] * 3).latents

    reference = latents()
    for condition in CONDITIONS.values():
        with condition():
            assert all(torch.equal(a, b) for a, b in zip(latents(), reference, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_files_do_not_depend_on_the_default_of_torch(crop, model, dtype):
    small, qualities = crop[:60, :90], (50, 65.25)
    expected = [codec.encode(small, quality=quality, model=model) for quality in qualities]
    shown = [np.array(codec.decode(data)) for data in expected]
    with default_of(dtype):
        for quality, data, picture in zip(qualities, expected, shown, strict=True):
            assert codec.encode(small, quality=quality, model=model) == data
            assert np.array_equal(np.array(codec.decode(data)), picture)


@pytest.mark.parametrize("quality", [50, 90])
def test_predictions_are_exact_numbers_of_the_table(model, quality):
    """Means are multiples of 2^-10 and scale indices lie in the table."""
    coding = get_model(model, "cpu")
    prior = coding.prior(192, 256, quality)
    for layer in coding.layers_at(quality):
        for _ in range(layer.stages * layer.steps):
            prediction = prior.predict()
            scaled = prediction.mean * 2**10
            assert torch.equal(scaled, scaled.round())
            assert prediction.scale_index.min() >= 0
            assert prediction.scale_index.max() < len(coding.frequencies[0])
            prior.push(torch.ones_like(prediction.mean))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_decodes_the_same_symbols(coded):
    cpu, cuda = (codec.decode_detailed(coded, device=d) for d in ("cpu", "cuda"))
    assert cpu.symbol_checksums == cuda.symbol_checksums
    assert np.abs(np.array(cpu.image).astype(int) - np.array(cuda.image)).max() <= 1
