"""Fitting the filter of a picture: which coefficients, and whether they earn their bytes.

There may be two: of the picture, and of the picture that a correction is added to. The normal
equations are collected on pieces of the decoded picture, solved, and rounded; then single
coefficients are moved as long as bits + λ·squared error falls (:mod:`models.picture_filter` says
what is filtered, ``docs/decisions/0020-fitted-filter.md`` what it brings). Where the pieces are not
the whole image, what fits half of them is tried on the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bitstream.container import FILTER, Chunk
from bitstream.picture_filter import (
    COUNTS,
    LIMIT,
    NONE,
    TONES,
    UNIT,
    PlaneBits,
    Planes,
    pack_filter,
    plane_bits,
)
from codec.filter_sample import Sample
from codec.filters import Filters, of_batch
from models.names import tuning_of
from models.picture_filter import (
    PLANE_WEIGHTS,
    REACH,
    EachFiltered,
    Statistics,
)
from models.protocol import CodingModel, Draw
from models.tiles import Box

#: Pieces begin at multiples of n pixels.
_ALIGN = 8
#: Bits of a filter's chunk without coefficients, those that fill its last byte included.
_CHUNK_BITS = 8 * len(Chunk(FILTER, bytes(1)).to_bytes()) + 7
#: Rounds of moving single coefficients.
_ROUNDS = 3
#: Keeps the solution small where features hardly differ; a share of their squares.
_RIDGE = 1e-5


@dataclass
class Fitted:
    """The filters of one picture."""

    before: Planes = NONE
    """Of the picture before it is corrected."""
    last: Planes = NONE

    @property
    def filters(self) -> Filters:
        """As pictures are drawn with them."""
        return Filters.of(self.before, self.last)

    def chunks(self) -> list[Chunk]:
        """What the file holds of them."""
        if not any(self.before) and not any(self.last):
            return []
        return [Chunk(FILTER, pack_filter(self.last, self.before))]


class Fitting:
    """Fits the filters of images that are encoded together.

    Args:
        images: sample of each, and whether it is shown without its colours.
    """

    def __init__(
        self, model: CodingModel, quality: float, images: Sequence[tuple[Sample, bool]]
    ) -> None:
        self._model, self._quality, self._images = model, quality, images
        self.results = [Fitted() for _ in images]

    def prepare(self, draw: Draw) -> EachFiltered | None:
        """Before a correction: a :data:`models.protocol.Prepare`.

        Error that is coded anyway takes fewer bits if there is less of it, but by less than error
        is worth in the end.
        """
        for fitted, planes in zip(self.results, self._fit(draw, shown=False), strict=True):
            fitted.before = planes
        return of_batch([fitted.filters for fitted in self.results])[0]

    def complete(self, draw: Draw) -> None:
        """The filters of the pictures."""
        for fitted, planes in zip(self.results, self._fit(draw, shown=True), strict=True):
            fitted.last = planes

    @torch.no_grad()
    def _fit(self, draw: Draw, *, shown: bool) -> list[Planes]:
        # Least squared error has less contrast where little is coded. Half the way there brings
        # three quarters of what it brings, and costs half; tones are not worth it.
        seen = tuning_of(self._model.name) == "eye"
        drawings = _drawings([sample.content for sample, _ in self._images], draw)
        return [
            fit_planes(
                sample,
                drawing,
                self._model,
                self._quality,
                grey=grey,
                tones=not seen,
                overhead=0 if any(fitted.before) else _CHUNK_BITS,
                share=1.0 if shown else 0.5,
                strength=0.5 if shown and seen else 1.0,
            )
            for (sample, grey), fitted, drawing in zip(
                self._images, self.results, drawings, strict=True
            )
        ]


def fit_planes(
    sample: Sample,
    draw: Callable[[Box], Tensor],
    model: CodingModel,
    quality: float,
    *,
    grey: bool,
    tones: bool,
    overhead: float,
    share: float = 1.0,
    strength: float = 1.0,
) -> Planes:
    """The filter's coefficients; none where they would cost more than they bring.

    Args:
        draw: gives the picture that is filtered in a box, 1×3×h×w float32 around [0, 1], missing
            stages filled with the prior's mean.
        grey: the picture is shown without its colours.
        tones: whether tones may be filtered, and not differences alone.
        overhead: bits that a filter takes apart from its coefficients.
        share: of what squared error is worth in the end.
        strength: how far to go from no filter to the one that fits best.
    """
    step = sample.step
    halves = Statistics(step, tones=tones), Statistics(step, tones=tones)
    for number, piece in enumerate(sample.pieces):
        seen = piece.box.grown(REACH, _ALIGN, sample.frame)
        drawn = draw(seen)
        halves[number % 2].add(drawn, seen, piece.pixels, piece.box, piece.counted, grey=grey)
    # Bits per unit of squared error, added up over the channels of the pixels looked at.
    pixels = max(1, sum(half.pixels for half in halves))
    worth = share * model.lagrangian(quality) / 3 * sample.pixels / pixels
    # What is known of pixels that are not looked at is worth half.
    known = (1 + min(1.0, pixels * step**2 / max(1, sample.pixels))) / 2
    planes, saved = [], -overhead
    for index in range(1 if grey else len(COUNTS)):
        one, other = (_Cost.of(half, index, worth) for half in halves)
        both = one + other
        found = [(both.best(places), places) for places in _choices(COUNTS[index], tones)]
        plane, places = max(found, key=lambda pair: both.saved(pair[0]))
        plane = _scaled(plane, strength)
        reduced = both.reduced(plane)
        if not sample.whole:
            # Pixels not looked at gain less. With e the squared error of the coefficients, weighted
            # like a, and s the strength, by 2s·e; what lies between is (2s + s²)·e.
            first, second = (_scaled(half.rounded(places), strength) for half in (one, other))
            crossed = one.reduced(second) + other.reduced(first)
            reduced -= max(0.0, reduced - crossed) * 2 / (2 + strength)
        gain = known * reduced - plane_bits(plane) if any(plane) else 0.0
        planes.append(plane if gain > 0 else [])
        saved += max(0.0, gain)
    planes += [[] for _ in COUNTS[len(planes) :]]
    return planes if saved > 0 else NONE


def _scaled(plane: Sequence[int], strength: float) -> list[int]:
    return [round(strength * value) for value in plane]


def _choices(count: int, tones: bool) -> list[range]:
    """Which coefficients of n may differ from zero: those of differences, of tones, or all."""
    differences = count - TONES
    if not tones:
        return [range(differences)]
    return [range(count), range(differences), range(differences, count)]


@dataclass(frozen=True)
class _Cost:
    """λ·squared error of one plane in bits, for coefficients in the units they are stored in:
    ``c·a·c − 2·c·b`` more than without them."""

    a: np.ndarray
    b: np.ndarray

    @classmethod
    def of(cls, statistics: Statistics, index: int, worth: float) -> _Cost:
        gram, target = statistics.gram[index], statistics.target[index]
        worth *= PLANE_WEIGHTS[index]
        count = COUNTS[index]
        a, b = np.zeros((count, count)), np.zeros(count)
        if isinstance(gram, Tensor) and isinstance(target, Tensor):  # something was looked at
            a[: len(gram), : len(gram)] = gram.cpu().numpy() * (worth / UNIT**2)
            b[: len(target)] = target.cpu().numpy() * (worth / UNIT)
        return cls(a, b)

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.a + other.a, self.b + other.b)

    def reduced(self, plane: Sequence[int]) -> float:
        """How many bits' worth of error the coefficients take away."""
        c = np.array(plane, dtype=np.float64)
        return float(2 * c @ self.b - c @ self.a @ c)

    def saved(self, plane: Sequence[int]) -> float:
        """The same less the bits that the coefficients take."""
        return self.reduced(plane) - plane_bits(plane)

    def rounded(self, places: Sequence[int]) -> list[int]:
        """The solution of the normal equations in whole coefficients; zero but at ``places``."""
        a, b = self.a[np.ix_(places, places)], self.b[list(places)]
        ridge = np.diag(_RIDGE * np.diag(a) + 1e-9 * np.trace(a) + 1e-12)
        solution = np.rint(np.linalg.solve(a + ridge, b)).clip(-LIMIT, LIMIT)
        plane = [0] * len(self.b)
        for place, value in zip(places, solution, strict=True):
            plane[place] = int(value)
        return plane

    def best(self, places: Sequence[int]) -> list[int]:
        """Whole coefficients at ``places`` that save most: the rounded solution, then single steps
        from there."""
        plane = self.rounded(places)
        bits = PlaneBits(plane)
        slope = self.b - self.a @ np.array(plane, dtype=np.float64)
        for _ in range(_ROUNDS):
            moved = False
            for place in places:
                for other in (0, plane[place] - 1, plane[place] + 1):
                    value, step = plane[place], other - plane[place]
                    gain = 2 * step * slope[place] - step**2 * self.a[place, place]
                    # A coefficient that stays coded becomes at most two bits shorter.
                    if not step or abs(other) > LIMIT or (other and gain <= -2):
                        continue
                    if gain > bits.after(place, value, other) - bits.total:
                        bits.change(place, value, other)
                        plane[place], moved = other, True
                        slope -= step * self.a[place]
            if not moved:
                break
        return plane


def _drawings(sizes: Sequence[tuple[int, int]], draw: Draw) -> list[Callable[[Box], Tensor]]:
    """For each image of a batch a function that draws a box of it, 1×3×h×w float32.

    Images of one size are asked for the same boxes: each is drawn for all of them at once.
    """
    if len(sizes) == 1:
        return [draw]
    alike = {size: [i for i, other in enumerate(sizes) if other == size] for size in sizes}
    drawn: dict[tuple[tuple[int, int], Box], Tensor] = {}

    def of_one(index: int, box: Box) -> Tensor:
        size = sizes[index]
        if (size, box) not in drawn:
            drawn[size, box] = draw(box, alike[size])
        place = alike[size].index(index)
        return drawn[size, box][place : place + 1]

    return [partial(of_one, index) for index in range(len(sizes))]
