import io
import itertools
import math
import signal
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from codec.walk import Coded, Recorder, pad_image, tables_of, walk
from models.registry import BUILDERS
from models.ssvae.networks import SSVAE
from models.training.__main__ import main, parse
from models.training.arithmetic import ARITHMETICS
from models.training.card import read_history, write_card
from models.training.colours import shift_colours, two_colours
from models.training.config import TrainConfig, learning_rate_factor
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated
from models.training.export import export, load_ema
from models.training.export import main as export_command
from models.training.loop import train
from models.training.losses import (
    LossConfig,
    draw_stages,
    keep_probabilities,
    lambda_shares,
    rate_distortion_loss,
    with_whole,
)
from models.training.muon import Muon, orthogonalize
from models.training.pages import draw_pages
from models.training.trainer import Trainer
from models.weights_file import (
    WeightsError,
    export_weights,
    fingerprint_of,
    load_coding_model,
    load_trainable,
)
from tests.conftest import psnr

CPU = torch.device("cpu")
#: A small model of each family.
TINY = ["ssvae-tiny", "convdraw-tiny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    """A folder with an image, a tar shard of two, and a text file."""
    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(photograph).save(folder / "a.png")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for name, size in (("b.jpg", (200, 150)), ("c.webp", (90, 300)), ("index.json", None)):
            buffer = io.BytesIO(b"{}")
            if size:
                buffer = io.BytesIO()
                Image.fromarray(photograph).resize(size).save(
                    buffer, name[2:].replace("jpg", "jpeg")
                )
            member = tarfile.TarInfo(name)
            member.size = len(buffer.getvalue())
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
    (folder / "notes.txt").write_text("not an image")
    return folder


def config(folder, out, **changes) -> TrainConfig:
    base = TrainConfig(
        data=folder,
        out=out,
        model="ssvae-tiny",
        steps=20,
        decay_steps=5,
        warmup_steps=3,
        batch=3,
        crop=64,
        precision="float32",
        log_steps=10,
    )
    return replace(base, **changes)


def test_image_set_reads_files_and_shards(folder, photograph):
    images = ImageSet(folder, device=CPU)
    assert images.sizes == [(512, 768), (150, 200), (300, 90)]
    np.testing.assert_array_equal(images.image(0).numpy(), photograph)


def test_crops_are_seeded_and_cover_scales(folder):
    images = ImageSet(folder, device=CPU)
    a, b = (images.crops(8, 64, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == (8, 3, 64, 64)
    assert not torch.equal(a, images.crops(8, 64, torch.Generator().manual_seed(6)))


def test_a_share_of_the_crops_is_recoloured(folder):
    """Other colours, the same greys; the rest of the crops, and their places, stay as they were."""
    plain, all_of_them, some = (
        ImageSet(folder, device=CPU, recolour=share).crops(24, 64, torch.Generator().manual_seed(5))
        for share in (0.0, 1.0, 0.3)
    )

    def chroma(crops):
        return (crops.amax(1).float() - crops.amin(1)).mean((1, 2))

    changed = [not torch.equal(a, b) for a, b in zip(plain, some, strict=True)]
    assert 2 <= sum(changed) <= 16
    assert all(
        torch.equal(new, expected)
        for new, expected in zip(some, torch.where(_mask(changed), all_of_them, plain), strict=True)
    )
    assert chroma(all_of_them).mean() > 1.4 * chroma(plain).mean()


def _mask(flags: list[bool]) -> torch.Tensor:
    return torch.tensor(flags).view(-1, 1, 1, 1)


def test_shifted_colours_keep_greys_and_range():
    grey = torch.arange(256.0).expand(3, 4, 256)
    assert torch.equal(shift_colours(grey, angle=2, gain=3), grey)
    assert torch.equal(shift_colours(grey, angle=2, gain=3, invert=1)[1], 255 - grey[1])
    pixel = torch.tensor([200.0, 100.0, 50.0]).view(3, 1, 1)
    turned = shift_colours(pixel, angle=2 * math.pi / 3, gain=1)
    assert turned.flatten().tolist() == [50.0, 200.0, 100.0]  # a third of a turn: channels change
    loud = shift_colours(pixel, angle=0, gain=4)
    assert loud.min() == 0
    assert loud.max() == 255


def test_two_colours_follow_the_luma():
    crop = torch.tensor([[40, 140], [90, 140]]).expand(3, 2, 2).to(torch.uint8)
    drawn = two_colours(crop, [255, 0, 10], [0, 200, 10])
    assert drawn[:, 0, 0].tolist() == [255, 0, 10]
    assert drawn[:, 0, 1].tolist() == [0, 200, 10]
    assert drawn[:, 1, 0].tolist() == pytest.approx([127.5, 100, 10], abs=0.5)
    flat = two_colours(torch.full((3, 2, 2), 7, dtype=torch.uint8), [255, 0, 10], [0, 0, 0])
    assert torch.equal(flat[:, 0, 0], torch.tensor([255.0, 0, 10]))


def test_a_folder_without_images_says_so(tmp_path):
    with pytest.raises(ValueError, match="no image"):
        ImageSet(tmp_path, device=CPU)


def test_schedule_warms_up_stays_and_decays(tmp_path):
    c = TrainConfig(data=tmp_path, out=tmp_path, steps=100, decay_steps=20, warmup_steps=10)
    factors = [learning_rate_factor(step, c) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert set(factors[10:80]) == {1.0}
    assert all(a > b for a, b in itertools.pairwise(factors[80:]))
    assert factors[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_twenty_steps_equal_ten_and_ten_more(folder, tmp_path, optimizer):
    whole = train(config(folder, tmp_path / "whole", optimizer=optimizer))
    part = config(folder, tmp_path / "part", optimizer=optimizer)
    first = Trainer(part)
    images = ImageSet(folder, device=CPU)
    part.out.mkdir()
    crops = first.draw(images)
    for _ in range(10):
        _, crops = first.train_step(crops, images)
    first.save("latest.pt")
    second = train(part)
    assert second.step == whole.step == 20
    for a, b in zip(whole.ema.parameters(), second.ema.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_signal_stops_a_run_with_a_checkpoint(folder, tmp_path):
    timer = threading.Timer(1.0, signal.raise_signal, [signal.SIGTERM])
    before = signal.getsignal(signal.SIGTERM)
    timer.start()
    trainer = train(config(folder, tmp_path / "run", steps=10**6))
    timer.join()
    assert 0 < trainer.step < 10**6
    saved = torch.load(tmp_path / "run" / "latest.pt", weights_only=True)
    assert saved["step"] == trainer.step
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_state_before_the_decay_is_kept(folder, tmp_path):
    train(config(folder, tmp_path))
    assert torch.load(tmp_path / "constant.pt", weights_only=True)["step"] == 15


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_training_lowers_the_loss(folder, tmp_path, optimizer):
    trainer = Trainer(config(folder, tmp_path, steps=400, learning_rate=3e-3, optimizer=optimizer))
    images = ImageSet(folder, device=CPU)
    losses = [float(trainer.train_step(trainer.draw(images))[0].loss) for _ in range(80)]
    assert np.mean(losses[-15:]) < 0.5 * np.mean(losses[:5])


def test_a_step_that_is_not_finite_is_skipped_and_counted(folder, tmp_path):
    trainer = Trainer(config(folder, tmp_path))
    before = [p.clone() for p in trainer.model.parameters()]
    crops = trainer.draw(ImageSet(folder, device=CPU))
    lagrangian = SSVAE.lagrangian
    trainer.model.lagrangian = lambda q: lagrangian(trainer.model, q) * math.nan
    trainer.train_step(crops)
    assert trainer.skipped == 1
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


@pytest.mark.parametrize("name", TINY)
def test_dropped_stages_cost_no_bits_and_fill_from_the_prior(name):
    torch.manual_seed(0)
    model = BUILDERS[name]()
    count = sum(model.stages)
    kept = torch.arange(1, count + 1)
    image = torch.rand(1, 3, 64, 64).expand(count, -1, -1, -1)
    with torch.no_grad():
        result = model(image, torch.full((count,), 50.0), kept, noisy=False)
    dropped = torch.arange(count) >= kept[:, None]
    assert result.bits.shape == (count, count)
    assert (result.bits[dropped] == 0).all()
    assert (result.bits[:, 0] > 0).all()


@pytest.mark.parametrize("stages", [(1, 1, 1), (2, 2, 4), (4, 4, 8)])
def test_every_stage_is_a_stop_that_asks_for_more_bits_than_the_one_before(stages):
    shares = lambda_shares(LossConfig(), stages)
    assert shares == sorted(set(shares))
    assert [shares[sum(stages[: n + 1]) - 1] for n in range(3)] == pytest.approx([0.02, 0.2, 1.0])
    chances = keep_probabilities(LossConfig(), stages)
    assert sum(chances) == pytest.approx(1)
    assert len(chances) == len(shares) == sum(stages)
    assert min(chances) > 0


def test_small_weighs_the_errors_of_the_small_pictures_alone():
    torch.manual_seed(0)
    model = BUILDERS["ssvae-tiny"]()
    image, quality = torch.rand(2, 3, 64, 64), torch.tensor([20.0, 80.0])
    kept = torch.tensor([3, 3])
    with torch.no_grad():
        result = model(image, quality, kept, noisy=False)
    none, one, three = (
        float(rate_distortion_loss(model, result, image, quality, kept, LossConfig(small=v)).total)
        for v in (0.0, 1.0, 3.0)
    )
    lam = model.lagrangian(quality)
    errors = [
        model.small_share[f] * (p - model.small_target(image, f)).square().mean((1, 2, 3))
        for f, p in result.small.items()
    ]
    assert one - none == pytest.approx(float((lam.sqrt() * sum(errors)).mean()), rel=1e-4)
    assert three - none == pytest.approx(3 * (one - none), rel=1e-4)  # no weight is above λ yet


@pytest.mark.parametrize("kept", [1, 2])
def test_errors_count_less_where_an_image_ends_in_the_first_layer(kept):
    torch.manual_seed(0)
    model = BUILDERS["ssvae-tiny"]()
    image, quality, stages = (
        torch.rand(2, 3, 64, 64),
        torch.full((2,), 50.0),
        torch.tensor([kept] * 2),
    )
    with torch.no_grad():
        result = model(image, quality, stages, noisy=False)

    def loss(share: dict[int, float]) -> float:
        model.first_layer_share = share
        return float(
            rate_distortion_loss(model, result, image, quality, stages, LossConfig()).total
        )

    lam = float(model.lagrangian(quality[:1])) * lambda_shares(LossConfig(), model.stages)[kept - 1]
    error = float((result.image - image).square().mean())
    expected = 0.75 * lam**0.5 * error if kept == 1 else 0.0
    assert loss({}) - loss({1: 0.25}) == pytest.approx(expected, rel=1e-4)
    assert (loss({1: 0.25}) > loss({1: 0.25, 2: 0.0})) == (kept == 1)


def test_whole_is_the_share_of_images_with_all_layers():
    config = LossConfig(keep_probability=with_whole(0.8))
    torch.manual_seed(0)
    kept, _ = draw_stages(20_000, config, (1, 1, 1))
    counts = torch.bincount(kept, minlength=4)[1:] / len(kept)
    assert counts.tolist() == pytest.approx([0.2 * 3 / 7, 0.2 * 4 / 7, 0.8], abs=0.01)
    assert sum(config.keep_probability) == pytest.approx(1)
    with pytest.raises(ValueError, match="all layers"):
        LossConfig(keep_probability=with_whole(1.2)).check(192)


@pytest.mark.parametrize("name", TINY)
def test_export_gives_the_codec_the_same_model(folder, tmp_path, name):
    """Exported and reloaded, the exact prior predicts the same; estimated bits are real bits, and
    the picture of the training pass is the one of the codec."""
    trainer = Trainer(config(folder, tmp_path, model=name, steps=400, learning_rate=3e-3, ema=0.9))
    images = ImageSet(folder, device=CPU)
    for _ in range(60):
        trainer.train_step(trainer.draw(images))
    trainer.save("latest.pt")
    out = tmp_path / "tiny.safetensors"
    export(tmp_path / "latest.pt", name, out, crops=16)
    loaded = load_coding_model(out, name=name, device=CPU)
    assert loaded.fingerprint != b"\0" * 4

    picture = images.image(0).numpy()[:256, :384]
    Image.fromarray(picture).save(tmp_path / "a.png")
    model = load_ema(out, name)
    row = evaluate_estimated(model, tmp_path, qualities=(80,), layers=(3,))[0]
    recorder = Recorder(loaded.layers, tables_of(loaded))
    posterior = loaded.posterior(pad_image(picture, 64), 80)
    coded = Coded(posterior, loaded.skip_index, recorder=recorder)
    prior = walk(loaded, (256, 384), 80, [coded] * 3)
    real = 8 * sum(map(len, recorder.payloads()[0])) / (256 * 384)
    assert real == pytest.approx(sum(row.bpp), rel=0.01)
    shown = loaded.synthesize(prior.latents, 80, 1)[0].permute(1, 2, 0).numpy()
    assert psnr(picture, shown) == pytest.approx(row.psnr, abs=0.02)


def test_training_continues_from_a_weights_file(folder, tmp_path):
    torch.manual_seed(3)
    data = export_weights(BUILDERS["ssvae-tiny"](), "ssvae-tiny")
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    assert export_weights(load_trainable(path, "ssvae-tiny"), "ssvae-tiny") == data
    trainer = Trainer(config(folder, tmp_path))
    trainer.begin_from(path)
    assert trainer.step == 0
    expected = load_trainable(path, "ssvae-tiny").state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in trainer.ema.state_dict().items())


def test_tables_are_added_to_a_weights_file_that_keeps_its_history_and_card(folder, tmp_path):
    trainer = train(config(folder, tmp_path / "run", steps=4, decay_steps=2, log_steps=2))
    before, after = tmp_path / "before.safetensors", tmp_path / "after.safetensors"
    export(tmp_path / "run" / "latest.pt", "ssvae-tiny", before, gaussian_tables=True)
    card = before.with_suffix(".md").read_text().replace("Not measured yet.", "Measured.")
    before.with_suffix(".md").write_text(card)
    export(before, "ssvae-tiny", after, data=folder, crops=4)
    prior, again = (load_trainable(p, "ssvae-tiny").prior.state_dict() for p in (before, after))
    assert all(torch.equal(prior[key], again[key]) for key in prior)
    tables = [
        load_coding_model(p, name="ssvae-tiny", device=CPU).frequencies for p in (before, after)
    ]
    assert [len({id(stage) for stage in stages}) for stages in tables] == [1, 4]
    assert read_history(after) == trainer.history
    lines = after.with_suffix(".md").read_text().splitlines()
    assert "Measured." in lines
    assert f"- fingerprint: `{fingerprint_of(after.read_bytes()).hex()}`" in lines
    changed = [new for old, new in zip(card.splitlines(), lines, strict=True) if old != new]
    assert [line.split(":")[0] for line in changed] == ["- file", "- fingerprint"]


def test_an_export_without_training_images_asks_for_them(folder, tmp_path):
    trainer = Trainer(config(folder, tmp_path))
    trainer.save("latest.pt")
    state = torch.load(tmp_path / "latest.pt", weights_only=True)
    state["config"]["data"] = str(tmp_path / "gone")
    torch.save(state, tmp_path / "latest.pt")
    run = [str(tmp_path), "--name", "ssvae-tiny", "--out", str(tmp_path / "w.safetensors")]
    with pytest.raises(SystemExit, match=r"gone.*--data"):
        export_command(run)
    export_command([*run, "--gaussian-tables"])
    with pytest.raises(SystemExit, match=r"w\.safetensors.*--data"):
        export_command([run[-1], *run[1:]])


def test_weights_that_are_damaged_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        load_coding_model(path, name="ssvae-tiny", device=CPU)


def test_every_setting_is_on_the_command_line(tmp_path):
    c = parse(
        [str(tmp_path), "--out", "x", "--steps", "7", "--precision", "float32", "--validation", "v"]
    )
    assert (c.steps, c.precision, str(c.validation)) == (7, "float32", "v")


def test_an_unknown_optimizer_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="adam, muon"):
        Trainer(config(folder, tmp_path, optimizer="sgd"))


def test_an_unknown_precision_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="float32, bfloat16, mixed"):
        Trainer(config(folder, tmp_path, precision="float16"))


def test_choosing_the_arithmetic_leaves_the_run_as_it_was(folder, tmp_path):
    images = ImageSet(folder, device=CPU)
    trainers = [
        Trainer(config(folder, tmp_path, optimizer="muon", precision="auto")) for _ in range(2)
    ]
    for trainer, chooses in zip(trainers, (True, False), strict=True):
        torch.manual_seed(3)
        crops = trainer.draw(images)
        if chooses:
            assert "taken" in trainer.choose_arithmetic(crops)
        trainer.arithmetic = ARITHMETICS["float32"]
        trainer.arithmetic.apply(trainer.model)
        trainer.optimizer.muon.dtype = torch.float32
        trainer.train_step(crops)
    for a, b in zip(*(t.model.parameters() for t in trainers), strict=True):
        assert torch.equal(a, b)


def test_orthogonalized_matrices_have_singular_values_of_about_one():
    torch.manual_seed(0)
    for shape in ((3, 40, 24), (2, 24, 40)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert ((values > 0.5) & (values < 1.3)).all()


def test_muon_steps_as_the_library_does():
    """Against ``torch.optim.Muon``, which multiplies in bfloat16."""
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(32, 48)) for _ in range(2))
    library = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    optimizer = Muon([ours], lr=0.01, dtype=torch.bfloat16)
    for _ in range(3):
        ours.grad = torch.randn(32, 48)
        theirs.grad = ours.grad.clone()
        optimizer.step()
        library.step()
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert (ours - 1).abs().max() > 0.01


def test_muon_moves_the_weights_themselves(folder, tmp_path):
    """After a step the model's matrices have moved, by about the rate."""
    trainer = Trainer(config(folder, tmp_path, optimizer="muon", warmup_steps=0))
    weight = trainer.model.analysis.downs[0].mix.weight
    before = weight.detach().clone()
    trainer.train_step(trainer.draw(ImageSet(folder, device=CPU)))
    moved = (weight.detach() - before).square().mean().sqrt()
    # Orthogonal updates scaled to a root mean square of 0.2 (Liu et al. 2025).
    assert float(moved) == pytest.approx(0.2 * trainer.config.learning_rate, rel=0.3)


def test_the_card_is_written_by_the_tool(folder, tmp_path):
    trainer = train(config(folder, tmp_path / "run", steps=4, decay_steps=2, log_steps=2))
    out = tmp_path / "ssvae-tiny.safetensors"
    export(tmp_path / "run" / "latest.pt", "ssvae-tiny", out, gaussian_tables=True)
    assert read_history(out) == trainer.history
    card = out.with_suffix(".md")
    text = card.read_text()
    assert "4 steps, 12 crops" in text
    assert fingerprint_of(out.read_bytes()).hex() in text
    assert "Not measured yet" in text
    card.write_text(text + "\nWritten by hand.\n")
    curve = [[0, 0.1, 20.0], [100, 1.0, 30.0]]
    names = ("ours", "ours, first 1", "ours, first 2", "jpeg", "jpeg2000")
    result = {
        "images": 3,
        "machine": "a machine",
        "curves": dict.fromkeys(names, curve),
        "bd_rate_percent": {"jpeg": -12.34, "jpeg2000": 5.0},
    }
    text = write_card(out, {"Validation": result}).read_text()
    assert "| 100 | 1.000 | 30.00 |" in text
    assert "**-12.3%** against JPEG" in text
    assert text.rstrip().endswith("Written by hand.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": Path("/nowhere")}, "/nowhere: no such folder"),
        ({"model": "nonesuch"}, "'nonesuch'; there are: ssvae"),
        ({"init": Path("nothing.safetensors")}, "nothing.safetensors"),
    ],
)
def test_bad_settings_are_one_line(folder, tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(
        "models.training.__main__.parse", lambda: config(folder, tmp_path / "run", **changes)
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert words in str(stop.value)


def test_drawn_pages_join_the_images(folder):
    """Pages of text and graphics: the same from the same seed, and worth training on."""
    first, again, other = draw_pages(2, 5), draw_pages(2, 5), draw_pages(2, 6)
    for page, same in zip(first, again, strict=True):
        assert page.shape == (768, 1024, 3)
        assert page.dtype == np.uint8
        assert np.array_equal(page, same)
        assert len(np.unique(page.reshape(-1, 3), axis=0)) > 20  # antialiased, more than a ground
    assert not np.array_equal(first[0], other[0])
    plain = ImageSet(folder, device=CPU)
    joined = ImageSet(folder, device=CPU, pages=2, seed=5)
    assert len(joined) == len(plain) + 2
    assert np.array_equal(joined.image(len(plain)).numpy(), first[0])
