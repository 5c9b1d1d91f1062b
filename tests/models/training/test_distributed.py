"""Training with several processes, as torchrun starts them (gloo on the CPU)."""

import subprocess
import sys

import pytest
import torch
from PIL import Image


@pytest.fixture(scope="module")
def images(tmp_path_factory, photograph):
    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(photograph).save(folder / "a.png")
    return folder


def run(images, out, *, processes: int, steps: int, minutes: float = 0) -> dict:
    """Train by the command line; returns the last checkpoint."""
    options = ["--model", "ssvae-tiny", "--batch", "2", "--crop", "64", "--precision", "float32"]
    options += ["--steps", str(steps), "--decay-steps", "1", "--max-minutes", str(minutes)]
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command = [*start, "models.training", str(images), "--out", str(out), *options]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stderr[-3000:]
    return torch.load(out / "latest.pt", weights_only=True)


def test_two_processes_train_one_model_and_resume_exactly(images, tmp_path):
    whole = run(images, tmp_path / "two", processes=2, steps=20)
    assert whole["step"] == 20
    first, second = whole["streams"]
    assert not torch.equal(first["crops"], second["crops"])  # each draws its own crops
    assert whole["history"][0]["batch"] == 4

    # Stopped by the clock at its first look, then continued.
    part = run(images, tmp_path / "part", processes=2, steps=20, minutes=1e-6)
    assert part["step"] == 10
    part = run(images, tmp_path / "part", processes=2, steps=20)
    for name, value in whole["model"].items():
        assert torch.equal(value, part["model"][name]), name

    # The second process has had its say.
    alone = run(images, tmp_path / "one", processes=1, steps=20)
    assert any(not torch.equal(v, alone["model"][k]) for k, v in whole["model"].items())
