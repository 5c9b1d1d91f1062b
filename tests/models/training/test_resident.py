"""A resident run, for real: its own clone, its own process, checkpoints, and a decay."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.training.resident import Resident, ResidentError, last_row, main

REPOSITORY = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(
    not (REPOSITORY / ".git").exists(), reason="no repository to clone the code of a run from"
)
OPTIONS = [
    *("--model", "ssvae-tiny", "--batch", "3", "--crop", "64"),
    *("--warmup-steps", "3", "--log-steps", "5", "--precision", "float32"),
]


@pytest.fixture
def images(tmp_path, crop):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(crop).save(folder / "a.png")
    return folder


@pytest.fixture
def run(tmp_path):
    run = Resident(tmp_path / "run")
    yield run
    run.stop()


def wait_for_steps(run: Resident, count: int) -> None:
    """Until the log of the constant phase has reached a step; its process must live till then."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        row = last_row(run.constant / "log.csv")
        if row is not None and int(row["step"]) >= count:
            return
        assert run.process() is not None, (run.folder / "log.txt").read_text()
        time.sleep(0.1)
    raise AssertionError((run.folder / "log.txt").read_text())


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped_and_ends_in_a_decay(run, images, capsys):
    name = str(run.folder)
    main(["start", name, str(images), "--cores", "0", "--", *OPTIONS])
    wait_for_steps(run, 10)
    with pytest.raises(SystemExit, match="running already"):
        main(["start", name])
    main(["status", name])
    shown = capsys.readouterr().out
    assert re.search(r"constant: step [\d,]+, 0\.\d\d h on 1 core\(s\), loss [\d.]+", shown)
    assert f"running as process {run.process()}" in shown

    main(["stop", name])
    assert run.process() is None
    reached = torch.load(run.constant / "latest.pt", weights_only=True)["step"]
    assert reached >= 10

    main(["start", name])
    wait_for_steps(run, reached + 10)
    assert f"resumed at step {reached}" in (run.folder / "log.txt").read_text()

    options = ["--validation", str(images), "--crop", "128"]
    branch = run.decay(8, options)
    state = torch.load(branch / "latest.pt", weights_only=True)
    begun = int(branch.name.removeprefix("decay-"))
    assert begun >= reached + 10
    assert state["step"] == begun + 8
    assert [run["run"] for run in state["history"]] == ["constant", branch.name]
    assert "quality" in (branch / "validation.txt").read_text()
    assert branch.name in run.status()
    with pytest.raises(ResidentError, match=rf"is there already, to step {begun + 8};"):
        run.decay(12, options)
    assert "not running" in run.status()


def test_a_run_keeps_to_the_code_it_was_started_with(run, images):
    main(["start", str(run.folder), str(images), "--", *OPTIONS])
    run.stop()
    assert (run.folder / "code" / ".git").exists()
    assert len(run.plan.commit) == 40
    assert run.plan.commit[:8] in run.status()


def test_another_process_of_the_same_number_is_left_alone(run, images):
    """The number that a crash left behind may be anybody's after a restart."""
    main(["start", str(run.folder), str(images), "--", *OPTIONS])
    run.stop()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (run.folder / "pid").write_text(str(stranger.pid))
        assert run.process() is None
        assert not run.stop()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "RUN"], "name the folder of training images"),
        (["start", "RUN", "nowhere"], "nowhere: no such folder"),
        (["status", "RUN"], "is no run yet"),
        (["stop", "RUN"], "is no run yet"),
        (["decay", "RUN", "--steps", "5"], "nothing to branch off"),
    ],
)
def test_what_cannot_be_done_says_what_would_help(tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        main([a.replace("RUN", str(tmp_path / "run")) for a in arguments])
    assert not (tmp_path / "run" / "run.json").exists()


def test_options_of_the_resident_run_cannot_be_said_twice(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["start", str(tmp_path / "run"), "--", "--steps", "5"])
    assert stopped.value.code == 2
    assert "--steps is for the resident run to say" in capsys.readouterr().err
