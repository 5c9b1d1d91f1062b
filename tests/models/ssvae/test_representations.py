"""Representations of the image that u explains, and the model whose u holds a drawing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import codec
from models.registry import BUILDERS
from models.ssvae.networks import SSVAE
from models.ssvae.representations import REPRESENTATIONS, downscale, greyscale, sketch
from tests.conftest import psnr


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_a_representation_is_a_picture_of_a_quarter_of_the_size(name, photograph):
    shown = REPRESENTATIONS[name](tensor(photograph[:128, :192]))
    assert shown.shape == (1, 3, 32, 48)
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_greys_are_the_brightness_of_the_reduced_image(photograph):
    image = tensor(photograph[:64, :64])
    weights = torch.tensor([0.299, 0.587, 0.114])
    expected = torch.einsum("bchw,c->bhw", downscale(image), weights)
    for channel in greyscale(image).unbind(1):
        assert torch.allclose(channel, expected, atol=1e-6)


def test_a_drawing_has_strokes_at_edges_on_white_paper():
    image = torch.full((1, 3, 64, 128), 0.6)
    image[..., 64:] = 0.3
    drawn = sketch(image)[0, 0]
    assert torch.allclose(drawn[:, :9], torch.ones(16, 9))  # far from the edge: paper
    assert torch.allclose(drawn[:, -6:], torch.ones(16, 6))
    assert drawn[:, 16].max() < 0.6  # on the dark side of the edge
    assert torch.allclose(drawn[:, :16], torch.ones(16, 16))  # none on the bright side


def test_a_drawing_ignores_faint_texture_but_not_faint_light():
    torch.manual_seed(0)
    noise = torch.randn(1, 3, 128, 128) * 0.02
    assert sketch(0.5 + noise).mean() > 0.97
    slow = torch.linspace(0.2, 0.8, 256).expand(1, 3, 64, 256)
    assert sketch(slow).mean() > 0.8


def _gradient_to_u(model: SSVAE) -> float:
    """How much the final image pulls at what u stores."""
    torch.manual_seed(1)
    image = torch.rand(1, 3, 64, 64)
    result = model(image, torch.tensor([50.0]), torch.tensor([3]))
    result.image.square().sum().backward()
    head = model.heads[0].out.weight.grad
    return 0.0 if head is None else float(head.abs().sum())


def test_u_of_another_representation_answers_to_it_alone():
    assert _gradient_to_u(BUILDERS["ssvae-sketch"]()) == 0
    assert _gradient_to_u(BUILDERS["ssvae"]()) > 0


def test_u_alone_carries_the_drawing(photograph):
    image = photograph[:256, :384]
    first = codec.encode(image, model="ssvae-sketch", quality=70, layers=1)
    drawn = np.array(codec.decode(first, scale=4))
    image_drawn = sketch(tensor(image))[0].permute(1, 2, 0).mul(255).numpy()
    assert psnr(drawn, image_drawn) > psnr(
        drawn, downscale(tensor(image))[0].permute(1, 2, 0) * 255
    )
    assert psnr(drawn, image_drawn) > 12


def test_a_drawing_model_is_a_codec_too(photograph):
    image = photograph[:128, :192]
    data = codec.encode(image, model="ssvae-sketch", quality=70)
    assert codec.info(data).model == "ssvae-sketch"
    values = [psnr(image, codec.decode(data, layers=n)) for n in (1, 2, 3)]
    assert values[0] < values[1] < values[2]
    assert values[2] > 28
    assert codec.encode(image, model="ssvae-sketch", quality=70, effort=3) != data
