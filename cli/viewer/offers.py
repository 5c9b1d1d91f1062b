"""What the page's controls offer: what is installed here."""

from __future__ import annotations

from typing import Any

from cli.viewer.rivals import available
from codec.catalogue import installed_models
from codec.options import DEFAULT_MODEL, DecodeOptions
from models.names import TUNINGS, VARIANTS, tuning_of


def offers() -> dict[str, Any]:
    """Models with their tunings, rivals, and the temperature that samples have by default."""
    return {
        "models": _models(),
        "rivals": available(),
        "temperature": DecodeOptions.temperature,
    }


def _models() -> list[dict[str, Any]]:
    """The installed models, the default first, with what weights of theirs are tuned for."""
    installed = {model.name for model in installed_models()}
    variants = {name for names in VARIANTS.values() for name in names}
    models = []
    for name in installed - variants:
        weights = installed & {name, *VARIANTS.get(name, ())}
        tunings = {tuning_of(each) for each in weights}
        models.append({"name": name, "tunings": [t for t in TUNINGS if t in tunings]})
    return sorted(models, key=lambda model: (model["name"] != DEFAULT_MODEL, model["name"]))
