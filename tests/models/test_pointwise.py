"""1×1 convolutions by rows are those of PyTorch."""

import pytest
import torch
import torch.nn.functional as F

from models.pointwise import Pointwise, pointwise


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(1, 8, 17, 24), (6, 8, 4, 4), (20, 8, 2, 3), (1, 8, 1, 40)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_it_is_the_convolution_with_its_gradients(threads, shape, layout):
    torch.manual_seed(0)
    results = []
    start = torch.randn(shape), torch.randn(5, 8, 1, 1), torch.randn(5)
    for work in (pointwise, F.conv2d):
        x, weight, bias = (value.clone().requires_grad_() for value in start)
        out = work(x.contiguous(memory_format=layout), weight, bias)
        out.square().sum().backward()
        results.append((out.detach(), x.grad, weight.grad, bias.grad))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_places_of_a_step_may_be_given_as_they_lie(threads):
    x = torch.randn(2, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 8, 1, 1)
    places = x[..., 1::2, ::2]
    assert torch.allclose(pointwise(places, weight, None), F.conv2d(places, weight), atol=1e-4)


def test_under_autocast_it_is_bfloat16(threads):
    layer = Pointwise(8, 4)
    x = torch.randn(1, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer(x).dtype == torch.float32
