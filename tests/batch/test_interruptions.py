"""Being killed, stopped, and going on: nothing is lost, nothing is done twice."""

import os
import signal
import time
from pathlib import Path

import pytest

from codec.batch.records import read_rows
from tests.batch.conftest import deadly_plugin, figures, make_pictures, results, rows_of, run, start

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")


def journal_rows(out: Path) -> int:
    try:
        return len(list(read_rows(str(out / "manifest.parquet"))))
    except Exception:  # noqa: BLE001 - not begun yet
        return 0


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Worker processes of a run, without Python's resource tracker."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(c): Path(f"/proc/{c}/cmdline").read_bytes() for c in listed}
    return [c for c, command in commands.items() if b"spawn_main" in command]


@pytest.fixture
def whole(tmp_path, crop):
    """Sixteen pictures, two broken, and the results of a run that nothing disturbed."""
    make_pictures(tmp_path / "in", crop, 14)
    for name in ("x.png", "y.jpg"):
        (tmp_path / "in" / name).write_bytes(b"broken")
    assert run(tmp_path / "in", tmp_path / "whole", "-w", 1).exit_code == 1
    return tmp_path


def same_as_undisturbed(folder):
    assert results(folder / "out") == results(folder / "whole")
    seen, expected = (rows_of(folder / name / "manifest.parquet") for name in ("out", "whole"))
    for row in (*seen.values(), *expected.values()):
        row.pop("seconds")
    assert seen == expected


def test_sigkill_then_resume_is_like_never_killed(whole):
    out = whole / "out"
    process = start(whole / "in", out, "-w", 1)
    wait_until(lambda: journal_rows(out) >= 4)
    process.kill()
    process.communicate()
    done = journal_rows(out)
    assert 4 <= done < 16
    written = {name: (out / name).stat().st_mtime_ns for name in results(out) if ".cci" in name}
    on_record = {row["result"] for row in read_rows(str(out / "manifest.parquet"))}
    result = run(whole / "in", out, "-w", 1, "--resume", "--json")
    assert result.exit_code == 1  # the broken ones
    assert figures(result)["before"] == done
    assert figures(result)["ok"] + figures(result)["failed"] == 16 - done
    for name, when in written.items():
        if name in on_record:
            assert (out / name).stat().st_mtime_ns == when, f"{name} was done twice"
    same_as_undisturbed(whole)


def test_orphaned_workers_end(whole):
    out = whole / "out"
    process = start(whole / "in", out, "-w", 1)
    wait_until(lambda: journal_rows(out) >= 1)
    workers = children(process.pid)
    assert workers
    process.kill()
    process.communicate()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)


def test_ctrl_c_finishes_what_is_begun_and_resume_the_rest(whole):
    out = whole / "out"
    process = start(whole / "in", out, "-w", 1)
    wait_until(lambda: journal_rows(out) >= 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--resume goes on" in complaint
    assert "Traceback" not in complaint
    done = journal_rows(out)
    coded = {name for name in results(out) if name.endswith(".cci")}
    recorded = {row["result"] for row in read_rows(str(out / "manifest.parquet"))}
    assert coded == recorded - {None}
    result = run(whole / "in", out, "-w", 1, "--resume", "--json")
    assert figures(result)["before"] == done
    same_as_undisturbed(whole)


def test_a_killed_worker_is_replaced(whole):
    out = whole / "out"
    process = start(whole / "in", out, "-w", 1)
    wait_until(lambda: journal_rows(out) >= 2)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert "14 of 16 pictures" in output
    same_as_undisturbed(whole)


def test_a_picture_that_kills_its_workers_is_given_up(tmp_path, crop, monkeypatch):
    make_pictures(tmp_path / "in", crop, 3)
    (tmp_path / "in" / "deadly.png").write_bytes(b"DEADLY")
    deadly_plugin(tmp_path / "site", monkeypatch)
    process = start(tmp_path / "in", tmp_path / "out", "-w", 1)
    output, complaint = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "3 of 4 pictures" in output
    assert "deadly.png: 2 worker processes ended on it (SIGKILL" in complaint
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    assert [path for path, row in rows.items() if row["status"] == "failed"] == ["deadly.png"]


def test_two_runs_do_not_share_a_manifest(whole):
    out = whole / "out"
    process = start(whole / "in", out, "-w", 1)
    wait_until(lambda: journal_rows(out) >= 1)
    second = run(whole / "in", out, "-w", 1, "--resume")
    process.communicate(timeout=120)
    assert second.exit_code == 1
    assert "another run is writing it" in second.stderr
    same_as_undisturbed(whole)


def test_ctrl_c_while_workers_start(whole):
    process = start(whole / "in", whole / "out", "-w", 2)
    wait_until(lambda: children(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in complaint
    assert run(whole / "in", whole / "out", "-w", 1, "--resume").exit_code == 1
    same_as_undisturbed(whole)
