"""Tar shards in and out, in the manner of WebDataset."""

import errno
import io
import os
import tarfile

import pytest
from PIL import Image

import codec
from codec.batch.shards import ShardWriter, clean_name
from codec.batch.stores import Store
from codec.errors import OutputError
from tests.batch.conftest import figures, make_pictures, results, rows_of, run, start
from tests.batch.test_interruptions import journal_rows, wait_until


def coded(image, form="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def make_shard(path, members: dict[str, bytes]):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def members_of(path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}


@pytest.fixture
def shards(tmp_path, crop):
    """Two shards of pictures with labels; one holds a broken picture too."""
    for shard in range(2):
        members = {}
        for number in range(3):
            members[f"{number:04d}.png"] = coded(crop[shard : 40 + shard, number : 44 + number])
            members[f"{number:04d}.json"] = b'{"label": %d}' % number
        if shard:
            members["0003.jpg"] = b"broken"
        make_shard(tmp_path / "in" / f"train-{shard}.tar", members)
    return tmp_path / "in"


def test_shards_give_shards_with_their_labels(shards, tmp_path):
    out = tmp_path / "out"
    result = run(shards, out, "-w", 1, "--json")
    assert result.exit_code == 1
    assert (figures(result)["ok"], figures(result)["failed"]) == (6, 1)
    assert sorted(results(out)) == ["train-0.tar", "train-1.tar"]
    found = members_of(out / "train-1.tar")
    assert list(found) == [f"{n:04d}.{kind}" for n in range(3) for kind in ("cci", "json")]
    assert found["0001.json"] == b'{"label": 1}'
    rows = rows_of(out / "manifest.parquet")
    assert "not an image" in rows["train-1.tar/0003.jpg"]["error"]
    row = rows["train-0.tar/0002.png"]
    assert row["result"] == "train-0.tar/0002.cci"
    assert row["bytes"] == len(members_of(out / "train-0.tar")["0002.cci"])
    assert "6 of 6 results sound" in run("--verify", out, "-w", 1).stdout
    assert run("--report", tmp_path / "page.html", out).exit_code == 0
    assert (tmp_path / "page.html").read_text().count("data:image/webp") == 12


def test_shards_give_files_when_asked(shards, tmp_path):
    out = tmp_path / "out"
    run(shards, out, "-w", 1, "--shards", 0)
    names = [
        f"train-{s}/{n:04d}.{kind}" for s in (0, 1) for n in range(3) for kind in ("cci", "json")
    ]
    assert sorted(results(out)) == names
    assert "6 of 6 results sound" in run("--verify", out, "-w", 1).stdout


def test_a_pattern_names_some_shards(shards, tmp_path):
    assert run(f"{shards}/train-0*.tar", tmp_path / "out", "-w", 1).exit_code == 0
    assert list(results(tmp_path / "out")) == ["train-0.tar"]
    missing = run(f"{shards}/none-*.tar", tmp_path / "other")
    assert missing.exit_code == 1
    assert "no such tar shard" in missing.stderr


def test_files_give_shards_and_those_files_again(tmp_path, crop):
    make_pictures(tmp_path / "in", crop, 5)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, "-w", 2, "--shards", 2).exit_code == 0
    names = ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    assert sorted(results(out)) == names
    assert [len(members_of(out / name)) for name in names] == [2, 2, 1]
    assert set(members_of(out / names[0])) == {"0/000.cci", "0/002.cci"}
    decoded = tmp_path / "decoded"
    assert run("--decode", out, decoded, "--shards", 0, "-w", 1).exit_code == 0
    assert len(list(decoded.rglob("*.png"))) == 5


def test_a_cut_shard_gives_what_is_whole_and_is_on_record(shards, tmp_path):
    path = shards / "train-0.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-2]
    whole = path.read_bytes()
    path.write_bytes(whole[: last.offset_data + 20])
    out = tmp_path / "out"
    assert run(f"{path}", out, "-w", 1).exit_code == 1
    rows = rows_of(out / "manifest.parquet")
    assert "cut or damaged" in rows["train-0.tar"]["error"]
    assert sorted(n for n in members_of(out / "train-0.tar") if n.endswith("cci")) == [
        "0000.cci",
        "0001.cci",
    ]
    path.write_bytes(whole)
    for _ in range(2):  # mended, the shard is no longer told of: there is nothing to do again
        assert run(f"{path}", out, "-w", 1, "--retry-failed").exit_code == 0
        rows = rows_of(out / "manifest.parquet")
        assert list(rows) == [f"train-0.tar/{n:04d}.png" for n in range(3)]
    assert "3 of 3 results sound" in run("--verify", out, "-w", 1).stdout


def test_a_shard_is_done_whole_or_again(shards, tmp_path, crop):
    """Killed in the middle, and resumed: byte for byte the same shards."""
    for shard in range(2, 5):
        pictures = {f"{n}.png": coded(crop[n : 48 + n, shard : 48 + shard]) for n in range(3)}
        make_shard(shards / f"train-{shard}.tar", pictures)
    assert run(shards, tmp_path / "whole", "-w", 1).exit_code == 1
    out = tmp_path / "out"
    process = start(shards, out, "-w", 1)
    wait_until(lambda: journal_rows(out) >= 3)
    process.kill()
    process.communicate()
    result = run(shards, out, "-w", 1, "--resume", "--json")
    assert figures(result)["before"] >= 1
    assert results(out) == results(tmp_path / "whole")


def test_numbered_shards_are_resumed_only_from_the_same_files(tmp_path, crop):
    make_pictures(tmp_path / "in", crop, 2)
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--shards", 2).exit_code == 0
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "0" / "0.png")
    result = run(tmp_path / "in", tmp_path / "out", "-w", 1, "--shards", 2, "--resume")
    assert result.exit_code == 2
    assert "another listing" in result.stderr


def test_shards_written_below_their_source_are_no_part_of_it(tmp_path, crop):
    make_pictures(tmp_path / "in", crop, 3)
    shards = tmp_path / "in" / "coded"
    for _ in range(2):  # begun, and resumed
        result = run(tmp_path / "in", shards, "-w", 1, "--shards", 2, "--resume")
        assert result.exit_code == 0, result.stderr
    assert sorted(results(shards)) == ["shard-000000.tar", "shard-000001.tar"]


def test_a_label_that_cannot_be_written_is_on_record(shards, tmp_path):
    make_shard(shards / "labels.tar", {"a.json": b"{}"})
    blocked = [tmp_path / "out" / "train-0" / "0001.json", tmp_path / "out" / "labels" / "a.json"]
    for folder in blocked:
        folder.mkdir(parents=True)
    result = run(shards, tmp_path / "out", "-w", 1, "--shards", 0, "--json")
    assert (figures(result)["ok"], figures(result)["failed"]) == (3, 5)
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    assert "a file that goes along" in rows["train-0.tar/0000.png"]["error"]
    assert "0001.json" in rows["train-0.tar/0000.png"]["error"]
    assert "a.json" in rows["labels.tar"]["error"]
    blocked[0].rmdir()
    again = run(shards, tmp_path / "out", "-w", 1, "--shards", 0, "--retry-failed", "--json")
    assert (figures(again)["ok"], figures(again)["failed"]) == (6, 2)
    assert (tmp_path / "out" / "train-0" / "0001.json").read_bytes() == b'{"label": 1}'
    blocked[1].rmdir()
    run(shards, tmp_path / "out", "-w", 1, "--shards", 0, "--retry-failed")
    assert "labels.tar" not in rows_of(tmp_path / "out" / "manifest.parquet")


def test_members_stay_below_their_shard(tmp_path, crop):
    make_shard(tmp_path / "in" / "a.tar", {"../../up.png": coded(crop[:40, :40])})
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--shards", 0).exit_code == 0
    assert list(results(tmp_path / "out")) == ["a/up.cci"]
    assert clean_name("/etc/../x//y") == "etc/x/y"


def test_pictures_of_one_key_do_not_meet(tmp_path, crop):
    both = {"a.png": coded(crop[:40, :40]), "a.webp": coded(crop[:40, :50], "WEBP")}
    make_shard(tmp_path / "in" / "a.tar", both)
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1).exit_code == 0
    found = members_of(tmp_path / "out" / "a.tar")
    assert sorted(found) == ["a.cci", "a.webp.cci"]
    assert codec.info(found["a.webp.cci"]).width == 50


def test_no_two_results_of_a_shard_have_one_name(tmp_path, crop):
    """What has no name left is on record; nothing is lost without a word."""
    picture = coded(crop[:40, :40])
    members = {"0.cci": b"mine", "0.png": picture, "a.png.jpg": picture, "a.jpg": picture}
    make_shard(tmp_path / "in" / "s[1].tar", members | {"a.png": picture, "a.png.cci": b"mine"})
    assert run(tmp_path / "in" / "s[1].tar", tmp_path / "out", "-w", 1).exit_code == 1
    with tarfile.open(tmp_path / "out" / "s[1].tar") as tar:
        names = tar.getnames()
    assert names == ["0.cci", "0.png.cci", "a.png.cci", "a.cci"]
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    failed = [path for path, row in rows.items() if row["status"] == "failed"]
    assert failed == ["s[1].tar/a.png", "s[1].tar/a.png.cci"]
    assert "has the name already" in rows["s[1].tar/a.png"]["error"]


def test_a_shard_that_the_disk_does_not_take_is_on_record(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "out"), "run")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shard = ShardWriter(store, "a.tar")
    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    shard.add("a.cci", b"data")
    with pytest.raises(OutputError, match=r"a\.tar: cannot be written .*No space left"):
        shard.finish()
    shard.discard()
    assert results(tmp_path / "out") == {}
