"""Names and numbers that identify models in files; importable without torch."""

import hashlib
from pathlib import Path

#: Where the weights of installed models lie, NAME.safetensors.
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
FINGERPRINT_BYTES = 4

#: Model id in the header of a file, by model name. Ids are never reused.
MODEL_IDS = {"ssvae": 1, "convdraw": 2, "ssvae-sketch": 3, "ssvae-psnr": 4}
#: What each is for, in one sentence for people.
PURPOSES = {
    "ssvae": "the default: photographs and anything else, trained by how pictures look",
    "convdraw": "convolutional DRAW: draws in eight stages, may stop after each",
    "ssvae-sketch": "u alone is a pencil drawing; z1 brings colour, z2 texture",
    "ssvae-psnr": "ssvae for least squared error: what --tune psnr takes",
}
#: Models of the same networks with other weights.
VARIANTS = {"ssvae": ("ssvae-psnr",)}
#: What weights are trained for: how a picture looks, or the squared error.
TUNINGS = ("eye", "psnr")
#: The layers every model family offers, coarse to fine.
LAYER_NAMES = ("u", "z1", "z2")
#: Stages in each of them: after every one a decoder can stop.
STAGES = {
    "ssvae": (1, 1, 2),
    "convdraw": (2, 2, 4),
    "ssvae-sketch": (1, 1, 2),
    "ssvae-psnr": (1, 1, 2),
}
#: The fine stage of models that have one (the last of z2) exists from this quality on.
FINE_FROM = 65
_FINE = {"ssvae", "ssvae-sketch", "ssvae-psnr"}


def fingerprint_of(weights: bytes) -> bytes:
    """What files name weights by: the first bytes of the SHA-256 of their file."""
    return hashlib.sha256(weights).digest()[:FINGERPRINT_BYTES]


def tuning_of(model: str) -> str:
    """What a model's weights are trained for, one of :data:`TUNINGS`."""
    return "eye" if model == "ssvae" else "psnr"


def stages_at(model: str, quality: float) -> tuple[int, ...]:
    """Stages of each layer of a model's files of that quality."""
    *before, last = STAGES[model]
    return (*before, last - (model in _FINE and quality < FINE_FROM))


def stages_filled(model: str) -> int:
    """Stages, coarse to fine, that a decoder fills from the prior where a file lacks them. The fine
    stage is none of them: it corrects a picture, and without it there is no correction."""
    return sum(STAGES[model]) - (model in _FINE)
