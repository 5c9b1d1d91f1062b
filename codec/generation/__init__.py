"""The model as a generative one: pictures that no file holds, or holds only in part.

>>> from codec.generation import sample, upscale, vary
>>> upscale("small.png", factor=2)  # twice the size: what the prior expects between the pixels
>>> vary("photo.cci", count=4, keep=1)  # u kept, the other layers drawn anew
>>> sample(16, size=128, seed=3)  # nothing given

All of it goes through :mod:`models.protocol`, so that any model family serves. The functions follow
*Towards Conceptual Compression* (Gregor et al. 2016: generated completions of stored layers) and
*Self-Supervised Variational Auto-Encoders* (Gatopoulos & Tomczak 2020: reconstructions RS1–RS3 from
u, u + z1 and all layers, and generation given the small representations).
"""

from codec.generation.grid import grid
from codec.generation.interpolation import interpolate
from codec.generation.reconstruction import Panel, reconstruct
from codec.generation.sampling import sample, vary
from codec.generation.upscaling import FACTORS, upscale

__all__ = [
    "FACTORS",
    "Panel",
    "grid",
    "interpolate",
    "reconstruct",
    "sample",
    "upscale",
    "vary",
]
