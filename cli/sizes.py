"""Sizes as people write them; they are read in :mod:`codec.sizes`."""

from codec.sizes import parse_size

__all__ = ["parse_size"]
