"""Who has the units of a run done: processes of this machine, or actors of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from codec.batch import extra
from codec.batch.planning import Unit
from codec.batch.settings import VERIFY, Settings
from codec.batch.stores import absolute
from codec.batch.worker import Done
from codec.cores import cores_allowed, has_gpu
from codec.errors import ArgumentError

#: Each has its own copy of the network and of what CUDA takes.
GPU_WORKERS = 4


class Engine(Protocol):
    """What has units done."""

    workers: int

    def run(
        self,
        units: Iterator[Unit],
        *,
        on_facts: Callable[[dict[str, Any]], None],
        stopping: Callable[[], bool],
    ) -> Iterator[Done]:
        """See :meth:`codec.batch.local.LocalEngine.run`."""


def default_workers(settings: Settings) -> int:
    """One per core that this process may use; few where they share a GPU."""
    cores = cores_allowed()
    may_use_gpu = settings.kind != VERIFY and settings.options.get("device", "auto") != "cpu"
    return min(cores, GPU_WORKERS) if may_use_gpu and has_gpu() else cores


def make_engine(
    name: str, settings: Settings, root: str, workers: int | None, units: int
) -> Engine:
    """An engine by its name, for n units. Raises ArgumentError where it is unknown or not
    installed."""
    # Workers of a cluster run in other folders than this process.
    root = absolute(root)
    settings = replace(settings, destination=absolute(settings.destination))
    if name == "local":
        from codec.batch.local import LocalEngine

        return LocalEngine(settings, root, min(workers or default_workers(settings), units))
    if name == "ray":
        extra.require("cluster", "codec batch --engine ray")
        from codec.batch.cluster import RayEngine

        return RayEngine(settings, root, workers, units)
    raise ArgumentError(f"the engine must be local or ray, not {name!r}")
