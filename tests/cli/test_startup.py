"""Commands that code nothing answer at once: what they would wait for is not imported.

No seconds are asked for here, since other work on the machine would decide about them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from cli.main import app
from tests.cli.test_trust import ENVIRONMENT

FILES = Path(__file__).parent.parent / "conformance"
#: Packages that take long to import, and what of rich only progress bars need.
HEAVY = ["torch", "numpy", "PIL", "constriction", "safetensors", "rich.progress"]

#: Runs command lines in one process; complains of the first that imports what it should not.
_PROGRAM = """
import json, sys
from cli.main import app

status, heavy, *lines = json.loads(sys.argv[1])
for line in lines:
    try:
        app(line)
    except SystemExit as end:
        assert (end.code or 0) == status, f"{line}: exit status {end.code}"
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, f"{line}: imports {loaded}"
"""


def command_lines(file: Path) -> list[list[str]]:
    """Command lines that code nothing, and read at most that .cci file."""
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    of_file = [["info", str(file)], ["verify", str(file)]]
    return [["--version"], ["--help"], ["models"], *of_file, *([name, "--help"] for name in names)]


def imports_none_of(heavy: list[str], *lines: list[str], status: int = 0) -> bool:
    """Whether command lines, run in one process, end with that status and without those modules."""
    arguments = json.dumps([status, heavy, *lines])
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, arguments],
        capture_output=True, text=True, check=False,
        env=ENVIRONMENT | {"CODEC_THREADS": "1"},  # which nothing here has a use for
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return True


def test_help_version_info_and_verify_import_nothing_heavy():
    lines = command_lines(FILES / "high.cci")
    assert ["--version"] in lines
    assert ["encode", "--help"] in lines
    assert ["vary", "--help"] in lines
    assert imports_none_of(HEAVY, *lines)


def test_info_and_verify_import_no_torch_for_any_kind_of_file():
    files = sorted(map(str, FILES.glob("*.cci")))
    assert files
    assert imports_none_of(["torch"], ["info", *files], ["verify", *files])


def test_what_is_cut_or_no_file_of_ours_is_refused_at_once(tmp_path):
    cut = tmp_path / "cut.cci"
    cut.write_bytes((FILES / "high.cci").read_bytes()[:-9])
    other = tmp_path / "other.cci"
    other.write_bytes(b"GIF89a")
    lines = [["verify", str(cut)], ["info", str(other)], ["verify", str(tmp_path / "none.cci")]]
    assert imports_none_of(HEAVY, *lines, status=1)
