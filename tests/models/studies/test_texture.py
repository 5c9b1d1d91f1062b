import pytest
import torch
from PIL import Image

from models.registry import BUILDERS
from models.studies.texture.loss import local_covariance, phase_means, screen, texture_distance
from models.studies.texture.training import TextureTrainer, parse, stop_at, train
from models.weights_file import export_weights

IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
QUALITY = torch.tensor([30.0, 60.0])


@pytest.fixture
def command(tmp_path, photograph):
    """Arguments of a run of a few steps on a small model."""
    torch.manual_seed(0)
    weights, images = tmp_path / "tiny.safetensors", tmp_path / "images"
    weights.write_bytes(export_weights(BUILDERS["ssvae-tiny"](), "ssvae-tiny"))
    images.mkdir()
    Image.fromarray(photograph[:192, :256]).save(images / "a.png")

    def arguments(out: str, steps: int):
        given = f"{images} --weights {weights} --model ssvae-tiny --out {tmp_path / out}"
        return parse([*given.split(), *f"--steps {steps} --batch 2 --crop 64".split()])

    return arguments


def test_only_the_synthesis_behind_u_is_trained(command):
    before = TextureTrainer(command("untrained", 6))
    after = train(command("run", 6))
    for name, value in before.model.state_dict().items():
        assert torch.equal(value, after.model.state_dict()[name]), name
    for name, value in before.synthesis.state_dict().items():
        if name.startswith(before.synthesis.UNCHANGED):
            assert torch.equal(value, after.synthesis.state_dict()[name]), name
    changed = ("noise.0.weight", "noise.1.weight", "head_x.mix.weight", "inject.2.weight")
    for name in changed:
        old, new = (t.synthesis.state_dict()[name] for t in (before, after))
        assert not torch.equal(old, new), name


def test_a_run_continues_from_its_checkpoint(command):
    whole = train(command("whole", 4))
    train(command("parts", 4), until=2)
    parts = train(command("parts", 4))
    assert parts.step == whole.step == 4
    for a, b in zip(whole.ema.parameters(), parts.ema.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_stop_is_what_the_training_pass_of_the_model_gives(command, kept):
    model = TextureTrainer(command("run", 1)).model
    stop = stop_at(model, IMAGE, QUALITY, kept)
    expected = model(IMAGE, QUALITY, torch.full((2,), kept), noisy=False)
    torch.testing.assert_close(stop.smooth, expected.image)
    assert [s is not None for s in stop.spread] == [kept < 2, kept < 3]


def test_without_noise_it_begins_as_the_mean_fill(command):
    trainer = TextureTrainer(command("run", 1))
    stop = stop_at(trainer.model, IMAGE, QUALITY, 1)
    with torch.no_grad():
        silent, stirred = (
            trainer.synthesis(stop.coarse, stop.values, stop.noise(t), QUALITY) for t in (0.0, 1.0)
        )
    torch.testing.assert_close(silent, stop.smooth)
    assert not torch.equal(stirred, silent)


def test_a_step_that_is_not_finite_is_skipped_and_counted(command):
    trainer = TextureTrainer(command("run", 1))
    before = [p.clone() for p in trainer.synthesis.parameters()]
    trainer.train_step(IMAGE * torch.nan)
    assert trainer.skipped > 0
    assert all(
        torch.equal(a, b) for a, b in zip(before, trainer.synthesis.parameters(), strict=True)
    )


def test_local_covariance_is_that_of_each_window():
    x = torch.randn(2, 3, 8, 4, generator=torch.Generator().manual_seed(1))
    found = local_covariance(x, 4).view(2, 2, 3, 3)
    for image, window in ((0, 0), (1, 1)):
        values = x[image, :, 4 * window : 4 * window + 4].reshape(3, 16)
        torch.testing.assert_close(found[image, window], torch.cov(values, correction=0))


def test_texture_may_lie_elsewhere_in_its_window_but_not_vanish():
    generator = torch.Generator().manual_seed(1)
    x = tuple(torch.randn(1, 4, n, n, generator=generator) for n in (8, 4, 2))
    moved = tuple(level.flip(2, 3) for level in x)
    silent = tuple(torch.zeros_like(level) for level in x)
    assert float(texture_distance(x, moved)) == pytest.approx(0, abs=1e-6)
    assert float(texture_distance(x, silent)) > 0.9


def test_a_pattern_of_period_4_is_seen_and_nothing_else(photograph):
    true = torch.from_numpy(photograph[:128, :128]).permute(2, 0, 1)[None].float() / 255
    tile = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))
    tile = (tile - tile.mean(dim=(1, 2), keepdim=True)) * 2 / 255
    pattern = tile.repeat(1, 32, 32)[None]
    expected = 255 * float(tile.square().mean().sqrt())
    assert float(screen(true + pattern, true)) == pytest.approx(expected, rel=1e-4)
    assert float(screen(true + 0.2, true)) == pytest.approx(0, abs=1e-3)
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(2))
    noise *= pattern.std() / noise.std()
    assert float(screen(true + noise, true)) < 0.1 * expected  # 256 patches: a sixteenth


def test_the_means_of_phases_are_those_of_each_window():
    image = torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    found = phase_means(image)
    assert found.shape == (1, 48, 2, 1)
    patches = image[0, 1, 64:].reshape(16, 4, 16, 4).permute(0, 2, 1, 3).reshape(256, 16)
    expected = (patches - patches.mean(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(found[0, 16:32, 1, 0], expected)
