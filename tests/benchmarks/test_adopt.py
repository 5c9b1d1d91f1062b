"""Weights are installed where they are better, and stay where they are not."""

import shutil

import pytest
import torch
from PIL import Image

from benchmarks.adopt import main
from models.training.card import history_path
from models.weights_file import export_weights, fingerprint_of, load_trainable, weights_info

NAME = "ssvae"


@pytest.mark.slow
def test_better_weights_are_installed_and_worse_ones_are_not(tmp_path, crop, capsys):
    """The shipped weights against the same ones whose last layer has been disturbed."""
    images, installed = tmp_path / "images", tmp_path / "installed"
    for folder in (images, installed):
        folder.mkdir()
    Image.fromarray(crop).save(images / "a.png")
    weights = installed / f"{NAME}.safetensors"
    good, bad = (load_trainable(weights_info(NAME).path, NAME) for _ in range(2))
    with torch.no_grad():
        for parameter in bad.synthesis.head_x.parameters():
            parameter.mul_(0.98)
    runs = {}
    for name, model in (("better", good), ("worse", bad)):
        runs[name] = tmp_path / f"{name}.pt"
        run = {"ema": model.state_dict(), "history": [], "config": {"data": str(images)}}
        torch.save(run, runs[name])
    weights.write_bytes(export_weights(bad, NAME))
    shutil.copy(history_path(weights_info(NAME).path), installed)

    command = [str(images), "--name", NAME, "--weights", str(installed), "--crops", "16"]
    before = fingerprint_of(weights.read_bytes())
    main([str(runs["better"]), *command, "--dry-run"])
    assert fingerprint_of(weights.read_bytes()) == before
    main([str(runs["better"]), *command])
    adopted = fingerprint_of(weights.read_bytes())
    assert adopted != before
    assert adopted.hex() in weights.with_suffix(".md").read_text()
    assert history_path(weights).read_text() == "[]\n"

    with pytest.raises(SystemExit, match="the installed weights stay"):
        main([str(runs["worse"]), *command])
    assert fingerprint_of(weights.read_bytes()) == adopted
    assert (
        "3 layers: BD-rate (ssimulacra2) against the installed weights -" in capsys.readouterr().out
    )
    assert {p.name for p in installed.iterdir()} == {
        f"{NAME}{suffix}" for suffix in (".safetensors", ".md", ".training.json")
    }
