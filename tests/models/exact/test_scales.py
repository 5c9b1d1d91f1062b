import math

import numpy as np
import pytest
import torch

from models.exact.arithmetic import ACTIVATION_BITS
from models.exact.scales import (
    FREQUENCY_BITS,
    SCALE_COUNT,
    SCALE_MAX,
    SCALE_MIN,
    frequency_tables,
    gaussian_bits,
    raw_thresholds,
    scale_of,
    scale_table,
)


def test_scales_are_log_spaced():
    table = scale_table()
    assert len(table) == SCALE_COUNT
    assert (table[0], table[-1]) == (pytest.approx(SCALE_MIN), pytest.approx(SCALE_MAX))
    np.testing.assert_allclose(table[1:] / table[:-1], table[1] / table[0])


def test_frequencies_are_probabilities():
    for scale, frequency in zip(scale_table(), frequency_tables(), strict=True):
        assert frequency.sum() == 2**FREQUENCY_BITS
        assert frequency.min() >= 1
        limit = len(frequency) // 2 - 1
        np.testing.assert_array_equal(frequency[:limit], frequency[2 * limit : limit : -1])
        zero = math.erf(0.5 / (scale * math.sqrt(2)))
        assert frequency[limit] / 2**FREQUENCY_BITS == pytest.approx(zero, abs=2e-3)


def test_a_raw_output_gets_the_nearest_scale():
    raw = torch.linspace(-12, 300, 5001)
    integers = (raw.double() * 2**ACTIVATION_BITS).round()
    index = torch.bucketize(integers, torch.from_numpy(raw_thresholds()).double(), right=True)
    chosen = scale_table()[index.numpy()]
    wanted = scale_of(raw).numpy()
    ratio = scale_table()[1] / scale_table()[0]
    assert np.abs(np.log(chosen / wanted)).max() <= 0.51 * math.log(ratio)


def test_thresholds_increase():
    assert (np.diff(raw_thresholds()) > 0).all()


def test_gaussian_bits_equal_the_integral():
    for residual, scale in ((0.0, 0.11), (1.0, 0.5), (-3.0, 2.0), (40.0, 64.0)):
        mass = 0.5 * (
            math.erf((residual + 0.5) / scale / math.sqrt(2))
            - math.erf((residual - 0.5) / scale / math.sqrt(2))
        )
        bits = gaussian_bits(torch.tensor(residual), torch.tensor(scale))
        assert float(bits) == pytest.approx(-math.log2(mass), rel=1e-4, abs=1e-4)


def test_hopeless_residuals_still_have_a_gradient():
    residual = torch.tensor(1.5, requires_grad=True)
    scale = torch.tensor(0.2, requires_grad=True)
    gaussian_bits(residual, scale).backward()
    assert residual.grad > 0
    assert scale.grad < 0
