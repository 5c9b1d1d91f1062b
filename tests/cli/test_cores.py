"""Commands leave busy cores alone."""

import pytest

from cli import cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of four cores with so many running processes, this one included."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 4)
    statistics = tmp_path / "stat"
    monkeypatch.setattr(cores, "_STATISTICS", statistics)

    def runs(count):
        statistics.write_text(f"cpu 1 2 3\nprocs_running {count}\nprocs_blocked 0\n")

    return runs


@pytest.mark.parametrize(("running", "threads"), [(1, None), (2, 3), (4, 1), (9, 1)])
def test_threads_are_as_many_as_idle_cores(machine, running, threads):
    machine(running)
    assert cores.sensible_threads() == threads


def test_the_environment_and_other_systems_are_left_alone(machine, monkeypatch):
    assert cores.sensible_threads() is None  # there is no /proc/stat
    machine(9)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert cores.sensible_threads() is None
