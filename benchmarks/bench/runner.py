"""Measure many images: every image through every codec, over processes, resumable.

A finished piece (one image × codec × setting) is a line of a journal. A later run takes from there
whatever was measured on the same pixels, by the same library (or weights and code of ours), with
the same options.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.bench.codecs import judged_by, made_by
from benchmarks.bench.curves import PERCEPTUAL
from benchmarks.bench.images import read_rgb
from benchmarks.bench.measuring import Job, Unit, measure
from benchmarks.bench.records import Record, Stop, of_image
from codec.errors import ArgumentError, ImageError, OutputError
from codec.files import write_atomic

_HEAD = {"journal": "benchmarks.bench", "version": 1}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass
class Measured:
    """All that a run measured."""

    records: list[Record] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Images that could not be read, with the reason."""
    earlier: int = 0
    """Pieces that were taken from the journal, whose times may be of another machine or load."""


def units_of(path: Path, rgb: np.ndarray, jobs: Iterable[Job]) -> list[Unit]:
    """All pieces of one image; ``rgb``: uint8 H×W×3."""
    digest = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
    return [
        Unit(
            f"{digest} {job.name} {s:g} {made_by(job.piece, job.device)}, {judged_by()}",
            path,
            job,
            s,
        )
        for job in jobs
        for s in job.settings
    ]


class Journal:
    """Finished pieces by their keys, on disk: a line of JSON each. Without a path in memory only.

    Raises:
        ArgumentError: the file is something else. OutputError: it cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._pieces: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            self._read(path)
        elif path is not None:
            write_atomic(path, json.dumps(_HEAD).encode())

    def _read(self, path: Path) -> None:
        try:
            head, *lines = path.read_text().splitlines() or [""]
            known = json.loads(head) == _HEAD
        except (OSError, ValueError):
            known = False
        if not known:
            raise ArgumentError(f"{path}: does not hold measurements; name another file")
        for line in lines:
            try:
                piece = json.loads(line)
            except ValueError:  # the line that an interruption cut short
                continue
            self._pieces[piece["key"]] = piece

    def holds(self, unit: Unit) -> bool:
        """Whether all that a piece should have was measured."""
        piece = self._pieces.get(unit.key)
        if piece is None:
            return False
        job, records = unit.job, piece["records"]
        # A metric that is null was computed, and is not defined.
        seen = all(m in r for r in records for m in job.metrics_at(unit.setting))
        cut = len(records) > 1 or not job.cuts
        return seen and cut and ("stops" in piece or not job.stops_at(unit.setting))

    def add(self, unit: Unit, records: list[Record], stops: list[Stop]) -> None:
        """Keep a finished piece, with whatever was known of it before."""
        metrics = {*unit.job.metrics_at(unit.setting)}
        before = self._pieces.get(unit.key, {"records": []})
        rows = {row["codec"]: row for row in before["records"]}
        for record in records:
            new = {k: v for k, v in of_image(record).items() if v is not None or k in metrics}
            rows[record.codec] = rows.get(record.codec, {}) | new
        piece = before | {"key": unit.key, "records": list(rows.values())}
        if unit.job.stops_at(unit.setting):
            piece["stops"] = [of_image(stop) for stop in stops]
        self._pieces[unit.key] = piece
        if self._path is None:
            return
        try:
            # A leading newline, so that a line cut short spoils no other.
            with self._path.open("a") as file:
                file.write("\n" + json.dumps(piece))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error

    def into(self, unit: Unit, measured: Measured) -> None:
        """Add what a finished piece was asked for to what was measured."""
        piece, job, image = self._pieces[unit.key], unit.job, unit.path.name
        hidden = PERCEPTUAL.keys() - {*job.metrics_at(unit.setting)}
        for row in piece["records"]:
            if job.cuts or row["codec"] == job.name:
                known = {key: value for key, value in row.items() if key not in hidden}
                measured.records.append(Record(image, setting=unit.setting, **known))
        if job.stops_at(unit.setting):
            measured.stops += [Stop(image, **row) for row in piece["stops"]]


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    work: Callable[[_Item], _Result], items: Sequence[_Item], count: int, title: str
) -> Iterator[_Result]:
    """The results of ``work`` in the order of the items, with a progress bar.

    Args:
        count: processes of one thread each, which do more in the same time than one process of
            several threads; 1: this process alone, with the threads it has.
    """
    show = partial(
        track, description=title, total=len(items), console=Console(stderr=True), transient=True
    )
    if count == 1 or len(items) == 1:
        yield from show(map(work, items))
        return
    # Started afresh: a fork of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(count, max(len(items), 1)), context, torch.set_num_threads, (1,))
    try:
        yield from show(pool.map(work, items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def measure_all(
    files: Sequence[Path], jobs: Sequence[Job], journal: Journal, *, processes: int | None = None
) -> Measured:
    """Measure all ``files`` by all ``jobs``, but for what the journal holds.

    Args:
        processes: see :func:`in_processes`; default one per core.

    Raises:
        codec.errors.CodecError: the journal cannot be written, a model is not installed, a codec
            cannot code an image, or no image could be read.
    """
    measured, units = Measured(), list[Unit]()
    for path in files:
        try:
            rgb = read_rgb(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            measured.left_out.append(f"{path}: left out, it cannot be read ({error})")
            continue
        units += units_of(path, rgb, jobs)
    if not units:
        raise ImageError(f"{files[0].parent}: none of its images can be read")
    missing = [unit for unit in units if not journal.holds(unit)]
    measured.earlier = len(units) - len(missing)
    results = in_processes(measure, missing, processes or cores(), "measuring")
    for unit, (records, stops) in zip(missing, results, strict=True):
        journal.add(unit, records, stops)
    for unit in units:
        journal.into(unit, measured)
    return measured
