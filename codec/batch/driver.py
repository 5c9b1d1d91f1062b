"""A batch run from its beginning, or from where it was left, to its manifest."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import FrameType
from typing import Any

from codec.batch import extra
from codec.batch.engines import Engine, make_engine
from codec.batch.manifest import Manifest
from codec.batch.planning import Plan, Unit, make_plan, spare_results
from codec.batch.records import FAILED, GONE, Row, coded_size, newest, recordable
from codec.batch.repairing import units_to_repair
from codec.batch.settings import Settings
from codec.batch.stores import Store, absolute
from codec.batch.worker import Done
from codec.errors import ArgumentError, BatchError

#: The run ends after n units in a row that the destination did not take: it is full, or gone.
STUCK = 20


@dataclass
class Summary:
    """What a run did.

    When it was resumed, ``before`` units were done already; ``failed_before`` of their pictures had
    failed. When it was repaired, ``lost`` results are missing or damaged whose source is gone.
    """

    ok: int = 0
    failed: int = 0
    units: int = 0
    before: int = 0
    failed_before: int = 0
    lost: int = 0
    read: int = 0
    written: int = 0
    pixels: float = 0.0
    coded_bits: float = 0.0
    seconds: float = 0.0
    interrupted: bool = False
    manifest: str = ""

    @property
    def pictures_per_second(self) -> float:
        return (self.ok + self.failed) / self.seconds if self.seconds else 0.0

    @property
    def bpp(self) -> float | None:
        """Of all coded files together."""
        return self.coded_bits / self.pixels if self.pixels else None

    def figures(self) -> dict[str, Any]:
        """For ``--json``."""
        rate = {"bpp": self.bpp, "pictures_per_second": round(self.pictures_per_second, 3)}
        return asdict(self) | rate

    def count(self, done: Done) -> None:
        """Add what a unit gave."""
        self.units += 1
        for row in done.rows:
            self.read += row.get("size") or 0
            if row["status"] == FAILED:
                self.failed += 1
                continue
            self.ok += 1
            self.written += row["bytes"]
            bits, pixels = coded_size(row)
            self.pixels += pixels
            self.coded_bits += bits


#: Told after each unit: what it gave, the figures so far, and how many units there are in all.
Watcher = Callable[[Done, Summary, int], None]


def run(
    settings: Settings,
    *,
    workers: int | None = None,
    engine: str = "local",
    manifest: str | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    repair: bool = False,
    force: bool = False,
    watch: Watcher | None = None,
    on_stop: Callable[[], None] | None = None,
) -> Summary:
    """Do a batch run.

    One bad file does not stop the rest: the manifest says what became of each. Ctrl-C (in the main
    thread) lets workers finish what they are at; a second one does not.

    Args:
        settings: what to do.
        workers: processes or actors; default: one per core, four where they share a GPU.
        engine: ``local`` or ``ray``.
        manifest: path or URL of the Parquet file; default ``manifest.parquet`` in the destination.
        resume: go on with a run that did not finish, or with a source that has grown.
        retry_failed: with ``resume``, try again what failed.
        repair: with ``resume``, make again what is missing, damaged or older than its source.
        force: throw away an existing manifest.
        watch: told after each unit.
        on_stop: called after Ctrl-C.

    Raises:
        codec.errors.CodecError: the run cannot be begun, or cannot go on.
    """
    extra.require("batch")
    if workers is not None and workers < 1:
        raise ArgumentError(f"--workers takes 1 or more, not {workers}")
    resume = resume or retry_failed or repair
    started = time.monotonic()
    place = manifest or f"{settings.destination.rstrip('/')}/manifest.parquet"
    plan = make_plan(settings, place)
    record = Manifest(place, settings.lasting(), resume=resume, force=force)
    settings = replace(settings, staging=record.staging)
    results = Store(settings.destination, settings.staging)
    results.clear_staging()
    summary = Summary(manifest=place)
    try:
        record.pin("root", absolute(plan.root))
        record.pin("in_shards", any(unit.shard_out for unit in plan.units))
        if settings.shards:
            record.pin("listing", plan.listing)
        todo = plan.units
        failures: dict[str, set[str]] = {}
        if resume:
            broken: set[str] = set()
            if repair:
                rows = list(newest(record.rows()))
                broken = units_to_repair(rows, plan, settings, workers=workers, engine=engine)
            failures = _on_record(newest(record.rows()))
            todo = _remaining(plan, failures, summary, retry_failed, broken)
            spare_results(todo, lambda: _kept(newest(record.rows()), todo), settings.suffix)
        if todo:
            workforce = make_engine(engine, settings, plan.root, workers, len(todo))
            _drive(workforce, todo, failures, record, summary, started, watch, on_stop)
        if not summary.interrupted:
            record.finish()
            results.clear_staging()
    finally:
        record.close()
    summary.seconds = time.monotonic() - started
    return summary


def _drive(
    engine: Engine,
    todo: list[Unit],
    failures: dict[str, set[str]],
    record: Manifest,
    summary: Summary,
    started: float,
    watch: Watcher | None,
    on_stop: Callable[[], None] | None,
) -> None:
    stuck, total = 0, summary.before + len(todo)

    def on_facts(facts: dict[str, Any]) -> None:
        for key, value in facts.items():
            record.pin(key, value)

    with _interruptible(on_stop) as interrupted:
        for done in engine.run(iter(todo), on_facts=on_facts, stopping=interrupted.is_set):
            record.add(done.rows + _taken_back(done, failures))
            summary.count(done)
            summary.seconds = time.monotonic() - started
            stuck = stuck + 1 if done.stuck else 0
            if stuck >= STUCK:
                raise BatchError(
                    f"{stuck} results in a row could not be written, the last: {done.stuck}; once "
                    "that is mended, --resume --retry-failed goes on"
                )
            if watch is not None:
                watch(done, summary, total)
        summary.interrupted = summary.units < len(todo)


def _on_record(rows: Iterable[Row]) -> dict[str, set[str]]:
    """The units on record, and what failed in each.

    A unit with any row is done, since all rows of a unit are put on record at once.
    """
    found: dict[str, set[str]] = {}
    for row in rows:
        failed = found.setdefault(row["shard"] or row["path"], set())
        if row["status"] == FAILED:
            failed.add(row["path"])
    return found


def _taken_back(done: Done, failures: dict[str, set[str]]) -> list[Row]:
    """Rows that take back the failures of a unit that came up in it no more, such as that of a
    shard that could not be read to its end."""
    before = failures.get(recordable(done.unit.name), set())
    again = {recordable(row["path"]) for row in done.rows}
    return [{"path": p, "status": GONE, "shard": done.unit.shard} for p in sorted(before - again)]


def _remaining(
    plan: Plan,
    failures: dict[str, set[str]],
    summary: Summary,
    retry_failed: bool,
    broken: set[str],
) -> list[Unit]:
    """The units that are not on record, and the broken ones; the others are counted in the
    summary."""
    done = {unit for unit, failed in failures.items() if not (failed and retry_failed)} - broken
    summary.lost = len(broken - {recordable(unit.name) for unit in plan.units})
    summary.before = len(done)
    summary.failed_before = sum(len(failures[unit]) for unit in done)
    return [unit for unit in plan.units if recordable(unit.name) not in done]


def _kept(rows: Iterable[Row], todo: list[Unit]) -> Iterator[str]:
    """Results of files that are not worked on again."""
    again = {recordable(unit.name) for unit in todo}
    return (r["result"] for r in rows if r["result"] and (r["shard"] or r["path"]) not in again)


@contextmanager
def _interruptible(on_stop: Callable[[], None] | None) -> Iterator[threading.Event]:
    """An event that Ctrl-C (or SIGTERM) sets; the second Ctrl-C is a KeyboardInterrupt."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def first(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        if on_stop is not None:
            on_stop()

    before = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
