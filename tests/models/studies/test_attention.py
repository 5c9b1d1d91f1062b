"""Attention windows, the DRAW that uses them, and its comparison with a convolutional one."""

import json
import math

import pytest
import torch
from PIL import Image

from models.registry import BUILDERS
from models.studies.attention import comparison as comparison
from models.studies.attention import networks as draw
from models.studies.attention.networks import AttentiveDRAW, AttentiveDRAWConfig
from models.studies.attention.windows import filter_bank, read, window, write
from models.training.losses import LossConfig, rate_distortion_loss

TINY = AttentiveDRAWConfig(
    steps_per_layer=(1, 1, 2),
    latent=4,
    hidden=16,
    read_points=4,
    write_points=5,
    prior_width=8,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AttentiveDRAW(TINY)


@pytest.fixture
def image():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def direct_filters(parameters, points, height, width):
    """F_X and F_Y as nested lists, element by element from equations 19 to 26."""
    g_x, g_y, log_variance, log_stride, _ = parameters
    centres = (width + 1) / 2 * (g_x + 1), (height + 1) / 2 * (g_y + 1)
    stride = (max(width, height) - 1) / (points - 1) * math.exp(log_stride)
    banks = []
    for centre, length in zip(centres, (width, height), strict=True):
        bank = []
        for i in range(1, points + 1):
            mu = centre + (i - points / 2 - 0.5) * stride
            row = [
                math.exp(-((a - mu) ** 2) / (2 * math.exp(log_variance)))
                for a in range(1, length + 1)
            ]
            bank.append([value / sum(row) for value in row])
        banks.append(bank)
    return banks


def test_filter_banks_follow_the_equations():
    parameters = torch.tensor(
        [[0.0, 0.0, 0.0, 0.0, 0.0], [-0.4, 0.7, 1.5, -1.1, 0.3], [0.9, -0.2, 3.0, 0.1, -2.0]],
        dtype=torch.float64,
    )
    seen = window(parameters, points=4, height=9, width=13)
    for b, values in enumerate(parameters.tolist()):
        filter_x, filter_y = direct_filters(values, 4, 9, 13)
        torch.testing.assert_close(seen.filter_x[b], seen.filter_x.new_tensor(filter_x))
        torch.testing.assert_close(seen.filter_y[b], seen.filter_y.new_tensor(filter_y))
        assert float(seen.intensity[b]) == pytest.approx(math.exp(values[4]))


def test_read_and_write_follow_the_equations():
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 3, 6, 8, generator=generator, dtype=torch.float64)
    patch = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    parameters = torch.randn(2, 5, generator=generator, dtype=torch.float64) * 0.3
    seen = window(parameters, points=4, height=6, width=8)
    for b in range(2):
        gamma = float(parameters[b, 4].exp())
        f_x, f_y = seen.filter_x[b], seen.filter_y[b]
        for c in range(3):
            expected = gamma * (f_y @ image[b, c] @ f_x.T)
            torch.testing.assert_close(read(image, seen)[b, c], expected)
            expected = (f_y.T @ patch[b, c] @ f_x) / gamma
            torch.testing.assert_close(write(patch, seen)[b, c], expected)


def test_rows_sum_to_one_wherever_the_window_is():
    extremes = torch.tensor([-1e6, -8.0, -3.0, 0.0, 3.0, 8.0, 1e6])
    parameters = torch.cartesian_prod(*[extremes[::2]] * 4, extremes[3:4]).requires_grad_()
    seen = window(parameters, points=5, height=64, width=64)
    for bank in (seen.filter_x, seen.filter_y):
        torch.testing.assert_close(bank.sum(2), torch.ones_like(bank[..., 0]))
    patch = read(torch.rand(1, 3, 64, 64), seen)
    write(patch, seen).sum().backward()
    assert bool(torch.isfinite(patch).all())
    assert bool(torch.isfinite(parameters.grad).all())


def test_a_filter_outside_the_image_is_the_nearest_pixel():
    bank = filter_bank(torch.tensor([[-100.0, 300.0]]), torch.tensor([0.01]), 8)
    assert bank[0].argmax(1).tolist() == [0, 7]
    torch.testing.assert_close(bank[0].amax(1), torch.ones(2))


def test_a_window_over_every_pixel_is_the_identity():
    image = torch.rand(2, 3, 16, 16)
    parameters = torch.tensor([[0.0, 0.0, -6.0, 0.0, 0.0]]).repeat(2, 1)
    whole = window(parameters, points=16, height=16, width=16)
    torch.testing.assert_close(whole.filter_x, torch.eye(16).repeat(2, 1, 1))
    torch.testing.assert_close(whole.filter_y, torch.eye(16).repeat(2, 1, 1))
    torch.testing.assert_close(read(image, whole), image)
    torch.testing.assert_close(write(image, whole), image)


def test_one_point_is_no_grid():
    with pytest.raises(ValueError, match="2×2"):
        window(torch.zeros(1, 5), points=1, height=8, width=8)


def test_first_windows_cover_the_image(model):
    start = model.write_window(torch.zeros(1, TINY.hidden))
    assert float(start.columns.detach()[0, 0]) < 3
    assert float(start.rows.detach()[0, -1]) > 62


def test_steps_that_are_not_kept_cost_nothing(model, image):
    kept = torch.tensor([1, 3, 4])
    for noisy in (True, False):
        bits = model(image, torch.tensor([5.0, 50.0, 95.0]), kept, noisy=noisy).bits
        assert bits.shape == (3, 4)
        stored = torch.arange(4) < kept[:, None]
        assert bool((bits[stored] > 0).all())
        assert bool((bits[~stored] == 0).all())


@torch.no_grad()
def test_the_picture_does_not_depend_on_what_is_not_kept(model, image):
    quality, kept = torch.full((3,), 80.0), torch.full((3,), 2)
    model.write_window.linear.weight.mul_(20)  # windows that move
    clean = model(image, quality, kept, noisy=False)
    calls = []

    def disturb(_, __, out):
        calls.append(out)
        return out + 100 if len(calls) > 2 else out

    with model.head.register_forward_hook(disturb):
        disturbed = model(image, quality, kept, noisy=False)
        calls.clear()
        all_kept = model(image, quality, torch.full((3,), 4), noisy=False)
    assert torch.equal(clean.image, disturbed.image)
    assert torch.equal(clean.bits, disturbed.bits)
    assert not torch.equal(clean.image, all_kept.image)


@torch.no_grad()
def test_missing_steps_are_the_mean_or_a_sample(model, image):
    quality, kept = torch.full((3,), 80.0), torch.full((3,), 1)
    first, second = (model(image, quality, kept, noisy=False).image for _ in range(2))
    assert torch.equal(first, second)
    temperature = torch.tensor([0.0, 1.0, 1.0])
    sampled = model(image, quality, kept, temperature, noisy=False).image
    torch.testing.assert_close(sampled[0], first[0])
    assert not torch.allclose(sampled[1:], first[1:])


def test_quantization_rounds_towards_the_decoder_and_passes_gradients():
    mean, raw = torch.full((1, 3), 0.25), torch.full((1, 3), 2.0)
    target = torch.tensor([[0.7, -1.4, 3.1]], requires_grad=True)
    keep, cold = torch.tensor([True]), torch.zeros(1)
    z, bits = draw.quantize(mean, raw, target, keep, cold, False)
    torch.testing.assert_close(z, torch.tensor([[0.25, -1.75, 3.25]]))
    assert float(bits) > 0
    z.sum().backward()
    torch.testing.assert_close(target.grad, torch.ones(1, 3))
    narrow, free = draw.quantize(mean, torch.full((1, 3), -20.0), target, keep, cold, False)
    torch.testing.assert_close(narrow, mean)  # nothing is stored at the smallest scale
    assert float(free) == 0


@pytest.mark.parametrize("bfloat16", [False, True])
def test_gradients_reach_every_parameter(model, image, bfloat16):
    quality, kept = torch.tensor([5.0, 50.0, 95.0]), torch.tensor([2, 4, 4])
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        result = model(image, quality, kept)
    assert result.image.dtype == result.bits.dtype == torch.float32
    loss = rate_distortion_loss(model, result, image, quality, kept, LossConfig())
    loss.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


def test_another_size_is_an_error(model):
    with pytest.raises(ValueError, match="64×64 pixels, not 128×64"):
        model(torch.rand(1, 3, 64, 128), torch.tensor([50.0]), torch.tensor([4]))


def test_the_compared_models_have_equally_many_parameters():
    a, b = (sum(p.numel() for p in build().parameters()) for build in comparison.MODELS.values())
    assert a == pytest.approx(b, rel=0.05)


def test_bits_at_equal_psnr_where_curves_overlap():
    curve = [(q, 0.1 * 2**q, 25.0 + 3 * q) for q in range(6)]
    cheaper = [(q, 0.8 * bpp, psnr) for q, bpp, psnr in curve]
    saturated = [*cheaper, (6, 9.0, 30.0)]
    apart = [(q, bpp, psnr - 20) for q, bpp, psnr in curve]
    assert comparison.bits_at_equal_psnr(curve, cheaper) == pytest.approx(-20, abs=0.1)
    assert comparison.bits_at_equal_psnr(curve, saturated) == pytest.approx(-20, abs=0.1)
    assert comparison.bits_at_equal_psnr(curve, apart) is None


def test_the_comparison_runs_and_continues(tmp_path, monkeypatch, photograph, capsys):
    Image.fromarray(photograph[:200, :260]).save(tmp_path / "a.png")
    models = {
        "convdraw-tiny": BUILDERS["convdraw-tiny"],
        "draw-attention": lambda: AttentiveDRAW(TINY),
    }
    monkeypatch.setattr(comparison, "MODELS", models)
    seconds = {"convdraw-tiny": 0.2, "draw-attention": 0.1}
    monkeypatch.setattr(comparison, "time_steps", lambda *_: seconds)
    out = tmp_path / "out"
    threads = torch.get_num_threads()
    options = [str(tmp_path), str(tmp_path), "--minutes", "0.01", "--batch", "2", "--limit", "1"]
    tables = []
    for _ in range(2):  # the second time from the checkpoints
        comparison.main([*options, "--images", "1", "--out", str(out)])
        tables.append(capsys.readouterr().out.partition("| --- |")[2])
    torch.set_num_threads(threads)
    assert tables[0] == tables[1]
    assert "| steps | 3 | 6 |" in tables[0]
    found = json.loads((out / "results.json").read_text())
    assert [len(result["curve"]) for result in found["models"]] == [6, 6]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 4 * 64
