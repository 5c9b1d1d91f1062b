import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

from cli.main import app
from codec.batch.records import read_rows


def run(*arguments):
    """The command, within this process; its workers are processes of their own."""
    return CliRunner().invoke(app, ["batch", *(str(a) for a in arguments)])


def command(*arguments) -> list[str]:
    """The command as a process of its own."""
    return [sys.executable, "-m", "cli.main", "batch", *(str(a) for a in arguments)]


def start(*arguments, cwd=None) -> subprocess.Popen:
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
    )


def rows_of(manifest) -> dict[str, dict]:
    return {row["path"]: row for row in read_rows(str(manifest))}


def results(folder) -> dict[str, bytes]:
    """All files below a folder but the manifest, hidden ones too."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file() and p.name != "manifest.parquet"
    }


def make_pictures(folder: Path, image, count: int, side: int = 48) -> None:
    """Different crops, in two folders and three formats."""
    for number in range(count):
        place = folder / f"{number % 2}" / f"{number:03d}{('.png', '.jpg', '.webp')[number % 3]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        y, x = 2 * number % 100, 3 * number % 120
        Image.fromarray(image[y : y + side, x : x + side + number % 5]).save(place)


@pytest.fixture
def pictures(tmp_path, crop) -> Path:
    """Six pictures, and two files that are none."""
    folder = tmp_path / "in"
    make_pictures(folder, crop, 6)
    (folder / "broken.png").write_bytes(b"\x89PNG no")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image, and not worked on")
    return folder


def figures(result) -> dict:
    return json.loads(result.stdout)


def deadly_plugin(folder: Path, monkeypatch) -> None:
    """Processes started from now on end when they read a picture that begins with DEADLY.

    A plugin of Pillow's that does so stands for a decoder with a fault.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from PIL import Image\n"
        "def accept(start):\n"
        "    if start[:6] == b'DEADLY':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Image.register_open('DEADLY', None, accept)\n"
    )
    paths = [str(folder), *(p for p in sys.path if p)]
    monkeypatch.setattr(sys, "path", paths)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
