"""The models that are installed, without loading them (and without torch)."""

from __future__ import annotations

from dataclasses import dataclass

from models.names import MODEL_IDS, PURPOSES, WEIGHTS_FOLDER, fingerprint_of


@dataclass(frozen=True)
class ModelInfo:
    """An installed model.

    ``name`` is what ``--model`` (``model=``) takes; ``id`` and ``weights``, the fingerprint in hex,
    are what files name it by. ``bytes`` is the size of its weights, ``purpose`` one sentence.
    """

    name: str
    id: int
    weights: str
    bytes: int
    purpose: str


def installed_models() -> tuple[ModelInfo, ...]:
    """All models that files can be written and read with here, the default first."""
    found = []
    for name, number in MODEL_IDS.items():
        path = WEIGHTS_FOLDER / f"{name}.safetensors"
        if path.exists():
            data = path.read_bytes()
            weights = fingerprint_of(data).hex()
            found.append(ModelInfo(name, number, weights, len(data), PURPOSES[name]))
    return tuple(found)
