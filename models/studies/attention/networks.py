"""DRAW with attention: fully connected, for images of one small size.

After Gregor et al. 2015, with the quantization and the conditioning on quality of
:mod:`models.convdraw.networks`. Per step t, with the same weights in every step::

    error image   e = x − canvas
    encoder       h_e ← LSTM(read(x, e; window of h_d), h_d, quality; h_e)
    prior         mean and scale of z ← h_d, quality
    posterior     z ← h_e
    decoder       h_d ← LSTM(z, quality; h_d)
    canvas        canvas ← canvas + write(W h_d; window of h_d)

For comparison with the convolutional model; no codec by itself. The prior is ordinary float
arithmetic, so symbols are priced as a range coder would code them, but there are no files: another
machine might predict other scales and decode nonsense.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import QualityCurve
from models.quantization import as_coded, filled, priced, whole_steps
from models.studies.attention.windows import PARAMETERS, Window, read, window, write
from models.trainable import TrainableModel, TrainingPass, starting_gains


@dataclass(frozen=True)
class AttentiveDRAWConfig:
    """All the numbers of one model."""

    size: int = 64
    """Side of the images in pixels; others cannot be drawn."""
    steps_per_layer: tuple[int, int, int] = (4, 4, 8)
    """In u, z1, z2."""
    latent: int = 64
    """Elements of z in one step."""
    hidden: int = 288
    """Of the states of encoder and decoder."""
    read_points: int = 12
    """Side of the grid that reads. 12 over the whole image are 5.7 pixels apart."""
    write_points: int = 12
    """Side of the grid that writes."""
    prior_width: int = 128
    quality_features: int = 8
    """Numbers that tell the networks the quality."""
    knots: int = 11
    """Knots of every function of quality, over 0…100."""


class State(NamedTuple):
    """Of an LSTM: h in the precision of the networks, c in float32; B×W."""

    h: Tensor
    c: Tensor


class LSTM(nn.Module):
    """Fully connected LSTM with a learned initial state: x, B×inputs, and a state → the next.

    Each gate has a matrix of its own: Muon orthogonalizes what one matrix holds, and four small
    ones cost it a quarter of the large one's time.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(inputs + width, width) for _ in range(4))
        self.first = nn.Parameter(torch.zeros(2, width))

    def start(self, batch: int) -> State:
        """The state before the first step."""
        h, c = self.first[:, None].expand(2, batch, -1)
        return State(h, c)

    def forward(self, x: Tensor, state: State) -> State:
        x = torch.cat([x, state.h.to(x)], dim=1)
        i, f, o, g = (gate(x) for gate in self.gates)
        # Forget gates start open, so that early steps reach the last one.
        c = torch.sigmoid(f + 1).float() * state.c + (torch.sigmoid(i) * torch.tanh(g)).float()
        return State(torch.sigmoid(o) * torch.tanh(c.to(o)), c)


class WindowHead(nn.Module):
    """State → window.

    It starts with windows over the whole image whose filters touch: wider grids with narrow filters
    would leave holes.

    Args:
        hidden: of the state.
        points: side of the grid.
        size: side of the image.
        log_intensity: start of log γ.
    """

    def __init__(self, hidden: int, points: int, size: int, *, log_intensity: float = 0.0) -> None:
        super().__init__()
        self.points, self.size = points, size
        self.linear = nn.Linear(hidden, PARAMETERS)
        start = [0.0, 0.0, 2 * math.log(0.5 * whole_stride(size, points)), 0.0, log_intensity]
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor(start))

    def forward(self, h: Tensor) -> Window:
        parameters = self.linear(h.float())
        return window(parameters, points=self.points, height=self.size, width=self.size)


def whole_stride(size: int, points: int) -> float:
    """Pixels between the points of a grid over the whole image."""
    return (size - 1) / (points - 1)


class Drawn(NamedTuple):
    """The result of one step."""

    canvas: Tensor
    """B×3×H×W around 0, with this step's patch."""
    bits: Tensor
    """(B,); zero where the step is not kept."""
    target: Window
    """Where the patch was written."""


class AttentiveDRAW(TrainableModel):
    """All networks of the model and the differentiable pass through them."""

    def __init__(self, config: AttentiveDRAWConfig) -> None:
        super().__init__()
        self.config, self.stages = config, config.steps_per_layer
        hidden, latent, told = config.hidden, config.latent, config.quality_features
        read_values, write_values = 2 * 3 * config.read_points**2, 3 * config.write_points**2
        ramp = torch.linspace(-1, 1, config.knots)
        self.quality = QualityCurve(told, knots=config.knots, start=ramp)
        self.read_window = WindowHead(hidden, config.read_points, config.size)
        self.encoder = LSTM(read_values + hidden + told, hidden)
        self.head = nn.Linear(hidden, latent)
        self.prior = nn.Sequential(
            nn.Linear(hidden + told, config.prior_width),
            nn.SiLU(),
            nn.Linear(config.prior_width, 2 * latent),
        )
        start = starting_gains(config.knots)
        self.log_gains = QualityCurve(latent, knots=config.knots, start=start)
        self.decoder = LSTM(latent + told, hidden)
        # Normalized filters spread a value of the patch over a stride's square: γ makes up for it.
        spread = -2 * math.log(whole_stride(config.size, config.write_points))
        self.write_window = WindowHead(
            hidden, config.write_points, config.size, log_intensity=spread
        )
        self.patch = nn.Linear(hidden, write_values)
        with torch.no_grad():
            # An element of z speaks for a whole window, so it is worth many quantization steps.
            self.head.weight.mul_(8)
            self.patch.weight.mul_(0.3)
            self.patch.bias.zero_()

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> TrainingPass:
        """See :class:`models.trainable.TrainableModel`.

        Raises:
            ValueError: the images are of another size than the configured one.
        """
        steps = list(self.unroll(image, quality, kept, sample, noisy=noisy))
        bits = torch.stack([step.bits for step in steps], dim=1)
        return TrainingPass(steps[-1].canvas + 0.5, {}, bits)

    def unroll(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> Iterator[Drawn]:
        """The pass of :meth:`forward` step by step."""
        size = self.config.size
        if image.shape[-2:] != (size, size):
            height, width = image.shape[-2:]
            raise ValueError(f"this DRAW draws {size}×{size} pixels, not {width}×{height}")
        sample = torch.zeros_like(quality) if sample is None else sample
        told = self.quality(quality)
        gain = self.log_gains(quality).exp()  # (B, Z) symbols per unit of posterior mean
        x = image - 0.5
        canvas = torch.zeros_like(x)
        encoder, decoder = (lstm.start(len(image)) for lstm in (self.encoder, self.decoder))
        for t in range(sum(self.stages)):
            with torch.autocast(image.device.type, enabled=False):
                seen = read(torch.cat([x, x - canvas], dim=1), self.read_window(decoder.h))
            glimpse = torch.cat([seen.flatten(1), decoder.h, told], dim=1)
            encoder = self.encoder(glimpse, encoder)
            # As in the convolutional model, symbols and what prices them keep all bits.
            with torch.autocast(image.device.type, enabled=False):
                mean, raw = self.prior(torch.cat([decoder.h.float(), told], dim=1)).chunk(2, dim=1)
                target = self.head(encoder.h.float()) * gain
                z, bits = quantize(mean * gain, raw, target, kept > t, sample, noisy)
            decoder = self.decoder(torch.cat([z / gain, told], dim=1), decoder)
            patch = (
                self.patch(decoder.h).float().unflatten(1, (3, *(self.config.write_points,) * 2))
            )
            with torch.autocast(image.device.type, enabled=False):
                target_window = self.write_window(decoder.h)
                canvas = canvas + write(patch, target_window)
            yield Drawn(canvas, bits, target_window)


def quantize(
    mean: Tensor, raw: Tensor, target: Tensor, keep: Tensor, sample: Tensor, noisy: bool
) -> tuple[Tensor, Tensor]:
    """:func:`models.quantization.quantize` of vectors that are coded in one go, B×Z.

    Args:
        mean, raw: what the prior predicts, in symbol units and as raw scale.
        target: posterior mean in symbol units.
        keep, sample, noisy: see there.

    Returns:
        The latent as the decoder will know it, and bits per image (zero where not kept).
    """
    rounded = (whole_steps if noisy else as_coded)(target, mean, raw)
    latent = torch.where(keep[:, None], rounded, filled(mean, raw, sample[:, None]))
    return latent, priced(target - mean, raw, noisy).sum(dim=1) * keep
