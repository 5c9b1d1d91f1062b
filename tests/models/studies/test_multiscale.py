"""Canvases sum to the picture, shared steps are one, and a variance is a λ."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from models.convdraw.networks import ConvDRAW, ConvDRAWConfig, Level
from models.exact.stage_prior import StagePrior
from models.quantization import priced
from models.studies.multiscale import comparison
from models.studies.multiscale.networks import (
    TWO_LEVELS,
    Interpolate,
    InterpolatingConvDRAW,
    SharedConvDRAW,
    TwoCanvasConvDRAW,
    enlarged,
    high_pass,
    low_pass,
)
from models.studies.multiscale.variance import (
    AT,
    FINAL_DEVIATION,
    AnnealingTrainer,
    OneRateConvDRAW,
    bits_per_dimension,
    lagrangian_of,
    quality_of,
)
from models.trainable import TrainableModel
from models.training.data import ImageSet

ONE = ConvDRAWConfig(
    levels=(Level(stride=8, steps=4, channels=8, hidden=16, prior_width=16),),
    steps_per_layer=(1, 1, 2),
    features=(16, 8),
    feature_depths=(1, 1),
    final_widths=(16, 8),
    final_depths=(1, 1),
)
TWO = ConvDRAWConfig(
    levels=(
        Level(stride=16, steps=2, channels=8, hidden=16, prior_width=16),
        Level(stride=8, steps=2, channels=8, hidden=16, prior_width=16),
    ),
    steps_per_layer=(1, 1, 2),
    features=(16, 16, 8),
    feature_depths=(1, 1, 1),
    final_widths=(16, 8),
    final_depths=(1, 1),
)
QUALITY, ALL = torch.tensor([30.0, 70.0]), torch.tensor([4, 4])


def built(kind, config):
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():  # beyond its careful start, so that every part has a say
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def image(seed=1, side=64, count=2):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


# -- canvases ----------------------------------------------------------------------------------


def test_the_bands_sum_to_the_picture_exactly():
    """In steps of 1/256 no sum is rounded."""
    x = (image() * 256).round() / 256
    low, high = low_pass(x), high_pass(x)
    assert torch.equal(enlarged(low) + high, x)
    assert torch.equal(low_pass(high), torch.zeros_like(low))
    assert torch.equal(low_pass(enlarged(low)), low)


def test_the_squared_error_of_a_picture_is_that_of_its_bands():
    a, b = image(1).double(), image(2).double()
    parts = F.mse_loss(low_pass(a), low_pass(b)) + F.mse_loss(high_pass(a), high_pass(b))
    assert float(F.mse_loss(a, b)) == pytest.approx(float(parts), rel=1e-12)


@torch.no_grad()
def test_the_picture_of_two_canvases_has_the_low_one_as_its_means():
    model = built(TwoCanvasConvDRAW, TWO)
    result = model(image(), QUALITY, ALL, noisy=False)
    assert torch.allclose(low_pass(result.image), result.small[2], atol=1e-5)
    assert result.small[2].shape == (2, 3, 32, 32)


def test_what_the_fine_canvas_draws_is_no_answer_to_errors_of_the_coarse_one():
    """The fine level reads the high band of the image, whatever the coarse canvas shows."""
    model = built(TwoCanvasConvDRAW, TWO)
    own, other = image(1), image(1) + enlarged(0.2 * image(2, 32))
    fine = [model.patches_to_draw(x, 1) for x in (own, other)]
    assert torch.allclose(*fine, atol=1e-6)
    coarse = [model.patches_to_draw(x, 0) for x in (own, other)]
    assert not torch.allclose(*coarse, atol=1e-3)
    assert torch.allclose(F.pixel_shuffle(fine[0], 8), high_pass(own), atol=1e-6)


def test_two_canvases_need_two_levels():
    with pytest.raises(ValueError, match="strides 16 and 8"):
        TwoCanvasConvDRAW(ONE)


def test_interpolation_learns_nothing_and_keeps_what_is_constant():
    coarse, fine = TWO.levels
    enlarge = Interpolate(coarse, fine)
    assert not list(enlarge.parameters())
    canvas = ConvDRAW(TWO).blank(1, coarse, 64, 64)[0]
    flat = canvas._replace(h=canvas.h + 0.3, c=canvas.c - 2, patches=canvas.patches + 0.1)
    for before, after in zip(flat, enlarge(flat), strict=True):
        assert after.shape[-1] == 2 * before.shape[-1]
        assert torch.allclose(after, before[:, :1, :1, :1].expand_as(after))
    wider = Level(stride=8, steps=1, channels=8, hidden=24, prior_width=16)
    with pytest.raises(ValueError, match="16 channels cannot become 24"):
        Interpolate(coarse, wider)


def test_the_joints_alone_distinguish_the_variants_of_two_levels():
    models = [k(TWO_LEVELS) for k in (InterpolatingConvDRAW, ConvDRAW, TwoCanvasConvDRAW)]
    counts = [
        [sum(p.numel() for p in part.parameters()) for part in (model, model.enlarge)]
        for model in models
    ]
    assert len({whole - joint for whole, joint in counts}) == 1
    assert counts[0][1] == 0
    assert counts[1] == counts[2]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (InterpolatingConvDRAW, TWO),
        (TwoCanvasConvDRAW, TWO),
        (SharedConvDRAW, TWO),
        (OneRateConvDRAW, ONE),
    ],
)
def test_gradients_reach_every_parameter(kind, config):
    model = built(kind, config)
    result = model(image(), QUALITY, ALL)
    pictures = [result.image, *result.small.values()]
    (result.bits.mean() + sum(p.square().mean() for p in pictures)).backward()
    last = tuple(f"prior.{part}.3." for part in ("latent_in", "recurrent"))  # of no later step
    for name, parameter in model.named_parameters():
        if not name.startswith(last):
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


# -- steps -------------------------------------------------------------------------------------


def unshared(model, config):
    """A ConvDRAW of own steps with the same weights."""
    twin = ConvDRAW(config)
    twin.load_state_dict(model.state_dict())
    return twin


@pytest.mark.parametrize("config", [ONE, TWO])
def test_shared_steps_cost_the_parameters_of_one_step_a_level(config):
    shared, own = SharedConvDRAW(config), ConvDRAW(config)
    spared, first = 0, 0
    for level in config.levels:
        parts = (own.steps, own.log_gains, own.prior.steps, own.prior.latent_in)
        for modules in (*parts, own.prior.recurrent):
            each = sum(p.numel() for p in modules[first].parameters())
            spared += (level.steps - 1) * each
        first += level.steps
    count = [sum(p.numel() for p in m.parameters()) for m in (shared, own)]
    assert count[0] == count[1] - spared


@pytest.mark.parametrize("config", [ONE, TWO])
def test_shared_steps_draw_what_equal_steps_draw_and_gradients_add_up(config):
    shared = built(SharedConvDRAW, config)
    own = unshared(shared, config)
    found = []
    for model in (shared, own):
        torch.manual_seed(3)
        result = model(image(), QUALITY, ALL)
        (result.bits.mean() / 100 + result.image.square().mean()).backward()
        found.append(result)
    assert torch.equal(found[0].image, found[1].image)
    assert torch.equal(found[0].bits, found[1].bits)
    first = 0
    for level in config.levels:
        of_steps = [own.step(first + i).write.weight.grad for i in range(level.steps)]
        total = torch.stack(of_steps).sum(0)
        assert torch.allclose(shared.step(first).write.weight.grad, total, rtol=1e-3, atol=1e-6)
        first += level.steps


# -- variance ----------------------------------------------------------------------------------


def test_a_variance_is_a_lagrangian():
    """Bits of two pictures under the Gaussian differ as λ times their squared errors."""
    x, near, far = image(1).double(), image(2).double() * 0.1, image(3).double() * 0.5
    for scale in (0.07, 0.2):
        normal = torch.distributions.Normal(x, scale)
        nats = [-normal.log_prob(x + e).sum((1, 2, 3)).mean() for e in (near, far)]
        bits_per_pixel = (nats[1] - nats[0]) / math.log(2) / 64**2
        error = far.square().mean() - near.square().mean()
        assert float(bits_per_pixel) == pytest.approx(lagrangian_of(scale) * float(error))


def test_the_rate_of_the_variance_is_that_of_a_quality():
    at = TrainableModel().lagrangian(torch.tensor([AT]))
    assert float(at) == pytest.approx(lagrangian_of(FINAL_DEVIATION), rel=1e-5)
    assert quality_of(18.0) == pytest.approx(0)
    assert quality_of(18000.0) == pytest.approx(100)
    model = OneRateConvDRAW(ONE)
    assert torch.allclose(model.lagrangian(torch.tensor([0.0, 90.0])), at.expand(2))


def test_bits_per_dimension_are_those_of_the_normal_distribution():
    x, drawn = image(1, count=1).double(), image(2, count=1).double()
    normal = torch.distributions.Normal(drawn * 255, 255 * FINAL_DEVIATION)
    expected = -normal.log_prob(x * 255).mean() / math.log(2) + 0.6 / 3
    found = bits_per_dimension(0.6, float((x - drawn).square().mean()))
    assert found == pytest.approx(float(expected))


@torch.no_grad()
def test_bits_of_a_latent_are_the_divergence_from_its_prior():
    """The mean of noisy bits against KL(uniform ‖ Gaussian ∗ uniform), integrated numerically."""
    torch.manual_seed(0)
    prior = StagePrior(4, 8)
    context = torch.randn(1, 8, 4, 4)
    target = 2 * torch.randn(1, 4, 4, 4)
    mean, raw = prior.predict(0, context, torch.zeros_like(target))
    residual = prior.gather(0, target) - mean
    draws = 4000
    each = priced(residual.expand(draws, -1, -1, -1), raw.expand(draws, -1, -1, -1), noisy=True)
    normal = torch.distributions.Normal(0.0, F.softplus(raw).double() + 0.11)
    places = (torch.arange(2000).double() + 0.5) / 2000 - 0.5
    z = residual.double()[..., None] + places
    scale = torch.distributions.Normal(0.0, normal.scale[..., None])
    density = scale.cdf(z.abs() + 0.5) - scale.cdf(z.abs() - 0.5)
    expected = -density.clamp_min(1e-9).log2().mean(-1)  # the uniform's density is 1: no entropy
    error = each.std(0) / math.sqrt(draws)
    assert (each.mean(0) - expected).abs().le(5 * error + 1e-3).all()


def trainer(folder, kind, steps):
    options = SimpleNamespace(data=folder, out=folder, optimizer="adam", batch=1)
    return comparison.make_trainer(lambda: OneRateConvDRAW(ONE), options, steps, kind=kind, crop=32)


def test_the_deviation_falls_from_two_tenths_to_seven_hundredths(tmp_path):
    _photographs(tmp_path, 1, 64)
    images = ImageSet(tmp_path, device=torch.device("cpu"), minimum=32)
    run = trainer(tmp_path, AnnealingTrainer, 8)
    batch, seen = run.draw(images), []
    for _ in range(8):
        _, batch = run.train_step(batch, images)
        seen.append(run.model.deviation)
    assert seen[0] == pytest.approx(0.2)
    assert seen[-1] == seen[-2] == pytest.approx(0.07)
    assert seen == sorted(seen, reverse=True)
    steps = np.diff(seen[:7])
    assert np.allclose(steps, steps[0])


# -- the command -------------------------------------------------------------------------------


def _photographs(folder, count, side):
    folder.mkdir(exist_ok=True)
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index}.png")


def test_bits_against_a_curve():
    curve = [(0, 0.1, 20.0), (50, 0.4, 26.0), (95, 1.6, 32.0)]
    assert comparison.bits_against(curve, 0.2, 23.0) == pytest.approx(0)
    assert comparison.bits_against(curve, 0.8, 26.0) == pytest.approx(100)
    assert comparison.bits_against(curve, 0.8, 40.0) is None


def test_the_comparison_runs_on_small_images_and_continues(tmp_path, monkeypatch, capsys):
    _photographs(tmp_path / "train", 2, 32)
    _photographs(tmp_path / "held", 2, 32)
    for name, kind, config in (
        ("one-level", ConvDRAW, ONE),
        ("one-level-shared-steps", SharedConvDRAW, ONE),
        ("type-1-interpolation", InterpolatingConvDRAW, TWO),
        ("type-1-learned", ConvDRAW, TWO),
        ("type-2-two-canvases", TwoCanvasConvDRAW, TWO),
        ("constant-variance", OneRateConvDRAW, ONE),
        ("annealed-variance", OneRateConvDRAW, ONE),
    ):
        variant = comparison.VARIANTS[name]
        changed = comparison.Variant(
            lambda kind=kind, config=config: kind(config), variant.trainer, variant.all_qualities
        )
        monkeypatch.setitem(comparison.VARIANTS, name, changed)
    monkeypatch.setattr(comparison, "QUALITIES", (5, 50, 95))
    arguments = [str(tmp_path / "train"), str(tmp_path / "held"), "--out", str(tmp_path / "out")]
    arguments += ["--minutes", "0.0005", "--batch", "1", "--size", "32"]
    comparison.main([*arguments, "--only", "annealed-variance"])
    assert not (tmp_path / "out" / "results.json").exists()
    comparison.main(arguments)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["variants"]) == list(comparison.VARIANTS)
    for row in found["variants"].values():
        assert row["bpp"] > 0
        assert row["bits_per_dimension"] > row["bpp"] / 3
    assert (tmp_path / "out" / "sheet.png").stat().st_size > 0
    assert "type-2-two-canvases" in capsys.readouterr().out
    monkeypatch.setattr(comparison.Trainer, "train_step", None)  # nothing is trained again
    comparison.main(arguments)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == found


def test_sides_that_cannot_be_coded_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        comparison.main([str(tmp_path), str(tmp_path), "--out", str(tmp_path), "--size", "48"])
    assert "must be a multiple of 32, not 48" in capsys.readouterr().err
