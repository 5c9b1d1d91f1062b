"""MS-SSIM is that of the package people compare with."""

import numpy as np
import pytest
import torch

from models.metrics.ms_ssim import LEAST_SIDE, ms_ssim


@pytest.mark.parametrize("size", [(LEAST_SIDE, LEAST_SIDE), (171, 230), (256, 161)])
def test_it_equals_the_package(photograph, size):
    package = pytest.importorskip("pytorch_msssim")
    picture = np.ascontiguousarray(photograph[: size[0], : size[1]])
    noise = np.random.default_rng(1).normal(0, 20, picture.shape)
    other = np.clip(picture + noise, 0, 255).astype(np.uint8)
    planes = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (picture, other))
    expected = float(package.ms_ssim(*planes, data_range=255))
    assert ms_ssim(picture, other) == pytest.approx(expected, abs=2e-5)


def test_equal_pictures_have_1_and_small_ones_none(photograph):
    picture = photograph[:LEAST_SIDE, :LEAST_SIDE]
    assert ms_ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(picture[:-1], picture[:-1]) is None
