"""``python -m benchmarks.startup``: seconds that commands take which code no picture.

Medians of whole processes. The first line is Python's own start, which all others contain. The
commands take turns, so that other work on the machine meets all of them alike. On a quiet core each
is to take at most 0.4 s.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.bench.images import PHOTOGRAPH
from cli.main import app
from models.training.hardware import seconds_of

_PYTHON = ["-c", "pass"]


def command_lines(file: Path) -> list[list[str]]:
    """Command lines that code nothing, and read at most that .cci file."""
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    of_file = [["info", str(file)], ["verify", str(file)]]
    return [["--version"], ["--help"], *of_file, *([name, "--help"] for name in names)]


def measure(commands: Sequence[Sequence[str]], runs: int) -> list[float]:
    """Median seconds of Python with each of those arguments."""
    seconds: list[list[float]] = [[] for _ in commands]
    for _ in range(runs):
        for taken, arguments in zip(seconds, commands, strict=True):
            command = [sys.executable, *arguments]
            run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
            taken.append(seconds_of(run))
    return [statistics.median(taken) for taken in seconds]


def report(file: Path, runs: int) -> None:
    """Print a line for each command."""
    lines = command_lines(file)
    medians = measure([_PYTHON, *(["-m", "cli.main", *line] for line in lines)], runs)
    shown = [" ".join(["codec", *(Path(word).name for word in line)]) for line in lines]
    for title, seconds in zip(["python alone", *shown], medians, strict=True):
        print(f"{seconds:6.2f} s  {title}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument(
        "file", type=Path, nargs="?", help=".cci file to look at; default: a photograph's"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each command")
    options = parser.parse_args(arguments)
    if options.file is not None:
        report(options.file, options.runs)
        return
    import codec

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.cci"
        file.write_bytes(codec.encode(PHOTOGRAPH))
        report(file, options.runs)


if __name__ == "__main__":
    main()
