import numpy as np
import pytest
import torch

from models.exact.arithmetic import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    WEIGHT_BITS,
    ExactBlock,
    ExactDepthwise,
    ExactLeakyReLU,
    ExactPointwise,
    ExactQualityCurve,
    ExactUp,
    freeze,
)


def integers(*shape, spread=2.0**14, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * spread).round()


def int64_rescale(total: np.ndarray) -> np.ndarray:
    shifted = (total + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS
    return np.clip(shifted, -ACTIVATION_LIMIT, ACTIVATION_LIMIT)


def test_pointwise_equals_int64_arithmetic():
    layer = freeze(ExactPointwise(192, 40))
    x = integers(2, 192, 7, 9)
    weight, bias = (t.numpy().astype(np.int64) for t in (layer.weight, layer.bias))
    expected = np.einsum("oi,bihw->bohw", weight, x.numpy().astype(np.int64))
    expected = int64_rescale(expected + bias[:, None, None])
    np.testing.assert_array_equal(layer(x).numpy().astype(np.int64), expected)


def test_depthwise_equals_int64_arithmetic():
    layer = freeze(ExactDepthwise(16))
    x = integers(1, 16, 6, 5)
    padded = np.pad(x.numpy().astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    weight = layer.weight.numpy().astype(np.int64)
    total = sum(
        padded[:, :, r : r + 6, c : c + 5] * weight[:, r, c, None, None]
        for r in range(3)
        for c in range(3)
    )
    np.testing.assert_array_equal(layer(x).numpy().astype(np.int64), int64_rescale(total))


def test_order_of_channels_cannot_change_a_bit():
    layer = freeze(ExactPointwise(256, 64))
    x = integers(1, 256, 8, 8, spread=2.0**20)
    order = torch.randperm(256)
    shuffled = freeze(ExactPointwise(256, 64))
    shuffled.weight.copy_(layer.weight[:, order])
    shuffled.bias.copy_(layer.bias)
    assert torch.equal(layer(x), shuffled(x[:, order]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: ExactPointwise(12, 8),
        lambda: ExactDepthwise(12),
        lambda: ExactBlock(12),
        lambda: ExactUp(12, 4),
        ExactLeakyReLU,
    ],
)
def test_the_frozen_face_follows_the_float_one(build):
    torch.manual_seed(0)
    layer = build()
    x = torch.randn(1, 12, 8, 8) * 3
    with torch.no_grad():
        expected = layer(x)
        unit = 2.0**ACTIVATION_BITS
        found = freeze(layer)((x.double() * unit).round()) / unit
    assert (found - expected).abs().max() < 0.02


def test_quality_curve_hits_its_knots_and_is_linear_between():
    curve = ExactQualityCurve(3, knots=11)
    with torch.no_grad():
        curve.knots.copy_(torch.randn(11, 3))
    quality = torch.arange(101)
    expected = curve(quality.float())[:, :, 0, 0]
    frozen = freeze(curve)(quality)[:, :, 0, 0] / 2**ACTIVATION_BITS
    assert (frozen - expected).abs().max() < 2 * 2.0**-ACTIVATION_BITS
    assert torch.equal(frozen, frozen.mul(2**ACTIVATION_BITS).round() / 2**ACTIVATION_BITS)


def test_weights_that_would_leave_the_exact_range_are_refused():
    layer = ExactPointwise(64, 4)
    with torch.no_grad():
        layer.weight.fill_(1e3)
    with pytest.raises(ValueError, match="exact"):
        freeze(layer)


def test_large_activations_are_clamped_not_wrapped():
    layer = freeze(ExactPointwise(4, 4))
    layer.weight.fill_(2.0**WEIGHT_BITS)
    out = layer(torch.full((1, 4, 2, 2), float(ACTIVATION_LIMIT), dtype=torch.float64))
    assert out.max() == ACTIVATION_LIMIT
