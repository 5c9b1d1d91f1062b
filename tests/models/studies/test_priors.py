"""Priors of a small VAE, its bounds, and the comparison of the priors."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.bench import peers
from models.studies.priors import comparison as comparison
from models.studies.priors.factorized import EntropyBottleneckPrior
from models.studies.priors.latent_priors import (
    LOG_SCALE_BOUND,
    IntegerDiscreteFlow,
    MixtureOfGaussians,
    RealNVP,
    StandardNormal,
    coupling_masks,
    logistic_log_mass,
)
from models.studies.priors.registry import PRIORS, available, missing
from models.studies.priors.small_vae import (
    GaussianPosterior,
    PixelLikelihood,
    SmallVAE,
    SmallVAEConfig,
    importance_weighted,
    latent_shape,
)

SHAPE = (4, 2, 2)
needs_compressai = pytest.mark.skipif(
    not peers.installed(), reason="CompressAI is not installed: `make peers` runs this"
)
TINY = SmallVAEConfig(latent=4, widths=(12, 8), depths=(1, 1))


def disturbed(prior, size=0.3):
    """The prior with every parameter away from where it starts."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return prior


def affine_flow(shape=SHAPE):
    torch.manual_seed(1)
    return disturbed(RealNVP(shape, couplings=5, width=8)).double()


def integer_flow(shape=SHAPE, step=0.25):
    torch.manual_seed(1)
    return disturbed(IntegerDiscreteFlow(shape, couplings=5, width=8, step=step))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 3), (4, 1, 1), (1, 3, 3)])
@torch.no_grad()
def test_realnvp_is_invertible(shape):
    flow, u = affine_flow(shape), 2 * normal(6, *shape)
    v, _ = flow(u)
    assert float((v - u).abs().max()) > 0.1
    torch.testing.assert_close(flow.inverse(v), u)


@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 3), (4, 1, 1), (1, 3, 3)])
@torch.no_grad()
def test_the_integer_flow_is_exactly_invertible(shape):
    flow = integer_flow(shape)
    u = 0.25 * torch.randint(-40, 40, (50, *shape), generator=torch.Generator().manual_seed(0))
    v = flow(u)
    assert torch.equal(v / 0.25, torch.round(v / 0.25))
    assert float((v != u).float().mean()) > 0.2
    assert torch.equal(flow.inverse(v), u)
    assert len(torch.unique(v.flatten(1), dim=0)) == len(torch.unique(u.flatten(1), dim=0))


@pytest.mark.parametrize("shape", [(4, 1, 1), (2, 2, 2), (1, 3, 2)])
def test_the_determinant_of_realnvp_is_that_of_its_jacobian(shape):
    flow, u = affine_flow(shape), normal(3, *shape)
    size = math.prod(shape)
    claimed = flow(u)[1]
    for point, log_det in zip(u, claimed.tolist(), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow(x)[0], point[None])
        _, expected = torch.linalg.slogdet(jacobian.reshape(size, size))
        assert abs(log_det) > 0.01
        assert log_det == pytest.approx(float(expected), abs=1e-9)


def test_a_coupling_is_bounded():
    flow = affine_flow().requires_grad_(False)
    for network in flow.networks:
        network.leave.weight.mul_(1e4)
    _, log_det = flow(normal(2, *SHAPE))
    most = math.prod(SHAPE) * (LOG_SCALE_BOUND * 5 / 2 + float(flow.log_scale.abs().max()))
    assert bool((log_det.abs() <= most).all())


def test_masks_come_in_pairs_that_cover_everything():
    masks = coupling_masks((6, 3, 4), 8)
    for a, b in masks.split(2):
        torch.testing.assert_close(a + b, torch.ones(6, 3, 4))
    assert not torch.equal(masks[0], masks[4])  # other channels each time
    with pytest.raises(ValueError, match="two elements"):
        coupling_masks((1, 1, 1), 2)


def test_the_mixture_follows_its_formula():
    torch.manual_seed(0)
    prior = disturbed(MixtureOfGaussians(SHAPE, components=3)).double()
    u = normal(2, *SHAPE)
    components = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=prior.logits),
        torch.distributions.Independent(
            torch.distributions.Normal(prior.means, prior.log_scales.exp()), 1
        ),
    )
    expected = components.log_prob(u.permute(0, 2, 3, 1)).sum((1, 2))
    torch.testing.assert_close(prior.log_prob(u), expected)


@pytest.mark.parametrize("build", [StandardNormal, lambda s: MixtureOfGaussians(s, components=5)])
@torch.no_grad()
def test_densities_of_one_number_integrate_to_one(build):
    torch.manual_seed(0)
    prior = disturbed(build((1, 1, 1))).double()
    line = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    density = prior.log_prob(line[:, None, None, None]).exp()
    assert float(torch.trapezoid(density, line)) == pytest.approx(1, abs=1e-6)


@torch.no_grad()
def test_the_density_of_realnvp_integrates_to_one():
    flow = affine_flow((2, 1, 1))
    line = torch.linspace(-10, 10, 201, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)[:, :, None, None]
    mass = flow.log_prob(plane).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def test_probabilities_of_the_integer_flow_sum_to_one():
    flow = integer_flow((2, 1, 1), step=0.5).double()
    line = 0.5 * torch.arange(-60, 61, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)[:, :, None, None]
    assert float(flow.log_prob(plane).exp().sum()) == pytest.approx(1, abs=1e-6)


def test_cells_of_a_logistic_sum_to_one_and_keep_their_digits():
    middles = torch.arange(256) / 127.5 - 1
    for mean, log_scale in ((0.2, -1.0), (-1.3, -4.0), (0.0, -7.0)):
        mass = logistic_log_mass(
            middles - mean,
            torch.tensor(log_scale),
            2 / 255,
            first=torch.arange(256) == 0,
            last=torch.arange(256) == 255,
        )
        assert float(mass.exp().sum()) == pytest.approx(1, abs=1e-4)
    far = torch.tensor([30.0], dtype=torch.float64)
    found = logistic_log_mass(far, torch.tensor(-1.0, dtype=torch.float64), 0.01)
    # So far out the density is e^(−x/s)/s, and a narrow cell holds density times width.
    assert float(found) == pytest.approx(-30 * math.e + 1 + math.log(0.01), abs=1e-3)


@pytest.mark.parametrize("name", available())
@torch.no_grad()
def test_seeds_repeat_and_temperature_narrows(name):
    torch.manual_seed(2)
    prior = disturbed(PRIORS[name](SHAPE), 0.05)
    draw = [prior.sample(6, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*draw)
    assert draw[0].shape == (6, *SHAPE)
    if prior.step is not None:
        assert torch.equal(draw[0] / prior.step, torch.round(draw[0] / prior.step))
    cold = prior.sample(200, torch.Generator().manual_seed(4), 0.1)
    warm = prior.sample(200, torch.Generator().manual_seed(4))
    assert float(prior.log_prob(cold).mean()) > float(prior.log_prob(warm).mean())


@pytest.mark.parametrize("prior", [affine_flow((2, 1, 1)), integer_flow((2, 1, 1), step=0.5)])
@torch.no_grad()
def test_frequencies_of_samples_follow_the_density(prior):
    """Shares of the four quadrants among samples, against the density summed over a grid."""
    step = prior.step or 0.1
    line = step * torch.arange(-100, 101)
    plane = torch.cartesian_prod(line, line).float()
    prior = prior.float()
    mass = prior.log_prob(plane[:, :, None, None]).exp()
    mass = mass if prior.step else mass * step**2
    samples = prior.sample(20_000, torch.Generator().manual_seed(5)).flatten(1)
    edge = -step / 2  # between two cells of the grid
    for right in (False, True):
        for up in (False, True):
            expected = mass[((plane[:, 0] > edge) == right) & ((plane[:, 1] > edge) == up)].sum()
            found = ((samples[:, 0] > edge) == right) & ((samples[:, 1] > edge) == up)
            assert float(found.float().mean()) == pytest.approx(float(expected), abs=0.015)


@needs_compressai
@torch.no_grad()
def test_the_entropy_bottleneck_is_that_of_compressai_and_a_distribution():
    prior = disturbed(EntropyBottleneckPrior((3, 1, 1), step=1 / 64), 0.2)
    grid = torch.arange(-4000, 4001)[:, None, None, None].float()
    others = torch.zeros(1, 2, 1, 1)
    of_zero = prior.log_prob(torch.zeros(1, 3, 1, 1))
    # The channels are independent: of the first one, given zeros in the others.
    mass = prior.log_prob(torch.cat([grid / 64, others.expand(len(grid), -1, -1, -1)], dim=1))
    own = peers.compressai().entropy_models.EntropyBottleneck(3)
    own.load_state_dict(prior.bottleneck.state_dict() | {"quantiles": torch.zeros(3, 1, 3)})
    _, likelihoods = own(torch.zeros(1, 3, 1, 1), training=False)
    assert float(of_zero) == pytest.approx(float(likelihoods.log().sum()), abs=1e-3)
    rest = float(likelihoods[0, 1:].log().sum())
    assert float((mass - rest).exp().sum()) == pytest.approx(1, abs=1e-3)
    drawn = prior.sample(20_000, torch.Generator().manual_seed(5))[:, 0].flatten()
    for edge in (-1.0, 0.0, 0.5):
        below = (grid.flatten() / 64) < edge
        expected = float((mass - rest)[below].exp().sum())
        assert float((drawn < edge).float().mean()) == pytest.approx(expected, abs=0.015)


@needs_compressai
@torch.no_grad()
def test_the_entropy_bottleneck_starts_near_a_standard_normal():
    torch.manual_seed(0)
    prior = EntropyBottleneckPrior((32, 4, 4), step=1 / 64)
    u = torch.round(64 * normal(200, 32, 4, 4).float()) / 64
    density = prior.log_prob(u) + 512 * math.log(64)
    divergence = StandardNormal((32, 4, 4)).log_prob(u) - density
    assert 0 < float(divergence.mean()) / 512 < 0.1  # nats per element


def test_what_a_prior_lacks_is_said():
    lacking = [name for name in PRIORS if missing(name)]
    assert all("make peers" in missing(name) for name in lacking)
    assert len(available()) + len(lacking) == len(PRIORS)
    assert bool(lacking) != peers.installed()


@pytest.mark.parametrize("step", [0.3, 0.1, 3.0, -0.5, 0.0])
def test_a_grid_on_which_floats_are_inexact_is_an_error(step):
    with pytest.raises(ValueError, match="power of two"):
        IntegerDiscreteFlow(SHAPE, couplings=2, width=4, step=step)


@torch.no_grad()
def test_pixels_are_probabilities():
    """Red in closed form; then all levels of green, given red, and of blue, given both."""
    torch.manual_seed(0)
    raw = torch.randn(3, 1, 3, 1, 1)
    pixel = PixelLikelihood(raw[0], raw[1] - 2, torch.tanh(raw[2]))
    pixel = PixelLikelihood(*(part.expand(256**2, -1, -1, -1) for part in pixel))
    levels = torch.arange(256, dtype=torch.uint8)
    image = torch.full((256**2, 3, 1, 1), 90, dtype=torch.uint8)
    image[:, 1:, 0, 0] = torch.cartesian_prod(levels, levels)
    mean, scale = float(raw[0, 0, 0]), math.exp(float(raw[1, 0, 0]) - 2)
    upper, lower = ((90 + d) / 127.5 - 1 - mean for d in (0.5, -0.5))
    red = 1 / (1 + math.exp(-upper / scale)) - 1 / (1 + math.exp(-lower / scale))
    assert float(pixel.log_prob(image).exp().sum()) == pytest.approx(red, rel=1e-3)


def linear_gaussian():
    """x = W u + 0.5 n with orthogonal columns of W: the posterior is diagonal, p(x) normal."""
    matrix, _ = torch.linalg.qr(normal(5, 2))
    matrix = matrix * torch.tensor([2.0, 0.7], dtype=torch.float64)
    x = normal(4, 5, seed=1)
    precision = 1 + matrix.square().sum(0) / 0.25
    mean = (x @ matrix / 0.25 / precision)[:, :, None, None]
    log_scale = (-0.5 * precision.log())[None, :, None, None].expand_as(mean)
    covariance = matrix @ matrix.T + 0.25 * torch.eye(5, dtype=torch.float64)
    zero = torch.zeros(5, dtype=torch.float64)
    evidence = torch.distributions.MultivariateNormal(zero, covariance).log_prob(x)

    def log_weights(posterior, samples):
        prior, found = StandardNormal((2, 1, 1)), []
        for index in range(samples):
            u = posterior.sample(normal(4, 2, 1, 1, seed=10 + index))
            likelihood = torch.distributions.Normal(u.flatten(1) @ matrix.T, 0.5).log_prob(x).sum(1)
            found.append(likelihood + prior.log_prob(u) - posterior.log_prob(u))
        return torch.stack(found, dim=1)

    return GaussianPosterior(mean, log_scale), evidence, log_weights


def test_with_the_exact_posterior_every_weight_is_the_evidence():
    exact, evidence, log_weights = linear_gaussian()
    weights = log_weights(exact, 3)
    torch.testing.assert_close(weights, evidence[:, None].expand(4, 3))
    torch.testing.assert_close(importance_weighted(weights), evidence)


def test_the_weighted_bound_lies_between_elbo_and_evidence():
    exact, evidence, log_weights = linear_gaussian()
    wrong = GaussianPosterior(exact.mean + 0.2, exact.log_scale + 0.4)
    weights = log_weights(wrong, 1000)
    # KL of one normal from another, in closed form: what the ELBO must lack.
    ratio = torch.exp(2 * torch.tensor(0.4, dtype=torch.float64))
    shift = (0.2 * torch.exp(-exact.log_scale)).square()
    lacking = 0.5 * (ratio - 1 - 0.8 + shift).flatten(1).sum(1)
    torch.testing.assert_close(weights.mean(1), evidence - lacking, atol=0.2, rtol=0)
    torch.testing.assert_close(importance_weighted(weights), evidence, atol=0.05, rtol=0)
    few = importance_weighted(weights.reshape(4 * 50, 20)).reshape(4, 50).mean(1)
    assert bool((weights.mean(1) < few).all())
    assert bool((few < evidence + 0.02).all())


def test_weights_are_added_without_overflow():
    weights = torch.tensor([[-20_000.0, -20_001.0]])
    assert importance_weighted(weights).dtype == torch.float64
    expected = -20_000 + math.log((1 + math.exp(-1)) / 2)
    assert float(importance_weighted(weights)) == pytest.approx(expected, abs=1e-9)


@torch.no_grad()
def test_the_posterior_on_a_grid_is_a_distribution():
    step = 0.25
    grid = step * torch.arange(-80, 81)[:, None, None, None]
    for mean, log_scale in ((0.1, -3.0), (-0.3, 0.2)):
        posterior = GaussianPosterior(torch.tensor(mean), torch.tensor(log_scale))
        mass = posterior.log_prob(grid.float(), step).exp()
        assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
        noise = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(1))
        drawn = posterior.sample(noise, step)
        for k in (-1, 0, 1):
            share = float((drawn == k * step).float().mean())
            assert share == pytest.approx(float(mass[80 + k]), abs=0.01)


@torch.no_grad()
def test_the_width_of_the_grid_cancels():
    """A finer grid costs more probability in p and in q: the divergence stays."""
    noise = normal(4000, *SHAPE).float()
    posterior = GaussianPosterior(normal(1, *SHAPE, seed=1).float(), torch.full((1, *SHAPE), -1.0))
    posterior = GaussianPosterior(*(part.expand(4000, *SHAPE) for part in posterior))
    found = []
    for step in (1 / 8, 1 / 32):
        prior = IntegerDiscreteFlow(SHAPE, couplings=2, width=4, step=step)
        u = posterior.sample(noise, step)
        found.append(float((posterior.log_prob(u, step) - prior.log_prob(u)).mean()))
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert found[0] > 1


@pytest.mark.parametrize("name", available())
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    shape = latent_shape(TINY, 16)
    model = SmallVAE(TINY, disturbed(PRIORS[name](shape), 0.05))
    image = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    terms = model.terms(image, model.posterior(image), torch.randn(3, *shape))
    (terms.divergence - terms.reconstruction).mean().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None, label
        assert bool(torch.isfinite(parameter.grad).all()), label
        assert bool((parameter.grad != 0).any()), label


@pytest.mark.parametrize("name", available())
@torch.no_grad()
def test_measured_bounds_are_ordered(name):
    shape = latent_shape(TINY, 16)
    torch.manual_seed(0)
    model = SmallVAE(TINY, PRIORS[name](shape))
    crops = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    found = {key: np.array(v) for key, v in comparison.measure(model, crops, 8).items()}
    assert all(len(values) == 5 for values in found.values())
    assert bool((found["weighted"] < found["reconstruction"] + found["kl"]).all())
    picture = model.sample(2, torch.Generator().manual_seed(0))
    assert picture.dtype == torch.uint8
    assert picture.shape == (2, 3, 16, 16)


def test_all_priors_start_with_the_same_networks():
    models = [comparison.build(name, 32) for name in available()]
    for part in ("encoder", "decoder"):
        states = [getattr(model, part).state_dict() for model in models]
        for key, value in states[0].items():
            assert all(torch.equal(value, state[key]) for state in states)


@pytest.mark.parametrize("factor", [math.nan, 1e6])
def test_steps_that_are_not_finite_or_far_off_are_skipped(factor):
    torch.manual_seed(0)
    model = SmallVAE(TINY, StandardNormal(latent_shape(TINY, 16)))
    trainer = comparison.Trainer("standard normal", model, 4, batch=2, first=True)
    crops = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    trainer.train_step(crops)
    before = [p.clone() for p in model.parameters()]
    with model.decoder.register_forward_hook(lambda *inputs: inputs[2] * factor):
        trainer.train_step(crops)
    assert trainer.skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_sizes_that_do_not_fit_are_errors(tmp_path, capsys):
    with pytest.raises(ValueError, match="multiple of 8, not 20"):
        latent_shape(TINY, 20)
    with pytest.raises(SystemExit):
        comparison.main([str(tmp_path), str(tmp_path), "--out", str(tmp_path), "--size", "20"])
    assert "multiple of 8" in capsys.readouterr().err


def test_the_comparison_runs_and_continues(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for index in range(2):
        rough = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((150, 140)).save(data / f"{index}.png")
    monkeypatch.setattr(comparison, "SmallVAEConfig", lambda: TINY)
    monkeypatch.setattr(comparison, "SHEET_COLUMNS", 2)
    monkeypatch.setattr(comparison, "time_steps", lambda *_: dict.fromkeys(available(), 0.3))
    threads = torch.get_num_threads()
    options = [str(data), str(data), "--minutes", "0.01", "--shared-minutes", "0.01"]
    options += ["--batch", "2", "--crops", "4", "--held-out", "3", "--samples", "4", "--size", "16"]
    outputs = []
    for _ in range(2):  # the second time nothing is left to train
        comparison.main([*options, "--out", str(out)])
        printed = capsys.readouterr()
        outputs.append(printed.out)
    torch.set_num_threads(threads)
    for name in PRIORS:
        assert (f"left out: {name}; it needs CompressAI" in printed.err) == bool(missing(name))
    assert "RealNVP step 2" in outputs[0]
    assert "RealNVP step 2" not in outputs[1]
    assert outputs[0].partition("| p(u) |")[2] == outputs[1].partition("| p(u) |")[2]
    found = json.loads((out / "results.json").read_text())
    assert [row["prior"] for row in found["priors"]] == available()
    for row in found["priors"]:
        bits = row["bits_per_dimension"]
        assert bits["weighted"] <= bits["elbo"]
        assert bits["elbo"] == pytest.approx(bits["reconstruction"] + bits["kl"], abs=2e-4)
        assert row["steps"] == 2
        assert row["skipped"] == 0
    with Image.open(out / "samples.png") as sheet:
        assert sheet.width > 2 * 16
