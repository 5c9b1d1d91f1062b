"""Installed models, loaded once per device."""

from __future__ import annotations

import re
from functools import lru_cache

import torch

from codec.errors import ModelError, UnsupportedFileError, other_weights
from models.protocol import CodingModel
from models.weights_file import WeightsError, load_coding_model, model_name, weights_info


def resolve_device(device: str) -> torch.device:
    """``auto`` → CUDA when there is one, else CPU. Raises ModelError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise ModelError(f"device {device!r} is unknown; use auto, cpu or cuda")
    if int(device[5:] or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {device} is not available here; use --device cpu (or auto)")
    return torch.device(device)


@lru_cache(maxsize=4)
def _load(name: str, device: torch.device) -> CodingModel:
    return load_coding_model(weights_info(name).path, name=name, device=device)


def get_model(name: str, device: str) -> CodingModel:
    """An installed model by name. Raises ModelError."""
    try:
        return _load(name, resolve_device(device))
    except WeightsError as error:
        raise ModelError(str(error)) from error


def model_for_file(model_id: int, fingerprint: bytes, device: str) -> CodingModel:
    """The model that wrote a file. Raises UnsupportedFileError where it is not installed."""
    try:
        name = model_name(model_id)
        weights_info(name)
    except WeightsError as error:
        raise UnsupportedFileError(str(error)) from error
    model = get_model(name, device)
    if model.fingerprint != fingerprint:
        raise other_weights(fingerprint.hex(), name, model.fingerprint.hex())
    return model
