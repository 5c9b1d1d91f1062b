"""What a worker does with a unit, whatever engine it works for.

Three threads share the work, so that the cores never wait for a disk or a network: one reads ahead,
the caller's codes, one writes. Between them stand short queues: a worker holds a few pictures, not
more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import Any

from codec.batch.coding import Coder
from codec.batch.planning import Entry, Unit, accepted
from codec.batch.records import FAILED, OK, Row
from codec.batch.settings import VERIFY, Settings
from codec.batch.shards import ShardWriter, read_members
from codec.batch.stores import Store, reason
from codec.errors import CodecError, ImageError, OutputError
from codec.files import renamed

#: Pictures that are coded together at most: those that are at hand, no others are waited for.
TOGETHER = 8
_AHEAD = 2


@dataclass
class _Loaded:
    """A picture on its way in: its bytes or why there are none. Without ``entry`` a file of the
    shard that is no picture and goes along as it is."""

    name: str
    data: bytes | None
    entry: Entry | None
    error: str | None = None


@dataclass
class Done:
    """A finished unit. ``stuck`` says why the destination did not take all of it."""

    unit: Unit
    rows: list[Row]
    stuck: str | None = None


class _End:
    """Marks the end of a unit between the threads."""


class Worker:
    """Does units.

    Args:
        settings: of the run.
        root: what the paths of units are relative to.

    Raises:
        codec.errors.CodecError: the settings are such that no unit could be done.
    """

    def __init__(self, settings: Settings, root: str) -> None:
        self._settings = settings
        self._source = Store(root)
        self._sink = (
            None if settings.kind == VERIFY else Store(settings.destination, settings.staging)
        )
        self._accepts = accepted(settings.kind)
        self._coder = Coder(settings)
        #: What the run's manifest should know, such as the fingerprint of the weights.
        self.facts: dict[str, Any] = self._coder.facts

    def work(
        self,
        units: Iterable[Unit],
        started: Callable[[Unit, str], None],
        done: Callable[[Done], None],
    ) -> None:
        """Do units until there are no more.

        Args:
            units: taken ahead of the work, by a thread of its own.
            started: told in the calling thread which picture comes next.
            done: called by another thread, unit after unit.
        """
        loaded: Queue = Queue(max(_AHEAD, TOGETHER))
        coded: Queue = Queue(_AHEAD)
        reader = Thread(target=_guarded, args=(self._read_all, units, loaded), daemon=True)
        writer = Thread(target=_guarded, args=(self._write_all, coded, done), daemon=True)
        reader.start()
        writer.start()
        while items := _at_hand(loaded):
            pictures = [(unit, part) for unit, part in items if _to_code(part)]
            together = self._settings.kind != VERIFY and len(pictures) > 1
            if together and not any(unit.alone for unit, _ in pictures):
                for unit, part in pictures:
                    started(unit, part.name)
                results = iter(self._code_together([part for _, part in pictures]))
            else:
                results = self._one_by_one(pictures, started)
            for unit, part in items:
                coded.put((unit, part, *(next(results) if _to_code(part) else ({}, None))))
        coded.put(None)
        writer.join()

    def _one_by_one(
        self, pictures: list[tuple[Unit, _Loaded]], started: Callable[[Unit, str], None]
    ) -> Iterator[tuple[Row, bytes | None]]:
        for unit, part in pictures:
            started(unit, part.name)
            yield self._code(part)

    # -- reading -----------------------------------------------------------------------------------

    def _read_all(self, units: Iterable[Unit], loaded: Queue) -> None:
        for unit in units:
            parts = self._members(unit) if unit.shard_in else self._files(unit)
            for part in parts:
                loaded.put((unit, part))
            loaded.put((unit, _End()))
        loaded.put(None)

    def _files(self, unit: Unit) -> Iterator[_Loaded]:
        for entry in unit.entries:
            if unit.skip and entry.path in unit.skip:
                yield _Loaded(entry.path, None, entry, unit.skip[entry.path])
                continue
            try:
                yield _Loaded(entry.path, self._source.read(entry.path), entry)
            except CodecError as error:
                yield _Loaded(entry.path, None, entry, str(error))

    def _members(self, unit: Unit) -> Iterator[_Loaded]:
        if unit.shard_in is None:
            raise AssertionError("only units with a shard have members")
        shard, used = unit.shard_in, set[str]()
        expected = {entry.path: entry for entry in unit.entries}  # for verifying: known beforehand
        try:
            with self._source.open(shard) as file:
                for name, data in read_members(file):
                    path = f"{shard}/{name}"
                    if self._settings.kind == VERIFY:
                        entry = expected.pop(path, None)
                    else:
                        entry = self._entry(path, name, data, used)
                    error = unit.skip.get(path) if unit.skip else None
                    if self._settings.kind != VERIFY and entry and not entry.target:
                        error = "another result of its shard has the name already"
                    yield _Loaded(path if entry else name, None if error else data, entry, error)
        except CodecError as error:
            yield _Loaded(shard, None, Entry(shard, 0, ""), str(error))
        for path, entry in expected.items():
            yield _Loaded(path, None, entry, "no such file in the shard")

    def _entry(self, path: str, name: str, data: bytes, used: set[str]) -> Entry | None:
        """Of a member of a shard; None where it is no picture and goes along.

        ``used`` are the names of results so far, to which its own is added. The target is empty
        where none is left, since two files of one name would be one.
        """
        suffix = self._settings.suffix
        coded = self._accepts(name)
        wanted = [renamed(name, suffix), name + suffix] if coded else [name]
        target = next((target for target in wanted if target not in used), "")
        used.add(target)
        return Entry(path, len(data), target) if coded or not target else None

    # -- coding ------------------------------------------------------------------------------------

    def _code_together(self, parts: list[_Loaded]) -> list[tuple[Row, bytes | None]]:
        """Rows of pictures, and their results."""
        whole = [part for part in parts if part.data]
        try:
            found = self._coder.code_together([part.data for part in whole if part.data])
        except Exception:  # noqa: BLE001 - which picture it is about shows one by one
            return [self._code(part) for part in parts]
        results = []
        for part in parts:
            made = found.pop(0) if part.data else None
            if made is None:
                results.append(self._code(part))
            elif isinstance(made, CodecError):
                results.append((_row(part) | {"error": _message(made)}, None))
            else:
                figures, result = made
                results.append((_row(part) | figures | {"status": OK}, result))
        return results

    def _code(self, part: _Loaded) -> tuple[Row, bytes | None]:
        """A picture's row, and its result."""
        row = _row(part)
        if part.data is None or part.entry is None:
            return row | {"error": part.error}, None
        try:
            if part.data == b"":
                raise ImageError("the file is empty")
            figures, result = self._coder.code(part.data, part.entry)
        except CodecError as error:
            return row | {"error": _message(error)}, None
        except Exception as error:  # noqa: BLE001 - one picture must not end the run
            return row | {"error": f"unexpected {type(error).__name__}: {reason(error)}"}, None
        return row | figures | {"status": OK}, result

    # -- writing -----------------------------------------------------------------------------------

    def _write_all(self, coded: Queue, done: Callable[[Done], None]) -> None:
        rows: list[Row] = []
        shard: ShardWriter | None = None
        stuck: str | None = None  # why a result of the unit could not be written
        left: str | None = None  # why a file that goes along could not
        while (item := coded.get()) is not None:
            unit, part, row, result = item
            if isinstance(part, _End):
                if shard is not None:
                    stuck = self._finish_shard(shard, rows) or stuck
                if left is not None:  # it has no row of its own: its shard is to be done again
                    _fail(rows, left)
                if stuck is not None and not rows:  # a shard without pictures
                    rows.append({"path": unit.name, "shard": unit.shard} | _failure(stuck))
                done(Done(unit, rows, stuck))
                rows, shard, stuck, left = [], None, None, None
                continue
            if unit.shard_out and shard is None and self._sink is not None:
                shard = ShardWriter(self._sink, unit.shard_out)
            content = part.data if part.entry is None else result
            if content is not None and self._sink is not None:
                target = part.entry.target if part.entry else part.name
                error = self._place(shard, unit, target, content, row)
                stuck = error or stuck
                if error is not None and part.entry is None:
                    left = f"a file that goes along: {error}"
            if part.entry is not None:
                rows.append(row | {"shard": unit.shard})

    def _place(
        self, shard: ShardWriter | None, unit: Unit, target: str, content: bytes, row: Row
    ) -> str | None:
        """Write one result; why that failed, which its row then says too."""
        if shard is not None:
            shard.add(target, content)
            row["result"] = f"{unit.shard_out}/{target}"
            return None
        if unit.shard_in:
            target = f"{unit.shard_in.removesuffix('.tar')}/{target}"
        row["result"] = target
        return self._try(lambda: self._sink.write(target, content), [row])  # type: ignore[union-attr]

    def _finish_shard(self, shard: ShardWriter, rows: list[Row]) -> str | None:
        try:
            return self._try(shard.finish, rows)
        finally:
            shard.discard()

    @staticmethod
    def _try(write: Callable[[], None], rows: list[Row]) -> str | None:
        try:
            write()
        except OutputError as error:
            _fail(rows, str(error))
            return str(error)
        return None


def _at_hand(loaded: Queue) -> list[Any]:
    """What has been read, :data:`TOGETHER` items at most; waits for the first. Empty: all is
    done."""
    items: list[Any] = [loaded.get()]
    while items[-1] is not None and len(items) < TOGETHER and not loaded.empty():
        items.append(loaded.get())
    if items[-1] is None:
        items.pop()
        if items:
            loaded.put(None)
    return items


def _to_code(part: _Loaded | _End) -> bool:
    return isinstance(part, _Loaded) and part.entry is not None


def _row(part: _Loaded) -> Row:
    """Of a picture that nothing has come of yet."""
    row: Row = {"path": part.name, "status": FAILED}
    if part.entry is not None:
        row["size"] = len(part.data) if part.data is not None else part.entry.size
    return row


def _failure(error: str) -> Row:
    return {"status": FAILED, "error": error, "result": None, "bytes": None}


def _fail(rows: list[Row], error: str) -> None:
    """Of rows that came well so far."""
    for row in rows:
        if row.get("status") == OK:
            row |= _failure(error)


def _message(error: CodecError) -> str:
    return str(error).removeprefix("the data: ")


def _guarded(target: Callable[..., None], *arguments: Any) -> None:
    """A thread that fails ends its process: the engine notices, and starts another."""
    try:
        target(*arguments)
    except ConnectionError:  # the driver has ended
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is
        import traceback

        traceback.print_exc()
        os._exit(70)
