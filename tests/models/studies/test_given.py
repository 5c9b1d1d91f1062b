"""Grey keeps its luma, a drawing is drawn, and a prior that is told nothing is the released one."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from models.registry import BUILDERS
from models.ssvae.representations import sketch
from models.studies.given import reconstruction, training
from models.studies.given.networks import GivenPrior, towards
from models.studies.given.pictures import (
    GIVEN,
    chroma,
    coloured,
    drawing_of,
    grey_of,
    luma,
)
from models.training.data import ImageSet

QUALITY = 40.0


@pytest.fixture
def base():
    torch.manual_seed(0)
    model = BUILDERS["ssvae-tiny"]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for head in model.heads:  # symbols that are not all zero
            head.out.weight.mul_(30)
    return model


@pytest.fixture(scope="module")
def draughtsman():
    """The installed model whose u holds drawings."""
    return training.released("sketch")


def image(seed=1, height=64, width=64, count=1):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def part(photograph, height=128, width=128):
    rgb = np.ascontiguousarray(photograph[100 : 100 + height, 200 : 200 + width])
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


# -- colours -----------------------------------------------------------------------------------


def test_luma_and_chroma_are_those_of_jpeg():
    pixels = (image() * 255).round()
    rgb = pixels[0].to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    expected = np.array(Image.fromarray(rgb).convert("YCbCr")).astype(np.float32)
    y, c = luma(pixels / 255), chroma(pixels / 255)
    found = torch.cat([255 * y, 255 * c + 128], dim=1)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1.01  # Pillow rounds


def test_a_picture_is_its_luma_and_its_chroma():
    x = image()
    assert torch.allclose(coloured(luma(x), chroma(x)), x, atol=1e-5)
    assert chroma(grey_of(x)).abs().max() < 1e-6


def test_luma_is_kept_whatever_the_colour():
    y, colour = luma(image(1)), image(2)[:, :2] * 2 - 1  # far beyond what can be shown
    found = coloured(y, colour)
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert torch.allclose(luma(found), y, atol=1e-6)
    rounded = (found * 255).round() / 255
    assert (luma(rounded) - y).abs().max() <= 0.5 / 255 + 1e-6
    direction = F.cosine_similarity(chroma(found).flatten(2), colour.flatten(2), dim=1)
    inside = (y > 0.1) & (y < 0.9)
    assert direction[inside.flatten(1)].min() > 0.999  # nearer to grey, of the same hue


def test_a_drawing_at_full_size_reduces_to_the_drawing(photograph):
    x = part(photograph)
    assert torch.allclose(F.avg_pool2d(drawing_of(x), 4), sketch(x), atol=1e-6)


# -- the prior ---------------------------------------------------------------------------------


@torch.no_grad()
def test_what_is_told_nothing_prices_as_the_released_prior(base):
    model, x = GivenPrior(base, QUALITY), image()
    expected = base(x, torch.tensor([QUALITY]), torch.tensor([3]), noisy=False)
    found = model(grey_of(x), x, noisy=False)
    assert torch.allclose(found.bits, expected.bits, rtol=1e-5)
    assert torch.allclose(found.image, expected.image, atol=1e-5)
    again = model(grey_of(image(5)), x, noisy=False)  # whatever is given
    assert torch.equal(found.bits, again.bits)


@torch.no_grad()
def test_the_mean_of_what_is_told_nothing_is_the_fill_of_the_released_prior(base):
    model, x = GivenPrior(base, QUALITY), image()
    expected = base(x, torch.tensor([QUALITY]), torch.tensor([0]), noisy=False)
    assert torch.allclose(model(grey_of(x)).image, expected.image, atol=1e-5)
    assert not model(grey_of(x)).bits.any()


def test_only_the_prior_that_knows_is_trained(base):
    before = copy.deepcopy(base.state_dict())
    model, x = GivenPrior(base, QUALITY), image(count=2)
    assert all(not name.startswith("base") for name in model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(2):  # at first nothing is told, and what would be told gets no gradient
        optimizer.zero_grad()
        model(grey_of(x), x).bits.mean().backward()
        optimizer.step()
    idle = tuple(f"prior.layers.{i}.steps.0.known.weight" for i in range(3))  # nothing is known yet
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or "knots" in name or name in idle, name
    for name, value in base.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in base.parameters())


def test_qualities_with_a_fine_stage_are_refused(base):
    with pytest.raises(ValueError, match="below 65"):
        GivenPrior(base, 65)


@torch.no_grad()
def test_samples_follow_their_seed_and_the_mean_needs_none(base):
    model, given = GivenPrior(base, QUALITY), grey_of(image(height=40, width=72))
    mean = reconstruction.complete(model, "grey", given)
    assert torch.equal(mean, reconstruction.complete(model, "grey", given, seed=7))
    first, second, again = (
        reconstruction.complete(model, "grey", given, temperature=1.0, seed=seed)
        for seed in (1, 2, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    for picture in (mean, first, second):
        assert picture.shape == given.shape
        shown = (picture * 255).round() / 255
        assert (luma(shown) - luma(given)).abs().max() <= 0.5 / 255 + 1e-6


# -- drawings ----------------------------------------------------------------------------------


def test_u_is_found_whose_drawing_is_given(draughtsman):
    at = torch.tensor([QUALITY])
    hidden = 2 * torch.randn(1, 64, 2, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        gain = draughtsman.gain(0, at)
        _, drawing = draughtsman.synthesis.advance(0, (), hidden / gain, at)

    def error(u):
        with torch.no_grad():
            _, drawn = draughtsman.synthesis.advance(0, (), u / gain, at)
        return float((drawn - drawing).square().mean())

    start = torch.zeros_like(hidden)
    errors = [error(towards(draughtsman, start, drawing, at, steps)) for steps in (0, 10, 100)]
    assert errors[0] == error(start)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1 * errors[0]
    assert torch.equal(towards(draughtsman, hidden, drawing, at, 5), hidden)  # none is better


@torch.no_grad()
def test_the_search_brings_the_result_nearer_to_a_given_drawing(draughtsman, photograph):
    given = drawing_of(part(photograph))
    model = GivenPrior(copy.deepcopy(draughtsman), QUALITY)
    plain, searched = (model(given, steps=steps).small for steps in (0, 30))
    distances = [float((y - F.avg_pool2d(given, 4)).square().mean()) for y in (plain, searched)]
    assert distances[1] < 0.5 * distances[0]


# -- training ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, photograph):
    """Two pieces of the photograph, one of them small."""
    path = tmp_path / "images"
    path.mkdir()
    Image.fromarray(photograph[100:228, 200:392]).save(path / "a.png")
    Image.fromarray(photograph[200:240, 300:340]).save(path / "b.png")
    return path


def read(folder):
    return ImageSet(folder, device=torch.device("cpu"), minimum=training.LEAST_SIDE)


def test_training_lowers_the_bits_and_resumes_exactly(base, folder, tmp_path):
    def run(stops):
        for stop in stops:
            trainer = training.Trainer("grey", copy.deepcopy(base), QUALITY, 30, 1, 64, "adam")
            path = tmp_path / f"{len(stops)}.pt"
            if path.exists():
                trainer.resume(path)
            trainer.run(read(folder), path, stop)
        return trainer

    whole, parts = run([30]), run([11, 30])
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name
    x = read(folder).image(0)[:64, :64].permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        fresh = GivenPrior(base, QUALITY)(grey_of(x), x, noisy=False).bits.sum()
        learned = whole.ema(grey_of(x), x, noisy=False).bits.sum()
    assert learned < fresh
    other = training.Trainer("grey", base, QUALITY, 31, 1, 64, "adam")
    with pytest.raises(ValueError, match="name another --out"):
        other.resume(tmp_path / "1.pt")


@pytest.mark.parametrize("kind", GIVEN)
def test_the_commands_train_and_complete(kind, folder, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [str(folder), "--given", kind, "--out", str(out), "--batch", "1"]
    arguments += ["--crop", "64", "--steps", "2"]
    training.main([*arguments, "--stop-after", "1"])
    assert not (out / "weights.pt").exists()
    training.main(arguments)
    assert "step 2 of 2" in capsys.readouterr().out
    shown = tmp_path / "shown"
    asked = [str(out / "weights.pt"), str(folder), "--out", str(shown), "--samples", "2"]
    reconstruction.main([*asked, "--search", "2", "--max-side", "64"])
    found = json.loads((shown / "results.json").read_text())
    assert found["training"]["given"] == kind
    rows = found["pictures"]
    if kind == "grey":
        assert all(row["given_error"] <= 0.5 for row in rows.values())
        assert rows["what is given"]["colour"] == 0
    assert rows["mean colour of the original itself"]["chroma_error"] > 0
    assert set(found["bits_per_pixel"]) == {"released prior", "prior that knows"}
    assert "mean of the prior" in (shown / "table.md").read_text()
    with Image.open(shown / "sheet.png") as sheet:
        assert sheet.width > 4 * 40
    bare = tmp_path / "bare"
    reconstruction.main([asked[0], str(folder / "b.png"), "--out", str(bare), "--bare"])
    assert not (bare / "results.json").exists()
    assert (bare / "sheet.png").exists()


def test_files_that_are_no_weights_are_named(tmp_path, folder, capsys):
    (tmp_path / "weights.pt").write_bytes(b"nothing")
    with pytest.raises(SystemExit):
        reconstruction.main(
            [str(tmp_path / "weights.pt"), str(folder), "--out", str(tmp_path / "out")]
        )
    assert "these weights cannot be used" in capsys.readouterr().err
