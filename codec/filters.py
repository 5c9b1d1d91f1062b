"""The filters that a file brings for its picture."""

from __future__ import annotations

from typing import NamedTuple

from models.picture_filter import EachFiltered, PictureFilter


class Filters(NamedTuple):
    """The filters of one picture."""

    before: PictureFilter | None = None
    """Of the picture before it is corrected."""
    last: PictureFilter | None = None

    def towards(self, other: Filters, share: float) -> Filters:
        """Filters on the way to others: ``share`` 0 gives these, 1 the others."""
        pairs = zip(self, other, strict=True)
        return Filters(*(PictureFilter.between(a, b, share) for a, b in pairs))

    @property
    def prepared(self) -> EachFiltered | None:
        """That before the correction, for a batch of one."""
        return None if self.before is None else EachFiltered([self.before])
