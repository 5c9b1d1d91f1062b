"""What the page's controls offer: what is installed here."""

from __future__ import annotations

from importlib import resources
from typing import Any

from cli.viewer.rivals import available
from codec.options import DEFAULT_MODEL, DecodeOptions
from models.names import MODEL_IDS, TUNINGS, VARIANTS, tuning_of


def offers() -> dict[str, Any]:
    """Models with their tunings, rivals, and the temperature that samples have by default."""
    return {
        "models": _models(),
        "rivals": available(),
        "temperature": DecodeOptions.temperature,
    }


def _models() -> list[dict[str, Any]]:
    """The installed models, the default first, with what weights of theirs are tuned for."""
    variants = {name for names in VARIANTS.values() for name in names}
    names = sorted(MODEL_IDS.keys() - variants, key=lambda name: (name != DEFAULT_MODEL, name))
    models = []
    for name in names:
        tunings = {tuning_of(which) for which in (name, *VARIANTS.get(name, ())) if _there(which)}
        if tunings:
            models.append({"name": name, "tunings": [t for t in TUNINGS if t in tunings]})
    return models


def _there(model: str) -> bool:
    """Whether weights are installed, asked without torch, which takes seconds to import."""
    return resources.files("models").joinpath("weights", f"{model}.safetensors").is_file()
