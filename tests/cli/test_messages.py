"""What the command says before it works, and where it cannot: the reason, and the way out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import codec
from cli.main import app
from codec.options import DEFAULT_MODEL
from models.names import MODEL_IDS
from tests.cli.test_trust import ENVIRONMENT
from tests.conftest import PHOTOGRAPH

LOW = Path(__file__).parents[1] / "conformance" / "low.cci"
COMMANDS = [command.callback.__name__ for command in app.registered_commands]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80"})


# -- help --------------------------------------------------------------------------------------


def test_the_first_page_has_an_example_and_whole_sentences():
    page = run("--help").stdout
    assert "codec encode photo.png" in page
    commands = page[page.index("Commands:") : page.index("Examples:")]
    assert "…" not in commands
    assert "..." not in commands


@pytest.mark.parametrize("command", COMMANDS)
def test_no_number_is_asked_for_as_a_range_without_ends(command):
    assert " range>" not in run(command, "--help").stdout


def test_shells_can_complete():
    environment = ENVIRONMENT | {"_CODEC_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from cli.main import app; app(prog_name='codec')"],
        capture_output=True, text=True, check=False, env=environment | {"COMP_WORDS": "codec ver"},
    )  # fmt: skip
    assert done.stdout.split() == ["verify"]


# -- models ------------------------------------------------------------------------------------


def test_models_are_listed_by_what_files_name_them():
    lines = run("models", "--json").stdout.splitlines()
    found = {model["name"]: model for model in map(json.loads, lines)}
    assert next(iter(found)) == DEFAULT_MODEL
    assert found.keys() == MODEL_IDS.keys()
    assert found["ssvae-psnr"]["weights"] == codec.info(LOW.parent / "squared_error.cci").weights
    page = run("models").stdout
    for model in codec.installed_models():
        assert f"id {model.id}  weights {model.weights}" in page
        assert model.purpose in page


# -- outputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [("encode", PHOTOGRAPH), ("decode", LOW)])
def test_a_terminal_gets_no_bytes_of_files(line):
    master, terminal = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *map(str, line), "-o", "-"],
            stdout=terminal, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(master)
    assert done.returncode == 2
    assert "is a terminal" in done.stderr
    assert "-o - > FILE" in done.stderr


@pytest.mark.parametrize("name", ["out.jpg", "out.PNG"])
def test_a_coded_file_is_not_called_a_picture(tmp_path, name):
    result = run("encode", PHOTOGRAPH, "-o", tmp_path / name)
    assert result.exit_code == 2
    assert f"{name}: coded files end in .cci; name it out.cci" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such folder")
def test_a_folder_that_takes_no_files_is_not_said_to_be_missing():
    result = run("decode", LOW, "-o", "/proc/z.png")
    assert result.exit_code == 1
    assert "does not exist" not in result.stderr
    assert "/proc/z.png: the folder /proc takes no new files" in result.stderr
    assert "folder /prac does not exist" in run("decode", LOW, "-o", "/prac/z.png").stderr


# -- inputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("locked", ["photos", "photos/inner"])
def test_a_folder_that_may_not_be_read_is_not_called_empty(tmp_path, monkeypatch, locked):
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    scan = os.scandir

    def refuse(place):
        if str(place) == str(tmp_path / locked):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)  # the administrator may read all folders
    result = run("encode", tmp_path / "photos", "-o", tmp_path / "coded", "--recursive")
    assert result.exit_code == 1
    assert f"{locked}: the folder cannot be read (Permission denied)" in result.stderr
    assert "holds no file" not in result.stderr
