"""Distances as people see them, and training by them."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from models.metrics.perceptual import linear_light, xyb, xyb_ssim
from models.metrics.ssimulacra2 import scales_of, ssimulacra2, ssimulacra2_loss
from models.registry import BUILDERS
from models.training.card import render, write_history
from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated, format_table
from models.training.loop import train
from models.training.losses import EYE_LOSSES, LossConfig, rate_distortion_loss
from models.training.trainer import Trainer
from models.weights_file import export_weights

CPU = torch.device("cpu")
DISTANCES = [xyb_ssim, ssimulacra2_loss, lambda a, b: 100 - ssimulacra2(a, b, scales=5)]
NAMES = ["xyb_ssim", "ssimulacra2_loss", "ssimulacra2"]
each_distance = pytest.mark.parametrize("distance", DISTANCES, ids=NAMES)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """H×W×3 uint8 → 1×3×H×W in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=quality)
    return np.array(Image.open(buffer))


def blurred(pixels: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)))


def noisy(pixels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 8, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def square(photograph) -> np.ndarray:
    return np.ascontiguousarray(photograph[150:278, 300:428])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph) -> Path:
    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(photograph[:200, :320]).save(folder / "a.png")
    return folder


def config(folder: Path, out: Path, **changes) -> TrainConfig:
    base = TrainConfig(
        data=folder,
        out=out,
        model="ssvae-tiny",
        steps=400,
        decay_steps=5,
        warmup_steps=3,
        batch=3,
        crop=64,
        precision="float32",
        eye=0.8,
    )
    return replace(base, **changes)


# -- the distances -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box", [(0, 0, 256, 256), (200, 300, 270, 331), (100, 400, 301, 257)], ids=str
)
def test_ssimulacra2_agrees_with_the_package(photograph, box):
    """Within half a point; sides of any parity."""
    pytest.importorskip("ssimulacra2")
    from benchmarks.bench import metrics

    y, x, h, w = box
    original = np.ascontiguousarray(photograph[y : y + h, x : x + w])
    others = [jpeg(original, q) for q in (5, 15, 30, 60, 90, 97)]
    for other in (*others, blurred(original), noisy(original), original):
        ours = float(ssimulacra2(tensor(original), tensor(other)))
        assert ours == pytest.approx(metrics.ssimulacra2(original, other), abs=0.5)


def test_xyb_of_known_colours():
    """Greys have no X; black is the shift; red is positive in X, green negative, blue in B."""
    colours = torch.tensor([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    linear = linear_light(colours.T[None, :, :, None])
    assert linear[:, 0, 0, 0].tolist() == pytest.approx([0, 1, 0.21404, 1, 0, 0], abs=1e-4)
    x, y, b = xyb(linear)[:, 0, 0].T.tolist()
    assert x[:3] == pytest.approx([0.42] * 3, abs=1e-4)
    assert y[0] == pytest.approx(0.01, abs=1e-5)
    assert b[0] == pytest.approx(0.55, abs=1e-5)
    assert y[1] == pytest.approx(0.01 + (1 + 0.0037931) ** (1 / 3) - 0.0037931 ** (1 / 3), abs=1e-4)
    assert x[3] > 0.6 > 0.42 > x[4]
    assert b[5] > 0.9
    assert torch.allclose(xyb(linear, (1,)), xyb(linear)[..., 1:2], atol=1e-6)


@each_distance
def test_equal_pictures_have_no_distance_and_others_have(distance, square):
    a = tensor(square)
    assert float(distance(a, a)) == 0
    for other in (jpeg(square, 95), blurred(square), noisy(square)):
        assert float(distance(a, tensor(other))) > 0


@each_distance
def test_distance_falls_along_jpeg_quality(distance, square):
    found = [float(distance(tensor(square), tensor(jpeg(square, q)))) for q in (10, 30, 60, 90)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 3 * found[-1]


@each_distance
def test_pictures_of_a_batch_do_not_see_each_other(distance, square):
    a, b = tensor(square), tensor(jpeg(square, 20))
    other = torch.rand_like(a)
    both = distance(torch.cat([a, other]), torch.cat([b, other]))
    assert both.shape == (2,)
    assert float(both[0]) == pytest.approx(float(distance(a, b)), rel=1e-4)
    assert float(both[1]) == pytest.approx(0, abs=1e-6)


def test_structure_is_symmetric_and_edges_are_not(square):
    """SSIM does not know which picture is the original; that edges came or went, one must know."""
    a, b = tensor(square), tensor(blurred(square))
    assert float(xyb_ssim(a, b)) == pytest.approx(float(xyb_ssim(b, a)), rel=1e-5)
    assert abs(float(ssimulacra2_loss(a, b)) - float(ssimulacra2_loss(b, a))) > 0.01


@pytest.mark.parametrize("shift", [(0.04, 0, 0), (0, 0.04, 0), (0, 0, 0.04), (0.03, 0.03, 0.03)])
def test_a_constant_shift_of_colour_costs(square, shift):
    a = tensor(square) * 0.9
    b = a + torch.tensor(shift).view(1, 3, 1, 1)
    flat = torch.full_like(a, 0.5)
    assert float(xyb_ssim(a, b)) > 0.0005
    assert float(ssimulacra2_loss(a, b)) > 0.01
    assert float(xyb_ssim(flat, flat + b - a)) > 0


def test_weights_of_the_channels_decide_what_costs(square):
    a = tensor(square)
    b = (a + torch.tensor([0.05, -0.02, 0]).view(1, 3, 1, 1)).clamp(0, 1)  # red, at the same luma
    parts = [float(xyb_ssim(a, b, weights=w)) for w in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert parts[0] > 2 * parts[1]
    whole = float(xyb_ssim(a, b, weights=(0.35, 1, 0.5)))
    assert whole == pytest.approx(np.dot(parts, (0.35, 1, 0.5)), rel=1e-4)


@each_distance
@pytest.mark.parametrize("original", ["black", "white", "grey", "noise"])
@pytest.mark.parametrize("decoded", ["equal", "black", "white", "noise", "outside"])
def test_gradients_are_finite(distance, original, decoded):
    """Also where roots, moduli and quotients have no slope of their own."""
    torch.manual_seed(0)
    pictures = {
        "black": torch.zeros(1, 3, 128, 128),
        "white": torch.ones(1, 3, 128, 128),
        "grey": torch.full((1, 3, 128, 128), 0.5),
        "noise": torch.rand(1, 3, 128, 128),
        "outside": torch.randn(1, 3, 128, 128) * 2,
    }
    a = pictures[original]
    b = (a if decoded == "equal" else pictures[decoded]).clone().requires_grad_()
    value = distance(a, b)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(b.grad).all()
    assert bool(b.grad.any()) == bool(value > 0)


@pytest.mark.parametrize("step", ["linear_light", "xyb", "xyb_ssim", "ssimulacra2_loss"])
def test_gradients_are_those_of_small_steps(step, square):
    """Along a random direction; in float32, so to within a percent."""
    torch.manual_seed(0)
    a = tensor(square)
    other = tensor(jpeg(square, 30)).clamp(0.02, 0.98)
    weigh = torch.rand(128, 128, 1, 3)
    measure = {
        "linear_light": lambda b: (linear_light(b) * weigh).sum(),
        "xyb": lambda b: (xyb(linear_light(b)) * weigh).sum(),
        "xyb_ssim": lambda b: xyb_ssim(a, b).sum(),
        "ssimulacra2_loss": lambda b: ssimulacra2_loss(a, b).sum(),
    }[step]
    b = other.clone().requires_grad_()
    measure(b).backward()
    direction = b.grad / b.grad.norm()
    size = 0.02
    with torch.no_grad():
        rise = float(measure(other + size * direction) - measure(other - size * direction))
    assert rise / (2 * size) == pytest.approx(float(b.grad.norm()), rel=0.01)


def test_distances_are_float32_under_autocast(square):
    a, b = tensor(square), tensor(jpeg(square, 30))
    for distance in DISTANCES:
        with torch.autocast("cpu", torch.bfloat16):
            inside = distance(a, b)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, distance(a, b))


def test_pictures_that_cannot_be_compared_are_refused():
    a = torch.rand(1, 3, 127, 300)
    for distance, words in ((ssimulacra2_loss, "128 pixels"), (ssimulacra2, "256 pixels")):
        with pytest.raises(ValueError, match=words):
            distance(a, a)
    with pytest.raises(ValueError, match="4 scales need sides of at least 64 pixels, not 300×63"):
        xyb_ssim(a[:, :, :63], a[:, :, :63])
    with pytest.raises(ValueError, match="one size"):
        xyb_ssim(a, a[:, :, :100])
    with pytest.raises(ValueError, match="B×3×H×W"):
        xyb_ssim(a[:, :1], a[:, :1])


def test_scales_of_small_pictures():
    assert [scales_of(n, 999) for n in (8, 15, 16, 64, 192, 255, 256, 512)] == [
        1, 1, 2, 4, 5, 5, 6, 6,
    ]  # fmt: skip


# -- training by them --------------------------------------------------------------------------


def test_without_eye_the_loss_is_the_one_it_was(folder, monkeypatch):
    """Bit for bit, and no distance is computed; with it the squared error keeps its share."""
    torch.manual_seed(0)
    model = BUILDERS["ssvae-tiny"]()
    image = torch.rand(2, 3, 64, 64)
    quality, kept = torch.tensor([20.0, 80.0]), torch.tensor([3, 3])
    with torch.no_grad():
        result = model(image, quality, kept, noisy=False)
    arguments = (model, result, image, quality, kept)
    before = rate_distortion_loss(*arguments, LossConfig())
    some, all_of_it = (rate_distortion_loss(*arguments, LossConfig(eye=m)) for m in (0.8, 1.0))
    lam = model.lagrangian(quality)
    mse = (result.image - image).square().mean((1, 2, 3))
    seen = EYE_LOSSES["xyb-ssim"].unit * xyb_ssim(image, result.image)
    for loss, m in ((some, 0.8), (all_of_it, 1.0)):
        more = (lam.sqrt() * m * (seen - mse)).mean()
        assert float(loss.total - before.total) == pytest.approx(float(more), rel=1e-3)
        assert torch.equal(loss.mse, before.mse)

    def never(*_: object) -> torch.Tensor:
        raise AssertionError

    refusing = {k: replace(v, distance=never) for k, v in EYE_LOSSES.items()}
    monkeypatch.setattr("models.training.losses.EYE_LOSSES", refusing)
    again = rate_distortion_loss(*arguments, LossConfig(eye=0.0, eye_loss="ssimulacra2"))
    assert torch.equal(again.total, before.total)


@pytest.mark.parametrize(("eye_loss", "crop"), [("xyb-ssim", 64), ("ssimulacra2", 128)])
def test_training_with_eye_lowers_the_loss(folder, tmp_path, eye_loss, crop):
    settings = {"eye_loss": eye_loss, "crop": crop, "learning_rate": 3e-3, "batch": 2}
    trainer = Trainer(config(folder, tmp_path, **settings))
    images = ImageSet(folder, device=CPU)
    losses = [float(trainer.train_step(trainer.draw(images))[0].loss) for _ in range(30)]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:4])
    assert trainer.skipped == 0


def test_one_small_step_lowers_the_eye_loss_of_its_batch(folder, tmp_path):
    """The same crops, noise and stages before and after a step along the gradient."""
    trainer = Trainer(config(folder, tmp_path, optimizer="adam", learning_rate=1e-4, eye=1.0))
    trainer.config = replace(trainer.config, warmup_steps=0)
    batch = trainer.draw(ImageSet(folder, device=CPU))
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        losses.append(float(trainer.train_step(batch)[0].loss))
    assert losses[1] < losses[0]


def test_a_run_with_eye_is_told_in_history_and_card(folder, tmp_path):
    run = config(folder, tmp_path / "run", steps=2, decay_steps=1, log_steps=1)
    eye = train(run).history
    plain = train(replace(run, out=tmp_path / "plain", eye=0.0)).history
    assert (eye[0]["eye"], eye[0]["eye_loss"]) == (0.8, "xyb-ssim")
    assert (plain[0]["eye"], plain[0]["eye_loss"]) == (0, None)
    weights = tmp_path / "ssvae-tiny.safetensors"
    weights.write_bytes(export_weights(BUILDERS["ssvae-tiny"](), "ssvae-tiny"))
    for history, there in ((eye, True), (plain, False)):
        write_history(weights, json.loads(json.dumps(history)))
        told = "80% of the distortion measured by xyb-ssim" in render(weights, {}, "")
        assert told == there


def test_the_table_has_ssimulacra2_only_where_asked(folder):
    model = BUILDERS["ssvae-tiny"]()
    plain, seen = (
        evaluate_estimated(model, folder, qualities=(50,), ssimulacra2=s) for s in (False, True)
    )
    assert "SSIMULACRA2" not in format_table(plain, folder)
    header, row = format_table(seen, folder).splitlines()
    assert header.endswith("SSIMULACRA2 1, 2, 3")
    assert row.split()[-3:] == [f"{r.ssimulacra2:.1f}" for r in seen]
    assert row.startswith(format_table(plain, folder).splitlines()[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eye": 1.5}, "eye 1.5 is not between 0 and 1"),
        ({"eye_loss": "vmaf"}, "'vmaf'; there are: xyb-ssim, ssimulacra2"),
        ({"eye_loss": "ssimulacra2"}, "--crop 128 or more"),
    ],
)
def test_bad_settings_of_the_eye_are_refused(folder, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        Trainer(config(folder, tmp_path, **changes))
