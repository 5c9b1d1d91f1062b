"""What of a run must be made again: results that are gone or damaged, and sources that changed."""

from __future__ import annotations

from codec.batch.planning import Plan
from codec.batch.records import OK, Row, recordable
from codec.batch.settings import Settings
from codec.batch.stores import Store
from codec.batch.verification import check_results, shard_of
from codec.limits import DEFAULT_MAX_PIXELS


def units_to_repair(
    rows: list[Row], plan: Plan, settings: Settings, *, workers: int | None, engine: str
) -> set[str]:
    """Names of units, as the manifest has them.

    A source changed if it has another size than recorded, or, on this machine, was written later
    than its result.

    Args:
        rows: the newest row of each path.
        plan: of the source as it is now.
        settings: of the run.
        workers, engine: for reading the results.
    """
    rows = [row for row in rows if row["status"] == OK]
    shards = any(unit.shard_out for unit in plan.units)
    findings = check_results(
        rows,
        settings.destination,
        shards=shards,
        options={"max_pixels": settings.options.get("max_pixels", DEFAULT_MAX_PIXELS)},
        workers=workers,
        engine=engine,
    )
    unsound = {name for name, _ in findings.problems}  # results, or shards that cannot be read
    changed = _Changes(plan, settings)
    return {
        row["shard"] or row["path"]
        for row in rows
        if row["result"] in unsound
        or (shards and shard_of(row["result"]) in unsound)
        or changed(row)
    }


class _Changes:
    """Whether the source of a row is another than when its result was made."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self._source, self._results = Store(plan.root), Store(settings.destination)
        #: Recorded path → path as the store has it, and size; of shards the size is not known.
        self._now: dict[str, tuple[str, int | None]] = {}
        for unit in plan.units:
            for entry in unit.entries:
                self._now[recordable(entry.path)] = entry.path, entry.size
            if unit.shard_in is not None:
                self._now[recordable(unit.shard_in)] = unit.shard_in, None
        self._shards_in = any(unit.shard_in for unit in plan.units)
        self._shards_out = any(unit.shard_out for unit in plan.units)

    def __call__(self, row: Row) -> bool:
        source = row["shard"] if self._shards_in else row["path"]
        if source not in self._now:
            return False  # gone; what was made of it stays
        path, size = self._now[source]
        if size is not None and size != row["size"]:
            return True
        result = shard_of(row["result"]) if self._shards_out else row["result"]
        written, made = self._source.modified(path), self._results.modified(result)
        return written is not None and made is not None and written > made
