"""Trained peers: λ, files, training at one rate. What needs CompressAI runs in `make peers`."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from benchmarks.bench import peers
from benchmarks.bench.records import Record
from models.registry import BUILDERS
from models.studies.equal_time import make_trainer
from models.studies.peers import coders, comparison, networks, results
from models.studies.peers.training import OneRateTrainer
from models.trainable import TrainableModel, TrainingPass
from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.losses import LossConfig, rate_distortion_loss
from models.weights_file import load_coding_model, weights_info

needs_compressai = pytest.mark.skipif(
    not peers.installed(), reason="CompressAI is not installed: `make peers` runs this"
)
AT, ALL = torch.tensor([36.75]), torch.tensor([1])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two folders with two smooth pictures each."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("train", "held"):
        (folder / name).mkdir()
        for index in range(2):
            rough = np.random.default_rng(index).integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(rough).resize((160, 130), 3).save(folder / name / f"{index}.png")
    return folder


def image(seed=1, side=128):
    """Smooth, 1×3×side×side in [0, 1]."""
    rough = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, (side, side), mode="bicubic").clamp(0, 1)


def record(codec_name, setting, bpp, psnr, name="a"):
    seconds = {"encode_seconds": 1.0, "decode_seconds": 2.0}
    return Record(name, codec_name, setting, bpp, psnr, bytes=round(1e4 * bpp), **seconds)


# -- λ -----------------------------------------------------------------------------------------


def test_our_loss_is_that_of_compressai_up_to_a_constant():
    """Bits per pixel + λ' · MSE of pixels in [0, 255], both means taken over channels too."""
    published = 0.0067
    quality = torch.tensor([networks.quality_of(networks.lagrangian_of(published))])
    model, config = TrainableModel(), LossConfig(keep_probability=(1.0,), lambda_share=(1.0,))
    model.stages = (1,)
    original, drawn = image(1, 64), image(2, 64)
    passed = TrainingPass(drawn, {}, torch.tensor([[5000.0]]))
    loss = rate_distortion_loss(model, passed, original, quality, ALL, config)
    a, b = (255 * x.double().numpy() for x in (original, drawn))
    expected = 5000 / 64**2 + published * float(np.mean((a - b) ** 2))
    # A quality is a whole number of quarters: λ is met to 1%.
    assert float(loss.total * model.lagrangian(quality).sqrt()) == pytest.approx(expected, rel=0.01)


@needs_compressai
def test_our_loss_is_the_one_that_compressai_computes():
    peers.compressai()
    from compressai.losses import RateDistortionLoss

    original, drawn = image(1, 64), image(2, 64)
    likelihoods = torch.rand(1, 8, 4, 4).clamp_min(0.01)
    output = {"x_hat": drawn, "likelihoods": {"y": likelihoods}}
    theirs = RateDistortionLoss(lmbda=0.0067, metric="mse")(output, original)["loss"]
    bpp = -float(likelihoods.log2().sum()) / 64**2
    mse = float((original - drawn).square().mean())
    assert float(theirs) == pytest.approx(bpp + networks.lagrangian_of(0.0067) * mse, rel=1e-5)


@pytest.mark.parametrize("published", [0.0018, 0.0035, 0.013, 0.18])
def test_a_quality_has_the_lambda_that_it_was_found_for(published):
    wanted = networks.lagrangian_of(published)
    quality = networks.quality_of(wanted)
    assert quality * 4 == round(quality * 4)
    found = float(TrainableModel().lagrangian(torch.tensor(quality)))
    assert found == pytest.approx(wanted, rel=0.009)  # an eighth of a step of quality


def test_a_lambda_that_no_quality_has_is_an_error():
    with pytest.raises(ValueError, match="between 18 and 18000"):
        networks.quality_of(networks.lagrangian_of(1.0))


# -- figures -----------------------------------------------------------------------------------


def test_bits_at_equal_psnr_are_exact_on_an_exponential_curve():
    curve = np.array([(q, 0.1 * 2 ** (d / 6), d) for q, d in ((0, 24.0), (1, 31.0), (2, 36.0))])
    assert coders.bits_at(curve, 29.0) == pytest.approx(0.1 * 2 ** (29 / 6))
    assert coders.bits_at(curve, 23.9) is None
    assert coders.bits_at(curve, 36.1) is None


def test_a_file_of_a_fifth_fewer_bits_is_a_fifth_cheaper():
    records = [
        record(name, setting, share * 2 ** (decibel / 6), decibel + shift, picture)
        for picture, shift in (("a", -1.0), ("b", 1.0))
        for name, share in (("ours", 1.0), ("peer", 0.8))
        for setting, decibel in ((1.0, 27.0), (2.0, 30.0), (3.0, 33.0))
    ]
    found = coders.against(records, "peer", 2.0, "ours")
    assert found.percent == pytest.approx(-20)
    assert (found.smaller, found.images) == (2, 2)
    assert found.error == pytest.approx(0, abs=1e-9)  # it saves as much of both
    records.append(record("far", 2.0, 9.0, 60.0))
    records.append(record("far", 2.0, 9.0, 60.0, "b"))
    assert coders.against(records, "far", 2.0, "ours") is None


def test_the_error_is_that_of_a_mean_over_images():
    """Where the curve asks the same of all images, it is the standard error of their bits."""
    bits = [0.6, 0.8, 1.0, 1.4]
    records = []
    for image, own in zip("abcd", bits, strict=True):
        records += [record("ours", s, s, 30 + s, image) for s in (1.0, 2.0, 3.0)]
        records.append(record("peer", 2.0, own, 31.0, image))
    found = coders.against(records, "peer", 2.0, "ours")
    assert found.percent == pytest.approx(-5)
    assert found.error == pytest.approx(100 * np.std(bits, ddof=1) / 2)
    assert coders.against(records[:4], "peer", 2.0, "ours").error is None


def test_the_cost_is_what_training_minimizes():
    records = [record("peer", 50.0, 0.5, 30.0), record("peer", 50.0, 0.7, 20.0, "b")]
    assert coders.cost(records, "peer", 50.0, 100.0) == pytest.approx(0.6 + 100 * 0.0055)


def test_rows_tell_rate_cost_and_time_per_pixel():
    points = ((30.0, 0.5, 28.0), (50.0, 1.0, 32.0), (60.0, 2.0, 36.0))
    records = [record("ssvae", *point) for point in points]
    records += [record("JPEG 2000", s, 2 * b, d) for s, b, d in points]
    records.append(record("peer", 50.0, 0.8, 32.0))
    mine, peer = results.rows_of(records, [50.0], "ssvae")
    assert peer["against ssvae"]["percent"] == pytest.approx(-20)
    assert peer["against JPEG 2000"]["percent"] == pytest.approx(-60)
    assert mine["cost_percent"] == 0
    assert peer["cost"] - mine["cost"] == pytest.approx(-0.2, abs=1e-4)
    assert peer["encode_seconds_per_megapixel"] == pytest.approx(1 / 0.08, rel=1e-3)
    lines = results.table([mine, peer], "ssvae").splitlines()
    assert lines[-1].startswith("| peer | 569 | 0.8000 | 32.00 | -20.0% | 1 of 1 |")


# -- files and training --------------------------------------------------------------------------


def test_weights_that_are_not_installed_code_as_the_codec_does(crop):
    path = weights_info("ssvae-psnr").path
    model = load_coding_model(path, name="ssvae-psnr", device=torch.device("cpu"))
    for fitted in (True, False):
        coder = coders.ours("ours", model, 40, fitted=fitted)
        data = coder.encode(crop)
        wanted = codec.encode(crop, quality=40, model="ssvae-psnr", filter=fitted, graphics=False)
        assert data == wanted
        assert np.array_equal(coder.decode(data), np.array(codec.decode(data)))


def test_every_byte_of_every_turn_is_counted(data):
    files = sorted((data / "held").iterdir())
    turns = coders.jpeg2000()[:2]
    found = coders.measure(files, turns)
    assert [(r.image, r.setting) for r in found] == [
        (f.name, t.quality) for f in files for t in turns
    ]
    pixels = np.array(Image.open(files[0]))
    assert found[0].bytes == len(turns[0].encode(pixels))
    assert found[0].bpp == 8 * found[0].bytes / (160 * 130)
    assert all(r.encode_seconds > 0 and r.decode_seconds > 0 for r in found)


def test_at_one_rate_every_crop_has_its_quality_and_all_layers(data, tmp_path):
    config = TrainConfig(
        data, tmp_path, model="ssvae-tiny", batch=5, crop=64, device="cpu", precision="float32"
    )
    trainer = OneRateTrainer(config, BUILDERS["ssvae-tiny"], quality=40.0)
    images = ImageSet(data / "train", device=torch.device("cpu"))
    figures, following = trainer.train_step(trainer.draw(images), images)
    for quality in (figures.quality, following.quality):
        assert quality.tolist() == [40.0] * 5
    assert figures.kept.tolist() == [3] * 5


@pytest.mark.skipif(peers.installed(), reason="CompressAI is installed")
def test_without_compressai_a_line_says_what_to_do(tmp_path, data):
    with pytest.raises(SystemExit, match=r"CompressAI is not installed: `make peers`"):
        comparison.main([str(data), str(data / "held"), "--out", str(tmp_path)])


# -- CompressAI ----------------------------------------------------------------------------------


@pytest.fixture(params=list(networks.PEERS))
def model(request):
    """A peer whose y has a deviation of about 3, as it also predicts; a fresh one's are near 0."""
    torch.manual_seed(0)
    found = networks.PEERS[request.param]()
    net = found.network
    with torch.no_grad():
        net.g_a[-1].weight.mul_(3 / net.g_a(image()).std())
        last = next(m for m in reversed(net.h_s) if isinstance(m, torch.nn.Conv2d))
        last.bias[: net.M] = 3.0
        net.h_a[-1].weight.mul_(10)
    return found


@needs_compressai
@torch.no_grad()
def test_the_training_pass_is_compressais(model):
    result = model(image(), AT, ALL, noisy=False)
    own = model.network.eval()(image())
    torch.testing.assert_close(result.image, own["x_hat"])
    bits = -sum(float(p.log2().sum()) for p in own["likelihoods"].values())
    assert float(result.bits) == pytest.approx(bits, rel=1e-5)
    assert bits > 1000
    torch.manual_seed(3)
    noisy = model(image(), AT, ALL)
    torch.manual_seed(3)
    own = model.network.train()(image())
    torch.testing.assert_close(noisy.image, own["x_hat"])


@needs_compressai
@torch.no_grad()
def test_a_file_costs_what_the_likelihoods_say_and_decodes_to_the_rounded_pass(model):
    side, pixels = 256, image(side=256)
    network = networks.coder(model, "peer").network
    result = networks.Hyperprior(network)(pixels, AT, ALL, noisy=False)  # with its medians
    rgb = pixels[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    coder = coders.theirs(peers.Peer("peer", network, False), 36.75)
    data = coder.encode(rgb)
    strings = network.compress(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)[
        "strings"
    ]
    assert len(data) == 9 + sum(4 + len(string) for (string,) in strings)
    assert 8 * len(data) == pytest.approx(float(result.bits), rel=0.03)
    drawn = result.image[0].mul(255).round().clamp(0, 255).permute(1, 2, 0).numpy()
    decoded = coder.decode(data)
    assert decoded.shape == (side, side, 3)
    # What 8-bit pixels change in x moves single symbols.
    assert np.abs(decoded.astype(int) - drawn).mean() < 1


@needs_compressai
@torch.no_grad()
def test_coded_symbols_come_back_and_cost_their_likelihood():
    torch.manual_seed(0)
    bottleneck = peers.compressai().entropy_models.EntropyBottleneck(8).eval()
    bottleneck.update(force=True, update_quantiles=True)
    values = 6 * torch.randn(1, 8, 64, 64)
    strings = bottleneck.compress(values)
    rounded, likelihoods = bottleneck(values)
    assert torch.equal(bottleneck.decompress(strings, (64, 64)), rounded)
    assert float((rounded - values).abs().max()) <= 0.5 + 1e-5
    bits = -float(likelihoods.log2().sum())
    assert 8 * len(strings[0]) == pytest.approx(bits, rel=0.01)


@needs_compressai
def test_quantiles_are_where_the_auxiliary_loss_wants_them(model):
    bottleneck = model.network.entropy_bottleneck
    with torch.no_grad():
        for parameter in (*bottleneck.matrices, *bottleneck.biases):
            parameter.add_(0.2 * torch.randn_like(parameter))
    before, quantiles = float(bottleneck.loss().detach()), bottleneck.quantiles.clone()
    settled = networks.coder(model, "peer").network.entropy_bottleneck
    assert before > 100
    assert float(settled.loss().detach()) < 0.01 * before
    assert not torch.equal(settled.quantiles, quantiles)
    assert torch.equal(bottleneck.quantiles, quantiles)  # those of the training run stay
    cumulative = torch.sigmoid(settled._logits_cumulative(settled.quantiles, stop_gradient=True))
    assert torch.allclose(cumulative[:, 0, 1], torch.tensor(0.5), atol=1e-3)


@needs_compressai
def test_neither_loss_nor_picture_of_training_sees_the_quantiles(model):
    result = model(image(), AT, ALL)
    (result.bits.sum() + result.image.square().mean()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == ["network.entropy_bottleneck.quantiles"]


@needs_compressai
def test_the_loop_lowers_the_loss(data, tmp_path):
    options = comparison.parser().parse_args(
        [str(data / "train"), str(data / "held"), "--out", str(tmp_path), "--batch", "2"]
    )
    name = "mbt2018-mean"
    trainer = make_trainer(
        networks.PEERS[name],
        options,
        60,
        kind=comparison.Run(name, 36.75).kind,
        **comparison.changes(name, options) | {"crop": 64, "warmup_steps": 1},
    )
    images = ImageSet(options.data, device=torch.device("cpu"))
    batch, losses = trainer.draw(images), []
    while trainer.step < 60:
        figures, batch = trainer.train_step(batch, images)
        losses.append(float(figures.loss))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert trainer.skipped == 0


@needs_compressai
def test_the_comparison_runs_and_continues(data, tmp_path, monkeypatch, capsys):
    arguments = [str(data / "train"), str(data / "held"), "--out", str(tmp_path), "--model"]
    arguments += ["ssvae-tiny", "--minutes", "0.001", "--batch", "1", "--crop", "64"]
    arguments += ["--lambdas", "0.0035", "--qualities", "20", "50", "--held-out", "1"]
    arguments += ["--networks", "mbt2018-mean", "ssvae-one-rate", "--table-crops", "22"]
    threads = torch.get_num_threads()
    comparison.main([*arguments, "--runs", "mbt2018-mean-36.75"])
    assert not (tmp_path / "results.json").exists()
    comparison.main(arguments)
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["runs"]) == ["ssvae", "mbt2018-mean-36.75", "ssvae-one-rate-36.75"]
    assert all(run["steps"] >= 1 for run in found["runs"].values())
    names = [row["network"] for row in found["rows"]]
    assert names == ["ssvae", "ssvae, no fitted filter", "mbt2018-mean", "ssvae-one-rate"]
    assert "| mbt2018-mean | 228 |" in (tmp_path / "table.md").read_text()
    monkeypatch.setattr(OneRateTrainer, "train_step", None)  # nothing is trained again
    comparison.main(arguments)
    torch.set_num_threads(threads)
    with pytest.raises(SystemExit, match="no run 'other'; there are: ssvae, mbt"):
        comparison.main([*arguments, "--runs", "other"])
