"""The hierarchical self-supervised VAE: networks and training pass.

The image x is explained through smaller pictures of it, y1 at 1/4 and y2 at 1/2 of its size
(Gatopoulos & Tomczak 2020). y2 is the reduced image; y1 may be another representation, see
:mod:`models.ssvae.representations`::

      analysis (float)                     synthesis (float)               layers, strides

    x ─ embed ─ 1/4 ┐                                        ┌ 1/4 ─ x̂
                    1/8 ───────────┬────────────(+z2)─ 1/8 ──┘            z2   8
                     │        merge┘─► z2          │└ ŷ2 (1/2 size)       fine 8
                    1/16 ────┬──────────(+z1)─ 1/16                       z1  16
                     │  merge┘─► z1        └ ŷ1 (1/4 size)
                    1/32 ─► u ─ 1/32                                      u   32

    prior (exact): quality ─► u ─► z1 ─► z2 ─► fine, on symbols alone

In the papers y1 and y2 stand between the layers: p(u) p(y1|u) p(z1|u, y1) p(y2|y1, z1)
p(z2|u, z1, y2) p(x|y2, z2), with q(z1|x, y1) and q(z2|x, y2). Of that bound the loss here keeps the
bits of the latents and the errors of y1, y2 and x::

    −log p(u) − log p(z1|u) − log p(z2|u, z1)
    + λ (|y1 − ŷ1(u)|² + |y2 − ŷ2(u, z1)|² + |x − x̂(u, z1, z2)|²)

with weights of their own for y1 and y2. (A uniform posterior of width 1 has no entropy.) But the
layers pass on features: ŷ1 and ŷ2 are side heads that nothing depends on. The faithful model costs
5% of the bits at equal time (docs/decisions/0028-conditioning.md).

At high qualities z2 has a second stage, *fine*: a linear transform of the 8×8 blocks of x − x̂. It
has the channels that high rates need, and costs nothing at qualities below.

Each layer holds ``latent = symbol + prior mean`` in symbol units (posterior mean times a gain that
grows with quality). The posterior of z1 and z2 sees the bottom-up features of its scale and the
top-down features so far. The quantization-aware posterior is a uniform of width 1 (Duan et al.
2023, QRes-VAE): additive noise for the rate, straight-through rounding towards the synthesis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Down, Modulate, QualityCurve, Up, gated_blocks
from models.exact.arithmetic import ExactBlock, ExactPointwise, ExactQualityCurve, ExactUp
from models.exact.stage_prior import StagePrior
from models.names import FINE_FROM
from models.pointwise import Pointwise
from models.quantization import quantize
from models.ssvae.representations import REPRESENTATIONS
from models.trainable import TrainableModel, TrainingPass, fine_gains, starting_gains

#: Of u, z1, z2 and the fine stage of z2.
STAGE_STRIDES = (32, 16, 8, 8)
LAYER_STRIDES = STAGE_STRIDES[:3]
#: Pixels along the side of the blocks that the fine stage transforms, and their values.
FINE_STRIDE = STAGE_STRIDES[3]
_BLOCK_VALUES = 3 * FINE_STRIDE**2


@dataclass(frozen=True)
class SSVAEConfig:
    """All the numbers of one model; tuples go from coarse to fine."""

    widths: tuple[int, int, int, int] = (256, 192, 128, 64)
    """Channels of the trunk at 1/32, 1/16, 1/8, 1/4."""
    latents: tuple[int, int, int] = (64, 96, 64)
    """Channels of u, z1, z2."""
    analysis_depths: tuple[int, int, int, int] = (2, 3, 3, 1)
    """Blocks at 1/32, 1/16, 1/8, 1/4 on the way down."""
    synthesis_depths: tuple[int, int, int, int, int, int] = (2, 2, 2, 2, 3, 1)
    """Blocks at: 1/32; 1/16 before z1, after z1; 1/8 before z2, after z2; 1/4."""
    fine: int = 96
    """Channels of the fine stage; 0: there is none."""
    prior_widths: tuple[int, int, int, int] = (128, 160, 96, 96)
    """Width of the exact prior of u, z1, z2, fine."""
    prior_depth: int = 2
    """Exact blocks between one layer and the next."""
    kernel: int = 3
    """Of the depthwise convolutions in the float trunk at 1/4 and 1/8."""
    coarse_kernel: int = 5
    """The same at 1/16 and 1/32, where a position costs least."""
    knots: int = 11
    """Knots of every function of quality, over 0…100."""
    representation: str = "downscale"
    """What y1 shows, a name in :data:`models.ssvae.representations.REPRESENTATIONS`. If it is not
    the reduced image, u is trained to carry y1 alone and leaves all else to z1 and z2."""


class Analysis(nn.Module):
    """Image in [0, 1], B×3×H×W → features at 1/8, 1/16, 1/32."""

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__()
        w, d = config.widths[::-1], config.analysis_depths[::-1]  # from fine to coarse
        kernels = (config.kernel, config.kernel, config.coarse_kernel, config.coarse_kernel)
        self.embed = Down(3, w[0], factor=4)
        self.downs = nn.ModuleList(Down(w[i], w[i + 1]) for i in range(3))
        self.modulate = nn.ModuleList(Modulate(w[i], knots=config.knots) for i in range(4))
        self.stages = nn.ModuleList(gated_blocks(w[i], d[i], kernel=kernels[i]) for i in range(4))

    def forward(self, image: Tensor, quality: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth = self.eighth(image, quality)
        sixteenth = self.further(2, eighth, quality)
        return eighth, sixteenth, self.further(3, sixteenth, quality)

    def eighth(self, image: Tensor, quality: Tensor) -> Tensor:
        """Image → features at 1/8."""
        x = self.stages[0](self.modulate[0](self.embed(image - 0.5), quality))
        return self.further(1, x, quality)

    def further(self, index: int, x: Tensor, quality: Tensor) -> Tensor:
        """Features of stage ``index - 1`` → those of stage ``index``, at half the resolution."""
        return self.stages[index](self.modulate[index](self.downs[index - 1](x), quality))


class Synthesis(nn.Module):
    """Latents → image, one layer at a time.

    ``coarse(u)`` → features at 1/16; ``middle(features, z1)`` → features at 1/8;
    ``fine(features, z2)`` → the image. ``y1`` and ``y2`` draw the small images from the features
    before z1 and z2. Latents come divided by their gain.
    """

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__()
        w, c, d = config.widths, config.latents, config.synthesis_depths
        fine, coarse = config.kernel, config.coarse_kernel
        self.inject = nn.ModuleList(Pointwise(c[i], w[i]) for i in range(3))
        self.modulate = nn.ModuleList(Modulate(width, knots=config.knots) for width in w)
        self.stage_32 = gated_blocks(w[0], d[0], kernel=coarse)
        self.up_16 = Up(w[0], w[1])
        self.stage_16 = gated_blocks(w[1], d[1], kernel=coarse)
        self.stage_16_z1 = gated_blocks(w[1], d[2], kernel=coarse)
        self.up_8 = Up(w[1], w[2])
        self.stage_8 = gated_blocks(w[2], d[3], kernel=fine)
        self.stage_8_z2 = gated_blocks(w[2], d[4], kernel=fine)
        self.up_4 = Up(w[2], w[3])
        self.stage_4 = gated_blocks(w[3], d[5], kernel=fine)
        self.head_y1 = Up(w[1], 3, factor=4)
        self.head_y2 = Up(w[2], 3, factor=4)
        self.head_x = Up(w[3], 3, factor=4)

    def coarse(self, u: Tensor, quality: Tensor) -> Tensor:
        x = self.stage_32(self.modulate[0](self.inject[0](u), quality))
        return self.stage_16(self.up_16(x))

    def middle(self, x: Tensor, z1: Tensor, quality: Tensor) -> Tensor:
        x = self.stage_16_z1(self.modulate[1](x + self.inject[1](z1), quality))
        return self.stage_8(self.up_8(x))

    def fine(self, x: Tensor, z2: Tensor, quality: Tensor) -> Tensor:
        x = self.stage_8_z2(self.modulate[2](x + self.inject[2](z2), quality))
        x = self.stage_4(self.modulate[3](self.up_4(x), quality))
        return self.head_x(x).float() + 0.5

    def advance(
        self, index: int, top_down: tuple[Tensor, ...], value: Tensor, quality: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """One layer further: the features so far, and the picture they give (y1, y2, then x)."""
        if index == 0:
            features = self.coarse(value, quality)
            return (features,), self.y1(features)
        if index == 1:
            features = self.middle(top_down[0], value, quality)
            return (features,), self.y2(features)
        return top_down, self.fine(top_down[0], value, quality)

    def y1(self, x: Tensor) -> Tensor:
        return self.head_y1(x).float() + 0.5

    def y2(self, x: Tensor) -> Tensor:
        return self.head_y2(x).float() + 0.5


class PosteriorHead(nn.Module):
    """Bottom-up and top-down features of one scale → posterior mean."""

    def __init__(self, width: int, channels: int, *, top_down: bool, kernel: int) -> None:
        super().__init__()
        #: Places of its scale that it sees beyond its output.
        self.reach = kernel // 2 if top_down else 0
        self.merge = Pointwise(2 * width, width) if top_down else nn.Identity()
        self.refine = gated_blocks(width, 1 if top_down else 0, kernel=kernel)
        self.out = Pointwise(width, channels)

    def forward(self, *features: Tensor) -> Tensor:
        x = self.refine(self.merge(torch.cat(features, dim=1)))
        with torch.autocast(x.device.type, enabled=False):  # symbols can be large: keep all bits
            return self.out(x.float())


class Fine(nn.Module):
    """The fine stage of z2: a linear transform of the 8×8 blocks of what the picture still lacks.

    Float32: what it corrects is small. Training starts from the principal components of what is
    lacking, see :func:`start_from`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.take = Pointwise(_BLOCK_VALUES, channels, bias=False)
        self.give = Pointwise(channels, _BLOCK_VALUES, bias=False)
        drawn = torch.randn(_BLOCK_VALUES, channels, dtype=torch.float32)
        self.start_from(torch.linalg.qr(drawn)[0].T)

    @torch.no_grad()
    def start_from(self, basis: Tensor) -> None:
        """Take an orthonormal basis, C×192, for both directions."""
        self.take.weight.copy_(basis[:, :, None, None])
        self.give.weight.copy_(basis.T[:, :, None, None])

    def target(self, residual: Tensor) -> Tensor:
        """What is lacking, B×3×H×W → coefficients, B×C×H/8×W/8."""
        return self.take(F.pixel_unshuffle(residual, FINE_STRIDE))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Coefficients → the correction of the picture, B×3×H×W."""
        return F.pixel_shuffle(self.give(coefficients), FINE_STRIDE)


class Prior(nn.Module):
    """Exact priors of all stages; the context of a stage is made from the stage before."""

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__()
        c, w = config.latents, config.prior_widths
        self.quality = ExactQualityCurve(w[0], knots=config.knots)
        channels = (*c, config.fine) if config.fine else c
        count = len(channels)
        self.layers = nn.ModuleList(StagePrior(channels[i], w[i]) for i in range(count))
        self.latent_in = nn.ModuleList(ExactPointwise(c[i], w[i]) for i in range(count - 1))
        self.trunks = nn.ModuleList(
            nn.Sequential(*(ExactBlock(w[i]) for _ in range(config.prior_depth)))
            for i in range(count - 1)
        )
        self.ups = nn.ModuleList(ExactUp(w[i], w[i + 1]) for i in range(2))
        if config.fine:  # z2 and the fine stage have the same resolution
            self.ups.append(ExactPointwise(w[2], w[3]))

    def stage(self, index: int) -> StagePrior:
        """The coding steps of one stage."""
        return cast(StagePrior, self.layers[index])

    def first_context(self, quality: Tensor, height: int, width: int) -> Tensor:
        """Context of u: B×D×height×width, from quality alone."""
        return self.quality(quality).expand(-1, -1, height, width)

    def next_context(self, index: int, context: Tensor, latent: Tensor) -> Tensor:
        """Context of stage ``index + 1`` from the context and the latent of stage ``index``."""
        return self.ups[index](self.trunks[index](context + self.latent_in[index](latent)))


class SSVAE(TrainableModel):
    """All networks of the model and the differentiable pass through them."""

    stages = (1, 1, 1)

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__()
        self.config = config
        self._y1_alone = config.representation != "downscale"
        if self._y1_alone:  # strokes are finer than the forms of a reduced image
            self.small_share = {4: 0.06, 2: 0.1}
            # u holds no colours. Guesses at them go wrong by so much that the gradients of one such
            # image would drown those of all others.
            self.first_layer_share = {1: 0.02, 2: 0.02}
        w, c = config.widths, config.latents
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.prior = Prior(config)
        self.heads = nn.ModuleList(
            [
                PosteriorHead(w[0], c[0], top_down=False, kernel=config.coarse_kernel),
                PosteriorHead(w[1], c[1], top_down=True, kernel=config.coarse_kernel),
                PosteriorHead(w[2], c[2], top_down=True, kernel=config.kernel),
            ]
        )
        start = starting_gains(config.knots)
        self.log_gains = nn.ModuleList(
            QualityCurve(c[i], knots=config.knots, start=start) for i in range(3)
        )
        self.fine: Fine | None = None
        if config.fine:
            self.fine = Fine(config.fine)
            start = fine_gains(config.knots)
            self.log_gains.append(QualityCurve(config.fine, knots=config.knots, start=start))

    @property
    def table_sets(self) -> tuple[int, ...]:
        """Which set of frequency tables each stage is coded with: each has its own."""
        return tuple(range(len(self.prior.layers)))

    def has_fine(self, quality: float) -> bool:
        """Whether files of that quality have the fine stage."""
        return self.fine is not None and quality >= FINE_FROM

    def gain(self, index: int, quality: Tensor) -> Tensor:
        """Symbols per unit of posterior mean: quality (B,) → B×C×1×1."""
        return self.log_gains[index](quality).exp()[:, :, None, None]

    def small_target(self, image: Tensor, factor: int) -> Tensor:
        if factor == 4:
            return REPRESENTATIONS[self.config.representation](image)
        return super().small_target(image, factor)

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> TrainingPass:
        """See :class:`models.trainable.TrainableModel`."""
        sample = torch.zeros_like(quality) if sample is None else sample
        bottom_up = self.analysis(image, quality)[::-1]  # 1/32, 1/16, 1/8
        top_down: tuple[Tensor, ...] = ()
        context = self.prior.first_context(quality, *bottom_up[0].shape[-2:])
        bits, drawn = [], []
        for i in range(3):
            gain = self.gain(i, quality)
            target = self.heads[i](bottom_up[i], *top_down) * gain
            with torch.autocast(image.device.type, enabled=False):
                latent, layer_bits = quantize(
                    self.prior.stage(i),
                    context.float(),
                    target,
                    kept > i,
                    sample,
                    noisy,
                    self.stage_costs(i),
                )
                # What else is made of such a u must not tell it what to store (decisions/0016).
                passed_on = latent.detach() if i == 0 and self._y1_alone else latent
                if i < 2:
                    context = self.prior.next_context(i, context.float(), passed_on)
            bits.append(layer_bits)
            top_down, picture = self.synthesis.advance(i, top_down, latent / gain, quality)
            drawn.append(picture)
            if passed_on is not latent:
                top_down, _ = self.synthesis.advance(i, (), passed_on / gain, quality)
        y1, y2, x = drawn
        if self.fine is not None:
            active = ((kept > 2) & (quality >= FINE_FROM)).nonzero().flatten()
            if len(active):
                x, more = self._refined(active, image, x, context, latent, quality, noisy)
                bits[2] = bits[2].index_add(0, active, more)
        return TrainingPass(x, {4: y1, 2: y2}, torch.stack(bits, dim=1))

    def _refined(
        self,
        active: Tensor,
        image: Tensor,
        x: Tensor,
        context: Tensor,
        latent: Tensor,
        quality: Tensor,
        noisy: bool,
    ) -> tuple[Tensor, Tensor]:
        """The fine stage of the images numbered ``active``: all pictures, and their bits.

        ``context`` and ``latent`` are those of z2.
        """
        assert self.fine is not None
        base, gain = x[active], self.gain(3, quality[active])
        with torch.autocast(image.device.type, enabled=False):
            context = self.prior.next_context(2, context[active].float(), latent[active])
            target = self.fine.target(image[active] - base) * gain
            every = torch.ones_like(active, dtype=torch.bool)
            latent, more = quantize(
                self.prior.stage(3), context, target, every, every * 0.0, noisy, self.stage_costs(3)
            )
            refined = base + self.fine(latent / gain)
        return x.index_copy(0, active, refined), more
