"""Node and the packages of ``web/``, where they are there."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from models.export_web import write
from models.names import MODEL_IDS

WEB = Path(__file__).parents[2] / "web"
NODE = shutil.which("node")


def missing() -> str | None:
    """Why the tests in Node cannot run here, or None."""
    if NODE is None:
        return "no Node is installed"
    if not (WEB / "node_modules").exists():
        return "the packages of web/ are not installed: make web"
    return None


def node(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in Node, in ``web/``."""
    assert NODE is not None
    return subprocess.run(
        [NODE, *map(str, arguments)],
        cwd=WEB, capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip


def build(folder: Path, *options: str) -> None:
    """Build into a folder, one process at a time; with ``--tests``, tests into ``web/build``."""
    (WEB / "build").mkdir(exist_ok=True)
    with (WEB / "build" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = node("build.mjs", *options, CCI_SHIPPED=str(folder))
    assert done.returncode == 0, done.stderr


def weights(folder: Path) -> Path:
    """The weights of all installed models that browsers decode, in a folder."""
    for name in MODEL_IDS:
        with suppress(ValueError):  # of another family, or not installed
            write(name, folder)
    return folder
