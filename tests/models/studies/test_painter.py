"""Strokes, windows, counts and bounds of the toy models, and their comparison."""

import json
import math
from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from models.studies.painter import comparison
from models.studies.painter.air import TAir, TAirConfig
from models.studies.painter.draw import TDraw, TDrawConfig
from models.studies.painter.latents import (
    Gaussian,
    bounded,
    count_divergence,
    log_counts,
    log_geometric,
)
from models.studies.painter.model import INK, SIGMA, log_likelihood
from models.studies.painter.painter import Painter, PainterConfig
from models.studies.painter.pictures import APART, MOST, SIDE, draw_pictures
from models.studies.painter.spatial import Place, glimpse, put
from models.studies.painter.strokes import PARAMETERS, mask_of, paint, stroke_of

TINY = {
    "Painter": lambda: Painter(PainterConfig(steps=3, features=8, hidden=8)),
    "T-DRAW": lambda: TDraw(
        TDrawConfig(steps=2, hidden=8, latent=3, read_points=3, write_points=3)
    ),
    "T-AIR": lambda: TAir(TAirConfig(steps=2, features=8, hidden=8, what=3, window=5, width=8)),
}


def seeded(name):
    torch.manual_seed(0)
    return TINY[name]()


def raw_strokes(count=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, PARAMETERS, generator=generator, dtype=torch.double)


# Pictures


def test_pictures_are_repeatable_and_hold_what_they_say():
    images, counts = draw_pictures(300, seed=3)
    assert torch.equal(images, draw_pictures(300, seed=3).images)
    assert not torch.equal(images, draw_pictures(300, seed=4).images)
    assert images.dtype == torch.uint8
    assert set(counts.tolist()) == set(range(MOST + 1))
    for image, count in zip(images, counts.tolist(), strict=True):
        assert (image == image[:, :1, :1]).all() == (count == 0)


def test_shapes_keep_their_distance():
    """More shapes cover more: no shape lies under another."""
    images, counts = draw_pictures(2000, seed=5)
    changed = (images != images[:, :, :1, :1]).any(1).flatten(1).sum(1).float()
    covered = [float(changed[counts == n].mean()) for n in range(MOST + 1)]
    # The corner is ground, or now and then a shape: then all is counted the other way round.
    assert covered[0] == 0
    assert all(more > less for less, more in pairwise(covered))
    assert APART < SIDE / 2


# Strokes


def direct_cover(stroke, b, row, column):
    """Cover of one pixel from the equations of the page, in plain numbers."""
    value = {field: getattr(stroke, field)[b] for field in stroke._fields}
    dx, dy = column + 0.5 - float(value["x"]), row + 0.5 - float(value["y"])
    angle = float(value["angle"])
    u = math.cos(angle) * dx + math.sin(angle) * dy
    v = -math.sin(angle) * dx + math.cos(angle) * dy
    a, c, soft = (float(value[k]) for k in ("length", "width", "softness"))

    def logistic(z):
        return 1 / (1 + math.exp(-z))

    rectangle = logistic((a - abs(u)) / soft) * logistic((c - abs(v)) / soft)
    r = math.sqrt((u / a) ** 2 + (v / c) ** 2)
    ellipse = logistic((1 - r) * math.sqrt(a * c) / soft)
    w = float(value["roundness"])
    return (1 - w) * rectangle + w * ellipse


def test_masks_follow_the_equations():
    stroke = stroke_of(raw_strokes(), 16, 12)
    masks = mask_of(stroke, 16, 12)
    for b in range(4):
        for row in range(0, 16, 3):
            for column in range(0, 12, 3):
                expected = direct_cover(stroke, b, row, column)
                assert float(masks[b, row, column]) == pytest.approx(expected, abs=1e-6)


def test_a_turn_by_a_quarter_exchanges_length_and_width():
    raw = raw_strokes()
    turned = raw.clone()
    turned[:, [2, 3]] = raw[:, [3, 2]]
    turned[:, 4] += 1.0  # π/2
    a, b = (mask_of(stroke_of(r, 16, 16), 16, 16) for r in (raw, turned))
    torch.testing.assert_close(a, b)


def test_a_hard_rectangle_covers_its_area():
    stroke = stroke_of(torch.zeros(1, PARAMETERS, dtype=torch.double), 32, 32)
    stroke = stroke._replace(softness=stroke.softness * 0 + 0.05, roundness=stroke.roundness * 0)
    area = 4 * float(stroke.length) * float(stroke.width)
    assert float(mask_of(stroke, 32, 32).sum()) == pytest.approx(area, rel=0.1)


def test_gradients_of_strokes_are_those_of_finite_differences():
    canvas = torch.rand(2, 3, 7, 9, dtype=torch.double)
    raw = raw_strokes(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda r: paint(canvas, stroke_of(r, 7, 9)), (raw,), atol=1e-6)


def test_paint_mixes_and_a_stroke_without_opacity_leaves_no_trace():
    canvas = torch.rand(1, 3, 8, 8, dtype=torch.double)
    stroke = stroke_of(raw_strokes(1), 8, 8)
    painted = paint(canvas, stroke)
    assert painted.min() >= 0
    assert painted.max() <= 1
    assert torch.equal(paint(canvas, stroke._replace(opacity=stroke.opacity * 0)), canvas)


# Latents


def test_gaussian_divergence_and_samples_are_those_of_torch():
    generator = torch.Generator().manual_seed(2)
    mean, log_scale = torch.randn(2, 3, 4, generator=generator).unbind(0)
    expected = kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(Gaussian(mean, log_scale).divergence(), expected)
    many = Gaussian(mean.expand(1, -1, -1).reshape(3, 4), log_scale)
    drawn = torch.stack([many.sample(generator) for _ in range(4000)])
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.2, rtol=0.1)
    torch.testing.assert_close(drawn.std(0), log_scale.exp(), atol=0.05, rtol=0.1)


def presences(steps):
    """All sequences 1, …, 1, 0, …, 0."""
    return [[1] * n + [0] * (steps - n) for n in range(steps + 1)]


def log_probability(sequence, go_on):
    """Of a sequence by its definition: a draw at each step until the first zero."""
    total = torch.zeros(())
    for presence, odds in zip(sequence, go_on, strict=True):
        total = total + Bernoulli(logits=odds).log_prob(torch.tensor(float(presence)))
        if not presence:
            break
    return total


def test_counts_enumerate_the_presences():
    go_on = torch.tensor([[0.3, -1.0, 2.0], [4.0, 0.0, -3.0]])
    log_q = log_counts(go_on)
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(2))
    for b in range(2):
        for n, sequence in enumerate(presences(3)):
            expected = log_probability(sequence, go_on[b])
            torch.testing.assert_close(log_q[b, n], expected)


def test_beyond_a_bound_only_gradients_that_lead_back_pass():
    x = torch.tensor([-9.0, -9.0, 0.5, 9.0, 9.0], requires_grad=True)
    found = bounded(x, 4.0)
    assert found.tolist() == [-4.0, -4.0, 0.5, 4.0, 4.0]
    found.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    # A negative gradient makes x larger: away from the bound below, further out above it.
    assert x.grad.tolist() == [0.0, -1.0, 1.0, 1.0, 0.0]


def test_the_prior_of_counts_is_geometric_up_to_the_last():
    expected = [0.7, 0.3 * 0.7, 0.3**2 * 0.7, 0.3**3]
    torch.testing.assert_close(log_geometric(3, 0.3).exp(), torch.tensor(expected))


def test_count_divergence_by_enumeration():
    go_on, log_p = torch.tensor([[0.3, -1.0, 2.0]]), log_geometric(3, 0.4)
    odds = torch.full((3,), math.log(0.4 / 0.6))
    expected = torch.zeros(())
    for sequence in presences(3):
        q = log_probability(sequence, go_on[0])
        expected = expected + q.exp() * (q - log_probability(sequence, odds))
    found = count_divergence(log_counts(go_on), log_p)
    torch.testing.assert_close(found[0], expected)
    own = kl_divergence(
        Categorical(logits=log_counts(go_on)), Categorical(logits=log_p[None].expand(1, -1))
    )
    torch.testing.assert_close(found, own)


# Windows of a spatial transformer


def bilinear(picture, x, y):
    """Direct sum over all pixels of a C×H×W picture at a place in pixels, zero outside."""
    total = torch.zeros(picture.shape[0], dtype=picture.dtype)
    for row in range(picture.shape[1]):
        for column in range(picture.shape[2]):
            weight = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            total += weight * picture[:, row, column]
    return total


@pytest.mark.parametrize("inverse", [False, True])
def test_windows_follow_a_direct_sum(inverse):
    generator = torch.Generator().manual_seed(3)
    size, side = (5, 9) if inverse else (9, 5)
    picture = torch.rand(1, 2, size, size, generator=generator, dtype=torch.double)
    scale, x, y = 0.45, 0.3, -0.5
    place = Place(*(torch.tensor([v], dtype=torch.double) for v in (scale, x, y)))
    found = (put if inverse else glimpse)(picture, place, side)
    for row in range(side):
        for column in range(side):
            u, v = (2 * (i + 0.5) / side - 1 for i in (column, row))
            if inverse:
                at = (u - x) / scale, (v - y) / scale
            else:
                at = x + scale * u, y + scale * v
            in_pixels = [(c + 1) / 2 * size - 0.5 for c in at]
            expected = bilinear(picture[0], *in_pixels)
            torch.testing.assert_close(found[0, :, row, column], expected)


def test_what_is_put_is_seen_again():
    smooth = torch.linspace(0, 1, 8, dtype=torch.double).expand(1, 1, 8, 8)
    place = Place(*(torch.tensor([v], dtype=torch.double) for v in (0.5, 0.1, -0.2)))
    again = glimpse(put(smooth, place, 64), place, 8)
    torch.testing.assert_close(again[..., 1:-1, 1:-1], smooth[..., 1:-1, 1:-1], atol=0.02, rtol=0)


# Models


def test_the_likelihood_is_that_of_torch():
    a, b = torch.rand(2, 2, 3, SIDE, SIDE).unbind(0)
    expected = Normal(b, SIGMA).log_prob(a).flatten(1).sum(1)
    torch.testing.assert_close(log_likelihood(a, b), expected)


@pytest.mark.parametrize("name", TINY)
def test_gradients_reach_every_parameter(name):
    model = seeded(name)
    image = draw_pictures(4, seed=0).images.float() / 255
    terms = model.terms(image, torch.Generator().manual_seed(1))
    (terms.divergence + terms.penalty - terms.reconstruction).mean().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool((parameter.grad != 0).any()), parameter_name
        assert bool(torch.isfinite(parameter.grad).all()), parameter_name


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_passes_have_their_shapes_and_means_repeat(name):
    model = seeded(name)
    image = draw_pictures(3, seed=0).images.float() / 255
    first, second = (model.terms(image, noisy=False) for _ in range(2))
    assert torch.equal(first.picture, second.picture)
    assert first.picture.shape == image.shape
    assert len(first.canvases) == model.steps + (name != "T-DRAW")
    assert (first.counts is None) == (name == "T-DRAW")
    assert bool((first.divergence > 0).all())
    noise = (model.terms(image, torch.Generator().manual_seed(s)).picture for s in (1, 1, 2))
    a, b, c = noise
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert model.sample(2, torch.Generator().manual_seed(1)).shape == (2, 3, SIDE, SIDE)


@torch.no_grad()
def test_the_bound_of_air_is_its_mean_over_counts():
    """Counts drawn one by one give the sums that the model forms exactly."""
    model = seeded("T-AIR")
    image = draw_pictures(1, seed=7).images.float() / 255
    terms = model.terms(image, noisy=False)
    likelihoods = torch.stack([log_likelihood(image, c)[0] for c in terms.canvases])
    odds = []
    handle = model.presence.register_forward_hook(lambda _, __, out: odds.append(out[0, 0]))
    model.terms(image, noisy=False)
    handle.remove()
    expected = torch.zeros(())
    for n, sequence in enumerate(presences(model.steps)):
        expected = expected + log_probability(sequence, torch.stack(odds)).exp() * likelihoods[n]
    torch.testing.assert_close(terms.reconstruction[0], expected)
    shares = log_counts(torch.stack(odds)[None])[0].exp()
    mean = sum(n * float(share) for n, share in enumerate(shares))
    assert float(terms.penalty) == pytest.approx(INK * mean, rel=1e-5)


@torch.no_grad()
def test_opaque_strokes_are_counted_and_paid():
    model = seeded("Painter")
    image = draw_pictures(2, seed=0).images.float() / 255
    for opacity, count in ((-20.0, 0), (20.0, 3)):
        model.shift.bias[7] = opacity
        terms = model.terms(image, noisy=False)
        assert terms.counts.tolist() == [count, count]
        price = torch.full((2,), count * INK)
        torch.testing.assert_close(terms.penalty, price, atol=1e-4, rtol=0)


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path):
    images = draw_pictures(20, seed=0).images
    whole = comparison.Trainer(seeded("T-AIR"), 4, batch=4)
    whole.run(images, "whole", tmp_path / "whole.run")
    first, second = (comparison.Trainer(seeded("T-AIR"), 4, batch=4) for _ in range(2))
    for _ in range(2):
        first.train_step(images)
    torch.save(first.state(), tmp_path / "cut.run")
    second.run(images, "cut", tmp_path / "cut.run")
    assert second.step == 4
    for a, b in zip(whole.ema.parameters(), second.ema.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_comparison_runs_and_continues(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(comparison, "MODELS", TINY)
    threads = torch.get_num_threads()
    options = ["--out", str(tmp_path), "--minutes", "0.001", "--batch", "4"]
    options += ["--pictures", "40", "--held-out", "12"]
    comparison.main(options)
    first = capsys.readouterr().out.partition("| --- |")[2]
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in found["models"]] == list(TINY)
    monkeypatch.setattr(comparison.Trainer, "run", None)  # nothing is trained again
    comparison.main(options)
    torch.set_num_threads(threads)
    assert capsys.readouterr().out.partition("| --- |")[2] == first
    assert "does not count" in first
    assert first.partition("| --- |")[2] in (tmp_path / "table.md").read_text()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 7 * SIDE
