"""What became of each file: a Parquet table that survives being killed at any moment.

A Parquet file cannot grow. While a run lasts, its rows lie in a folder beside the manifest,
``NAME.parts``: finished units first in ``journal.jsonl``, one line and one write each; every so
often the journal's rows become a Parquet file of their own. At the end everything is put together
in the manifest, by a rename, and the folder goes. A row that is found twice counts as found last.
On an object store, where nothing can be appended to, there is no journal: parts are written more
often, and a killed run repeats what it did since the last one.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from codec.batch.records import (
    COLUMNS,
    Row,
    journal_rows,
    newest,
    newest_first,
    read_settings,
    recordable,
    schema,
    stored_rows,
)
from codec.batch.settings import lasting_options
from codec.batch.stores import Store, absolute, is_local, reason, split_place
from codec.errors import ArgumentError, OutputError

_PART_ROWS = 20_000
_REMOTE_ROWS, _REMOTE_SECONDS = 5_000, 15.0


class Manifest:
    """The manifest of a run under way.

    Args:
        place: path or URL of the Parquet file.
        settings: what must be the same when the run is resumed.
        resume: go on with what is there; otherwise there must be nothing.
        force: throw away an earlier run's.

    Raises:
        ArgumentError: there is a manifest and neither is wanted, or it is of another run.
        OutputError: it cannot be written, or another run is writing it.
    """

    def __init__(
        self, place: str, settings: dict[str, Any], *, resume: bool = False, force: bool = False
    ) -> None:
        self.place = place
        folder, self._name = split_place(place)
        self._home = Store(folder, self.staging)
        self._parts = Store(f"{place}.parts", self.staging)
        self._local = is_local(place)
        self._journal: TextIO | None = None
        self._rows: list[Row] = []
        self._closed = False
        self._flushed = time.monotonic()
        self.settings = settings = _completed(settings)
        self._lock = self._locked()
        try:
            known = self._known(resume, force)
            if known is not None:
                self.settings = self._compared(known, settings)
            self._write_settings()
            self._next = 1 + max((int(p[5:-8]) for p in self._part_names()), default=0)
            if self._local:
                with self._writing():
                    self._repair_journal()
        except BaseException:
            self.close()
            raise

    @property
    def staging(self) -> str:
        """What the run's half-written files go by: the same when it is resumed, and of no other
        run, since one alone may write a manifest."""
        place = absolute(self.place).encode("utf-8", "surrogateescape")
        return hashlib.sha256(place).hexdigest()[:8]

    def _known(self, resume: bool, force: bool) -> dict[str, Any] | None:
        """The settings of the run that is to be resumed; None where there is none."""
        finished = self._home.size(self._name) is not None
        begun = self._parts.size("settings.json") is not None
        if force:
            self._home.remove(self._name)
            for name in (*self._part_names(), "journal.jsonl"):
                self._parts.remove(name)
        elif not resume and not finished and not self._has_rows():
            return None  # a run killed before its first result is as good as none
        elif not resume:
            state = "exists already" if finished else "was begun by a run that did not finish"
            raise ArgumentError(
                f"{self.place}: {state}; --resume goes on, --force starts anew, --manifest names "
                "another"
            )
        elif begun or finished:
            return _completed(read_settings(self.place))
        return None

    def _has_rows(self) -> bool:
        """Whether an unfinished run put anything on record."""
        journal = self._parts.size("journal.jsonl") and b"\n" in self._parts.read("journal.jsonl")
        return bool(journal or self._part_names())

    def _write_settings(self) -> None:
        self._parts.write("settings.json", json.dumps(self.settings, indent=1).encode())

    def _compared(self, known: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        """Both together. Raises ArgumentError where they contradict each other."""
        for key, value in wanted.items():
            before = known.get(key)
            if before is not None and before != value:
                raise ArgumentError(
                    f"{self.place}: was begun with another {key}: {_short(before)}, not "
                    f"{_short(value)}; --force starts anew"
                )
        return known | wanted

    def pin(self, key: str, value: Any) -> None:
        """Settle something that is known only once workers run. Raises ArgumentError where a
        resumed run was begun with another value."""
        if self.settings.get(key) == value:
            return
        self.settings = self._compared(self.settings, {key: value})
        self._write_settings()

    def _locked(self) -> TextIO | None:
        """Two runs that write one manifest would each undo the other's work.

        None on object stores.
        """
        if not self._local:
            return None
        try:
            os.makedirs(self.place_of_parts, exist_ok=True)
            lock = open(f"{self.place_of_parts}/lock", "w")  # noqa: SIM115 - held until close
        except OSError as error:
            raise OutputError(f"{self.place}: cannot be written ({error.strerror})") from error
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            return lock  # a system without such locks
        except OSError as error:
            lock.close()
            raise OutputError(f"{self.place}: another run is writing it") from error
        return lock

    @property
    def place_of_parts(self) -> str:
        """The folder of the rows, on this machine."""
        return self._parts._root

    def _part_names(self) -> list[str]:
        return newest_first([f.path for f in self._parts.list()])

    def _repair_journal(self) -> None:
        """Open the journal for appending, without the line that a killed run left half written."""
        path = Path(self.place_of_parts) / "journal.jsonl"
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(path, whole)
            for rows in journal_rows(data):
                self._rows += rows
        self._journal = path.open("a", encoding="utf-8")

    def rows(self) -> Iterator[Row]:
        """All rows so far, those that count first; a path may come again with an older row."""
        yield from reversed(self._rows)
        yield from stored_rows(self._home, self._name, self._parts, self._part_names())

    def add(self, rows: list[Row]) -> None:
        """Put the rows of a finished unit on record. Raises OutputError."""
        rows = [{name: _cell(row.get(name)) for name in COLUMNS} for row in rows]
        self._rows += rows
        with self._writing():
            if self._journal is not None:
                self._journal.write(json.dumps(rows) + "\n")
                self._journal.flush()  # from here on it outlives this process
        late = time.monotonic() - self._flushed > _REMOTE_SECONDS
        if len(self._rows) >= (_PART_ROWS if self._local else _REMOTE_ROWS) or (
            late and not self._local
        ):
            self.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.place}: cannot be written ({reason(error)})") from error

    def flush(self) -> None:
        """Make a part of the rows at hand. Raises OutputError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._flushed = time.monotonic()
        if not self._rows:
            return
        last = {row["path"]: row for row in self._rows}  # within a part nothing comes twice
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(last.values()), schema=schema()), buffer)
        self._parts.write(f"part-{self._next:06d}.parquet", buffer.getvalue().to_pybytes())
        self._next += 1
        self._rows.clear()
        if self._journal is not None:
            # Killed before this, its rows are there twice, which does no harm.
            with self._writing():
                self._journal.truncate(0)

    def finish(self) -> None:
        """Put everything together in the manifest. Raises OutputError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.flush()
        batch: list[Row] = []
        whole = schema(self.settings)
        with self._writing(), tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            with pq.ParquetWriter(file.name, whole) as writer:
                for row in newest(self.rows()):
                    batch.append(row)
                    if len(batch) == _PART_ROWS:
                        writer.write_table(pa.Table.from_pylist(batch, schema=whole))
                        batch.clear()
                writer.write_table(pa.Table.from_pylist(batch, schema=whole))
            self._home.put(self._name, Path(file.name))
        self.close()
        self._home.clear_staging()
        self._home.remove(f"{self._name}.parts")

    def close(self) -> None:
        """Leave the rows where they are, for a later ``resume``; where there are none, nothing."""
        if self._closed:
            return
        self._closed = True
        for file in (self._journal, self._lock):
            if file is not None:
                with suppress(OSError):  # a full disk, of which `add` has told
                    file.close()
        self._journal = self._lock = None
        if not self._local:
            self.flush()
        if not (self._rows or self._part_names() or self._parts.size("journal.jsonl")):
            self._home.remove(f"{self._name}.parts")


def _cell(value: Any) -> Any:
    return recordable(value) if isinstance(value, str) else value


def _completed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the defaults of options that they do not name: newer ones than the run."""
    if "options" not in settings:
        return settings
    return settings | {"options": lasting_options(settings.get("kind", ""), settings["options"])}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "…"
