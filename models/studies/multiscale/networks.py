"""ConvDRAW with several canvases, and with steps that share their weights.

ConvDRAW is of Gregor et al. 2016. Generating a picture coarse to fine over a pyramid, each level
with a likelihood of its own and given the level below, was introduced by Denton et al. 2015
(LAPGAN), on the pyramid of Burt & Adelson 1983; sharing one core between all steps, or not, was
compared by Eslami et al. 2018. Here two levels of :mod:`models.convdraw.networks`, at 1/16 and 1/8,
are joined in three ways::

    type 1, one canvas that is handed up           type 2, a canvas for each band
    interpolation        learned upsampling        x = enlarged(low) + high
    ↑2 of canvas, state  ↑2 of canvas + W h        1/16 draws low, 1/8 draws high; 1/8 knows the
                         state ← W h               state of 1/16 and is never asked for its errors

Type 2 splits as Denton et al. do for their likelihood: *low* is the mean of every 2×2 pixels,
*high* what remains. The two are orthogonal, so that the likelihood of a picture is the product of
those of its bands: ``MSE(x) = MSE(low) + MSE(high)``.

The names of the types are from a later thesis, whose networks need not be these.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.convdraw.networks import PATCH, Canvas, ConvDRAW, ConvDRAWConfig, Enlarge, Level

#: Two levels of four steps. Equally wide, so that states can be handed up as they are.
TWO_LEVELS = ConvDRAWConfig(
    levels=(
        Level(stride=16, steps=4, channels=32, hidden=96, prior_width=80, kernel=5),
        Level(stride=8, steps=4, channels=16, hidden=96, prior_width=80),
    ),
    features=(160, 128, 64),
    feature_depths=(2, 2, 1),
)


def low_pass(picture: Tensor) -> Tensor:
    """B×3×H×W → B×3×H/2×W/2: the mean of every 2×2 pixels. H and W are even."""
    return F.avg_pool2d(picture, 2)


def enlarged(low: Tensor) -> Tensor:
    """B×3×h×w → B×3×2h×2w: every pixel four times."""
    return F.interpolate(low, scale_factor=2, mode="nearest")


def high_pass(picture: Tensor) -> Tensor:
    """B×3×H×W → what :func:`low_pass` leaves of it; the mean of every 2×2 pixels is zero."""
    return picture - enlarged(low_pass(picture))


class Interpolate(nn.Module):
    """Canvas and states of one level, bilinearly enlarged; it learns nothing.

    Raises:
        ValueError: the levels differ in width.
    """

    def __init__(self, coarse: Level, fine: Level) -> None:
        super().__init__()
        if coarse.hidden != fine.hidden:
            raise ValueError(f"states of {coarse.hidden} channels cannot become {fine.hidden}")

    def forward(self, canvas: Canvas) -> Canvas:
        h, c, picture = (_double(x) for x in (*canvas[:2], F.pixel_shuffle(canvas.patches, PATCH)))
        return Canvas(h, c, F.pixel_unshuffle(picture, PATCH))


class Begin(Enlarge):
    """The states of one level, enlarged, and an own canvas that begins with what they expect."""

    def forward(self, canvas: Canvas) -> Canvas:
        h, c = self.states(canvas.h).chunk(2, dim=1)
        return Canvas(h, c.float(), self.patches(canvas.h).float())


class InterpolatingConvDRAW(ConvDRAW):
    """Type 1 with interpolation; :class:`ConvDRAW` itself is type 1 with learned upsampling."""

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__(config)
        self.enlarge = nn.ModuleList([Interpolate(*config.levels)])


class TwoCanvasConvDRAW(ConvDRAW):
    """Type 2: the coarse level draws the low-pass picture, the fine one the high-pass picture.

    Raises:
        ValueError: the levels are not two, at 1/16 and 1/8.
    """

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__(config)
        strides = [level.stride for level in config.levels]
        if strides != [2 * PATCH, PATCH]:
            raise ValueError(f"two canvases need levels of strides 16 and 8, not {strides}")
        self.enlarge = nn.ModuleList([Begin(*config.levels)])

    def patches_to_draw(self, image: Tensor, number: int) -> Tensor:
        if number == 0:
            return super().patches_to_draw(image, number)
        return F.pixel_unshuffle(high_pass(image), PATCH)

    def picture(self, canvases: list[Canvas], quality: Tensor) -> Tensor:
        low, high = canvases
        drawn = F.pixel_shuffle(low.patches, PATCH) + 0.5
        return enlarged(drawn) + high_pass(self.final(high, quality))


class SharedConvDRAW(ConvDRAW):
    """All steps of a level are one: encoder, decoder, prior and gains."""

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__(config)
        first = 0
        for level in config.levels:
            for modules in self.each_step():
                for index in range(first + 1, first + level.steps):
                    modules[index] = modules[first]
            first += level.steps

    def each_step(self) -> list[nn.ModuleList]:
        """What there is of every step, in lists over the steps."""
        prior = self.prior
        return [self.steps, self.log_gains, prior.steps, prior.latent_in, prior.recurrent]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")
