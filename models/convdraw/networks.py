"""ConvDRAW: a recurrent model that draws an image onto a canvas, step by step.

After *Towards Conceptual Compression* (Gregor et al. 2016). Per step t::

    error image   e = x − canvas                              read
    encoder       h_e ← ConvLSTM(features of x, e, h_d; h_e)
    posterior     z ← h_e            coded against the exact prior of step t
    decoder       h_d ← ConvLSTM(z, canvas; h_d)
    canvas        canvas ← canvas + W h_d                     write

Steps stand on *levels* of resolution. A level of stride s draws an image of 1/(s/8) of the size in
patches of 8×8 pixels, so one position of its states holds one patch. A finer level takes over the
canvas of the coarser one, enlarged, and its decoder state: pictures generated coarse to fine over a
pyramid are due to Denton et al. 2015. Weights are not shared between steps (Eslami et al. 2018). At
the end a small network draws the final image from canvas and state.

Steps are the *stages* of the codec: a picture can be drawn after any number of stored ones, the
rest coming from the prior. Quantization, gains and layer dropping are those of the ssVAE.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Down, Modulate, QualityCurve, Up, gated_blocks
from models.convdraw.prior import ConvDRAWPrior
from models.pointwise import Pointwise
from models.quantization import quantize
from models.trainable import TrainableModel, TrainingPass, starting_gains

#: Side of the patches of a canvas, in its own pixels.
PATCH = 8
PATCH_CHANNELS = 3 * PATCH**2


@dataclass(frozen=True)
class Level:
    """The steps of one resolution."""

    stride: int
    """Pixels of the image per position of the states: 8, 16 or 32."""
    steps: int
    channels: int
    """Of the latent of one step."""
    hidden: int
    """Of the states of encoder and decoder."""
    prior_width: int
    kernel: int = 3
    """Of the depthwise part of the ConvLSTMs."""


@dataclass(frozen=True)
class ConvDRAWConfig:
    """All the numbers of one model; tuples go from coarse to fine."""

    levels: tuple[Level, ...] = (Level(stride=8, steps=8, channels=16, hidden=80, prior_width=64),)
    steps_per_layer: tuple[int, int, int] = (2, 2, 4)
    """In u, z1, z2."""
    features: tuple[int, ...] = (128, 64)
    """Channels of what the encoder sees of the image at …, 1/16, 1/8, 1/4."""
    feature_depths: tuple[int, ...] = (2, 1)
    final_widths: tuple[int, int] = (128, 64)
    """Channels of the final drawing at 1/8 and 1/4."""
    final_depths: tuple[int, int] = (3, 1)
    knots: int = 11
    """Knots of every function of quality, over 0…100."""


class ConvLSTM(nn.Module):
    """Convolutional LSTM (Shi et al. 2015) with depthwise-separable gates.

    ``forward(x, h, c)``, all B×W×H×W', returns the next h and c. ``8 W² + 2 k² W`` MAC per
    position.
    """

    def __init__(self, width: int, *, kernel: int) -> None:
        super().__init__()
        double = 2 * width
        self.depthwise = nn.Conv2d(double, double, kernel, padding=kernel // 2, groups=double)
        self.gates = Pointwise(double, 4 * width)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([x, h.to(x)], dim=1)
        i, f, o, g = self.gates(self.depthwise(inputs)).chunk(4, dim=1)
        # Forget gates start open, so that early steps reach the last one.
        c = torch.sigmoid(f + 1).float() * c + (torch.sigmoid(i) * torch.tanh(g)).float()
        return torch.sigmoid(o) * torch.tanh(c.to(o)), c


class Canvas(NamedTuple):
    """What the decoder has: states h and c, B×W×…, and the canvas in patches, B×192×…"""

    h: Tensor
    c: Tensor
    patches: Tensor


class Memory(NamedTuple):
    """What the encoder has: states h and c, B×W×…"""

    h: Tensor
    c: Tensor


class Step(nn.Module):
    """Encoder and decoder of one step."""

    def __init__(self, level: Level, features: int, knots: int) -> None:
        super().__init__()
        width = level.hidden
        self.read = Pointwise(features + PATCH_CHANNELS + width, width)
        self.encoder_quality = Modulate(width, knots=knots)
        self.encoder = ConvLSTM(width, kernel=level.kernel)
        self.head = Pointwise(width, level.channels)
        self.inject = Pointwise(level.channels + PATCH_CHANNELS, width)
        self.decoder_quality = Modulate(width, knots=knots)
        self.decoder = ConvLSTM(width, kernel=level.kernel)
        self.write = Pointwise(width, PATCH_CHANNELS)
        # The output of a fresh LSTM is of the order of 0.05. Heads of the usual size would make of
        # it symbols that are all rounded to zero: for hundreds of steps nothing would be learned.
        with torch.no_grad():
            self.head.weight.mul_(30)
            self.inject.weight.mul_(2.5)

    def encode(
        self, features: Tensor, image: Tensor, canvas: Canvas, memory: Memory, quality: Tensor
    ) -> tuple[Tensor, Memory]:
        """Posterior mean (before the gain), and what the encoder knows then."""
        error = image - canvas.patches
        inputs = torch.cat([features, error.to(features), canvas.h.to(features)], dim=1)
        x = self.encoder_quality(self.read(inputs), quality)
        memory = Memory(*self.encoder(x, *memory))
        with torch.autocast(x.device.type, enabled=False):  # symbols can be large: keep all bits
            return self.head(memory.h.float()), memory

    def decode(self, z: Tensor, canvas: Canvas, quality: Tensor) -> Canvas:
        """Draw what ``z`` says. It comes divided by its gain."""
        x = self.inject(torch.cat([z, canvas.patches.to(z)], dim=1))
        h, c = self.decoder(self.decoder_quality(x, quality), canvas.h, canvas.c)
        return Canvas(h, c, canvas.patches + self.write(h).float())


class Enlarge(nn.Module):
    """Canvas and state of one level → those that the next finer one starts with."""

    def __init__(self, coarse: Level, fine: Level) -> None:
        super().__init__()
        self.states = Up(coarse.hidden, 2 * fine.hidden)
        self.patches = Up(coarse.hidden, PATCH_CHANNELS)

    def forward(self, canvas: Canvas) -> Canvas:
        h, c = self.states(canvas.h).chunk(2, dim=1)
        picture = F.pixel_shuffle(canvas.patches, PATCH)
        double = F.interpolate(picture, scale_factor=2, mode="bilinear")
        patches = F.pixel_unshuffle(double, PATCH) + self.patches(canvas.h).float()
        return Canvas(h, c.float(), patches)


class Features(nn.Module):
    """What the encoder sees of the image: B×3×H×W in [0, 1] → features by stride."""

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__()
        w, depths = config.features[::-1], config.feature_depths[::-1]  # from fine to coarse
        downs = [Down(3, w[0], factor=4), *(Down(a, b) for a, b in itertools.pairwise(w))]
        self.downs = nn.ModuleList(downs)
        self.modulate = nn.ModuleList(Modulate(width, knots=config.knots) for width in w)
        self.stages = nn.ModuleList(gated_blocks(a, d) for a, d in zip(w, depths, strict=True))
        #: Pixels that features depend on beyond their own position: the blocks are 3×3.
        self.reach = sum(depth * (4 << i) for i, depth in enumerate(depths))

    def width(self, stride: int) -> int:
        """Channels of the features at a stride."""
        return cast(Down, self.downs[stride.bit_length() - 3]).mix.out_channels

    def forward(self, image: Tensor, quality: Tensor) -> dict[int, Tensor]:
        x, features = image - 0.5, {}
        for index, down in enumerate(self.downs):
            x = self.stages[index](self.modulate[index](down(x), quality))
            features[4 << index] = x
        return features


class FinalDrawing(nn.Module):
    """Canvas and state of the finest level → image, B×3×H×W."""

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__()
        eighth, quarter = config.final_widths
        self.take = Pointwise(PATCH_CHANNELS + config.levels[-1].hidden, eighth)
        self.modulate = Modulate(eighth, knots=config.knots)
        self.stage_8 = gated_blocks(eighth, config.final_depths[0])
        self.up = Up(eighth, quarter)
        self.stage_4 = gated_blocks(quarter, config.final_depths[1])
        self.head = Up(quarter, 3, factor=4)

    def forward(self, canvas: Canvas, quality: Tensor) -> Tensor:
        x = self.take(torch.cat([canvas.patches.to(canvas.h), canvas.h], dim=1))
        x = self.stage_4(self.up(self.stage_8(self.modulate(x, quality))))
        return F.pixel_shuffle(canvas.patches, PATCH) + self.head(x).float() + 0.5


class ConvDRAW(TrainableModel):
    """All networks of the model and the differentiable pass through them."""

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__()
        self.config, self.stages = config, config.steps_per_layer
        self.features = Features(config)
        self.prior = ConvDRAWPrior(
            [(level.channels, level.prior_width, level.steps) for level in config.levels],
            knots=config.knots,
        )
        #: The level of each step.
        self.level_of = [level for level in config.levels for _ in range(level.steps)]
        self.steps = nn.ModuleList(
            Step(level, self.features.width(level.stride), config.knots) for level in self.level_of
        )
        self.enlarge = nn.ModuleList(Enlarge(a, b) for a, b in itertools.pairwise(config.levels))
        self.final = FinalDrawing(config)
        start = starting_gains(config.knots)
        self.log_gains = nn.ModuleList(
            QualityCurve(level.channels, knots=config.knots, start=start) for level in self.level_of
        )

    @property
    def table_sets(self) -> tuple[int, ...]:
        """One set per layer: eight would make up a tenth of the weights file."""
        return tuple(layer for layer, count in enumerate(self.stages) for _ in range(count))

    @property
    def small_after(self) -> dict[int, int]:
        """Number of steps → factor of the small picture that the canvas shows then: 1/4 of the
        size after u, 1/2 after z1."""
        u, z1, _ = self.stages
        return {u: 4, u + z1: 2}

    @staticmethod
    def small_picture(canvas: Canvas, level: Level, factor: int) -> Tensor:
        """The canvas of a level as a picture of 1/factor of the image's size, B×3×H/f×W/f."""
        picture = F.pixel_shuffle(canvas.patches, PATCH) + 0.5
        return F.avg_pool2d(picture, factor * PATCH // level.stride)

    def step(self, index: int) -> Step:
        return cast(Step, self.steps[index])

    def gain(self, index: int, quality: Tensor) -> Tensor:
        """Symbols per unit of posterior mean: quality (B,) → B×C×1×1."""
        return self.log_gains[index](quality).exp()[:, :, None, None]

    def level_starting(self, index: int) -> int | None:
        """Number of the level whose first step is ``index``, or None."""
        firsts = itertools.accumulate((level.steps for level in self.config.levels), initial=0)
        return {first: number for number, first in enumerate(firsts)}.get(index)

    def blank(self, batch: int, level: Level, height: int, width: int) -> tuple[Canvas, Memory]:
        """A canvas before the first step, and an encoder that has seen nothing."""
        size = height // level.stride, width // level.stride
        like = next(self.parameters())
        h, c = (like.new_zeros(batch, level.hidden, *size) for _ in range(2))
        patches = like.new_zeros(batch, PATCH_CHANNELS, *size)
        return Canvas(h, c, patches), Memory(h, c)

    def patches_to_draw(self, image: Tensor, number: int) -> Tensor:
        """What the canvas of a level is to show of B×3×H×W in [0, 1], B×192×H/s×W/s around 0."""
        return image_patches(image, self.config.levels[number].stride)

    def picture(self, canvases: list[Canvas], quality: Tensor) -> Tensor:
        """The image, B×3×H×W around [0, 1], from what each level has drawn in the end."""
        return self.final(canvases[-1], quality)

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
        features = self.features(image, quality)
        size = image.shape[-2:]
        small: dict[int, Tensor] = {}
        bits: list[Tensor] = []
        canvases: list[Canvas] = []
        known: Tensor | None = None
        for number, level in enumerate(self.config.levels):
            blank, memory = self.blank(len(image), level, *size)
            canvas = self.enlarge[number - 1](canvases[-1]) if canvases else blank
            patches = self.patches_to_draw(image, number)
            with torch.autocast(image.device.type, enabled=False):
                known = self.prior.start(number, known, quality, *canvas.h.shape[-2:])
            for _ in range(level.steps):
                t = len(bits)
                mean, memory = self.step(t).encode(
                    features[level.stride], patches, canvas, memory, quality
                )
                gain = self.gain(t, quality)
                with torch.autocast(image.device.type, enabled=False):
                    latent, step_bits = quantize(
                        self.prior.step(t),
                        known,
                        mean * gain,
                        kept > t,
                        sample,
                        noisy,
                        self.stage_costs(t),
                    )
                    known = self.prior.advance(t, known, latent)
                bits.append(step_bits)
                canvas = self.step(t).decode(latent / gain, canvas, quality)
                if (factor := self.small_after.get(t + 1)) is not None:
                    small[factor] = self.small_picture(canvas, level, factor)
            canvases.append(canvas)
        return TrainingPass(self.picture(canvases, quality), small, torch.stack(bits, dim=1))


def image_patches(image: Tensor, stride: int) -> Tensor:
    """The image that a level draws, in patches around 0: B×3×H×W in [0, 1] → B×192×H/s×W/s."""
    return F.pixel_unshuffle(F.avg_pool2d(image, stride // PATCH) - 0.5, PATCH)
