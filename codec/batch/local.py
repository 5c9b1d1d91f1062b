"""The engine of one machine: worker processes, one thread of torch each.

Each worker has a pipe of its own and never more than a few units, so that a worker that is killed
takes nothing along that others need, and memory does not grow with the number of files.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from codec.batch.planning import Unit
from codec.batch.settings import Settings
from codec.batch.worker import TOGETHER, Done, Worker
from codec.errors import BatchError, CodecError
from codec.quiet import libraries_silenced

#: Units that a worker holds: some are coded, as many as are coded together, others are read or
#: written meanwhile.
DEPTH = TOGETHER + 2
#: A picture at which n workers died is put on record as failed.
DEATHS = 2


@dataclass
class _Ready:
    facts: dict[str, Any]


@dataclass
class _Refused:
    error: CodecError


@dataclass
class _Started:
    picture: str


class _Process:
    """One worker process, and what it holds."""

    def __init__(self, settings: Settings, root: str) -> None:
        context = multiprocessing.get_context("spawn")  # torch and fork do not go together
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_main, args=(theirs, settings, root), daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()
        self.held: dict[str, Unit] = {}
        self.ready = False
        self.picture: str | None = None

    def give(self, unit: Unit) -> None:
        self.held[unit.name] = unit
        with suppress(OSError):  # the worker has just died: :meth:`run` will see it
            self.connection.send(unit)

    @property
    def busy_with_shard(self) -> bool:
        """A shard is work enough for one worker; others may take the next."""
        return any(unit.shard for unit in self.held.values())

    def messages(self) -> Iterator[Any]:
        """All that it has sent."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            return

    def end(self) -> None:
        """Let it close, which it does at once if it holds nothing."""
        if self.ready:
            with suppress(OSError):
                self.connection.send(None)
            self.process.join(timeout=20)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class LocalEngine:
    """Runs units on this machine.

    Args:
        settings: sent to the workers.
        root: what the paths of units are relative to.
        workers: how many processes.
    """

    def __init__(self, settings: Settings, root: str, workers: int) -> None:
        self._settings, self._root, self.workers = settings, root, workers
        self._processes: list[_Process] = []
        self._again: deque[Unit] = deque()
        self._deaths: dict[tuple[str, str], int] = {}
        self._fruitless = 0

    def run(
        self,
        units: Iterator[Unit],
        *,
        on_facts: Callable[[dict[str, Any]], None],
        stopping: Callable[[], bool],
    ) -> Iterator[Done]:
        """Do the units, in any order.

        Args:
            units: taken as workers get free.
            on_facts: told what workers know of the run, once each has started.
            stopping: once it is true, no new unit is begun; those begun are finished.

        Raises:
            BatchError: workers die without getting anything done.
            codec.errors.CodecError: workers refuse the settings.
        """
        try:
            self._processes = [self._start() for _ in range(self.workers)]
            more = True
            while True:
                if not stopping():
                    more = self._feed(units) if more else self._feed(iter(()))
                if not any(p.held for p in self._processes) and (
                    stopping() or not (more or self._again)
                ):
                    break
                yield from self._listen(on_facts)
            for process in self._processes:
                process.end()
            self._processes = []
        finally:
            for process in self._processes:
                process.kill()

    def _start(self) -> _Process:
        return _Process(self._settings, self._root)

    def _feed(self, units: Iterator[Unit]) -> bool:
        """Give each worker what it may hold; False once there are no more units."""
        for depth in range(1, DEPTH + 1):  # first one for each: the last units spread well
            for process in self._processes:
                if process.ready and len(process.held) < depth and not process.busy_with_shard:
                    unit = self._again.popleft() if self._again else next(units, None)
                    if unit is None:
                        return False
                    process.give(unit)
        return True

    def _listen(self, on_facts: Callable[[dict[str, Any]], None]) -> Iterator[Done]:
        signs: list[Any] = [p.connection for p in self._processes]
        signs += [p.process.sentinel for p in self._processes]
        wait(signs, timeout=0.5)
        for index, process in enumerate(self._processes):
            dead = not process.process.is_alive()  # asked first: what it sent before is still read
            for message in process.messages():
                if isinstance(message, _Ready):
                    process.ready = True
                    on_facts(message.facts)
                elif isinstance(message, _Refused):
                    raise message.error
                elif isinstance(message, _Started):
                    process.picture = message.picture
                elif process.held.pop(message.unit.name, None) is not None:
                    self._fruitless = 0
                    yield message
            if dead:
                self._bury(process)
                self._processes[index] = self._start()

    def _bury(self, process: _Process) -> None:
        """Have the units of a dead worker done by others."""
        process.kill()
        self._fruitless += 1
        code = process.process.exitcode
        if self._fruitless > 3 * DEATHS + 2 * self.workers:
            raise BatchError(
                f"worker processes keep ending ({_why(code)}) before they get anything done"
            )
        held = list(process.held.values())
        for unit in held:  # which of several pictures it was shows when each is coded alone
            unit.alone = True
        if held and process.ready:
            self._blame(held, process.picture, code)
        self._again.extendleft(reversed(held))

    def _blame(self, held: list[Unit], picture: str | None, code: int | None) -> None:
        """Count a death against the picture that was worked on."""
        unit = next((u for u in held if picture and _holds(u, picture)), held[0])
        if picture is None or not _holds(unit, picture):
            picture = unit.entries[0].path if unit.entries else unit.name
        deaths = self._deaths[unit.name, picture] = self._deaths.get((unit.name, picture), 0) + 1
        if deaths >= DEATHS:
            why = f"{deaths} worker processes ended on it ({_why(code)})"
            unit.skip = (unit.skip or {}) | {picture: why}


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started within never see Ctrl-C, not even while they import: the parent decides
    what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _holds(unit: Unit, picture: str) -> bool:
    if unit.shard_in:
        return picture.startswith(unit.shard_in)
    return any(entry.path == picture for entry in unit.entries)


def _why(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, perhaps for lack of memory" if name == "SIGKILL" else name
    return f"exit status {code}"


def _main(connection: Connection, settings: Settings, root: str) -> None:
    """A worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending:
            connection.send(message)

    def units() -> Iterator[Unit]:
        while True:
            try:
                unit = connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent has ended
            if unit is None:
                return
            yield unit

    with libraries_silenced():
        try:
            worker = Worker(settings, root)
        except CodecError as error:
            send(_Refused(error))
            return
        send(_Ready(worker.facts))
        with suppress(ConnectionError):  # the parent is gone
            worker.work(units(), lambda _, picture: send(_Started(picture)), send)
