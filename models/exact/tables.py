"""Frequency tables learned from symbols, and how a weights file keeps them.

A *set* holds the tables of all 64 scale indices; every stage of a model names its set. A learned
table is the posterior mean under a Dirichlet prior whose mean is the Gaussian table::

    probability(s) = (count(s) + strength · gaussian(s)) / (all counts + strength)

so that a scale index that hardly occurs keeps the Gaussian. In a weights file the tables are
``coding.frequencies`` (flat), ``coding.lengths`` (sets × 64) and ``coding.sets`` (stages).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from models.exact.scales import FREQUENCY_BITS, SCALE_COUNT, Costs, frequency_tables

TableSet = list[np.ndarray]
_TOTAL = 2**FREQUENCY_BITS
_LARGEST = 8192  # entries: more symbols than ±4095 there cannot be


def smoothed_table(counts: np.ndarray, gaussian: np.ndarray, strength: float) -> np.ndarray:
    """Frequencies that follow counts, smoothed towards a Gaussian table.

    They are symmetric, at least 1, sum to 2^20, and give the escape no less than the Gaussian
    table does (but half of all at most). Without counts they equal it.

    Args:
        counts: of the magnitudes 0 … L, then of the escape; (L + 2,), not negative.
        gaussian: (2 L + 2,) as in :func:`models.exact.scales.frequency_tables`.
        strength: how many counts the Gaussian table is worth, > 0.

    Returns:
        int32 in the shape of ``gaussian``.
    """
    limit = len(gaussian) // 2 - 1
    entries = np.array([1, *[2] * limit, 1])  # of each magnitude, and the escape
    prior = gaussian[limit:]
    share = (counts / entries + strength / _TOTAL * prior) / (counts.sum() + strength)
    escape = min(max(int(prior[-1]), round(share[-1] * _TOTAL)), _TOTAL // 2)
    # Every entry has 1; the rest is shared out in proportion to what is due beyond that.
    beyond = np.maximum(share[:-1] * _TOTAL - 1, 1e-12 * prior[:-1])
    rest = _TOTAL - escape - (2 * limit + 1)
    wanted = 1 + beyond * (rest / (entries[:-1] @ beyond))
    # Rounding the sums down, not the entries, leaves less than 2 over, which the zero takes.
    sums = np.floor(np.cumsum(wanted[1:]) + 1e-6).astype(np.int64)
    side = np.diff(sums, prepend=0)
    zero = _TOTAL - escape - 2 * side.sum()
    return np.concatenate([side[::-1], [zero], side, [escape]]).astype(np.int32)


def smoothed_set(counts: Sequence[np.ndarray], strength: float) -> TableSet:
    """:func:`smoothed_table` of every scale index."""
    pairs = zip(counts, frequency_tables(), strict=True)
    return [smoothed_table(count, gaussian, strength) for count, gaussian in pairs]


def stage_costs(frequencies: Sequence[TableSet]) -> tuple[Costs, ...]:
    """The costs of each stage from its tables; made once for stages that share a set."""
    made = {id(tables): Costs(tables) for tables in frequencies}
    return tuple(made[id(tables)] for tables in frequencies)


def pack_tables(sets: Sequence[TableSet], stages: Sequence[int]) -> dict[str, Tensor]:
    """The tensors of a weights file. ``stages`` holds the set of each stage."""
    lengths = [[len(table) for table in tables] for tables in sets]
    flat = np.concatenate([table for tables in sets for table in tables])
    return {
        "coding.frequencies": torch.from_numpy(flat.astype(np.int32)),
        "coding.lengths": torch.tensor(lengths, dtype=torch.int32),
        "coding.sets": torch.tensor(list(stages), dtype=torch.int32),
    }


def unpack_tables(tensors: Mapping[str, Tensor], stages: int) -> list[TableSet]:
    """The tables of each stage from the tensors of a weights file; stages that share a set share
    the object.

    Raises:
        ValueError: the tensors are not those of :func:`pack_tables` for n stages.
    """
    arrays = []
    for name in ("frequencies", "lengths", "sets"):
        tensor = tensors.get(f"coding.{name}")
        if tensor is None or tensor.dtype != torch.int32:
            raise ValueError(f"coding.{name} is missing or holds no 32-bit integers")
        arrays.append(tensor.numpy())
    flat, lengths, sets = arrays
    if lengths.ndim != 2 or lengths.shape[1] != SCALE_COUNT or not 1 <= len(lengths) <= stages:
        raise ValueError(f"coding.lengths has the shape {lengths.shape}")
    if (lengths < 4).any() or (lengths > _LARGEST).any() or (lengths % 2).any():
        raise ValueError("a frequency table has an impossible length")
    if flat.shape != (lengths.sum(dtype=np.int64),):
        raise ValueError("coding.frequencies does not have the length that coding.lengths says")
    if sets.shape != (stages,) or (sets < 0).any() or (sets >= len(lengths)).any():
        raise ValueError("coding.sets does not name a set of tables for each stage")
    if (flat < 1).any():
        raise ValueError("a frequency is below 1")
    starts = np.cumsum(lengths.ravel(), dtype=np.int64) - lengths.ravel()
    if (np.add.reduceat(flat.astype(np.int64), starts) != _TOTAL).any():
        raise ValueError(f"the frequencies of a table do not sum to 2^{FREQUENCY_BITS}")
    tables = np.split(flat, starts[1:])
    made = [tables[i * SCALE_COUNT : (i + 1) * SCALE_COUNT] for i in range(len(lengths))]
    return [made[number] for number in sets.tolist()]
