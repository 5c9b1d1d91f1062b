"""Reports of progress, divided among the parts of a job."""

from __future__ import annotations

from collections.abc import Sequence

from models.protocol import Progress


def unheard(_: float) -> None:
    """A report of progress that is not wanted."""


def split(progress: Progress | None, weights: Sequence[float]) -> list[Progress]:
    """One report per part; each takes its part's own share done, 0…1, and passes on the whole's.

    Args:
        progress: called with the share of the whole that is done; None: not wanted.
        weights: expected relative times of the parts.
    """
    if progress is None:
        return [unheard] * len(weights)
    total = sum(weights)
    starts = [sum(weights[:i]) / total for i in range(len(weights))]

    def part(start: float, weight: float) -> Progress:
        return lambda share: progress(start + share * weight / total)

    return [part(start, weight) for start, weight in zip(starts, weights, strict=True)]
