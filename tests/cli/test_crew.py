"""Folders on several processes: the same files, messages and exit statuses as one by one."""

import json
import os
import signal
from functools import partial

import pytest
from PIL import Image

from cli import crew
from cli.crew import FEWEST_JOBS, Crew, processes_for
from cli.jobs import Job, Outcome
from codec.errors import BatchError, ImageError
from tests.cli.test_cli import here, run  # noqa: F401 - a fixture


@pytest.fixture
def two_processes(monkeypatch):
    """Whatever this machine has, and from the first file on."""
    monkeypatch.setattr(crew, "processes_for", lambda count, threads, device: 2)


def fill(folder, count=3):
    folder.mkdir()
    for index in range(count):
        side = 40 + 8 * index
        Image.open("photo.png").crop((0, 0, side, 30)).save(folder / f"{index}.png")


def test_a_folder_gives_the_same_files_as_one_by_one(here, two_processes):  # noqa: F811
    fill(here / "in")
    (here / "in" / "broken.png").write_bytes(b"\x89PNG no")
    several = run("encode", "in", "-o", "several", "--json", "--quality", 30)
    assert several.exit_code == 1
    one = run("encode", "in", "-o", "one", "--json", "--quality", 30, "--threads", 1)
    for folder in ("several", "one"):
        assert sorted(p.name for p in (here / folder).iterdir()) == ["0.cci", "1.cci", "2.cci"]
    for name in ("0.cci", "1.cci", "2.cci"):
        first, second = (here / folder / name for folder in ("several", "one"))
        assert first.read_bytes() == second.read_bytes()
    lines = [[json.loads(line) for line in r.stdout.splitlines()] for r in (several, one)]
    for ours, theirs in zip(*lines, strict=True):
        assert ours["input"] == theirs["input"]
        assert ours.get("bytes") == theirs.get("bytes")
        assert ours.get("error") == theirs.get("error")
    assert "broken.png" in several.stderr
    decoded = run("decode", "several", "-o", "back")
    assert decoded.exit_code == 0
    assert "3 of 3 files" in decoded.stdout


def test_notes_of_other_processes_are_heard(here, two_processes):  # noqa: F811
    fill(here / "in", 1)
    whole = (here / "photo.cci").read_bytes()
    (here / "cut").mkdir()
    for name in ("a.cci", "b.cci"):
        (here / "cut" / name).write_bytes(whole[:-20])
    result = run("decode", "cut", "-o", "out")
    assert result.exit_code == 0
    assert result.stderr.count("note:") == 2


def finish(job, show, *, how):
    if how == "error":
        raise ImageError(f"{job.source}: no picture")
    if how == "death" and job.source == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome({"process": os.getpid()}, job.source)


def outcomes(how):
    jobs = [Job(name, name) for name in "abcd"]
    shown = []
    with Crew(partial(finish, how=how), 2) as hands:
        found = list(hands.do(jobs, lambda job: None, shown.append))
    return found, shown


def test_jobs_are_done_elsewhere_and_come_back_in_order():
    found, shown = outcomes("well")
    assert [outcome.line for _, outcome in found] == list("abcd")
    assert os.getpid() not in {outcome.figures["process"] for _, outcome in found}
    assert shown == [1, 2, 3, 4]


def test_errors_come_back_as_they_are():
    found, _ = outcomes("error")
    assert [str(error) for _, error in found] == [f"{name}: no picture" for name in "abcd"]


def test_a_process_that_dies_costs_its_own_job_alone():
    found, shown = outcomes("death")
    assert [getattr(outcome, "line", None) for _, outcome in found] == ["a", None, "c", "d"]
    error = found[1][1]
    assert isinstance(error, BatchError)
    assert str(error).startswith("b: the process that worked on it has ended")
    assert "--threads 1 works on one picture at a time" in str(error)
    assert shown == [1, 2, 3, 4]


def test_what_cannot_be_begun_is_not_handed_out(tmp_path):
    def first(job):
        if job.source == "a":
            raise ImageError("a: exists already")

    with Crew(partial(finish, how="well"), 2) as hands:
        found = list(hands.do([Job("a", "a"), Job("b", "b")], first, lambda done: None))
    assert isinstance(found[0][1], ImageError)
    assert found[1][1].line == "b"


def test_few_files_one_thread_and_gpus_need_no_processes(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert processes_for(FEWEST_JOBS - 1, None, "cpu") == 1
    assert processes_for(100, None, "cpu") == 8
    assert processes_for(FEWEST_JOBS, None, "cpu") == min(8, FEWEST_JOBS)
    assert processes_for(100, 3, "cpu") == 3
    assert processes_for(100, 1, "cpu") == 1
    assert processes_for(100, None, "cuda") == 1
