"""The filters that a file brings for its picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bitstream.picture_filter import UNIT, Planes
from models.picture_filter import EachFiltered, PictureFilter


class Filters(NamedTuple):
    """The filters of one picture."""

    before: PictureFilter | None = None
    """Of the picture before it is corrected."""
    last: PictureFilter | None = None

    @classmethod
    def of(cls, before: Planes, last: Planes) -> Filters:
        """Those of fitted coefficients."""
        return cls(*(PictureFilter(f, UNIT) if any(f) else None for f in (before, last)))

    def towards(self, other: Filters, share: float) -> Filters:
        """Filters on the way to others: ``share`` 0 gives these, 1 the others."""
        pairs = zip(self, other, strict=True)
        return Filters(*(PictureFilter.between(a, b, share) for a, b in pairs))

    @property
    def prepared(self) -> EachFiltered | None:
        """That before the correction, for a batch of one."""
        return None if self.before is None else EachFiltered([self.before])


def of_batch(filters: Sequence[Filters]) -> tuple[EachFiltered | None, EachFiltered | None]:
    """Those before the correction, and the last ones, of pictures that are drawn together."""
    before, last = [each.before for each in filters], [each.last for each in filters]
    return (
        EachFiltered(before) if any(before) else None,
        EachFiltered(last) if any(last) else None,
    )
