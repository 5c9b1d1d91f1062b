"""What passes between layers is a picture, and a given one stands in its place."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from models.registry import BUILDERS
from models.studies.conditioning import comparison
from models.studies.conditioning.networks import PictureSSVAE, complete

TINY = replace(BUILDERS["ssvae-tiny"]().config, fine=0)
AT, ALL = torch.tensor([40.0]), torch.tensor([3])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return PictureSSVAE(TINY)


def image(seed=1, side=128):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_what_comes_after_a_picture_depends_on_it_alone(model):
    """Two latents u that draw the same ŷ1 give the same features; another ŷ1 gives others."""
    u = torch.randn(1, TINY.latents[0], 4, 4)
    features, picture = model.synthesis.advance(0, (), u, AT)
    for wrong in (model.synthesis.coarse(u, AT), torch.randn_like(features[0])):
        assert not torch.equal(features[0], wrong)
    use = torch.tensor([True])
    with model.synthesis.given(picture, None, use):
        other, _ = model.synthesis.advance(0, (), torch.randn_like(u), AT)
    assert torch.allclose(other[0], features[0], atol=1e-6)
    with model.synthesis.given(1 - picture, None, use):
        other, _ = model.synthesis.advance(0, (), u, AT)
    assert not torch.allclose(other[0], features[0], atol=1e-3)


@torch.no_grad()
def test_given_pictures_are_taken_for_the_images_they_are_meant_for(model):
    u = torch.randn(1, TINY.latents[0], 4, 4).expand(2, -1, -1, -1)
    quality = AT.expand(2)
    plain, picture = model.synthesis.advance(0, (), u, quality)
    with model.synthesis.given(1 - picture, None, torch.tensor([False, True])):
        mixed, _ = model.synthesis.advance(0, (), u, quality)
    assert torch.equal(mixed[0][0], plain[0][0])
    assert not torch.equal(mixed[0][1], plain[0][1])
    again, _ = model.synthesis.advance(0, (), u, quality)  # and only for that while
    assert torch.equal(again[0], plain[0])


@pytest.mark.parametrize("factor", [2, 4])
@torch.no_grad()
def test_a_completed_picture_follows_from_the_small_one(model, factor):
    small = F.avg_pool2d(image(), factor)
    drawn = complete(model, small, factor, 40)
    assert drawn.shape == (1, 3, 128, 128)
    assert torch.equal(drawn, complete(model, small, factor, 40))
    assert not torch.allclose(drawn, complete(model, 1 - small, factor, 40), atol=1e-3)
    torch.manual_seed(1)
    first = complete(model, small, factor, 40, temperature=1.0)
    assert not torch.equal(first, complete(model, small, factor, 40, temperature=1.0))
    with pytest.raises(ValueError, match="must be 2 or 4"):
        complete(model, small, 3, 40)


def test_gradients_reach_every_parameter(model):
    result = model(image(), AT, ALL)
    pictures = [result.image, *result.small.values()]
    (result.bits.mean() + sum(p.square().mean() for p in pictures)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for name in ("synthesis.see.0.0.mix.weight", "synthesis.see.1.0.mix.weight"):
        assert dict(model.named_parameters())[name].grad.abs().max() > 0, name


def test_the_comparison_runs_and_continues(tmp_path, monkeypatch):
    for folder in ("train", "held"):
        (tmp_path / folder).mkdir()
        for index in range(2):
            noise = np.random.default_rng(index).integers(0, 256, (192, 192, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / folder / f"{index}.png")
    monkeypatch.setitem(comparison.MODELS, "features", BUILDERS["ssvae-tiny"])
    monkeypatch.setitem(comparison.MODELS, "pictures", lambda: PictureSSVAE(TINY))
    monkeypatch.setattr(comparison, "QUALITIES", (5, 50))
    arguments = [str(tmp_path / "train"), str(tmp_path / "held"), "--out", str(tmp_path / "out")]
    arguments += ["--minutes", "0.001", "--batch", "1", "--crop", "64", "--images", "1"]
    comparison.main(arguments)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["models"]) == ["features", "pictures"]
    assert "bits at equal PSNR, all layers" in (tmp_path / "out" / "table.md").read_text()
    monkeypatch.setattr(comparison.Trainer, "train_step", None)  # nothing is trained again
    comparison.main(arguments)
