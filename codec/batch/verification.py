"""Checking a finished set against its manifest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from codec.batch import extra
from codec.batch.engines import make_engine
from codec.batch.planning import SHARD, Entry, Unit
from codec.batch.records import FAILED, OK, Row, read_rows, read_settings
from codec.batch.settings import VERIFY, Settings
from codec.batch.stores import Store
from codec.errors import ArgumentError


@dataclass
class Findings:
    """What a check found. ``problems`` holds results and what is wrong with each."""

    sound: int = 0
    units: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    failed_before: int = 0
    """Inputs that the manifest itself says have no result."""
    unfinished: bool = False
    """The run did not finish: there may be inputs that are not on record."""
    seconds: float = 0.0


def verify_set(
    destination: str,
    *,
    manifest: str | None = None,
    deep: bool = False,
    options: dict[str, Any] | None = None,
    workers: int | None = None,
    engine: str = "local",
    watch: Callable[[Findings, int], None] | None = None,
) -> Findings:
    """Read every result of a batch run again: does it exist, as large as recorded, and whole?

    Args:
        destination: folder or URL of the results.
        manifest: default ``manifest.parquet`` in it.
        deep: also decode the symbols of .cci files and compare their checksums.
        options: of :func:`codec.verify`.
        workers: processes; default one per core.
        engine: ``local`` or ``ray``.
        watch: told the findings so far, and how many units there are.

    Raises:
        codec.errors.CodecError: there is no manifest, or checking cannot go on.
    """
    extra.require("batch")
    if workers is not None and workers < 1:
        raise ArgumentError(f"--workers takes 1 or more, not {workers}")
    place = manifest or f"{destination.rstrip('/')}/manifest.parquet"
    shards = bool(read_settings(place).get("in_shards"))
    rows = list(read_rows(place))
    good = [row for row in rows if row["status"] == OK]
    findings = check_results(
        good,
        destination,
        shards=shards,
        deep=deep,
        options=options,
        workers=workers,
        engine=engine,
        watch=watch,
    )
    findings.failed_before = len(rows) - len(good)
    findings.unfinished = Store(f"{place}.parts").size("settings.json") is not None
    return findings


def check_results(
    rows: list[Row],
    destination: str,
    *,
    shards: bool,
    deep: bool = False,
    options: dict[str, Any] | None = None,
    workers: int | None = None,
    engine: str = "local",
    watch: Callable[[Findings, int], None] | None = None,
) -> Findings:
    """Check the results that rows name; ``shards``: they lie in tar shards. The rest as
    :func:`verify_set`."""
    started = time.monotonic()
    findings = Findings()
    units = _units(rows, shards)
    settings = Settings(
        destination, destination, kind=VERIFY, options=(options or {}) | {"deep": deep}
    )
    if units:
        workforce = make_engine(engine, settings, destination, workers, len(units))
        done = workforce.run(iter(units), on_facts=lambda _: None, stopping=lambda: False)
        for result in done:
            findings.units += 1
            for row in result.rows:
                if row["status"] == FAILED:
                    findings.problems.append((row["path"], row["error"]))
                else:
                    findings.sound += 1
            if watch is not None:
                watch(findings, len(units))
    findings.problems.sort()
    findings.seconds = time.monotonic() - started
    return findings


def _units(rows: list[Row], shards: bool) -> list[Unit]:
    entries = sorted((Entry(row["result"], row["bytes"], "") for row in rows), key=lambda e: e.path)
    if not shards:
        return [Unit(entry.path, (entry,)) for entry in entries]
    groups = groupby(entries, key=lambda e: shard_of(e.path))
    return [Unit(name, list(group), shard_in=name) for name, group in groups]


def shard_of(result: str) -> str:
    """The shard that a result ``SHARD.tar/MEMBER`` lies in."""
    return result[: result.index(SHARD + "/") + len(SHARD)]
