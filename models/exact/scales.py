"""The scale table: which zero-mean Gaussians model a symbol, and what they cost.

A symbol is an integer residual in units of the quantization step. Its model is one of
``SCALE_COUNT`` Gaussians of fixed standard deviation, log-spaced from ``SCALE_MIN`` to
``SCALE_MAX``, integrated over unit bins (the prior convolved with the uniform posterior of width 1,
Ballé et al. 2018; Duan et al. 2023). Only the index into the table depends on a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.exact.arithmetic import ACTIVATION_BITS

SCALE_COUNT = 64
SCALE_MIN = 0.11
SCALE_MAX = 256.0
#: Symbols of this index and below are not coded: they are zero. At 0.11 a non-zero symbol has a
#: probability of 5e-6, so forcing it to zero costs nothing and saves most of the coding time.
SKIP_INDEX = 0

FREQUENCY_BITS = 20
_TAIL = 2.0**-17  # probability left to the escape symbol, about


def scale_table() -> np.ndarray:
    """The standard deviations, shape (64,), in symbol units."""
    return np.geomspace(SCALE_MIN, SCALE_MAX, SCALE_COUNT)


def raw_thresholds() -> np.ndarray:
    """Boundaries between neighbouring indices for the integer ``raw`` output of a prior.

    Shape (63,), increasing, in activation units. A prior predicts ``softplus(raw) + SCALE_MIN``;
    the boundary between two table entries is their geometric mean.
    """
    table = scale_table()
    middle = np.sqrt(table[1:] * table[:-1]) - SCALE_MIN
    raw = np.where(middle > 30, middle, np.log(np.expm1(np.minimum(middle, 30.0))))
    return np.round(raw * 2**ACTIVATION_BITS).astype(np.int32)


def frequency_tables() -> list[np.ndarray]:
    """Integer frequencies of each scale's symbols under the Gaussians.

    Files are coded with tables learned from symbols (:mod:`models.exact.tables`), which start from
    these.

    Entry ``i`` has shape (2 L_i + 2,): the symbols −L_i … L_i, then the escape. Frequencies are at
    least 1 and sum to 2^20.
    """
    tables = []
    for scale in scale_table():
        limit = 1
        while math.erfc((limit + 0.5) / (scale * math.sqrt(2))) > _TAIL:
            limit += 1
        edges = np.arange(-limit, limit + 2) - 0.5
        cdf = np.array([0.5 * math.erfc(-e / (scale * math.sqrt(2))) for e in edges])
        inside = np.diff(cdf)
        frequency = np.maximum(1, np.round(np.append(inside, _TAIL) * 2**FREQUENCY_BITS))
        frequency[limit] += 2**FREQUENCY_BITS - frequency.sum()  # the zero symbol takes the rest
        tables.append(frequency.astype(np.int32))
    return tables


def scale_of(raw: Tensor) -> Tensor:
    """Training face of the table: raw network output → standard deviation, continuous."""
    return (F.softplus(raw) + SCALE_MIN).clamp_max(SCALE_MAX)


def scale_index_of(raw: Tensor) -> Tensor:
    """What :func:`scale_of` becomes in use: raw network output (float face) → table index."""
    thresholds = torch.from_numpy(raw_thresholds()).to(raw)
    units = (raw * 2**ACTIVATION_BITS).round().contiguous()
    return torch.bucketize(units, thresholds, right=True)


class _LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient still passes where it would raise x (CompressAI, TFC)."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x >= bound)
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (above,) = ctx.saved_tensors
        return grad * (above | (grad < 0)), None


def gaussian_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """Bits of residuals under zero-mean Gaussians integrated over unit bins; float32 or better.

    Args:
        residual: any shape, symbol units; noisy (training) or whole-numbered (evaluation).
        scale: same shape, standard deviations, > 0.
    """
    magnitude = residual.abs()
    inverse = 0.5**0.5 / scale
    mass = 0.5 * (torch.erfc((magnitude - 0.5) * inverse) - torch.erfc((magnitude + 0.5) * inverse))
    return -torch.log2(_LowerBound.apply(mass, 1e-9))


class Costs:
    """What range coding will spend on the symbols of a stage.

    Args:
        tables: frequencies per scale index as in :func:`frequency_tables`.
    """

    def __init__(self, tables: Sequence[np.ndarray]) -> None:
        limits = np.array([(len(f) - 2) // 2 for f in tables])
        starts = np.cumsum([0] + [len(f) for f in tables[:-1]])
        costs = np.concatenate([FREQUENCY_BITS - np.log2(f) for f in tables])
        self._costs = torch.from_numpy(costs).float()
        self._centres, self._limits = torch.from_numpy(starts + limits), torch.from_numpy(limits)

    def bits(self, symbols: Tensor, raw: Tensor) -> Tensor:
        """Bits of each symbol, in the shape of both; zero where nothing is stored.

        Args:
            symbols: any shape, whole numbers.
            raw: same shape, the prior's raw output (float face).
        """
        if self._costs.device != symbols.device:
            self._costs, self._centres, self._limits = (
                t.to(symbols.device) for t in (self._costs, self._centres, self._limits)
            )
        index = scale_index_of(raw)
        magnitude = symbols.abs().long()
        limit = self._limits[index]
        escaped = magnitude > limit
        entry = torch.where(escaped, limit + 1, magnitude)
        # After an escape: one bit of sign, four of length n, then n bits.
        gamma = 5 + torch.log2((magnitude - limit).clamp_min(1).float()).floor()
        bits = self._costs[self._centres[index] + entry] + torch.where(escaped, gamma, 0.0)
        return bits.where(index > SKIP_INDEX, torch.zeros_like(bits))


@lru_cache(maxsize=1)
def gaussian_costs() -> Costs:
    """The costs by the Gaussian tables, for models whose own tables are not learned yet."""
    return Costs(frequency_tables())
