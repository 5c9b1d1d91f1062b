"""The manifest on its own: what happens to rows whenever the process ends."""

import json
from pathlib import Path

import pytest

from codec.batch import manifest as manifest_module
from codec.batch.manifest import Manifest
from codec.batch.records import COLUMNS, read_rows
from codec.errors import ArgumentError, ImageError, OutputError

SETTINGS = {"kind": "encode", "options": {"quality": 50}}


def row(path, **values):
    return dict.fromkeys(COLUMNS) | {"path": path, "status": "ok"} | values


def paths(place):
    return sorted(r["path"] for r in read_rows(place))


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "m.parquet")


def test_rows_are_there_the_moment_they_are_added(place):
    record = Manifest(place, SETTINGS)
    record.add([row("a"), row("b")])
    assert paths(place) == ["a", "b"]  # read by another than the writer, which goes on
    record.add([row("c")])
    assert paths(place) == ["a", "b", "c"]


def test_a_line_half_written_is_left_out(place, tmp_path):
    Manifest(place, SETTINGS).add([row("a")])
    journal = tmp_path / "m.parquet.parts" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + json.dumps([row("b")]).encode()[:40])
    assert paths(place) == ["a"]
    record = Manifest(place, SETTINGS, resume=True)
    assert [r["path"] for r in record.rows()] == ["a"]
    record.add([row("c")])
    record.finish()
    assert paths(place) == ["a", "c"]
    assert not (tmp_path / "m.parquet.parts").exists()


def test_parts_and_journal_become_one_table_in_which_the_last_row_counts(place, monkeypatch):
    monkeypatch.setattr(manifest_module, "_PART_ROWS", 3)
    record = Manifest(place, SETTINGS)
    for number in range(8):
        record.add([row(f"{number}", bytes=number)])
    record.add([row("1", bytes=100), row("7", bytes=700)])
    record.close()
    record = Manifest(place, SETTINGS, resume=True)
    record.add([row("2", bytes=200)])
    record.finish()
    sizes = {r["path"]: r["bytes"] for r in read_rows(place)}
    assert sizes == {str(n): n for n in range(8)} | {"1": 100, "2": 200, "7": 700}


def test_killed_between_the_part_and_the_journal_nothing_is_counted_twice(place, tmp_path):
    record = Manifest(place, SETTINGS)
    record.add([row("a"), row("b")])
    journal = tmp_path / "m.parquet.parts" / "journal.jsonl"
    before = journal.read_bytes()
    record.flush()
    record.close()
    journal.write_bytes(before)  # as if it had not come to emptying it
    assert paths(place) == ["a", "b"]
    Manifest(place, SETTINGS, resume=True).finish()
    assert paths(place) == ["a", "b"]


def test_a_line_that_a_power_cut_spoilt_is_done_again(place, tmp_path):
    record = Manifest(place, SETTINGS)
    for name in "abc":
        record.add([row(name)])
    record.close()
    journal = tmp_path / "m.parquet.parts" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(bytes(len(lines[0]) - 1) + b"\n" + b"".join(lines[1:]))
    assert paths(place) == ["b", "c"]
    record = Manifest(place, SETTINGS, resume=True)
    record.add([row("a")])
    record.finish()
    assert paths(place) == ["a", "b", "c"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")
def test_a_full_disk_is_an_error_of_the_output(place, tmp_path):
    record = Manifest(place, SETTINGS)
    record.add([row("a")])
    record._journal.close()
    record._journal = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115 - close does it
    with pytest.raises(OutputError, match="cannot be written"):
        record.add([row("b")])
    record.close()
    assert record._lock is None


def test_a_manifest_is_of_one_run_s_settings(place):
    Manifest(place, SETTINGS).add([row("a")])
    with pytest.raises(ArgumentError, match="--resume goes on"):
        Manifest(place, SETTINGS)
    with pytest.raises(ArgumentError, match="begun with another options"):
        Manifest(place, SETTINGS | {"options": {"quality": 60}}, resume=True)
    record = Manifest(place, SETTINGS, resume=True)
    record.pin("weights", "ssvae 01")
    with pytest.raises(ArgumentError, match="weights"):
        record.pin("weights", "ssvae 02")
    record.finish()
    with pytest.raises(ArgumentError, match="weights"):
        Manifest(place, SETTINGS, resume=True).pin("weights", "ssvae 02")
    record = Manifest(place, SETTINGS, force=True)
    assert list(record.rows()) == []


def test_a_run_killed_before_its_first_row_can_be_started_again(place, tmp_path):
    begun = tmp_path / "m.parquet.parts"
    for journal in ('[{"path": "half a li', '[{"path": "a"}]\n'):
        begun.mkdir(exist_ok=True)
        (begun / "settings.json").write_text('{"quality": 5}')
        (begun / "journal.jsonl").write_text(journal)
        if journal.endswith("li"):
            Manifest(place, {"quality": 6}).close()
    with pytest.raises(ArgumentError, match="--resume"):
        Manifest(place, {"quality": 6})


def test_a_run_without_rows_leaves_nothing(place, tmp_path):
    Manifest(place, SETTINGS).close()
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_no_manifest(place, tmp_path):
    (tmp_path / "m.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ImageError, match="no manifest of codec batch"):
        list(read_rows(place))
    with pytest.raises(ImageError, match="no manifest of codec batch"):
        Manifest(place, SETTINGS, resume=True)


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"\xff"])
def test_damaged_settings_of_a_run_are_named_with_the_way_out(place, tmp_path, damaged):
    Manifest(place, SETTINGS).add([row("a")])
    (tmp_path / "m.parquet.parts" / "settings.json").write_bytes(damaged)
    with pytest.raises(ImageError, match=r"m\.parquet.*--force replaces it"):
        Manifest(place, SETTINGS, resume=True)
    Manifest(place, SETTINGS, force=True).add([row("b")])
    assert paths(place) == ["b"]
