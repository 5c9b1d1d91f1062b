"""The bounds of self-supervised VAEs: their terms, their order, and where they come from."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from models.studies.likelihood import comparison
from models.studies.likelihood.networks import (
    LevelsConfig,
    LevelsVAE,
    latent_shape,
    pictures,
)
from models.studies.priors.latent_priors import StandardNormal
from models.studies.priors.registry import PRIORS
from models.studies.priors.small_vae import importance_weighted, to_unit


def tiny(levels, prior="standard normal", size=16):
    config = LevelsConfig(levels, first_latent=4, latent=2, width=8, depth=1)
    torch.manual_seed(0)
    model = LevelsVAE(config, PRIORS[prior](latent_shape(config, size)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def images(count=3, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def test_smaller_pictures_are_rounded_means_of_the_larger():
    smallest, middle, own = pictures(images(), 3)
    assert own.shape[-1] == 2 * middle.shape[-1] == 4 * smallest.shape[-1]
    mean = middle[:, :, :2, :2].float().mean((-1, -2))
    assert torch.equal(smallest[:, :, 0, 0], mean.round().to(torch.uint8))


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("prior", ["standard normal", "RealNVP"])
@torch.no_grad()
def test_the_weighted_bound_is_no_looser_than_the_elbo(levels, prior):
    model = tiny(levels, prior)
    found = comparison.measure(model, images(2), samples=24)
    for elbo, weighted in zip(found["elbo"], found["weighted"], strict=True):
        assert weighted <= elbo
    parts = (found[name] for name in ("re_x", "re_y", "kl_z", "kl_u"))
    for elbo, *terms in zip(found["elbo"], *parts, strict=True):
        assert elbo == pytest.approx(sum(terms), abs=1e-6)
    if levels == 1:
        assert found["re_y"] == found["kl_z"] == [0.0, 0.0]


@torch.no_grad()
def test_divergences_are_the_closed_form_ones():
    """Means over many samples of log q − log p against torch.distributions' KL of Gaussians."""
    model, image = tiny(2), images(1)
    smaller, own = pictures(image, 2)
    count = 3000
    terms = model.terms(image.expand(count, -1, -1, -1), torch.Generator().manual_seed(1))
    known = to_unit(smaller)

    def normal(mean, log_scale):
        return torch.distributions.Normal(mean, log_scale.exp())

    q_u = model._posterior(model.first.encoder(known))
    closed = torch.distributions.kl_divergence(normal(*q_u), torch.distributions.Normal(0.0, 1.0))
    sampled = terms.divergence[0]
    error = float(sampled.std()) / math.sqrt(count)
    assert float(sampled.mean()) == pytest.approx(float(closed.sum()), abs=5 * error)

    q_z = model._posterior(model.next[0].posterior_raw(to_unit(own), known))
    u = q_u.sample(
        torch.randn(400, *q_u.mean.shape[1:], generator=torch.Generator().manual_seed(2))
    )
    p_z = model.next[0].prior_of(known.expand(400, -1, -1, -1), u)
    closed = torch.distributions.kl_divergence(normal(*q_z), normal(*p_z)).flatten(1).sum(1)
    sampled = terms.divergence[1]
    error = float(sampled.std()) / math.sqrt(count) + float(closed.std()) / math.sqrt(400)
    assert float(sampled.mean()) == pytest.approx(float(closed.mean()), abs=5 * error)


@torch.no_grad()
def test_a_bound_with_an_exact_posterior_is_the_evidence():
    """Where the decoder ignores u and q(u|x) = p(u), every weight is p(x)."""
    model = tiny(1)
    model.prior = StandardNormal(model.prior.shape)
    model.first.decoder[0].weight.zero_()  # the picture does not depend on u
    last = model.first.encoder[-1]
    last.weight.zero_()
    last.bias.zero_()
    last.bias[4:] = -model.config.first_log_scale  # mean 0, log-scale 0
    terms = model.terms(images(1).expand(8, -1, -1, -1))
    assert torch.allclose(terms.divergence[0], torch.zeros(8, dtype=torch.double), atol=1e-4)
    weights = terms.total()
    assert torch.allclose(importance_weighted(weights[None]), weights[:1], atol=1e-3)


@torch.no_grad()
def test_a_picture_given_stands_at_its_place_and_the_rest_follows_from_it():
    model = tiny(3)
    given = images(2, size=4)
    first, middle, last = model.sample(2, torch.Generator().manual_seed(1), given=given)
    assert torch.equal(first, given)
    assert (middle.shape[-1], last.shape[-1]) == (8, 16)
    cold = [model.sample(2, temperature=0.0, given=given)[-1] for _ in range(2)]
    assert torch.equal(*cold)


@pytest.mark.parametrize("levels", [1, 3])
def test_gradients_reach_every_parameter(levels):
    model = tiny(levels, "mixture of Gaussians")
    (-model.terms(images()).total().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_comparison_runs_and_continues(tmp_path, monkeypatch, capsys):
    for name in ("train", "held"):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    arguments = [str(tmp_path / "train"), str(tmp_path / "held"), "--out", str(tmp_path / "out")]
    arguments += ["--whole", "--levels", "1", "2", "--priors", "standard normal", "--batch", "2"]
    arguments += ["--held-out", "2", "--samples", "3", "--minutes", "0.001"]
    comparison.main(arguments)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["levels"] for row in found["models"]] == [1, 2]
    assert (tmp_path / "out" / "samples.png").stat().st_size > 0
    shown = capsys.readouterr().out
    assert "ssVAE, two levels" in shown
    monkeypatch.setattr(comparison.Trainer, "run", None)  # nothing is trained again
    comparison.main(arguments)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == found


def test_images_of_another_size_are_named(tmp_path, capsys):
    Image.new("RGB", (20, 10)).save(tmp_path / "odd.png")
    with pytest.raises(SystemExit):
        comparison.main([str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out"), "--whole"])
    assert "odd.png: 20×10, not 32×32" in capsys.readouterr().err
