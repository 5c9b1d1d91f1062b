"""A filter on the decoded picture, fitted to each image by its encoder.

The relative is the adaptive loop filter of VVC (Tsai et al. 2013): the encoder knows the original,
solves the normal equations of a Wiener filter, and stores its coefficients. Here the *features* are
not plain neighbours of a pixel but sums of differences to them, steered by the picture itself:

- rings of neighbours (4 beside, 4 diagonal, 4 at distance two), so that few coefficients do;
- differences along and across the local direction of luma, weighted by how clear it is;
- differences limited to a few steps of 255, as a bilateral filter has them;
- all of that once more, weighted by the local activity;
- for chroma, luma's rings times the local slope of chroma over luma: detail that chroma lost and
  luma kept (cross-component prediction).

These are zero where the picture is flat. Others, the *tones*, are polynomials of a pixel's own luma
and chroma, the same for every plane: an image's tones and colours as a network trained on all
images has them are a little off. ``docs/format.md`` (section 4) is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor

from models.tiles import Box

#: Pixels that the filter sees beyond its output.
REACH = 2
#: A plane is corrected by at most so much, whatever the coefficients; pixels lie in [0, 1].
LARGEST = 1 / 8
#: Features of a pixel's own values.
TONES = 16
#: Squared error of the pixels' three channels, added up, that a unit of squared error of each plane
#: makes.
PLANE_WEIGHTS = (3.0, 2.0, 6.0)

_FLOOR = 1 / 1024
_HALF_ACTIVE = 1 / 16
_CLIP = 4 / 255
_SMALL_VARIANCE = (2 / 255) ** 2
#: Rows that are worked on at once: what is made of them fits into a cache.
_STRIP = 128


class PictureFilter:
    """Applies coefficients: a :class:`models.protocol.Finish`.

    Args:
        planes: coefficients of luma and two chroma planes, in the order of ``luma_features`` and
            ``chroma_features``, then ``tones``; an empty plane is left alone.
        unit: the number a coefficient of 1 is stored as.
    """

    reach = REACH

    def __init__(self, planes: Sequence[Sequence[float]], unit: int) -> None:
        self._planes = [[value / unit for value in plane] for plane in planes]

    @classmethod
    def between(
        cls, first: PictureFilter | None, second: PictureFilter | None, share: float
    ) -> PictureFilter | None:
        """A filter on the way from one to another: ``share`` 0 gives the first, 1 the second; None
        leaves a picture alone."""
        if first is None and second is None:
            return None
        nothing: list[list[float]] = [[] for _ in PLANE_WEIGHTS]
        a, b = (nothing if each is None else each._planes for each in (first, second))
        mixed = [
            [(1 - share) * x + share * y for x, y in zip_longest(*planes, fillvalue=0.0)]
            for planes in zip(a, b, strict=True)
        ]
        return cls(mixed, 1)

    def __call__(self, drawn: Tensor) -> Tensor:
        padded = F.pad(drawn.clamp(0, 1).contiguous(), [REACH] * 4, mode="replicate")[0]
        out = torch.empty(drawn.shape, dtype=torch.float32, device=drawn.device)
        for top in range(0, drawn.shape[-2], _STRIP):
            strip = padded[:, top : top + _STRIP + 2 * REACH]
            self._strip(strip, out[0, :, top : top + _STRIP])
        return out

    def _strip(self, padded: Tensor, out: Tensor) -> None:
        view = _View(padded)
        out.copy_(padded[:, REACH:-REACH, REACH:-REACH])
        for index, plane in enumerate(self._planes):
            if not any(plane):
                continue
            change = view.change(index, plane)
            change.clamp_(-LARGEST, LARGEST)
            for channel, share in enumerate(((1, 1, 1), (1, 0, -1), (-1, 2, -1))[index]):
                if share:
                    out[channel].add_(change, alpha=share)


class EachFiltered:
    """A filter for each image of a batch, None for one that is left alone: a
    :class:`models.protocol.Finish`."""

    reach = REACH

    def __init__(self, filters: Sequence[PictureFilter | None]) -> None:
        self._filters = filters

    def of(self, images: Sequence[int] | None) -> EachFiltered:
        """Those of some images of the batch; None: of all."""
        return self if images is None else EachFiltered([self._filters[i] for i in images])

    def __call__(self, drawn: Tensor) -> Tensor:
        pairs = zip(self._filters, drawn.split(1), strict=True)
        return torch.cat([one if each is None else each(one) for each, one in pairs])


class Statistics:
    """The normal equations of the best coefficients, collected piece by piece.

    ``gram[0]`` serves luma and ``gram[1]``, ``gram[2]`` the chroma planes; with ``target`` the
    squared error of a plane under coefficients c changes by c·gram·c − 2·c·target.

    Args:
        step: look at every nth row and column.
        tones: look at tones too; else at differences alone.
    """

    def __init__(self, step: int = 1, *, tones: bool = True) -> None:
        self._step, self._tones = step, tones
        self.pixels = 0
        self.gram: list[Tensor | float] = [0.0, 0.0, 0.0]
        self.target: list[Tensor | float] = [0.0, 0.0, 0.0]

    def add(
        self,
        drawn: Tensor,
        seen: Box,
        original: Tensor,
        box: Box,
        counted: Tensor | None = None,
        *,
        grey: bool,
    ) -> None:
        """Take one piece into account.

        Args:
            drawn: the decoded picture of ``seen``, 1×3×h×w float32.
            original: the image in ``box``, 3×h×w uint8.
            box: without the border that the filter sees.
            counted: bool h×w, where errors count; None: everywhere.
            grey: only luma is shown.
        """
        inner = box.grown(REACH, 1, seen)
        part = inner.cut(drawn, 1, seen).clamp(0, 1).contiguous()
        margin = (
            REACH - (box.left - inner.left),
            REACH - (inner.right - box.right),
            REACH - (box.top - inner.top),
            REACH - (inner.bottom - box.bottom),
        )
        padded = F.pad(part, margin, mode="replicate")[0]
        view, step = _View(padded), self._step
        shown = padded[:, REACH:-REACH, REACH:-REACH]
        errors = _planes(original.to(drawn.device).float().div_(255) - shown)
        for index, error in enumerate(errors[:1] if grey else errors):
            features = view.luma_features() if index == 0 else view.chroma_features(index)
            features += view.tones() if self._tones else []
            x = torch.stack([f[::step, ::step] for f in features]).flatten(1)
            y = error[::step, ::step].reshape(-1)
            if counted is not None:
                places = counted[::step, ::step].reshape(-1).to(y.device)
                x, y = x[:, places], y[places]
            self.gram[index] = self.gram[index] + (x @ x.T).double()
            self.target[index] = self.target[index] + (x @ y).double()
            count = y.numel()
        self.pixels += count


def _planes(rgb: Tensor) -> Tensor:
    """Luma and two chroma planes of 3×h×w: (R + G + B)/3, (R − B)/2, (2G − R − B)/6.

    Back: R = Y + U − V, G = Y + 2V, B = Y − U − V.
    """
    red, green, blue = rgb.unbind(0)
    both = red + blue
    return torch.stack(
        [(both + green).div_(3), (red - blue).div_(2), (2 * green).sub_(both).div_(6)]
    )


class _Differences:
    """Second differences of one plane, (h+4)×(w+4) → those of its inner h×w."""

    def __init__(self, padded: Tensor) -> None:
        height, width = padded.shape[0] - 4, padded.shape[1] - 4

        def at(row: int, column: int) -> Tensor:
            return padded[2 + row : 2 + row + height, 2 + column : 2 + column + width]

        twice = 2 * at(0, 0)
        self.across, self.down, self.falling, self.rising, across_2, down_2 = (
            (at(r, c) + at(-r, -c)).sub_(twice)
            for r, c in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
        )
        self.rings = (self.across + self.down, self.falling + self.rising, across_2 + down_2)
        self.far = across_2 - down_2
        self.straight = self.across - self.down
        self.diagonal = self.falling - self.rising


def _box(x: Tensor, side: int) -> Tensor:
    """Sums over side×side windows (3 or 5) of …×(h+side−1)×(w+side−1)."""
    for dim in (-1, -2):
        size = x.shape[dim]
        pairs = x.narrow(dim, 0, size - 1) + x.narrow(dim, 1, size - 1)
        if side == 5:
            pairs = pairs.narrow(dim, 0, size - 3) + pairs.narrow(dim, 2, size - 3)
        rest = side - 1
        x = pairs.narrow(dim, 0, size - rest).add_(x.narrow(dim, rest, size - rest))
    return x


class _View:
    """Features of a piece; ``padded`` is 3×(h+4)×(w+4) RGB in [0, 1]."""

    def __init__(self, padded: Tensor) -> None:
        self._padded = _planes(padded)
        self._steer()
        self._luma = _Differences(self._padded[0])
        self._chroma: dict[int, _Differences] = {}
        self._slopes: Tensor | None = None
        self._tones: list[Tensor] = []

    def _steer(self) -> None:
        """Local direction and activity of luma."""
        y = self._padded[0]
        inner = 2 * y[1:-1, 1:-1]
        turns = torch.stack(
            [
                y[1:-1, :-2] + y[1:-1, 2:],
                y[:-2, 1:-1] + y[2:, 1:-1],
                y[:-2, :-2] + y[2:, 2:],
                y[:-2, 2:] + y[2:, :-2],
            ]
        )
        across, down, falling, rising = _box(turns.sub_(inner).abs_(), 3).div_(9).unbind(0)
        active = across + down
        self._axis = (across - down).div_(active + _FLOOR)
        self._tilt = (falling - rising).div_(falling.add_(rising).add_(_FLOOR))
        self._activity = active / (active + _HALF_ACTIVE)

    def _plain(self) -> list[Tensor]:
        """Luma's features without the weight of activity: nine of h×w."""
        d, axis, tilt = self._luma, self._axis, self._tilt
        return [
            *d.rings,
            d.straight * axis,
            d.far * axis,
            d.diagonal * tilt,
            self._clipped(),
            d.rings[0] * axis * axis,
            d.rings[1] * tilt * tilt,
        ]

    def _clipped(self) -> Tensor:
        y = self._padded[0]
        inner = y[2:-2, 2:-2]
        neighbours = (y[2:-2, 1:-3], y[2:-2, 3:-1], y[1:-3, 2:-2], y[3:-1, 2:-2])
        total = torch.zeros_like(inner)
        for neighbour in neighbours:
            total += (neighbour - inner).clamp_(-_CLIP, _CLIP)
        return total

    def luma_features(self) -> list[Tensor]:
        """Eighteen of h×w: nine, and the same weighted by activity."""
        plain = self._plain()
        return plain + [f * self._activity for f in plain]

    def luma_change(self, coefficients: Sequence[float]) -> Tensor:
        """Sum of coefficients times features, h×w."""
        plain = self._plain()
        weighted = _combine(plain, coefficients[len(plain) :]).mul_(self._activity)
        return _combine(plain, coefficients, weighted)

    def _of(self, index: int) -> _Differences:
        if index not in self._chroma:
            self._chroma[index] = _Differences(self._padded[index])
        return self._chroma[index]

    def _slope(self, index: int) -> Tensor:
        """Slope of a chroma plane over luma in 5×5 windows, within ±1."""
        if self._slopes is None:
            y, u, v = self._padded
            means = _box(torch.stack([y, u, v, y * y, y * u, y * v]), 5).div_(25)
            m = means[0]
            variance = (means[3] - m * m).clamp_(min=0).add_(_SMALL_VARIANCE)
            self._slopes = (means[4:] - m * means[1:3]).div_(variance).clamp_(-1, 1)
        return self._slopes[index - 1]

    def chroma_features(self, index: int) -> list[Tensor]:
        """Fourteen of h×w, of plane 1 or 2."""
        own, slope = self._of(index), self._slope(index)
        return [
            *own.rings,
            *self._of(3 - index).rings,
            *self._luma.rings,
            own.straight * self._axis,
            own.diagonal * self._tilt,
            *(ring * slope for ring in self._luma.rings),
        ]

    def chroma_change(self, index: int, coefficients: Sequence[float]) -> Tensor:
        """Sum of coefficients times features, h×w."""
        own = self._of(index)
        steered = [own.straight * self._axis, own.diagonal * self._tilt]
        plain = [*own.rings, *self._of(3 - index).rings, *self._luma.rings, *steered]
        sloped = _combine(list(self._luma.rings), coefficients[len(plain) :])
        return _combine(plain, coefficients, sloped.mul_(self._slope(index)))

    def tones(self) -> list[Tensor]:
        """Sixteen of h×w: products up to the second degree of t = 2Y − 1, a = 4U and b = 4V, with
        Legendre polynomials of t up to the sixth, halved."""
        if not self._tones:
            inner = self._padded[:, REACH:-REACH, REACH:-REACH]
            t, (a, b) = 2 * inner[0] - 1, 4 * inner[1:]
            powers = [torch.ones_like(t), t]
            for n in range(1, 6):  # Bonnet's recursion
                powers.append(((2 * n + 1) * t * powers[n] - n * powers[n - 1]).div_(n + 1))
            mixed = [a, b, t * a, t * b, a * a, a * b, b * b, powers[2] * a, powers[2] * b]
            self._tones = [f * 0.5 for f in (*powers, *mixed)]
        return self._tones

    def change(self, index: int, plane: Sequence[float]) -> Tensor:
        """What the coefficients of a plane make of it, h×w."""
        differences, tones = plane[:-TONES], plane[-TONES:]
        change = torch.zeros_like(self._axis)
        if any(differences):
            made = self.luma_change if index == 0 else partial(self.chroma_change, index)
            change = made(differences)
        return _combine(self.tones(), tones, change) if any(tones) else change


def _combine(
    features: Sequence[Tensor], coefficients: Sequence[float], start: Tensor | None = None
) -> Tensor:
    """``start`` plus the sum of the first n coefficients times features."""
    total = torch.zeros_like(features[0]) if start is None else start
    for feature, coefficient in zip(features, coefficients, strict=False):
        if coefficient:
            total.add_(feature, alpha=coefficient)
    return total
