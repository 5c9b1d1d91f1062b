"""The autoregressive prior sees only what comes before, and samples what it says."""

import pytest
import torch

from models.studies.priors.autoregressive import MaskedConv2d, PixelCNN

SHAPE = (4, 3, 3)


@pytest.fixture
def prior():
    torch.manual_seed(0)
    model = PixelCNN(SHAPE, groups=2, width=8, depth=2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def order():
    """Rank of each element in the order of coding: row, column, group of channels."""
    c, h, w = SHAPE
    group = torch.arange(c) // 2
    place = torch.arange(h * w).unflatten(0, (h, w))
    return 2 * place[None] + group[:, None, None]


def test_a_later_element_changes_no_earlier_prediction(prior):
    u = torch.randn(1, *SHAPE, dtype=torch.double)
    before = torch.stack(prior.predict(u))[:, 0]
    for changed in torch.cartesian_prod(*(torch.arange(n) for n in SHAPE)):
        other = u.clone()
        other[(0, *changed)] += 1.0
        moved = (torch.stack(prior.predict(other))[:, 0] - before).abs().amax(0) > 0
        rank = order()[tuple(changed)]
        assert not moved[order() <= rank].any()


def test_what_comes_before_is_seen(prior):
    """The last element depends on every element of the positions beside and above it."""
    u = torch.randn(1, *SHAPE, dtype=torch.double, requires_grad=True)
    mean, _ = prior.predict(u)
    mean[0, -1, -1, -1].backward()
    seen = u.grad[0] != 0
    assert seen[order() < order()[-1, -1, -1]].all()


def test_the_jacobian_of_its_noise_is_triangular(prior):
    """(u − m)/s has the density's log-determinant −Σ log s: checked against a full Jacobian."""
    u = torch.randn(1, *SHAPE, dtype=torch.double)

    def noise(flat):
        mean, log_scale = prior.predict(flat.view(1, *SHAPE))
        return ((flat.view(1, *SHAPE) - mean) * torch.exp(-log_scale)).flatten()

    jacobian = torch.autograd.functional.jacobian(noise, u.flatten())
    base = torch.distributions.Normal(0.0, 1.0).log_prob(noise(u.flatten())).sum()
    assert torch.allclose(
        prior.log_prob(u), (base + torch.linalg.slogdet(jacobian).logabsdet)[None], atol=1e-8
    )


def test_sampling_inverts_the_prediction(prior):
    """Each sampled element is its predicted mean plus its scale times the noise it was given."""
    prior = prior.float()
    u = prior.sample(3, torch.Generator().manual_seed(5))
    mean, log_scale = prior.predict(u)
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(5))
    assert torch.allclose((u - mean) * torch.exp(-log_scale), noise, atol=1e-4)


def test_channels_must_divide_into_the_groups():
    with pytest.raises(ValueError, match="do not divide into 3 groups"):
        MaskedConv2d(4, 6, 3, groups=3, own=True)
