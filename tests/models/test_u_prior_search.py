import pytest
import torch

from models.training.u_prior_search import Factorized, Flow, Steps, candidates, fit


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
        ("steps", Steps(8, 16, 4)),
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
