"""Training with several processes, as torchrun starts them (gloo on the CPU)."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from models.weights_file import WEIGHTS_FOLDER


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


@pytest.mark.slow
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


AGREEMENT = """
import sys
from pathlib import Path
import torch
from models.training import arithmetic, trainer
from models.training.config import TrainConfig
from models.training.data import ImageSet


def main() -> None:
    data, init, out = map(Path, sys.argv[1:])
    config = TrainConfig(
        data=data, out=out, model="ssvae-tiny", batch=1, crop=64, init_partly=True, device="cpu"
    )
    run = trainer.Trainer(config)
    rank = run.processes.rank
    # Each process finds another format the fastest.
    trainer.fastest = lambda works: (list(works)[rank], {name: 1.0 for name in works})
    trainer.fastest_muon = lambda optimizer: ("float32", "bfloat16")[rank]
    run.begin_from(init)
    run.choose_arithmetic(run.draw(ImageSet(data, device=torch.device("cpu"))))
    weights = [float(v.double().sum()) for v in run.model.state_dict().values()]
    averaged = [float(v.double().sum()) for v in run.ema.state_dict().values()]
    mine = weights, averaged, str(run.arithmetic), str(run.optimizer.muon.dtype)
    first, second = run.processes.gather(mine)
    assert first == second, (first, second)
    assert first[0] == first[1]
    run.processes.leave()


main()  # a function: the trainer is freed before the interpreter ends
"""


def test_processes_begin_with_one_model_and_compute_alike(images, tmp_path):
    """New parts of a model are drawn by each process, and each measures what is fastest."""
    script = tmp_path / "agreement.py"
    script.write_text(AGREEMENT)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    init = WEIGHTS_FOLDER / "ssvae-sketch.safetensors"
    command += [str(script), str(images), str(init), str(tmp_path / "out")]
    path = os.pathsep.join(p for p in sys.path if p)
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert found.returncode == 0, found.stderr[-3000:]
