"""Which quality meets a target: a size, or how near the picture comes to its original."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bitstream.container import MAX_QUALITY, nearest_quality
from codec.errors import TargetError
from codec.progress import split, unheard
from models.protocol import CodingModel, Progress

if TYPE_CHECKING:
    from codec.encoding import Encoded

#: Qualities a file can have in one whole step.
STEPS = 4
#: Where a quality brings one more stage, its files are a good deal larger than those before. This
#: many qualities are tried without that stage too.
_BRIDGE = 8
#: Share by which sizes grow from one rung to the next, roughly.
_GROWTH = 0.009
#: At more effort a file this much smaller than the limit is as good as one that fills it.
_CLOSE = 0.01
#: Up to this quality a file with a layer less may be better than one of all layers and equal size.
_LOW = 40


@dataclass(frozen=True)
class Rung:
    """One way to code a picture."""

    quality: float
    layers: int
    stages: int | None = None
    """Of all layers together; None: all there are."""


def ladder(model: CodingModel, layers: int, stages: int | None) -> list[Rung]:
    """All there is to choose from, by rising size (about)."""

    def count(quality: float) -> int:
        whole = sum(layer.stages for layer in model.layers_at(quality)[:layers])
        return whole if stages is None else min(whole, stages)

    def qualities(first: float, last: float) -> list[float]:
        return [nearest_quality(q / STEPS) for q in range(int(first * STEPS), int(last * STEPS))]

    rungs = [Rung(0, layers, stages)]
    for quality in qualities(1 / STEPS, MAX_QUALITY + 1 / STEPS):
        if (fewer := count(quality - 1 / STEPS)) < count(quality):
            bridged = qualities(quality, min(MAX_QUALITY, quality + _BRIDGE))
            rungs += [Rung(q, layers, fewer) for q in bridged]
        rungs.append(Rung(quality, layers, stages))
    return rungs


def highest_within(
    value: Callable[[int], float],
    goal: float,
    *,
    low: int,
    high: int,
    slope: float,
    start: int,
    close: float = 0.0,
) -> int:
    """The highest index between ``low`` and ``high`` (both excluded) whose value is at most
    ``goal``; ``low`` where there is none.

    Args:
        value: rises with the index (about); each call is expensive.
        slope: how much it rises from one index to the next, roughly.
        start: the index tried first.
        close: a value at most this far below the goal is good enough.
    """
    # What is not known of the two ends is guessed from the slope.
    below: float | None = None
    above: float | None = None
    middle, moved = min(max(start, low + 1), high - 1), 0
    while high - low > 1:
        reached = value(middle)
        fits = reached <= goal
        side = 1 if fits else -1
        if fits:
            low, below = middle, reached
            if goal - reached <= close:
                break
        else:
            high, above = middle, reached
        if high - low <= 1:
            break
        if below is not None and above is not None:
            share = (goal - below) / max(above - below, 1e-12)
            step = share * (high - low)
            # The same end twice: the curve bends, and halving is safer.
            middle = low + (round(step) if side != moved else (high - low) // 2)
        else:
            # Of an exact picture the measure is infinite.
            far = high - low
            step = min(max((goal - reached) / slope, -far), far)
            middle += round(step) or side
        middle, moved = min(max(middle, low + 1), high - 1), side
    return low


class Attempts(Protocol):
    """Makes files of one picture, on a rung of the ladder each."""

    def encode(self, rung: Rung, effort: int = 1, progress: Progress | None = None) -> Encoded: ...


class Measure(Protocol):
    """How near a file's picture comes to the original: more is nearer."""

    unit: str
    """For messages."""
    slope: float
    """How much it grows from one quality to the next, in quarter steps, roughly."""

    def __call__(self, data: bytes) -> float: ...


@dataclass(frozen=True)
class Search:
    """Looks for the file that meets a target.

    Args:
        attempts: makes the files.
        model: that they are made with.
        effort: 1…9, of the file that is found in the end.
        measure: the tuning's own: says which of several files of a size is best.
        progress: called with the share done.
    """

    attempts: Attempts
    model: CodingModel
    effort: int
    measure: Measure
    progress: Progress | None = None

    def within(self, limit: int, ladders: Sequence[list[Rung]]) -> Encoded:
        """The best file of at most ``limit`` bytes, of the highest rung that fits on each ladder.

        Args:
            ladders: the first holds what is best as a rule; the others, of fewer layers, are
                climbed only where it ends low, one of a single layer where nothing else fits.

        Raises:
            TargetError: the smallest files are larger.
        """
        files: list[Encoded] = []
        least = []
        parts = split(self.progress, [1.0] * len(ladders))
        for rungs, progress in zip(ladders, parts, strict=True):
            if files and (files[0].quality > _LOW or rungs[0].layers == 1):
                break
            best, smallest = self._within(limit, rungs, progress)
            files += [] if best is None else [best]
            least.append(smallest)
        if not files:
            layers = ladders[-1][0].layers
            fewer = "use fewer --layers, " if layers > 1 else ""
            raise TargetError(
                f"{limit} bytes cannot be reached: quality 0 with {layers} "
                f"layer{'s' if layers > 1 else ''} needs {min(least)}; {fewer}--strip metadata, or "
                "reduce the image"
            )
        return files[0] if len(files) == 1 else max(files, key=lambda e: self.measure(e.data))

    def _within(
        self, limit: int, rungs: list[Rung], progress: Progress
    ) -> tuple[Encoded | None, int]:
        """The file of the highest rung that fits (None: none does), and the smallest size seen.

        Found at effort 1. More effort then shrinks the file, which leaves room for a higher
        quality; the search goes on from the rung that the shrinkage suggests.
        """
        quick = _Tried(self.attempts, rungs, 1, progress if self.effort == 1 else unheard)
        rung = quick.within(limit, len(rungs) // 2)
        if self.effort == 1:
            return quick.files.get(rung), quick.smallest
        known = max(0, rung)
        careful = _Tried(self.attempts, rungs, self.effort, progress)
        refined = len(careful.file(known).data)
        reach = quick.within(limit * len(quick.file(known).data) // refined, known)
        low = known if refined <= limit else -1
        rung = careful.within(limit, max(reach, low + 1), low=low, close=_CLOSE)
        return careful.files.get(rung), min(quick.smallest, careful.smallest)

    def reaching(self, measure: Measure, goal: float, ladders: Sequence[list[Rung]]) -> Encoded:
        """The smallest file whose picture reaches ``goal`` in a measure.

        Args:
            ladders: as of :meth:`within`.

        Raises:
            TargetError: the best files do not reach it.
        """
        files: list[Encoded] = []
        most = []
        parts = split(self.progress, [1.0] * len(ladders))
        for rungs, progress in zip(ladders, parts, strict=True):
            if files and (files[0].quality > _LOW or rungs[0].layers == 1):
                break
            best, highest = self._reaching(measure, goal, rungs, progress)
            files += [] if best is None else [best]
            most.append(highest)
        if not files:
            raise TargetError(
                f"{goal:g} {measure.unit} cannot be reached: quality 100 gives {max(most):.2f}; "
                "use a lossless format, or ask for less"
            )
        return min(files, key=lambda e: len(e.data))

    def _reaching(
        self, measure: Measure, goal: float, rungs: list[Rung], progress: Progress
    ) -> tuple[Encoded | None, float]:
        """The file of the lowest rung that reaches the goal, and the highest value seen."""
        tried = _Tried(self.attempts, rungs, self.effort, progress)
        seen: dict[int, float] = {}

        def value(index: int) -> float:
            seen[index] = measure(tried.file(index).data)
            return seen[index]

        ends = {"low": -1, "high": len(rungs)}
        below = math.nextafter(goal, -math.inf)
        rung = 1 + highest_within(value, below, **ends, slope=measure.slope, start=len(rungs) // 2)
        if rung < len(rungs) and rung not in seen:
            value(rung)
        return (tried.files[rung] if rung < len(rungs) else None), max(seen.values())


class _Tried:
    """Files that a search has made at one effort."""

    def __init__(
        self, attempts: Attempts, rungs: list[Rung], effort: int, progress: Progress
    ) -> None:
        self._attempts, self._rungs, self._effort = attempts, rungs, effort
        self._progress = progress
        self.files: dict[int, Encoded] = {}

    def file(self, index: int) -> Encoded:
        """The file of a rung."""
        if index not in self.files:
            # How many there will be is not known: each takes a share of what is left.
            done = 1 - 0.8 ** len(self.files)
            _, part, _ = split(self._progress, [done, (1 - done) * 0.2, (1 - done) * 0.8])
            self.files[index] = self._attempts.encode(self._rungs[index], self._effort, part)
        return self.files[index]

    @property
    def smallest(self) -> int:
        """Bytes of the smallest file so far."""
        return min(len(file.data) for file in self.files.values())

    def within(self, limit: int, start: int, *, low: int = -1, close: float = 0.0) -> int:
        """The highest rung above ``low`` whose file has at most ``limit`` bytes, or ``low``."""

        def value(index: int) -> float:
            return math.log(len(self.file(index).data))

        goal, high = math.log(max(1, limit)), len(self._rungs)
        return highest_within(
            value, goal, low=low, high=high, slope=_GROWTH, start=start, close=close
        )
