"""Learn the frequency tables of a model from the symbols that it stores of training crops.

The crops are coded as the codec codes them, all layers, over all qualities. How far the counts are
smoothed towards the Gaussian tables is decided by held-out crops (:mod:`models.exact.tables`).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.exact.arithmetic import freeze
from models.exact.scales import FREQUENCY_BITS, SKIP_INDEX, frequency_tables, raw_thresholds
from models.exact.tables import TableSet, smoothed_set
from models.protocol import CodingModel, Progress
from models.registry import coding_model
from models.trainable import TrainableModel
from models.training.data import ImageSet

CROPS = 600
CROP_SIDE = 256
#: Shares of the crops in other colours and enlarged; crops per drawn page that joins the images.
_RECOLOUR, _ENLARGE, _CROPS_PER_PAGE = 0.05, 0.2, 15
#: What the Gaussian tables may be worth, in counts.
STRENGTHS = (100.0, 300.0, 1000.0, 3000.0)
_FOLDS = 4


class SymbolCounts:
    """How often each magnitude occurred, per set of tables and scale index.

    Args:
        sets: number of sets.
    """

    def __init__(self, sets: int) -> None:
        self._limits = np.array([len(table) // 2 - 1 for table in frequency_tables()])
        self._ends = np.cumsum(self._limits + 2)
        self._flat = np.zeros((sets, self._ends[-1]), dtype=np.int64)

    def add(self, number: int, symbols: np.ndarray, scale_index: np.ndarray) -> None:
        """Count symbols of set ``number``, integers (N,), with their scale indices."""
        limits = self._limits[scale_index]
        starts = self._ends[scale_index] - limits - 2
        entries = starts + np.minimum(np.abs(symbols), limits + 1)
        self._flat[number] += np.bincount(entries, minlength=self._flat.shape[1])

    def __add__(self, other: SymbolCounts) -> SymbolCounts:
        total = SymbolCounts(len(self._flat))
        total._flat = self._flat + other._flat
        return total

    def __len__(self) -> int:
        return len(self._flat)

    def of_set(self, number: int) -> list[np.ndarray]:
        """Per scale index the counts of the magnitudes 0 … L, then of the escape."""
        return np.split(self._flat[number], self._ends[:-1])

    def tables(self, strength: float) -> list[TableSet]:
        """The smoothed tables of each set."""
        return [smoothed_set(self.of_set(i), strength) for i in range(len(self._flat))]

    def bits(self, sets: list[TableSet]) -> float:
        """What the counted symbols cost by tables, without the values that follow escapes."""
        return sum(
            float(count @ (FREQUENCY_BITS - np.log2(table[len(table) // 2 - 1 :])))
            for number, tables in enumerate(sets)
            for count, table in list(zip(self.of_set(number), tables, strict=True))[
                SKIP_INDEX + 1 :
            ]
        )


@dataclass(frozen=True)
class Learned:
    """Tables of each set, the smoothing that held-out crops chose, and the share of bits that they
    save on held-out crops beside the Gaussian tables."""

    sets: list[TableSet]
    strength: float
    saved: float


@torch.no_grad()
def count_symbols(
    model: CodingModel,
    table_sets: tuple[int, ...],
    image: Tensor,
    quality: float,
    into: SymbolCounts,
) -> None:
    """Count what a file of an image would store.

    Args:
        model: ready to code.
        table_sets: the set of each stage.
        image: uint8 3×H×W, sides multiples of 64.
        quality: 0 … 100.
        into: the counts.
    """
    posterior = model.posterior(image[None], quality)
    prior = model.prior(image.shape[-2], image.shape[-1], quality)
    for layer in model.layers_at(quality):
        for _ in range(layer.stages):
            number = table_sets[len(prior.latents)]
            target = posterior.target(prior.latents)
            for _ in range(layer.steps):
                prediction = prior.predict()
                symbols = prior.gather(target).sub_(prediction.mean).round_()
                symbols.mul_(prediction.scale_index > model.skip_index)
                prior.push(symbols)
                values = symbols[0].long().cpu().numpy()
                into.add(number, values, prediction.scale_index[0].cpu().numpy())


def learn_tables(
    model: TrainableModel,
    folder: Path,
    *,
    crops: int = CROPS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Learned:
    """The frequency tables of a model, from crops of the images in a folder.

    Args:
        model: its prior is frozen in place.
        folder: images and tar shards: those that the model was trained on, never validation images.
        crops: how many, 256×256 each, spread evenly over the qualities.
        seed: of the crops.
        progress: called with the share done.

    Raises:
        ValueError: no such folder, or no usable image below it.
    """
    freeze(model)
    coding = coding_model(
        model,
        name="",
        model_id=0,
        fingerprint=b"",
        thresholds=torch.from_numpy(raw_thresholds()).double(),
        frequencies=[frequency_tables()] * len(model.table_sets),
        skip_index=SKIP_INDEX,
    )
    images = ImageSet(
        folder,
        device=torch.device("cpu"),
        pages=crops // _CROPS_PER_PAGE,
        recolour=_RECOLOUR,
        enlarge=_ENLARGE,
        seed=seed,
    )
    generator = torch.Generator().manual_seed(seed)
    sets = max(model.table_sets) + 1
    folds = [SymbolCounts(sets) for _ in range(_FOLDS)]
    order = torch.randperm(crops, generator=generator).tolist()
    for done, place in enumerate(order):
        quality = round(100 * (place + 0.5) / crops)
        image = images.crops(1, CROP_SIDE, generator, torch.tensor([quality]))[0]
        count_symbols(coding, model.table_sets, image, quality, folds[done % _FOLDS])
        if progress is not None:
            progress((done + 1) / crops)
    return fit(folds)


def fit(folds: list[SymbolCounts]) -> Learned:
    """Tables from all counts, with the strength that serves each fold best when its tables come
    from the others."""
    others = [reduce(operator.add, folds[:i] + folds[i + 1 :]) for i in range(len(folds))]
    costs = {
        strength: sum(
            fold.bits(rest.tables(strength)) for fold, rest in zip(folds, others, strict=True)
        )
        for strength in STRENGTHS
    }
    best = min(costs, key=lambda strength: costs[strength])
    total = reduce(operator.add, folds)
    gaussian = total.bits([frequency_tables()] * len(total))
    return Learned(total.tables(best), best, 1 - costs[best] / gaussian)
