"""Weights files: writing, reading, fingerprints.

A weights file is safetensors. Float networks are stored in half precision; the exact prior as
integers, together with everything else that decides how symbols are coded: the thresholds of the
scale index and the frequency tables (:mod:`models.exact.tables`). Its fingerprint, the first four
bytes of its SHA-256, is written into every coded file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

from models.exact.arithmetic import ExactModule, freeze
from models.exact.scales import SCALE_COUNT, SKIP_INDEX, frequency_tables, raw_thresholds
from models.exact.tables import TableSet, pack_tables, stage_costs, unpack_tables
from models.names import MODEL_IDS, WEIGHTS_FOLDER, fingerprint_of
from models.protocol import CodingModel
from models.registry import BUILDERS, coding_model
from models.trainable import TrainableModel


class WeightsError(Exception):
    """Weights are missing, unreadable or not the ones asked for."""


@dataclass(frozen=True)
class WeightsInfo:
    """What is known of an installed weights file without loading it."""

    name: str
    path: Path

    @cached_property
    def fingerprint(self) -> bytes:
        """As in files. Reads the weights; a loaded model knows its own."""
        return fingerprint_of(self.path.read_bytes())


def _smallest_integers(value: Tensor) -> Tensor:
    for kind in (torch.int8, torch.int16, torch.int32):
        limits = torch.iinfo(kind)
        if value.min() >= limits.min and value.max() <= limits.max:
            return value.to(kind)
    return value.to(torch.int64)


def export_weights(
    model: TrainableModel, name: str, sets: Sequence[TableSet] | None = None
) -> bytes:
    """Freeze ``model``'s prior (in place) and serialize everything a codec needs.

    Args:
        model: of any family.
        name: of the model.
        sets: frequency tables of each set; default: the Gaussian ones for all stages.

    Raises:
        ValueError: the prior cannot be represented exactly.
    """
    freeze(model)
    tensors = {}
    for key, value in model.state_dict().items():
        exact = value.dtype == torch.float64
        tensors[key] = _smallest_integers(value) if exact else value.half()
    tensors["coding.thresholds"] = torch.from_numpy(raw_thresholds())
    numbers = model.table_sets if sets is not None else [0] * len(model.table_sets)
    tensors |= pack_tables(sets if sets is not None else [frequency_tables()], numbers)
    # One entry: safetensors writes several in any order, and the fingerprint must not vary.
    meta = {"coding": json.dumps({"model": name, "skip_index": SKIP_INDEX})}
    return save({k: v.contiguous() for k, v in tensors.items()}, metadata=meta)


def _metadata(data: bytes) -> dict[str, str]:
    """Of a weights file's bytes: eight for the length of the header, then that as JSON."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end])["__metadata__"]


def trainable_state(path: Path, model: TrainableModel) -> dict[str, Tensor]:
    """The tensors of a weights file by name, thawed: in the units in which ``model`` trains.

    Raises whatever reading an unusable file does; callers say which file it was.
    """
    units = {
        f"{prefix}.{parameter}": unit
        for prefix, module in model.named_modules()
        if isinstance(module, ExactModule)
        for parameter, unit in module.units.items()
    }
    tensors = {k: v for k, v in load_file(path).items() if not k.startswith("coding.")}
    return {k: v.double() * 2.0 ** -units.get(k, 0) for k, v in tensors.items()}


def load_trainable(path: Path, name: str, *, partly: bool = False) -> TrainableModel:
    """The model of a weights file, thawed: where a new training run can continue.

    Exporting it again gives the same prior, integer for integer. The file's frequency tables price
    its symbols (``costs``). With ``partly``, tensors that the model does not have, or has in
    another shape, are left out, what the file lacks stays fresh, and tables are not known.

    Raises:
        WeightsError: the file is unreadable or does not fit the model.
    """
    model = BUILDERS[name]()
    try:
        state, own = trainable_state(path, model), model.state_dict()
        if partly:
            state = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
        model.load_state_dict(state, strict=not partly)
        if not partly:
            take_tables(model, path)
    except Exception as error:
        raise WeightsError(f"{path}: these weights cannot be used ({error})") from error
    return model


def take_tables(model: TrainableModel, path: Path) -> None:
    """Price the model's symbols by the frequency tables of a weights file, where it has them."""
    tensors = load_file(path)
    if "coding.sets" in tensors:  # older files have one set for all stages
        model.costs = stage_costs(unpack_tables(tensors, len(model.table_sets)))


@lru_cache(maxsize=8)
def weights_info(name: str) -> WeightsInfo:
    """Locate the installed weights of a model.

    Raises:
        WeightsError: no such model, or no weights for it.
    """
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if name not in MODEL_IDS or not path.exists():
        known = ", ".join(n for n in MODEL_IDS if (WEIGHTS_FOLDER / f"{n}.safetensors").exists())
        raise WeightsError(f"no model named {name!r} is installed (installed: {known or 'none'})")
    return WeightsInfo(name, path)


def model_name(model_id: int) -> str:
    """Name of a header's model id. Raises WeightsError for an unknown id."""
    for name, number in MODEL_IDS.items():
        if number == model_id:
            return name
    raise WeightsError(f"model id {model_id} is not known to this version: a newer one is needed")


def _thresholds(tensors: dict[str, Tensor]) -> Tensor:
    """Raw scale → scale index, (63,) float64. Raises ValueError unless they are rising integers."""
    value = tensors["coding.thresholds"]
    if value.is_floating_point() or value.shape != raw_thresholds().shape:
        raise ValueError(f"the thresholds of the scale index must be {SCALE_COUNT - 1} integers")
    if not bool((value.diff() > 0).all()):
        raise ValueError("the thresholds of the scale index do not rise")
    return value.to(torch.float64)


def _skip_index(coding: dict[str, Any], name: str) -> int:
    """Scale indices up to this one are not coded. Raises ValueError for another model's entry."""
    if coding.get("model") != name:
        raise ValueError(f"they are of model {coding.get('model')}, not {name}")
    index = coding["skip_index"]
    if not isinstance(index, int) or not 0 <= index < SCALE_COUNT:
        raise ValueError(f"skip_index {index} is not between 0 and {SCALE_COUNT - 1}")
    return index


def load_coding_model(path: Path, *, name: str, device: torch.device) -> CodingModel:
    """Read a weights file into a model ready to code.

    Raises:
        WeightsError: the file is unreadable or does not fit the model.
    """
    model = BUILDERS[name]().float()  # whatever torch's default is in this program
    freeze(model)
    try:
        data = path.read_bytes()
        fingerprint, tensors = fingerprint_of(data), load(data)
        frequencies = unpack_tables(tensors, len(model.table_sets))
        thresholds = _thresholds(tensors)
        skip_index = _skip_index(json.loads(_metadata(data)["coding"]), name)
        state = {k: v for k, v in tensors.items() if not k.startswith("coding.")}
        own = model.state_dict()
        for key, value in state.items():
            if key in own and own[key].dtype == torch.float64 and value.is_floating_point():
                raise ValueError(f"{key} must be integers")
        model.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
        for module in model.modules():
            if isinstance(module, ExactModule):
                module.check()
    except Exception as error:  # safetensors raises its own and OSError, torch RuntimeError
        detail = json.dumps(str(error).splitlines()[0])
        raise WeightsError(f"{path}: these weights cannot be used ({detail})") from error
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return coding_model(
        model,
        name=name,
        model_id=MODEL_IDS.get(name, 0),
        fingerprint=fingerprint,
        thresholds=thresholds.to(device),
        frequencies=frequencies,
        skip_index=skip_index,
    )
