"""``python -m models.training DATA --out RUN``: train, or continue a run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from models.training.config import TrainConfig
from models.training.loop import train
from models.weights_file import WeightsError

_EXAMPLES = """examples:
  python -m models.training photos/ --out runs/a --validation held-out/
  python -m models.training photos/ --out runs/a                  (again: continues)
  python -m models.training photos/ --out runs/b --init models/weights/ssvae.safetensors
  python -m models.training photos/ --out runs/eye --init models/weights/ssvae.safetensors --eye 0.8
  torchrun --nproc-per-node 4 -m models.training photos/ --out runs/c --device cuda --compile
"""


def parse(arguments: list[str] | None = None) -> TrainConfig:
    """Command line → configuration; every field of :class:`TrainConfig` is an option."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training",
        description="Train a model on a folder of images or tar shards, or continue a run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help="folder of images and tar shards")
    for field in dataclasses.fields(TrainConfig):
        if field.name == "data":
            continue
        flag, text = "--" + field.name.replace("_", "-"), field.metadata["help"]
        required = field.default is dataclasses.MISSING
        default = None if required else field.default
        if default not in (None, ""):
            text += f" (default: {default})"
        if field.type == "bool":
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=default, help=text
            )
        else:
            kind = {"int": int, "float": float, "str": str}.get(str(field.type), Path)
            name = kind.__name__.upper()
            parser.add_argument(
                flag, type=kind, default=default, required=required, metavar=name, help=text
            )
    return TrainConfig(**vars(parser.parse_args(arguments)))


def main() -> None:
    try:
        train(parse())
    except (ValueError, OSError, WeightsError) as error:
        sys.exit(f"training: {error}")


if __name__ == "__main__":
    main()
