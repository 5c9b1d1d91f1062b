"""Names and numbers that identify models in files; importable without torch."""

#: Model id in the header of a file, by model name. Ids are never reused.
MODEL_IDS = {"ssvae": 1, "convdraw": 2, "ssvae-sketch": 3}
#: The layers every model family offers, coarse to fine.
LAYER_NAMES = ("u", "z1", "z2")
#: Stages in each of them: after every one a decoder can stop.
STAGES = {"ssvae": (1, 1, 1), "convdraw": (2, 2, 4), "ssvae-sketch": (1, 1, 1)}
