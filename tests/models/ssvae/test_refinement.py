"""Encoder effort: smaller at equal quality by the encoder's measure, and nothing else changes."""

import numpy as np
import pytest
import torch

import codec
from models.metrics.eye import DEFAULT_EYE_LOSS, DEFAULT_EYE_SHARE, EYE_LOSSES
from models.ssvae.maps import BottomUp
from models.ssvae.networks import STAGE_STRIDES
from models.ssvae.refinement import ITERATIONS, refine
from models.weights_file import load_trainable, weights_info
from tests.conftest import psnr


@pytest.fixture(scope="module")
def model():
    return load_trainable(weights_info("ssvae").path, "ssvae").eval().requires_grad_(False)


def cost(crop, data: bytes, quality: int) -> float:
    """Bits + λ·squared error of a file, as the loss counts them."""
    lagrangian = 18.0 * 1000.0 ** (quality / 100)
    shown = np.asarray(codec.decode(data), dtype=np.float64)
    error = np.mean((shown - crop) ** 2) / 255**2 * crop.shape[0] * crop.shape[1]
    return 8 * sum(layer.bytes for layer in codec.info(data).layers) + lagrangian * error


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_effort_lowers_the_cost_of_real_files(crop, quality):
    costs = [
        cost(crop, codec.encode(crop, quality=quality, effort=e, tune="psnr"), quality)
        for e in (1, 2, 3, 6)
    ]
    assert costs[1] < 0.993 * costs[0]  # three iterations are enough for that
    assert costs[0] > 1.005 * costs[2] > 1.005 * costs[3]


@pytest.mark.slow
@pytest.mark.parametrize("quality", [15, 50])
def test_effort_lowers_the_cost_to_the_eye_where_weights_are_tuned_for_it(
    crop, photograph, quality
):
    """Of three pieces together: on a single one of some 900 bytes, chance is as large."""

    def planes(pixels) -> torch.Tensor:
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255

    eye = EYE_LOSSES[DEFAULT_EYE_LOSS]
    share = DEFAULT_EYE_SHARE
    costs = np.zeros(3)
    for piece in (crop, photograph[200:392, 300:556], photograph[256:448, 100:356]):
        lagrangian = 18.0 * 1000.0 ** (quality / 100) * piece.shape[0] * piece.shape[1]
        for place, effort in enumerate((1, 3, 6)):
            data = codec.encode(piece, quality=quality, effort=effort, filter=False)
            seen = float(eye.distance(planes(piece), planes(codec.decode(data)))) * eye.unit
            error = np.mean((np.asarray(codec.decode(data), np.float64) - piece) ** 2) / 255**2
            bits = 8 * sum(layer.bytes for layer in codec.info(data).layers)
            costs[place] += bits + lagrangian * (share * seen + (1 - share) * error)
    assert costs[0] > 1.005 * costs[1] > 1.005 * costs[2]


def test_a_refined_file_cuts_and_decodes_like_any_other(crop):
    data = codec.encode(crop, effort=3)
    found = codec.info(data)
    shown = [codec.decode(data[: layer.end], warn=False) for layer in found.layers]
    values = [psnr(crop, image) for image in shown]
    assert values == sorted(values)
    prefix = codec.encode(crop, effort=3, layers=2)
    assert [layer.bytes for layer in codec.info(prefix).layers] == [
        layer.bytes for layer in found.layers[:2]
    ]


def test_targets_are_met_with_effort(crop):
    plain = codec.encode_detailed(crop, target_bpp=0.4, tune="psnr")
    refined = codec.encode_detailed(crop, target_bpp=0.4, effort=4, tune="psnr")
    assert refined.bpp <= 0.4
    assert psnr(crop, codec.decode(refined.data)) > psnr(crop, codec.decode(plain.data))


def test_all_pieces_are_refined_and_padding_does_not_count(model, photograph, monkeypatch):
    """A piece size below the image's: every piece moves, and progress runs from 0 to 1.

    The crop has detail everywhere: in a piece of plain sky six iterations may find nothing better.
    """
    monkeypatch.setattr("models.ssvae.refinement.PIECE", 128)
    image = torch.from_numpy(photograph[256:448, 256:512].copy()).permute(2, 0, 1)[None]
    quality, content = torch.tensor([50.0]), (150, 256)
    bottom_up = BottomUp(model, image, quality)
    shares = []
    offsets = refine(model, bottom_up, quality, content, 6, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    for offset, stride in zip(offsets, STAGE_STRIDES, strict=False):
        assert offset.shape[-2:] == (192 // stride, 256 // stride)
        for rows in offset[0].abs().sum(0).split(64 // stride, dim=0)[:2]:
            assert all(float(part.sum()) > 0 for part in rows.split(64 // stride, dim=1))

    changed = image.clone()
    changed[..., 152:, :] = 255 - changed[..., 152:, :]  # y1 sees blocks of 4
    # The same features, another content below the edge: with bottom-up features held equal, only
    # the error could tell the two apart, and it must not.
    spoiled = BottomUp(model, changed, quality)
    spoiled.maps = bottom_up.maps
    again = refine(model, spoiled, quality, content, 6)
    for a, b in zip(offsets, again, strict=True):
        torch.testing.assert_close(a, b)


def test_efforts_ask_for_more_and_more():
    assert ITERATIONS[0] == 0
    assert list(ITERATIONS) == sorted(set(ITERATIONS))
    assert len(ITERATIONS) == 9


@pytest.mark.parametrize("effort", [0, 10, 2.5])
def test_bad_efforts_are_refused(crop, effort):
    with pytest.raises(codec.errors.ArgumentError, match="effort"):
        codec.encode(crop, effort=effort)
