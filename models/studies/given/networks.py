"""A prior of the latents that knows a part of the picture: p(u | y) p(z1 | u, y) p(z2 | z1, y).

The released model stays as it is. Its analysis says which latents a colour picture has, its
synthesis what a picture latents are; only the prior between them is learned anew, given y (a grey
picture, a drawing)::

    y ─ analysis' ─ features at 1/32, 1/16, 1/8 ─ heads ─ what would be stored of y alone
                        └────────────┬─────────────────────┘
                             tell, expect (1×1)
                                     ▼
    prior':   first context ──(+)─► u ──(+)─► z1 ──(+)─► z2 ─► synthesis ─► x̂

*tell* adds to the context of a layer; *expect* is taken off its latent before prior' prices it, and
given back: a mean that is linear in what y would store. analysis' and prior' begin as copies of the
released ones, tell and expect at zero, so that training starts from the model without y. What is
minimized is the cost of the latents of pictures x whose y is known,

    E_x [ −log p(u, z1, z2 | y(x)) ] = E_x KL(q(u, z1, z2 | x) ‖ p(u, z1, z2 | y(x))) + constant

Then latents drawn from it, or its means, are pictures that go with y: Sohn et al. 2015 condition a
VAE so; here encoder and decoder are those of a codec, and the bits are bits.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.names import FINE_FROM
from models.pointwise import Pointwise
from models.quantization import quantize
from models.ssvae.networks import SSVAE

#: Layers that are drawn. The fine stage of high qualities corrects what was coded, and is none.
LAYERS = 3


class Completion(NamedTuple):
    """What a pass yields; of B pictures."""

    image: Tensor
    """x̂, B×3×H×W around [0, 1]."""
    small: Tensor
    """ŷ1, B×3×H/4×W/4: of ``ssvae-sketch``, the drawing that u holds."""
    bits: Tensor
    """Of each layer's latents, (B, 3); zero where they were drawn."""


class GivenPrior(nn.Module):
    """The networks that are trained, around a released model that is not.

    Args:
        base: stays as it is, and is not part of this module's state.
        quality: at which latents are stored; below the fine stage.

    Raises:
        ValueError: another quality.
    """

    def __init__(self, base: SSVAE, quality: float) -> None:
        super().__init__()
        if not 0 <= quality < FINE_FROM:
            raise ValueError(f"the quality must be at least 0 and below {FINE_FROM}, not {quality}")
        self._base = (base.requires_grad_(False),)  # a tuple hides it from state and parameters
        self.quality = quality
        config = base.config
        self.analysis = copy.deepcopy(base.analysis).requires_grad_(True)
        self.prior = copy.deepcopy(base.prior).requires_grad_(True)
        for parts in (self.prior.layers, self.prior.latent_in, self.prior.trunks, self.prior.ups):
            del parts[LAYERS if parts is self.prior.layers else LAYERS - 1 :]  # of the fine stage
        sizes = list(zip(config.widths, config.latents, config.prior_widths, strict=False))
        self.tell = nn.ModuleList(_silent(w + c, p) for w, c, p in sizes)
        self.expect = nn.ModuleList(_silent(w + c, c) for w, c, _ in sizes)

    @property
    def base(self) -> SSVAE:
        """The released model."""
        return self._base[0]

    def forward(
        self,
        given: Tensor,
        image: Tensor | None = None,
        *,
        temperature: float = 0.0,
        noisy: bool = True,
        steps: int = 0,
    ) -> Completion:
        """Price the latents of a picture, or draw some.

        Args:
            given: y, B×3×H×W in [0, 1], sides multiples of 64.
            image: x of the same shape, whose latents are priced. None: they are drawn.
            temperature: of the latents drawn; 0 takes the prior's mean, step by step. They come
                from torch's random numbers.
            noisy: price with additive uniform noise (training); else the rounded symbols.
            steps: of :func:`towards`, which makes a drawn u answer to y. Only where y1 is a
                drawing.
        """
        base, batch = self.base, len(given)
        at = given.new_full((batch,), float(self.quality))
        seen = self.analysis(given, at)[::-1]
        stored = None
        with torch.no_grad():
            stored = base.analysis(image, at)[::-1] if image is not None else None
        keep = torch.full((batch,), stored is not None, device=given.device)
        sample = given.new_full((batch,), float(temperature))
        context = self.prior.first_context(at, *seen[0].shape[-2:])
        top_down: tuple[Tensor, ...] = ()
        bits, pictures = [], []
        for i in range(LAYERS):
            gain = base.gain(i, at)
            would = base.heads[i](seen[i], *top_down) * gain
            told = torch.cat([seen[i], would], dim=1)
            expected, context = self.expect[i](told), context + self.tell[i](told)
            target = torch.zeros_like(would)
            if stored is not None:
                with torch.no_grad():
                    target = base.heads[i](stored[i], *top_down) * gain
            latent, spent = quantize(
                self.prior.stage(i), context, target - expected, keep, sample, noisy
            )
            # What is drawn from it is the released model's affair.
            latent = (latent + expected).detach()
            if i == 0 and steps:
                latent = towards(base, latent, F.avg_pool2d(given, 4), at, steps)
            if i + 1 < LAYERS:
                context = self.prior.next_context(i, context, latent)
            with torch.no_grad():
                top_down, picture = base.synthesis.advance(i, top_down, latent / gain, at)
            bits.append(spent)
            pictures.append(picture)
        return Completion(pictures[-1], pictures[0], torch.stack(bits, dim=1))


def _silent(inputs: int, outputs: int) -> Pointwise:
    """Says nothing at first."""
    layer = Pointwise(inputs, outputs)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def towards(model: SSVAE, u: Tensor, y1: Tensor, quality: Tensor, steps: int) -> Tensor:
    """u moved so that the picture ŷ1 drawn from it comes nearer to a given one.

    Gradient descent (Adam) on the squared error; the best u of each picture is kept, so that none
    gets worse.

    Args:
        u: in symbol units, B×C×H/32×W/32.
        y1: B×3×H/4×W/4 in [0, 1].
        quality: (B,).
    """
    best, least = u, torch.full((len(u),), torch.inf, device=u.device)
    gain = model.gain(0, quality)
    with torch.enable_grad():
        moved = u.detach().clone().requires_grad_(True)
        optimizer = torch.optim.Adam([moved], lr=0.1)
        for step in range(steps + 1):
            _, drawn = model.synthesis.advance(0, (), moved / gain, quality)
            errors = (drawn - y1).square().mean(dim=(1, 2, 3))
            better = errors.detach() < least
            best = torch.where(better[:, None, None, None], moved.detach(), best)
            least = torch.where(better, errors.detach(), least)
            if step < steps:
                (moved.grad,) = torch.autograd.grad(errors.sum(), [moved])
                optimizer.step()
    return best
