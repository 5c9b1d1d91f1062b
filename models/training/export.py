"""``python -m models.training.export RUN``: EMA weights of a run → a weights file for the codec.

The float networks are stored in half precision, the exact prior in integers. The export is verified
before it is written: the loaded file and the model it came from must predict the same symbols'
scale indices and means, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch

from models.exact import freeze
from models.family import TrainableModel
from models.registry import BUILDERS, CodecModel, coding_model
from models.training.card import write_card, write_history
from models.weights import WEIGHTS_FOLDER, export_weights, load_coding_model


def load_ema(checkpoint: Path, name: str) -> TrainableModel:
    """The EMA weights of a training checkpoint, unfrozen."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = BUILDERS[name]()
    model.load_state_dict(state["ema"])
    return model


@torch.no_grad()
def verify_export(model: TrainableModel, loaded: CodecModel) -> None:
    """Raises ValueError unless the file predicts exactly what the frozen model predicts.

    Runs every layer and step of the prior on pseudo-random symbols, at several qualities.
    """
    freeze(model)
    reference = coding_model(
        model,
        name=loaded.name,
        model_id=0,
        fingerprint=b"",
        thresholds=loaded.thresholds,
        frequencies=loaded.frequencies,
        skip_index=loaded.skip_index,
    )
    generator = torch.Generator().manual_seed(1)
    for quality in (0, 33, 100):
        states = [m.prior(128, 192, quality) for m in (reference, loaded)]
        for layer in loaded.layers:
            for _ in range(layer.stages * layer.steps):
                a, b = (state.predict() for state in states)
                same = torch.equal(a.mean, b.mean) and torch.equal(a.scale_index, b.scale_index)
                if not same:
                    raise ValueError(f"layer {layer.name}: the exported prior differs")
                symbols = torch.randn(a.mean.shape, generator=generator).mul(3).round()
                for state in states:
                    state.push(symbols)


def export(checkpoint: Path, name: str, out: Path) -> None:
    """Write ``out``, its history and its card; nothing is written unless the export verifies.

    The card has no results yet: they are measured with the installed weights, then added by
    ``models.training.card``.
    """
    model = load_ema(checkpoint, name)
    data = export_weights(model, name)
    with tempfile.NamedTemporaryFile(dir=out.parent, delete=False) as file:
        beside = Path(file.name)
        file.write(data)
    try:
        verify_export(model, load_coding_model(beside, name=name, device=torch.device("cpu")))
        beside.chmod(0o644)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    history = torch.load(checkpoint, map_location="cpu", weights_only=True).get("history", [])
    write_history(out, history)
    write_card(out, {})
    print(f"{out}: {len(data) / 1e6:.2f} MB")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m models.training.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a training run, or a checkpoint file")
    parser.add_argument("--name", default="ssvae")
    parser.add_argument("--out", type=Path, help="default: where the codec looks for it")
    options = parser.parse_args(arguments)
    checkpoint = options.run / "latest.pt" if options.run.is_dir() else options.run
    export(checkpoint, options.name, options.out or WEIGHTS_FOLDER / f"{options.name}.safetensors")


if __name__ == "__main__":
    main()
