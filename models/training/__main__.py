"""``python -m models.training DATA --out RUN``: train, or continue a run."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from models.training.config import TrainConfig
from models.training.loop import train


def parse(arguments: list[str] | None = None) -> TrainConfig:
    """Command line → configuration; every field of :class:`TrainConfig` is an option."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training",
        description="Train a model on a folder of images or tar shards, or continue a run.",
    )
    parser.add_argument("data", type=Path, help="folder of images and tar shards")
    for field in dataclasses.fields(TrainConfig):
        if field.name == "data":
            continue
        flag = "--" + field.name.replace("_", "-")
        if field.type == "bool":
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            kind = {"int": int, "float": float, "str": str}.get(str(field.type), Path)
            required = field.default is dataclasses.MISSING
            default = None if required else field.default
            parser.add_argument(flag, type=kind, default=default, required=required)
    return TrainConfig(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    train(parse())
