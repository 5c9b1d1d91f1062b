"""Encoder effort: refine the latents of the image at hand before they are rounded.

The analysis network guesses the posterior means of any image in one pass; for a given image better
ones exist (the *amortization gap*, Cremer et al. 2018). They are found by gradient descent on the
image's own cost, bits + λ·error, as in Campos et al. 2019 and Yang, Bamler & Mandt 2020. Decoding
costs nothing more.

What is optimized is an *offset* added to the analysis' posterior mean, not the mean itself: the
posterior of z1 sees what u became after rounding, and that of z2 what z1 became, so later layers
keep making good what the rounding of earlier ones lost.

Rounding passes gradients straight through. Offsets whose gradient merely wanders then cross the
rounding boundary back and forth, and half of the crossings are for the worse; a spring towards the
nearest integer, tightened over the iterations, lets only those symbols change that gain more than a
change costs (Nagel et al. 2022 damp weights in the same way). The best offsets seen are kept,
so that a refined file is never worse by the encoder's own measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.exact.scales import SKIP_INDEX, gaussian_bits, scale_index_of, scale_of
from models.metrics.eye import DEFAULT_EYE_SHARE, EyeLoss
from models.protocol import Progress
from models.quantization import as_coded, walk
from models.ssvae.maps import BottomUp
from models.ssvae.networks import SSVAE, STAGE_STRIDES
from models.tiles import Box, tiles

#: Iterations of effort 1…9.
ITERATIONS = (0, 3, 6, 10, 16, 25, 40, 64, 100)
#: Largest side of the pieces that are refined one after the other, and what they see around them.
#: Bounds the memory that gradients take; multiples of 64.
PIECE, MARGIN = 512, 64
#: Points of the uniform noise at which the smoothed bits are evaluated.
_NOISE = (-1 / 3, 0.0, 1 / 3)


@dataclass(frozen=True)
class Descent:
    """How the offsets are moved. Steps are in symbol units, gradients in bits per symbol unit."""

    steps: tuple[float, float, float, float]
    """Largest step of u, z1, z2 and the fine stage; falls to zero with the root of what is left."""
    gradient: float = 20.0
    """Gradients well below this move an offset in proportion, larger ones by the largest step."""
    spring: float = 12.0
    """Bits per squared symbol unit, from the middle on. Half of the second derivative of the cost
    of a rounding error is about 9 at high rates; a symbol's neighbours change with it."""
    first: float = 0.4
    """Share of the spring in the first iteration. Without it, the first steps carry many symbols
    over their boundaries that had better stayed."""

    @classmethod
    def of(cls, iterations: int) -> Descent:
        """Measured to work: the fewer iterations below 40, the longer the steps."""
        step = 0.05 * max(1.0, 40 / max(1, iterations)) ** 0.65
        return cls((step / 2, step / 2, step, step))


@dataclass
class Cost:
    """Bits of one piece: smooth (differentiable), as coded (what is compared), spring."""

    smooth: Tensor
    coded: float
    spring: Tensor


def refine(
    model: SSVAE,
    bottom_up: BottomUp,
    quality: Tensor,
    content: tuple[int, int],
    iterations: int,
    progress: Progress | None = None,
    descent: Descent | None = None,
    *,
    eye: EyeLoss | None = None,
) -> list[Tensor]:
    """Offsets of the posterior means of u, z1, z2 and the fine stage, if the quality has it, each
    1×C×H×W float32 in symbol units.

    Args:
        model: float face (not frozen), parameters without gradients.
        bottom_up: the image and its features.
        quality: (1,) in [0, 100].
        content: height and width of the image without its padding, whose error does not count.
        iterations: gradient steps per piece.
        progress: called with the share of the work done.
        eye: measures :data:`DEFAULT_EYE_SHARE` of the distortion, as in training; None: squared
            error alone counts.
    """
    frame = bottom_up.frame
    fine = (model.config.fine,) * model.has_fine(float(quality))
    channels = (*model.config.latents, *fine)
    offsets = [
        torch.zeros(1, c, *frame.size(s), dtype=torch.float32, device=quality.device)
        for c, s in zip(channels, STAGE_STRIDES, strict=False)
    ]
    pieces = tiles(frame, PIECE)
    for index, piece in enumerate(pieces):

        def report(share: float, index: int = index) -> None:
            if progress is not None:
                progress((index + share) / len(pieces))

        _Piece(model, bottom_up, quality, content, offsets, piece, eye).descend(
            iterations, descent or Descent.of(iterations), report
        )
    return offsets


class _Piece:
    """The optimization of one piece; its surroundings take part with the offsets they have."""

    def __init__(
        self,
        model: SSVAE,
        bottom_up: BottomUp,
        quality: Tensor,
        content: tuple[int, int],
        offsets: list[Tensor],
        piece: Box,
        eye: EyeLoss | None,
    ) -> None:
        self._model, self._quality, self._eye = model, quality, eye
        seen = piece.grown(MARGIN, 64, bottom_up.frame)
        self._image = bottom_up.pixels(seen)
        self._inside = torch.zeros_like(self._image[:, :1])
        self._inside[..., : max(0, content[0] - seen.top), : max(0, content[1] - seen.left)] = 1
        self._small = {f: model.small_target(self._image, f) for f in (4, 2)}
        self._small_inside = {f: F.avg_pool2d(self._inside, f) for f in (4, 2)}
        self._bottom_up = [features.read(seen) for features in bottom_up.maps]
        self._own = [piece.cut(o, s) for o, s in zip(offsets, STAGE_STRIDES, strict=False)]
        self._around = [
            seen.cut(o, s).clone() for o, s in zip(offsets, STAGE_STRIDES, strict=False)
        ]
        self._border = (
            piece.left - seen.left,
            seen.right - piece.right,
            piece.top - seen.top,
            seen.bottom - piece.bottom,
        )

    def descend(self, iterations: int, descent: Descent, report: Callable[[float], None]) -> None:
        """Move the piece's offsets, in place, to the best ones."""
        free = [own.clone().requires_grad_() for own in self._own]
        optimizer = torch.optim.Adam(
            [{"params": [f], "lr": s} for f, s in zip(free, descent.steps, strict=False)],
            betas=(0.8, 0.95),
            eps=descent.gradient,
        )
        best = float("inf")
        for done in range(iterations + 1):
            cost = self._cost(free)
            if cost.coded < best:
                best = cost.coded
                for own, offset in zip(self._own, free, strict=True):
                    own.copy_(offset.detach())
            if done == iterations:
                break
            passed = done / iterations
            spring = descent.spring * min(1.0, descent.first + 2 * (1 - descent.first) * passed)
            for group, step in zip(optimizer.param_groups, descent.steps, strict=False):
                group["lr"] = step * (1 - passed) ** 0.5
            gradients = torch.autograd.grad(cost.smooth + spring * cost.spring, free)
            for f, gradient in zip(free, gradients, strict=True):
                f.grad = gradient
            optimizer.step()
            report((done + 1) / iterations)

    def _offset(self, index: int, free: Tensor) -> Tensor:
        """The free offsets in their surroundings."""
        border = tuple(side // STAGE_STRIDES[index] for side in self._border)
        if not any(border):
            return free
        hole = F.pad(torch.ones_like(free), border)
        return F.pad(free, border) + self._around[index] * (1 - hole)

    def _cost(self, free: Sequence[Tensor]) -> Cost:
        """One pass from offsets to bits and pictures."""
        model, quality = self._model, self._quality
        context = model.prior.first_context(quality, *self._bottom_up[0].shape[-2:])
        costs: list[Cost] = []
        top_down: tuple[Tensor, ...] = ()
        drawn = []
        for index in range(3):
            gain = model.gain(index, quality)
            target = model.heads[index](self._bottom_up[index], *top_down) * gain
            latent = self._price(index, context, target, free, costs)
            top_down, picture = model.synthesis.advance(index, top_down, latent / gain, quality)
            drawn.append(picture)
            if index + 1 < len(free):
                context = model.prior.next_context(index, context, latent)
        if len(free) > 3:
            assert model.fine is not None
            gain = model.gain(3, quality)
            target = model.fine.target(self._image - drawn[2]) * gain
            drawn[2] = drawn[2] + model.fine(self._price(3, context, target, free, costs) / gain)
        error = self._error(drawn)
        return Cost(
            torch.stack([c.smooth for c in costs]).sum() + error,
            sum(c.coded for c in costs) + float(error.detach()),
            torch.stack([c.spring for c in costs]).sum(),
        )

    def _price(
        self,
        index: int,
        context: Tensor,
        target: Tensor,
        free: Sequence[Tensor],
        costs: list[Cost],
    ) -> Tensor:
        """The latent of one stage, rounded as coded; its bits and spring join ``costs``."""
        target = target + self._offset(index, free[index])
        latent, residual, raws = walk(self._model.prior.stage(index), context, target, as_coded)
        scales = scale_of(raws)
        symbols = torch.round(residual.detach())
        smooth = [gaussian_bits(residual + n, scales).sum() for n in _NOISE]
        coded = float(self._model.stage_costs(index).bits(symbols, raws.detach()).sum())
        stored = scale_index_of(raws.detach()) > SKIP_INDEX
        spring = ((residual - symbols).square() * stored).sum()
        costs.append(Cost(torch.stack(smooth).mean(), coded, spring))
        return latent

    def _error(self, drawn: Sequence[Tensor]) -> Tensor:
        """λ times the distortion of x and squared errors of y1 and y2 over the content, in bits."""
        lagrangian = self._model.lagrangian(self._quality)[0] / 3  # per channel

        def squared(picture: Tensor, target: Tensor, inside: Tensor) -> Tensor:
            return ((picture - target).square() * inside).sum()

        total = squared(drawn[2], self._image, self._inside)
        if self._eye is not None and min(self._image.shape[-2:]) >= self._eye.least_side:
            shown = torch.lerp(self._image, drawn[2], self._inside)  # the padding counts nothing
            seen = self._eye.distance(self._image, shown)[0] * self._eye.unit
            # A mean over all pixels seen; squared errors are sums over those and channels.
            seen = seen * (3 * self._image.shape[-2] * self._image.shape[-1])
            total = total + DEFAULT_EYE_SHARE * (seen - total)
        for factor, index in ((4, 0), (2, 1)):
            share = self._model.small_share[factor] * factor**2
            inside = self._small_inside[factor]
            total = total + share * squared(drawn[index], self._small[factor], inside)
        return lagrangian * total
