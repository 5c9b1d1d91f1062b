"""Measure a folder: every image through every codec, resumable.

Finished pieces (one image × one codec) are appended to ``rows.jsonl`` in the output folder. A
second run takes from there what was measured with the same image, library versions and settings.
Ours runs in this process, alone, so that it has all cores or the GPU; then the other codecs and
all judging of that image share the worker processes.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.bench.codecs import OTHERS, OUR_PERCEPTUAL, OUR_QUALITIES, Ours, version
from benchmarks.bench.measuring import (
    STOP_QUALITIES,
    Row,
    Stop,
    judge,
    measure_other,
    run_ours,
    start_worker,
)
from codec.errors import ImageError, OutputError

JOURNAL = "rows.jsonl"


@dataclass
class Measured:
    """All that a run measured."""

    rows: list[Row] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Images that could not be read, with the reason."""


def _settings(piece: Ours | str) -> Any:
    if isinstance(piece, str):
        return [OTHERS[piece].settings, OTHERS[piece].perceptual, OTHERS[piece].note]
    return [OUR_QUALITIES, OUR_PERCEPTUAL, STOP_QUALITIES]


def _key(path: Path, piece: Ours | str) -> str:
    """What must be equal for a measurement to be taken over."""
    name = piece if isinstance(piece, str) else piece.name
    parts = [hashlib.sha256(path.read_bytes()).hexdigest(), version(name), _settings(piece)]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return f"{path.name}|{name}|{digest}"


class Journal:
    """The finished pieces of a run, on disk."""

    def __init__(self, out: Path) -> None:
        self._path = out / JOURNAL
        self.done: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                try:
                    piece = json.loads(line)
                except ValueError:  # the line that an interruption cut short
                    continue
                self.done[piece["key"]] = piece

    def add(self, key: str, rows: list[Row], stops: list[Stop]) -> None:
        """Keep a finished piece. Raises OutputError."""
        piece = {
            "key": key,
            "rows": [asdict(row) for row in rows],
            "stops": [asdict(stop) for stop in stops],
        }
        self.done[key] = piece
        try:
            # A leading newline, so that a line cut short spoils no other.
            with self._path.open("a") as file:
                file.write("\n" + json.dumps(piece))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error

    def into(self, key: str, measured: Measured) -> None:
        """Add a finished piece to what was measured."""
        measured.rows += [Row(**row) for row in self.done[key]["rows"]]
        measured.stops += [Stop(**stop) for stop in self.done[key]["stops"]]


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    # Started afresh: a fork of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(items: list, count: int) -> list[list]:
    return [part for i in range(count) if (part := items[i::count])]


def measure(
    files: list[Path],
    pieces: list[Ours | str],
    out: Path,
    *,
    device: str = "auto",
    processes: int | None = None,
) -> Measured:
    """Measure all of ``pieces`` on all ``files``, but for what the journal in ``out`` holds.

    Args:
        processes: worker processes; default one per core.

    Raises:
        codec.errors.CodecError: the output cannot be written, a model is not installed, or no
            image could be read.
    """
    processes = processes or os.cpu_count() or 1
    journal, measured = Journal(out), Measured()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with (
        _workers(processes) as pool,
        Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress,
    ):
        task = progress.add_task("measuring", total=len(files) * len(pieces))
        for path in files:
            try:
                with Image.open(path) as image:
                    image.load()
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                measured.left_out.append(f"{path}: left out, it cannot be read ({error})")
                progress.advance(task, len(pieces))
                continue
            keys = {_key(path, piece): piece for piece in pieces}
            _one_image(path, keys, journal, pool, processes, device, progress, task)
            for key in keys:
                journal.into(key, measured)
    if not measured.rows:
        raise ImageError(f"{files[0].parent}: none of its images can be read")
    return measured


def _one_image(
    path: Path,
    keys: dict[str, Ours | str],
    journal: Journal,
    pool: ProcessPoolExecutor,
    processes: int,
    device: str,
    progress: Progress,
    task: Any,
) -> None:
    futures: dict[str, list[Future]] = {}
    stops: dict[str, list[Stop]] = {}
    missing = {key: piece for key, piece in keys.items() if key not in journal.done}
    progress.advance(task, len(keys) - len(missing))
    for key, piece in missing.items():
        if isinstance(piece, Ours):
            progress.update(task, description=f"{path.name[:24]} {piece.name}")
            trials, stops[key] = run_ours(path, piece, device)
            futures[key] = [pool.submit(judge, path, part) for part in _chunks(trials, processes)]
    progress.update(task, description=path.name[:30])
    for key, piece in missing.items():
        if isinstance(piece, str):
            futures[key] = [pool.submit(measure_other, path, piece)]
    for key, parts in futures.items():
        rows = [row for part in parts for row in part.result()]
        rows.sort(key=lambda row: (row.codec, row.setting))
        journal.add(key, rows, stops.get(key, []))
        progress.advance(task)
