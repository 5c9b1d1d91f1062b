"""The engine of a cluster: Ray actors, one thread of torch each, or sharing the GPUs.

An actor gets a handful of files or a shard at a time, and never more than two handfuls, so work
waits with the driver, not in the cluster's memory; results go from the actors straight to their
store, and only manifest rows come back. What an actor held when it or its node was lost is given to
others. A new actor is asked for at once; Ray starts it where there is room, now or when a node
joins.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from codec.batch.local import LocalEngine
from codec.batch.planning import Unit
from codec.batch.records import FAILED
from codec.batch.settings import VERIFY, Settings
from codec.batch.worker import Done, Worker
from codec.errors import BatchError, CodecError

#: Files that an actor is given at once; shards come one by one.
HANDFUL = 8
#: Handfuls that an actor holds: one is worked on, one waits.
DEPTH = 2
#: A unit with which n actors were lost may be the reason, and is done with care.
SUSPICION = 2
#: A unit with which n actors were lost is put on record as failed.
LOSSES = 6
#: Actors that share one GPU: while one reads, range-codes or writes, others compute.
ACTORS_PER_GPU = 4
#: Seconds without a single actor after which the run ends.
PATIENCE = 600.0


class _Remote:
    """The body of an actor."""

    def __init__(self, settings: Settings, root: str) -> None:
        self._settings, self._root = settings, root
        self._worker: Worker | None = None

    def prepare(self) -> dict[str, Any] | CodecError:
        """Load the weights; what the worker knows of the run, or why it refuses the settings."""
        try:
            self._worker = Worker(self._settings, self._root)
        except CodecError as error:  # returned, since Ray wraps what is raised
            return error
        return self._worker.facts

    def work(self, units: list[Unit], careful: bool) -> list[Done]:
        """Do units; ``careful``: in a process of their own, which tells what picture ends it."""
        if careful:
            engine = LocalEngine(self._settings, self._root, 1)
            return list(engine.run(iter(units), on_facts=lambda _: None, stopping=lambda: False))
        done: list[Done] = []
        if self._worker is not None:
            self._worker.work(units, lambda *_: None, done.append)
        return done


@dataclass
class _Actor:
    """An actor as the driver sees it: its handle, and the calls that have not come back."""

    handle: Any
    preparing: Any
    calls: dict[Any, list[Unit]] = field(default_factory=dict)
    ready: bool = False

    @property
    def busy_with_shard(self) -> bool:
        """A shard is work enough for one actor; others may take the next."""
        return any(units[0].shard for units in self.calls.values())


class RayEngine:
    """Runs units on the Ray cluster that this machine belongs to, or on one of its own.

    Every node needs this package, and must see the source and the destination: URLs, or folders
    that all of them have mounted.

    Args:
        settings: sent to the actors.
        root: what the paths of units are relative to.
        workers: how many actors; default: one per CPU, or four per GPU where there are GPUs.
        units: how many units there are: no more actors than that.
    """

    def __init__(self, settings: Settings, root: str, workers: int | None, units: int) -> None:
        import ray

        self._ray: Any = ray
        _connect(ray)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        on_gpu = gpus > 0 and settings.kind != VERIFY and settings.options.get("device") != "cpu"
        self._share: dict[str, float] = {"num_cpus": 1}
        if on_gpu:
            self._share = {"num_cpus": 1, "num_gpus": 1 / ACTORS_PER_GPU}
        # Named, so that no actor takes another device than the rest and rounds differently.
        device = {"device": "cuda" if on_gpu else "cpu"}
        if settings.kind == VERIFY and not settings.options.get("deep"):
            device = {}
        self._settings = replace(settings, options=settings.options | device)
        self._root = root
        default = gpus * ACTORS_PER_GPU if on_gpu else int(resources.get("CPU", 1))
        self.workers = max(1, min(workers or default, units))
        self._actors: list[_Actor] = []
        self._again: deque[Unit] = deque()
        self._losses: Counter[str] = Counter()
        self._seen_ready = time.monotonic()

    def run(
        self,
        units: Iterator[Unit],
        *,
        on_facts: Callable[[dict[str, Any]], None],
        stopping: Callable[[], bool],
    ) -> Iterator[Done]:
        """See :meth:`codec.batch.local.LocalEngine.run`."""
        try:
            self._actors = [self._start() for _ in range(self.workers)]
            more = True
            while True:
                if not stopping():
                    more = self._feed(units if more else iter(())) and more
                if not any(a.calls for a in self._actors) and (
                    stopping() or not (more or self._again)
                ):
                    break
                yield from self._listen(on_facts)
        finally:
            for actor in self._actors:
                self._ray.kill(actor.handle)
            self._actors = []

    def _start(self) -> _Actor:
        remote = self._ray.remote(**self._share, max_restarts=0, max_task_retries=0)(_Remote)
        handle = remote.remote(self._settings, self._root)
        return _Actor(handle, handle.prepare.remote())

    def _feed(self, units: Iterator[Unit]) -> bool:
        """Give each actor what it may hold; False once there are no more units."""
        for depth in range(1, DEPTH + 1):
            for actor in self._actors:
                if actor.ready and len(actor.calls) < depth and not actor.busy_with_shard:
                    handful = self._handful(units)
                    if not handful:
                        return False
                    careful = self._losses[handful[0].name] >= SUSPICION
                    actor.calls[actor.handle.work.remote(handful, careful)] = handful
        return True

    def _handful(self, units: Iterator[Unit]) -> list[Unit]:
        if self._again:  # alone: should its actor be lost again, it is known with what
            return [self._again.popleft()]
        first = next(units, None)
        if first is None or first.shard:
            return [] if first is None else [first]
        return [first, *islice(units, HANDFUL - 1)]

    def _listen(self, on_facts: Callable[[dict[str, Any]], None]) -> Iterator[Done]:
        waiting = {a.preparing: a for a in self._actors if not a.ready}
        waiting |= {call: a for a in self._actors for call in a.calls}
        came, _ = self._ray.wait(list(waiting), num_returns=1, timeout=0.5)
        for call in came:
            actor = waiting[call]
            if actor not in self._actors:
                continue  # buried a moment ago
            try:
                answer = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                yield from self._bury(actor, error)
                continue
            if not actor.ready:
                if isinstance(answer, CodecError):
                    raise answer
                actor.ready = True
                on_facts(answer)
            else:
                del actor.calls[call]
                yield from answer
        if any(actor.ready for actor in self._actors):
            self._seen_ready = time.monotonic()
        elif time.monotonic() - self._seen_ready > PATIENCE:
            raise BatchError(f"the Ray cluster has had no room for a worker in {PATIENCE:.0f} s")

    def _bury(self, actor: _Actor, error: Exception) -> Iterator[Done]:
        """Have the units of a lost actor done by others; those lost too often have failed."""
        self._actors.remove(actor)
        self._ray.kill(actor.handle)
        self._actors.append(self._start())
        why = " ".join(str(error).split())[:200]
        if not actor.ready:
            self._losses[""] += 1
            if self._losses[""] > 3 * self.workers + 10:
                raise BatchError(f"workers of the Ray cluster keep ending as they start: {why}")
        for unit in (u for units in actor.calls.values() for u in units):
            self._losses[unit.name] += 1
            if self._losses[unit.name] < LOSSES:
                self._again.append(unit)
                continue
            lost = f"{LOSSES} workers were lost with it ({why})"
            row = {"path": unit.name, "status": FAILED, "error": lost, "shard": unit.shard}
            yield Done(unit, [row])


def _connect(ray: Any) -> None:
    """Join the cluster of this machine or of ``RAY_ADDRESS``; where there is none, begin one."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(os.environ.get("RAY_ADDRESS", "auto"), **quiet)
    except ConnectionError:
        if "RAY_ADDRESS" in os.environ:
            raise BatchError(
                f"no Ray cluster answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']}"
            ) from None
        ray.init(include_dashboard=False, **quiet)
