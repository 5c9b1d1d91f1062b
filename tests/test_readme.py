"""What the README promises: its commands run, its example runs, its links lead somewhere."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.demo import PHOTOGRAPH
from cli.main import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def photograph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHOTOGRAPH, "photo.png")


def test_the_commands_run(photograph):
    commands = [c for b in blocks("sh") for c in b.splitlines() if c.startswith("codec ")]
    assert len(commands) == 6
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command, comments=True)[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
    assert Path("small.cci").stat().st_size <= 9000


def test_the_example_runs(photograph, capsys):
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    sizes = re.findall(r"\((\d+), (\d+)\)", capsys.readouterr().out)
    assert sizes[0] == ("192", "128")
    assert sizes[-1] == ("768", "512")


def test_the_front_door_is_short():
    assert README.count("\n") <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_repository(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_decision_is_in_the_index():
    index = (ROOT / "docs/decisions/README.md").read_text()
    for page in (ROOT / "docs/decisions").glob("0*.md"):
        assert f"({page.name})" in index
