"""Which files can be decoded together."""

from __future__ import annotations

from typing import NamedTuple

from models.protocol import CodingModel


class Plan(NamedTuple):
    """What there is to do for a file. Files of equal plans can be decoded together."""

    model: CodingModel
    size: tuple[int, int]
    """Padded height and width."""
    quality: float
    ends: tuple[int, ...]
    """Per layer that is wanted: after how many stages, counted over all layers, its part ends."""
    whole: tuple[bool, ...]
    """Per layer: whether its data are read to their end."""
    upto: int
    """Layers that the picture depends on."""
    scale: int

    @property
    def pixels(self) -> int:
        """Padded."""
        return self.size[0] * self.size[1]
