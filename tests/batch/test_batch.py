"""Folders in, folders out, on this machine."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from cli.batch import EXAMPLES
from codec.batch import Settings
from codec.batch.coding import Coder
from codec.batch.manifest import Manifest
from codec.batch.planning import Entry
from codec.batch.records import COLUMNS
from codec.batch.stores import Store
from codec.errors import CodecError
from codec.files import result_names
from tests.batch.conftest import figures, results, rows_of, run
from tests.codec.test_files import profile_with_other_gamma
from tests.conftest import psnr


@pytest.fixture(scope="module")
def coded_set(tmp_path_factory, crop):
    """A finished run with PSNR, shared by tests that only look at it."""
    from tests.batch.conftest import make_pictures

    folder = tmp_path_factory.mktemp("set")
    make_pictures(folder / "in", crop, 3)
    (folder / "in" / "broken.png").write_bytes(b"\x89PNG no")
    result = run(folder / "in", folder / "out", "--quality", 40, "--psnr", "--workers", 1, "--json")
    assert result.exit_code == 1  # the broken one
    return folder, figures(result)


def test_good_files_are_coded_and_broken_ones_on_record(pictures, tmp_path):
    result = run(pictures, tmp_path / "out", "--workers", 2)
    assert result.exit_code == 1
    assert re.search(r"6 of 8 pictures, .* pictures/s; .*manifest\.parquet", result.stdout)
    assert "broken.png: is not an image Pillow can read" in result.stderr
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    assert len(rows) == 8
    assert rows["empty.jpg"]["status"] == "failed"
    assert rows["empty.jpg"]["error"] == "the file is empty"
    found = results(tmp_path / "out")
    assert sorted(found) == sorted(r["result"] for r in rows.values() if r["status"] == "ok")
    assert all(codec.verify(data).complete for data in found.values())


def test_rows_say_what_was_done(coded_set):
    folder, summary = coded_set
    rows = rows_of(folder / "out" / "manifest.parquet")
    row = rows["0/000.png"]
    assert set(row) == set(COLUMNS)
    coded = folder / "out" / row["result"]
    about = codec.info(coded)
    assert row["size"] == (folder / "in" / "0" / "000.png").stat().st_size
    assert (row["bytes"], row["width"], row["height"]) == (about.bytes, about.width, about.height)
    assert row["bpp"] == pytest.approx(about.bpp)
    assert (row["model"], row["fingerprint"], row["quality"]) == (about.model, about.weights, 40)
    expected = psnr(Image.open(folder / "in" / "0" / "000.png"), codec.decode(coded))
    assert row["psnr"] == pytest.approx(expected, abs=0.05)
    assert summary["ok"] == 3
    assert summary["failed"] == 1
    assert summary["written"] == sum(r["bytes"] for r in rows.values() if r["bytes"])


def test_options_reach_the_encoder(pictures, tmp_path):
    for name in ("broken.png", "empty.jpg"):
        (pictures / name).unlink()
    assert run(pictures, tmp_path / "out", "-w", 1, "--target-bpp", 0.8, "-l", 2).exit_code == 0
    for row in rows_of(tmp_path / "out" / "manifest.parquet").values():
        assert row["bpp"] <= 0.8
        assert len(codec.info(tmp_path / "out" / row["result"]).layers) == 2


def test_profiles_are_applied_when_asked(tmp_path, crop):
    (tmp_path / "in").mkdir()
    image = Image.fromarray(crop[:40, :40])
    image.save(tmp_path / "in" / "a.png", icc_profile=profile_with_other_gamma())
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--srgb").exit_code == 0
    coded = (tmp_path / "out" / "a.cci").read_bytes()
    assert "icc" not in codec.info(coded).metadata
    assert np.mean(np.array(codec.decode(coded))) > np.mean(crop[:40, :40]) + 8  # linear values


def test_a_run_begun_before_there_was_an_option_goes_on(tmp_path, crop):
    (tmp_path / "in").mkdir()
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "a.png")
    settings = Settings(str(tmp_path / "in"), str(tmp_path / "out")).lasting()
    assert settings["options"].pop("srgb") is False
    Manifest(str(tmp_path / "out" / "manifest.parquet"), settings).finish()
    other = run(tmp_path / "in", tmp_path / "out", "-w", 1, "--resume", "--srgb")
    assert "begun with another options" in other.stderr
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--resume").exit_code == 0


def test_files_of_one_stem_do_not_meet(tmp_path, crop):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.webp", "b.png"):
        Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / name)
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1).exit_code == 0
    assert sorted(results(tmp_path / "out")) == ["a.png.cci", "a.webp.cci", "b.cci"]


def test_names_of_results_are_never_shared():
    paths = ["a.png", "a.jpg", "a.png.jpg", "a.png.jpg.gif", "b.png", "d/b.png"]
    names = result_names(paths, ".cci")
    assert names == [
        "a.png.cci",
        "a.jpg.cci",
        "a.png.jpg.cci",
        "a.png.jpg.gif.cci",
        "b.cci",
        "d/b.cci",
    ]
    assert result_names(paths[::-1], ".cci") == names[::-1]


def test_a_report_or_another_run_leaves_a_running_one_alone(coded_set, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(coded_set[0] / "out", out)
    running = Store(str(out), "of-a-run")
    running.write("one.bin", b"1")  # its workers have made the folder, and rely on it
    half = Path(running.scratch) / "half written"
    half.write_bytes(b"2")
    assert run("--report", out / "page.html", out).exit_code == 0
    other = ("--manifest", tmp_path / "other.parquet", "-w", 1)
    assert run(coded_set[0] / "in", out, *other).exit_code == 1  # the broken one
    assert half.exists()
    running.write("two.bin", b"2")
    running.clear_staging()
    assert not (out / ".codec-batch").exists()


def test_a_folder_that_another_run_removed_is_made_again(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "out"))
    store.write("a", b"1")
    shutil.rmtree(tmp_path / "out" / ".codec-batch")
    Store(str(tmp_path / "out")).write("b", b"2")
    assert sorted(results(tmp_path / "out")) == ["a", "b"]


def test_a_finished_run_is_neither_overwritten_nor_repeated(coded_set):
    folder, _ = coded_set
    before = results(folder / "out")
    result = run(folder / "in", folder / "out", "--quality", 40, "--psnr")
    assert result.exit_code == 2
    assert "--resume" in result.stderr
    again = run(folder / "in", folder / "out", "--quality", 40, "--psnr", "--resume", "--json")
    assert again.exit_code == 1  # the broken one counts still
    assert figures(again)["ok"] + figures(again)["failed"] == 0
    assert figures(again)["before"] == 4
    other = run(folder / "in", folder / "out", "--quality", 90, "--psnr", "--resume")
    assert other.exit_code == 2
    assert "begun with another options" in other.stderr
    assert results(folder / "out") == before


def test_a_source_that_grew_is_caught_up_with(tmp_path, crop):
    (tmp_path / "in").mkdir()
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "a.png")
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1).exit_code == 0
    Image.fromarray(crop[:40, :50]).save(tmp_path / "in" / "b.png")
    result = run(tmp_path / "in", tmp_path / "out", "-w", 1, "--resume", "--json")
    assert (figures(result)["ok"], figures(result)["before"]) == (1, 1)
    assert set(rows_of(tmp_path / "out" / "manifest.parquet")) == {"a.png", "b.png"}


def test_results_of_files_that_are_gone_are_not_replaced(tmp_path, crop):
    """The .cci file may be all that is left of a picture."""
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    for form in ("png", "bmp", "tif"):
        Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / f"a.{form}")
        assert run(tmp_path / "in", out, "-w", 1, "--resume").exit_code == 0
        (tmp_path / "in" / f"a.{form}").unlink()
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "b.png")
    assert run(tmp_path / "in", out, "-w", 1, "--repair").exit_code == 0
    rows = rows_of(out / "manifest.parquet")
    named = {"a.png": "a.cci", "a.bmp": "a.bmp.cci", "a.tif": "a.tif.cci", "b.png": "b.cci"}
    assert {path: row["result"] for path, row in rows.items()} == named
    assert list(results(out)) == sorted(named.values())


def test_failures_are_tried_again_when_asked(tmp_path, crop):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"not yet")
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1).exit_code == 1
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "a.png")
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--resume").exit_code == 1
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--retry-failed").exit_code == 0
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    assert [(r["path"], r["status"]) for r in rows.values()] == [("a.png", "ok")]


def test_verify_finds_what_is_missing_cut_or_damaged(tmp_path, crop):
    from tests.batch.conftest import make_pictures

    make_pictures(tmp_path / "in", crop, 4)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, "-w", 1).exit_code == 0
    sound = run("--verify", out, "-w", 1)
    assert sound.exit_code == 0
    assert "4 of 4 results sound" in sound.stdout
    files = sorted(out.rglob("*.cci"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    data = bytearray(files[2].read_bytes())
    data[-5] ^= 1
    files[2].write_bytes(data)
    result = run("--verify", out, "-w", 1, "--json")
    assert result.exit_code == 1
    problems = {p["result"]: p["problem"] for p in figures(result)["problems"]}
    assert set(problems) == {str(f.relative_to(out)) for f in files[:3]}
    assert "no such file" in problems[str(files[0].relative_to(out))]
    assert "the manifest says" in problems[str(files[1].relative_to(out))]
    assert figures(result)["sound"] == 1


def test_verify_reads_pictures_as_large_as_are_decoded_and_as_what_is_written(tmp_path):
    """179 megapixels are where Pillow alone gives up; PDF is written, but not read."""
    Image.new("1", (16384, 11200)).save(tmp_path / "large.png")
    data = (tmp_path / "large.png").read_bytes()
    coder = Coder(Settings(".", ".", kind="verify"))
    assert coder.code(data, Entry("large.png", len(data), ""))[0] == {"bytes": len(data)}
    assert coder.code(b"%PDF", Entry("a.pdf", 4, ""))[0] == {"bytes": 4}
    less = Coder(Settings(".", ".", kind="verify", options={"max_pixels": 10**6}))
    with pytest.raises(CodecError, match="limit of 1000000"):
        less.code(data, Entry("large.png", len(data), ""))


def test_repair_makes_again_what_is_missing_cut_damaged_or_outdated(tmp_path, crop):
    from tests.batch.conftest import make_pictures

    make_pictures(tmp_path / "in", crop, 6)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, "-w", 1).exit_code == 0
    before = results(out)
    files = sorted(out.rglob("*.cci"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-1])
    data = bytearray(files[2].read_bytes())
    data[-5] ^= 1
    files[2].write_bytes(data)
    resumed = run(tmp_path / "in", out, "-w", 1, "--resume")
    assert "nothing left to do: 6 units were done before; --repair" in resumed.stdout
    changed = tmp_path / "in" / "1" / "005.webp"
    Image.fromarray(crop[:40, :40]).save(changed)
    repaired = run(tmp_path / "in", out, "-w", 1, "--repair", "--json")
    assert repaired.exit_code == 0
    assert (figures(repaired)["ok"], figures(repaired)["before"]) == (4, 2)
    after = results(out)
    assert {name for name in before if before[name] != after[name]} == {"1/005.cci"}
    assert codec.info(after["1/005.cci"]).width == 40
    assert run("--verify", out, "-w", 1).exit_code == 0
    again = run(tmp_path / "in", out, "-w", 1, "--repair")
    assert again.stdout.startswith("nothing left to do: 6 units were done before; ")


def test_a_source_of_the_same_size_that_was_written_later_is_outdated(tmp_path, crop):
    (tmp_path / "in").mkdir()
    picture = tmp_path / "in" / "a.bmp"
    Image.fromarray(crop[:40, :40]).save(picture)
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1).exit_code == 0
    before = (tmp_path / "out" / "a.cci").read_bytes()
    Image.fromarray(255 - crop[:40, :40]).save(picture)
    later = (tmp_path / "out" / "a.cci").stat().st_mtime + 9
    os.utime(picture, (later, later))
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1, "--repair").exit_code == 0
    assert (tmp_path / "out" / "a.cci").read_bytes() != before


def test_what_has_no_source_any_more_cannot_be_repaired(tmp_path, crop):
    from tests.batch.conftest import make_pictures

    make_pictures(tmp_path / "in", crop, 2)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, "-w", 1).exit_code == 0
    (tmp_path / "in" / "0" / "000.png").unlink()
    (out / "0" / "000.cci").unlink()
    result = run(tmp_path / "in", out, "-w", 1, "--repair")
    assert result.exit_code == 1
    assert "1 missing or damaged results cannot be made again: no source" in result.stderr


def test_repair_of_shards_writes_the_whole_shard_again(tmp_path, crop):
    from tests.batch.conftest import make_pictures

    make_pictures(tmp_path / "in", crop, 4)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, "-w", 1, "--shards", 2).exit_code == 0
    first, second = sorted(out.glob("*.tar"))
    before = first.read_bytes()
    first.write_bytes(before[:600])
    kept = second.stat().st_mtime_ns
    repaired = run(tmp_path / "in", out, "-w", 1, "--shards", 2, "--repair", "--json")
    assert (figures(repaired)["ok"], figures(repaired)["before"]) == (2, 1)
    assert run("--verify", out, "-w", 1).exit_code == 0
    assert second.stat().st_mtime_ns == kept


def test_deep_verify_decodes(coded_set):
    folder, _ = coded_set
    result = run("--verify", "--deep", folder / "out", "-w", 1)
    assert result.exit_code == 1  # an input has no result
    assert "3 of 3 results sound" in result.stdout
    assert "inputs without a result: 1 (--retry-failed tries again)" in result.stdout


def test_the_report_shows_totals_failures_and_the_worst(coded_set):
    folder, _ = coded_set
    page = folder / "page.html"
    assert run("--report", page, folder / "out").exit_code == 0
    text = page.read_text()
    assert "3 coded, 1 failed" in text
    assert "broken.png" in text
    assert '<meta name="viewport" content="width=device-width' in text  # readable on a phone
    assert re.search(r"Quality</t[hd]><td>40</td>", text)
    assert "<svg" in text
    assert text.count("<figure>") == 3
    assert text.count("data:image/webp;base64,") == 6  # original and ours
    assert "http" not in text  # self-contained
    psnrs = [float(x) for x in re.findall(r"([\d.]+) dB</span>", text)]
    assert psnrs == sorted(psnrs)


def test_decoding_in_bulk_gives_what_decode_gives(coded_set, tmp_path):
    folder, _ = coded_set
    out = tmp_path / "decoded"
    result = run("--decode", folder / "out", out, "--to", "png", "--scale", 2, "-w", 1)
    assert result.exit_code == 0
    rows = rows_of(out / "manifest.parquet")
    assert len(rows) == 3
    for row in rows.values():
        # Threads may round a pixel the other way.
        expected = np.asarray(codec.decode(folder / "out" / row["path"], scale=2), int)
        assert np.abs(np.asarray(Image.open(out / row["result"]), int) - expected).max() <= 1
        assert row["bpp"] == pytest.approx(codec.info(folder / "out" / row["path"]).bpp)
    assert run("--verify", out, "-w", 1).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["in"], 2, "SRC and DST"),
        (["missing", "out"], 1, "missing: cannot be listed"),
        (["empty", "out"], 1, "holds no image"),
        (["in", "out", "--quality", "101"], 2, "quality"),
        (["in", "out", "--quality", "5", "--target-bpp", "1"], 2, "only one of"),
        (["in", "out", "--model", "nonesuch"], 2, "nonesuch"),
        (["in", "out", "--device", "mps"], 2, "mps"),
        (["in", "out", "--engine", "cloud"], 2, "local or ray"),
        (["nodriver://x/y", "out"], 2, "nodriver"),
        (["--decode", "in", "in"], 2, "overwrite"),
        (["--decode", "in", "out", "--to", "xyz"], 2, ".xyz"),
        (["--decode", "in", "out", "--psnr"], 2, "not for --decode"),
        (["--decode", "in", "out", "--effort", "2", "--srgb"], 2, "--effort, --srgb: not for"),
        (["--decode", "in", "out", "--seed", "2"], 2, "only with --fill sample"),
        (["in", "out", "--scale", "2"], 2, "--scale: only for --decode"),
        (["in", "out", "--to", "jpg"], 2, "--to: only for --decode"),
        (["in", "out", "--output-quality", "9"], 2, "--output-quality: only for --decode"),
        (["--decode", "in", "out", "--output-quality", "9"], 2, ".png files have no quality"),
        (["--verify", "in", "--quality", "5"], 2, "not for --verify"),
        (["--deep", "in", "out"], 2, "only with --verify"),
        (["--decode", "--verify", "in"], 2, "one at a time"),
        (["--verify", "in"], 1, "no such manifest"),
        (["--report", "page.html", "in"], 1, "no such manifest"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_line(tmp_path, crop, monkeypatch, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "a.png")
    result = run(*arguments)
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.cci"))


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "codec.batch.extra.find_spec", lambda name: None if name == "pyarrow" else find(name)
    )
    result = run("a", "b")
    assert result.exit_code == 2
    assert re.fullmatch(r"codec: codec batch needs pyarrow; .*'\.\[batch\]'\)\n", result.stderr)


def test_nothing_else_needs_the_extra(tmp_path, crop):
    """``import codec``, the help and ``codec encode`` in a Python that has none of the packages."""
    Image.fromarray(crop[:40, :40]).save(tmp_path / "a.png")
    script = """
import sys
for name in ("fsspec", "pyarrow", "ray", "s3fs"):
    sys.modules[name] = None  # importing it fails
import codec, codec.batch
from cli.main import app
for arguments in (["--help"], ["batch", "--help"], ["encode", sys.argv[1]]):
    app(arguments, standalone_mode=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.cci").exists()


def test_figures_are_json(coded_set):
    _, summary = coded_set
    assert json.loads(json.dumps(summary)) == summary
    assert summary["pictures_per_second"] > 0


def test_links_to_files_are_followed_and_broken_ones_on_record(tmp_path, crop):
    (tmp_path / "real.png").write_bytes(b"")
    Image.fromarray(crop[:40, :40]).save(tmp_path / "real.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "real.png")
    (tmp_path / "in" / "nowhere.png").symlink_to(tmp_path / "missing.png")
    assert run(tmp_path / "in", tmp_path / "out", "-w", 1).exit_code == 1
    rows = rows_of(tmp_path / "out" / "manifest.parquet")
    assert rows["link.png"]["status"] == "ok"
    assert rows["nowhere.png"]["error"] == "no such file"


def test_names_that_are_no_text(tmp_path, crop):
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"caf\xe9 [1].png")
    Image.fromarray(crop[:40, :40]).save(tmp_path / "in" / "tidy.png")
    os.rename(tmp_path / "in" / "tidy.png", tmp_path / "in" / name)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out, "-w", 1).exit_code == 0
    assert list(rows_of(out / "manifest.parquet")) == ["caf\\udce9 [1].png"]
    assert run("--verify", out, "-w", 1).exit_code == 0
    again = run(tmp_path / "in", out, "-w", 1, "--resume", "--json")
    assert figures(again)["before"] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_listed_is_no_empty_folder(pictures, tmp_path):
    (pictures / "0").chmod(0)
    result = run(pictures, tmp_path / "out", "-w", 1)
    (pictures / "0").chmod(0o700)
    assert result.exit_code == 1
    assert "cannot be listed" in result.stderr


def test_a_destination_that_takes_nothing_ends_the_run(tmp_path, crop):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(30):
        Image.fromarray(crop[:20, : 20 + number]).save(tmp_path / "in" / "sub" / f"{number}.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").write_text("a file where a folder is needed")
    result = run(tmp_path / "in", out, "-w", 1)
    assert result.exit_code == 1
    assert "20 results in a row could not be written" in result.stderr.splitlines()[-1]
    (out / "sub").unlink()
    assert run(tmp_path / "in", out, "-w", 1, "--retry-failed").exit_code == 0
    assert len(results(out)) == 30


def test_examples_of_the_help_run(tmp_path, crop, monkeypatch):
    """Each example that needs no bucket, in order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.fromarray(crop[:40, :40]).save(tmp_path / "photos" / "a.png")
    lines = [line.strip() for line in EXAMPLES.splitlines() if line.strip().startswith("codec ")]
    lines = [line for line in lines if "s3://" not in line]
    assert len(lines) >= 6
    for line in lines:
        result = run(*re.split(r"\s{2,}", line)[0].split()[2:])
        assert result.exit_code == 0, (line, result.stderr)
    assert (tmp_path / "decoded" / "a.png").exists()
    assert (tmp_path / "shards" / "shard-000000.tar").exists()
