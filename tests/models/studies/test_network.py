import json

import pytest
import torch
from PIL import Image

from models.registry import BUILDERS
from models.ssvae.networks import SSVAEConfig
from models.studies.network import search
from models.studies.network.search import CorrectedSSVAE
from models.studies.network.two_steps import TwoStepPrior, TwoStepSSVAE
from models.studies.network.u_prior import Factorized, Flow, Steps, candidates, fit
from tests.models.exact.test_stage_prior import masks


@pytest.fixture
def u():
    """Channels that are noisy copies of each other: something for a prior to find."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(8, 1, 6, 6, generator=generator) * 4
    return base + torch.randn(8, 8, 6, 6, generator=generator)


def test_the_flow_is_a_bijection_of_integers(u):
    torch.manual_seed(1)
    flow = Flow(8, 16, 5, Factorized(8))
    quality = torch.linspace(0, 100, 8)
    whole = torch.round(u)
    with torch.no_grad():
        for coupling in flow.couplings:
            coupling.leave.weight.mul_(30)  # shifts of several steps
        there = flow(whole, quality)
        back = flow.inverse(there, quality)
    assert torch.equal(there, torch.round(there))
    assert (there != whole).float().mean() > 0.2
    assert torch.equal(back, whole)


def test_steps_and_flows_learn_what_a_factorized_prior_cannot(u):
    quality = torch.full((8,), 50.0)
    rates = {}
    for name, prior in (
        ("factorized", Factorized(8)),
        ("steps", Steps(8, 16)),
        ("flow", Flow(8, 16, 4, Factorized(8))),
    ):
        torch.manual_seed(2)
        fit(prior, u, quality, lambda step: step / 200, batch=8)
        with torch.no_grad():
            rates[name] = float(prior.bits(u, quality))
    assert rates["steps"] < 0.9 * rates["factorized"]
    assert rates["flow"] < 0.97 * rates["factorized"]


def test_all_candidates_price_u(u):
    u = u.repeat(1, 2, 1, 1)
    for name, build in candidates(16).items():
        bits = build().bits(u, torch.full((8,), 20.0))
        assert float(bits.detach()) > 0, name


def test_network_variants_are_compared_at_equal_time(tmp_path, monkeypatch, photograph, capsys):
    """The whole search on small models: steps follow from step times, the table from the curves."""
    Image.fromarray(photograph[:256, :256]).save(tmp_path / "a.png")
    tiny = BUILDERS["ssvae-tiny"]
    variants = {"default": (tiny, {}), "Adam": (tiny, {"optimizer": "adam"})}
    monkeypatch.setattr(search, "FAMILIES", {"ssvae": variants})
    monkeypatch.setattr(search, "time_steps", lambda _: {"default": 0.01, "Adam": 0.005})
    out = tmp_path / "out"
    threads = torch.get_num_threads()
    options = ["--minutes", "0.01", "--batch", "2", "--crop", "64", "--out", str(out)]
    search.main([str(tmp_path), str(tmp_path), *options])
    torch.set_num_threads(threads)
    steps = {p.stem: json.loads(p.read_text())["steps"] for p in (out / "variants").iterdir()}
    assert steps == {"default": 60, "Adam": 120}
    assert "default: 0.010 s a step, 60 steps" in capsys.readouterr().out


def test_the_table_gives_bits_at_equal_psnr():
    curve = [[q, 0.1 * 2**q, 25.0 + 3 * q] for q in range(6)]
    cheaper = [[q, 0.8 * bpp, decibel] for q, bpp, decibel in curve]
    results = [
        {"variant": name, "parameters": 4_000_000, "steps": 100, "curve": points}
        for name, points in (("default", curve), ("better", cheaper))
    ]
    assert search.table(results).splitlines()[-1] == "| better | 4.00 M | 100 | -20.0% |"


def test_two_steps_are_a_checkerboard_that_leaves_nothing_out():
    first, second = masks(TwoStepPrior(8, 8), 2, 2)
    assert torch.equal(first ^ second, torch.ones_like(first))
    assert first[0].tolist() == [[True, False], [False, True]]
    assert first[7].tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("variant", [CorrectedSSVAE, TwoStepSSVAE])
def test_every_parameter_of_a_variant_is_trained(variant):
    torch.manual_seed(0)
    model = variant(SSVAEConfig(fine=0))
    image = torch.rand(1, 3, 64, 64)
    result = model(image, torch.tensor([50.0]), torch.tensor([3]))
    parts = (result.image, *result.small.values(), result.bits)
    sum(part.float().sum() for part in parts).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
