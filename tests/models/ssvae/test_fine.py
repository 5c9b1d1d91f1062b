"""The fine stage of z2: more detail at high qualities, nothing at all below."""

import numpy as np
import pytest
import torch

import codec
from codec.installed import get_model
from codec.walk import Filled, walk
from models.names import FINE_FROM
from models.registry import BUILDERS
from models.ssvae.networks import Fine
from models.training.data import ImageSet
from models.training.fine_start import principal_components, train_fine_stage
from tests.conftest import psnr


@pytest.fixture(scope="module")
def crop(photograph):
    return np.ascontiguousarray(photograph[64:256, 128:384])


@pytest.fixture(scope="module")
def fine_file(crop):
    return codec.encode(crop, quality=85)


def test_it_brings_the_picture_closer_than_z2_alone(crop, fine_file):
    whole = codec.decode_detailed(fine_file)
    without = codec.decode_detailed(fine_file, stages=3)
    assert (whole.stages, without.stages, whole.stages_declared) == (4, 3, 4)
    assert psnr(crop, whole.image) > psnr(crop, without.image) + 0.5


def test_below_its_quality_there_is_none(crop):
    model = get_model("ssvae", "cpu")
    assert [layer.stages for layer in model.layers_at(FINE_FROM - 1)] == [1, 1, 1]
    assert [layer.stages for layer in model.layers_at(FINE_FROM)] == [1, 1, 2]
    result = codec.decode_detailed(codec.encode(crop, quality=FINE_FROM - 1))
    assert result.stages == result.stages_declared == 3


def test_a_file_may_end_before_it(crop, fine_file):
    """Stored without it, a file decodes to what the whole one gives without it."""
    short = codec.encode(crop, quality=85, stages=3, filter=False)
    result = codec.decode_detailed(short)
    assert (result.stages, result.stages_declared) == (3, 3)
    assert len(short) < len(fine_file)
    without = codec.decode(fine_file, stages=3)
    assert np.array_equal(np.array(result.image), np.array(without))


@pytest.mark.parametrize("fill", ["mean", "sample"])
def test_where_z2_is_missing_it_is_not_invented(fine_file, fill):
    cut = codec.decode_detailed(fine_file, layers=2, fill=fill)
    same = codec.decode_detailed(fine_file, stages=2, fill=fill)
    assert cut.stages == 2
    assert np.array_equal(np.array(cut.image), np.array(same.image))
    model = get_model("ssvae", "cpu")
    rng = np.random.default_rng(0) if fill == "sample" else None
    latents = walk(model, (128, 192), 85, [Filled(rng, 1.0)] * 3).latents
    assert [latent.shape[1] for latent in latents] == [64, 96, 64]


def test_a_stream_gives_the_same_picture(fine_file):
    decoder = codec.ProgressiveDecoder()
    for start in range(0, len(fine_file), 700):
        decoder.push(fine_file[start : start + 700])
    streamed = decoder.finish()
    whole = codec.decode_detailed(fine_file)
    assert streamed.symbol_checksums == whole.symbol_checksums
    assert np.array_equal(np.array(streamed.image), np.array(whole.image))


def test_tiles_give_the_same_file_and_picture(crop, fine_file, monkeypatch):
    monkeypatch.setattr("models.tiles.TILE", 128)
    monkeypatch.setattr("models.tiles.KEPT_BYTES", 0)
    assert codec.encode(crop, quality=85) == fine_file
    tiled = np.array(codec.decode(fine_file)).astype(int)
    monkeypatch.undo()
    assert np.abs(tiled - np.array(codec.decode(fine_file))).max() <= 1


def test_effort_lowers_its_cost_too(crop):
    """By bits + λ·error, which is what effort lowers with weights for squared error."""
    model = get_model("ssvae-psnr", "cpu")

    def cost(data):
        error = np.square(np.array(codec.decode(data), dtype=float) - crop).mean() / 255**2
        return 8 * len(data) + model.lagrangian(85) * error * crop.shape[0] * crop.shape[1]

    options = {"quality": 85, "filter": False, "tune": "psnr"}
    plain, refined = (codec.encode(crop, effort=effort, **options) for effort in (1, 4))
    assert cost(refined) < 0.98 * cost(plain)


def test_an_orthonormal_start_takes_and_gives_the_same():
    fine = Fine(192)
    residual = torch.randn(2, 3, 16, 24)
    assert torch.allclose(fine(fine.target(residual)), residual, atol=1e-4)


def test_only_images_that_have_it_pay_for_it():
    torch.manual_seed(0)
    model = BUILDERS["ssvae-tiny"]()
    image = torch.rand(3, 3, 64, 64)
    quality, kept = torch.tensor([30.0, 90.0, 90.0]), torch.tensor([3, 3, 2])
    with torch.no_grad():
        whole = model(image, quality, kept, noisy=False)
        model.fine = None
        without = model(image, quality, kept, noisy=False)
    same = [torch.equal(a, b) for a, b in zip(whole.image, without.image, strict=True)]
    assert same == [True, False, True]
    assert (whole.bits > without.bits).tolist() == [[False] * 3, [False, False, True], [False] * 3]


def test_it_starts_from_principal_components_and_learns(photograph, tmp_path):
    from PIL import Image

    Image.fromarray(photograph).save(tmp_path / "a.png")
    torch.manual_seed(0)
    model = BUILDERS["ssvae-tiny"]()
    images = ImageSet(tmp_path, device=torch.device("cpu"))
    share = principal_components(model, images, 64)
    basis = model.fine.take.weight[:, :, 0, 0]
    assert torch.allclose(basis @ basis.T, torch.eye(8), atol=1e-5)
    assert share > 8 / 192
    frozen = model.analysis.embed.mix.weight.detach().clone()
    image = torch.from_numpy(photograph[:128, :128].copy()).permute(2, 0, 1)[None] / 255
    quality = torch.tensor([90.0])

    @torch.no_grad()
    def cost():
        result = model(image, quality, torch.tensor([3]), noisy=False)
        error = (result.image - image).square().mean()
        return float(result.bits.sum() / 128**2 + model.lagrangian(quality) * error)

    before = cost()
    train_fine_stage(model, images, steps=30, batch=4, size=64, rate=5e-3)
    assert cost() < before
    assert torch.equal(model.analysis.embed.mix.weight, frozen)
