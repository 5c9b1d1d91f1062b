"""The command, as people and scripts use it."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import codec
from cli import main as cli_main
from cli.inspection import INFO_EXAMPLES
from cli.main import app
from codec.errors import ArgumentError
from codec.sizes import parse_size
from tests.conftest import psnr


def run(*arguments, input=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=input)


@pytest.fixture
def here(tmp_path, monkeypatch, crop):
    """A working folder with photo.png and photo.cci."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(crop[:96, :120]).save("photo.png")
    (tmp_path / "photo.cci").write_bytes(codec.encode("photo.png"))
    return tmp_path


def test_encode_then_decode(here, crop):
    assert run("encode", "photo.png", "-o", "a.cci", "--layers", 2, "--quality", 70).exit_code == 0
    result = run("decode", "a.cci", "-o", "a.png")
    assert result.exit_code == 0
    assert "2 of 2 layers" in result.stdout
    assert psnr(crop[:96, :120], Image.open("a.png")) > 22


def test_threads_are_set_while_a_command_computes(here, monkeypatch):
    own, told = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    assert run("encode", "photo.png", "-o", "a.cci", "--threads", 7).exit_code == 0
    assert told == [7, own]
    monkeypatch.setenv("CODEC_THREADS", "5")
    for line in (
        ("decode", "a.cci", "-o", "a.png"),
        ("sample", "-n", 1, "--size", 16, "-o", "s.png"),
        ("verify", "--deep", "a.cci"),
    ):
        told.clear()
        assert run(*line).exit_code == 0
        assert told == [5, own], line
    told.clear()
    assert run("verify", "a.cci").exit_code == 0
    assert run("encode", "photo.png", "-o", "a.cci", "--threads", 0).exit_code == 2
    assert told == []


def test_one_summary_line(here):
    result = run("encode", "photo.png", "-o", "a.cci")
    size = (here / "a.cci").stat().st_size
    assert re.fullmatch(
        rf"a\.cci: {size} bytes, [\d.]+ bpp, quality 50, 3 layers \(u \d+, z1 \d+, z2 \d+\), "
        r"[\d.]+ s\n",
        result.stdout,
    )


def test_json_says_the_same(here):
    found = json.loads(run("encode", "photo.png", "-o", "a.cci", "--json").stdout)
    assert found["bytes"] == (here / "a.cci").stat().st_size
    assert set(found["layers"]) == {"u", "z1", "z2"}
    decoded = json.loads(run("decode", "a.cci", "-o", "a.png", "--json").stdout)
    assert (decoded["width"], decoded["height"], decoded["layers"]) == (120, 96, 3)
    about = json.loads(run("info", "a.cci", "--json").stdout)
    assert [layer["name"] for layer in about["layers"]] == ["u", "z1", "z2"]
    assert about["layers"][-1]["end"] == about["bytes"] == found["bytes"]


def test_info_lists_the_layers(here):
    result = run("info", "photo.cci")
    assert result.exit_code == 0
    for word in ("120×96", "model ssvae", "quality 50", "layer u", "layer z2", "ends at byte"):
        assert word in result.stdout


def test_info_reads_cut_files(here):
    data = (here / "photo.cci").read_bytes()
    (here / "cut.cci").write_bytes(data[: codec.info(data).layers[0].end + 3])
    result = run("info", "cut.cci")
    assert result.exit_code == 0
    assert "3 layers were written" in result.stdout


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_the_quality_of_decoded_files_is_free(here, suffix):
    sizes = []
    for quality in (20, 90):
        result = run("decode", "photo.cci", "-o", f"a{suffix}", "--output-quality", quality)
        assert result.exit_code == 0
        sizes.append((here / f"a{suffix}").stat().st_size)
    assert sizes[0] < sizes[1]
    with Image.open(f"a{suffix}") as image:
        assert image.size == (120, 96)


def test_a_quality_where_there_is_none_is_refused(here):
    result = run("decode", "photo.cci", "-o", "a.png", "--output-quality", 20)
    assert result.exit_code == 2
    assert ".png files have no quality; leave out --output-quality" in result.stderr
    assert not (here / "a.png").exists()


def test_decode_options_reach_the_decoder(here):
    run("decode", "photo.cci", "-o", "small.png", "--scale", 4)
    assert Image.open("small.png").size == (30, 24)
    run("decode", "photo.cci", "-o", "m.png", "--layers", 1)
    run("decode", "photo.cci", "-o", "s.png", "--layers", 1, "--fill", "sample", "--seed", 5)
    expected = codec.decode("photo.cci", layers=1, fill="sample", seed=5)
    assert np.array_equal(np.array(Image.open("s.png")), np.array(expected))
    assert not np.array_equal(np.array(Image.open("s.png")), np.array(Image.open("m.png")))


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp", ".avif"])
def test_the_suffix_chooses_the_format(here, suffix):
    assert run("decode", "photo.cci", "-o", f"out{suffix}").exit_code == 0
    assert Image.open(f"out{suffix}").size == (120, 96)


def test_targets(here):
    run("encode", "photo.png", "-o", "a.cci", "--target-size", "1.5kB")
    assert (here / "a.cci").stat().st_size <= 1500
    run("encode", "photo.png", "-o", "b.cci", "--target-bpp", 0.9)
    assert (here / "b.cci").stat().st_size * 8 / (120 * 96) <= 0.9


def test_effort_makes_the_file_smaller(here):
    sizes = []
    for effort in ("1", "3"):
        result = run("encode", "photo.png", "-o", "e.cci", "--effort", effort, "--json")
        sizes.append(json.loads(result.stdout)["bytes"])
    assert sizes[1] < sizes[0]


def test_standard_streams(here):
    coded = run("encode", "-", "-o", "-", input=(here / "photo.png").read_bytes())
    assert coded.exit_code == 0
    assert coded.stdout_bytes == (here / "photo.cci").read_bytes()
    shown = run("decode", "-", input=coded.stdout_bytes)
    assert Image.open(io.BytesIO(shown.stdout_bytes)).size == (120, 96)
    assert json.loads(run("info", "-", "--json", input=coded.stdout_bytes).stdout)["width"] == 120


def test_a_result_beside_the_input_never_overwrites_silently(here):
    result = run("encode", "photo.png")
    assert result.exit_code == 1
    assert "--force" in result.stderr
    result = run("decode", "photo.cci")  # would replace the original photo.png
    assert result.exit_code == 1
    assert run("encode", "photo.png", "--force").exit_code == 0
    (here / "photo.cci").unlink()
    assert run("encode", "photo.png").exit_code == 0
    assert (here / "photo.cci").exists()


def test_the_input_is_never_its_own_output(here):
    before = (here / "photo.png").read_bytes()
    result = run("encode", "photo.png", "-o", "./photo.png")
    assert result.exit_code == 1
    assert "input itself" in result.stderr
    assert run("decode", "photo.cci", "-o", "photo.cci").exit_code in (1, 2)
    assert (here / "photo.png").read_bytes() == before


def test_names_are_no_markup(here):
    (here / "m[").mkdir()
    Image.open("photo.png").save(here / "m[" / "d].png")
    assert run("encode", "m[/d].png").exit_code == 0
    assert run("encode", "[/x].png").exit_code == 1


def test_info_to_a_full_disk_is_a_clear_error(here):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "cli.main", "info", "photo.cci"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=here,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            check=False,
        )
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr


def test_folders_keep_their_shape_and_one_bad_file_does_not_stop_the_rest(here):
    (here / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "sub/b.png"):
        Image.open("photo.png").crop((0, 0, 40, 30)).save(here / "in" / name)
    (here / "in" / "broken.png").write_bytes(b"\x89PNG no")
    (here / "in" / "notes.txt").write_text("ignored")
    result = run("encode", "in", "-o", "out", "--recursive")
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert "3 of 4 files" in result.stdout
    found = sorted(p.name for p in (here / "out").rglob("*.cci"))
    assert found == ["a.jpg.cci", "a.png.cci", "b.cci"]
    assert (here / "out" / "sub" / "b.cci").exists()
    assert run("decode", "out", "-o", "back", "-r").exit_code == 0
    assert len(list((here / "back").rglob("*.png"))) == 3


def test_a_folder_without_recursive_stays_flat(here):
    (here / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.open("photo.png").crop((0, 0, 40, 30)).save(here / "in" / name)
    assert run("encode", "in", "-o", "out").exit_code == 0
    assert [p.name for p in (here / "out").rglob("*.cci")] == ["a.cci"]


def test_results_of_like_named_files_do_not_meet(here):
    Image.open("photo.png").save("photo.jpg")
    assert run("encode", "photo.png", "photo.jpg").exit_code == 0
    assert (here / "photo.png.cci").exists()
    assert (here / "photo.jpg.cci").exists()


def test_an_existing_result_is_one_failure_not_the_end_of_the_batch(here):
    Image.open("photo.png").save("other.png")
    result = run("encode", "photo.png", "other.png")  # photo.cci is there already
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert (here / "other.cci").exists()


def test_links_are_followed_and_devices_written_to(here):
    (here / "real.png").write_bytes(b"old")
    (here / "link.png").symlink_to("real.png")
    assert run("decode", "photo.cci", "-o", "link.png").exit_code == 0
    assert (here / "link.png").is_symlink()
    assert Image.open("real.png").size == (120, 96)
    os.mkfifo("pipe.png")
    with subprocess.Popen(["cat", "pipe.png"], stdout=subprocess.PIPE, cwd=here) as reader:
        assert run("decode", "photo.cci", "-o", "pipe.png").exit_code == 0
        assert reader.communicate()[0].startswith(b"\x89PNG")
    assert not (here / "pipe.png").is_file()


def test_a_name_that_ends_in_a_slash_is_a_folder(here):
    result = run("encode", "photo.png", "-o", "new/")
    assert result.exit_code == 1
    assert "new" in result.stderr
    (here / "new").mkdir()
    assert run("encode", "photo.png", "-o", "new/").exit_code == 0
    assert (here / "new" / "photo.cci").exists()


def test_metadata_a_format_cannot_hold_is_left_out_with_a_note(here):
    from bitstream.container import EXIF, Chunk

    data = (here / "photo.cci").read_bytes() + Chunk(EXIF, zlib.compress(b"no TIFF")).to_bytes()
    (here / "odd.cci").write_bytes(data)
    result = run("decode", "odd.cci", "-o", "odd.tif")
    assert result.exit_code == 0
    assert "EXIF left out" in result.stderr
    assert Image.open("odd.tif").size == (120, 96)


def assert_refused(here, arguments, status) -> None:
    """One clear line on standard error, that exit status, and no file more or less."""
    before = sorted(p.name for p in here.iterdir())
    result = run(*arguments)
    assert result.exit_code == status
    assert result.exception is None or isinstance(result.exception, SystemExit)
    complaint = result.stderr.strip().splitlines()
    assert complaint
    assert "Traceback" not in result.stderr
    if complaint[0].startswith("codec:"):
        assert len(complaint) == 1
    assert sorted(p.name for p in here.iterdir()) == before


def make_bad_inputs(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.cci").write_bytes(b"")
    (folder / "text.cci").write_text("not a coded file")
    (folder / "folder").mkdir()
    good = (folder / "photo.cci").read_bytes()
    (folder / "cut.cci").write_bytes(good[:40])
    (folder / "damaged.cci").write_bytes(good[:60] + b"\xff" + good[61:])


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["encode", "missing.png", "-o", "out.x"], 1),
        (["encode", "empty.png", "-o", "out.x"], 1),
        (["encode", "text.png", "-o", "out.x"], 1),
        (["encode", "folder", "-o", "out.x"], 1),
        (["encode", "photo.cci", "-o", "out.x"], 1),
        (["encode", "photo.png", "-o", "nowhere/out.x"], 1),
        (["encode", "photo.png", "-o", "out.x", "--target-size", "10B"], 1),
        (["encode", "photo.png", "-o", "out.x", "--model", "nonesuch"], 2),
        (["encode", "photo.png", "-o", "out.x", "--max-pixels", "10"], 1),
        (["encode", "photo.png", "-o", "out.x", "--target-size", "lots"], 2),
        (["encode", "photo.png", "-o", "out.x", "--quality", "101"], 2),
        (["encode", "photo.png", "-o", "out.x", "--quality", "5", "--target-bpp", "1"], 2),
        (["encode", "photo.png", "photo.png", "-o", "out.x"], 2),
        (["encode", "photo.png", "text.png", "-o", "new.cci"], 2),
        (["encode", "photo.png", "-o", "out.x", "--effort", "10"], 2),
        (["encode", "photo.png", "-o", "-", "--json"], 2),
        (["encode", "n" * 300 + ".png", "-o", "out.x"], 1),
        (["decode", "photo.cci", "-o", "n" * 300 + ".png"], 1),
        (["encode", "photo.png", "-o", "out.x", "--device", "mps"], 2),
        (["decode", "photo.cci", "-o", "out.png", "--max-pixels", "10"], 1),
        (["encode"], 2),
        (["decode", "missing.cci", "-o", "out.png"], 1),
        (["decode", "empty.cci", "-o", "out.png"], 1),
        (["decode", "text.cci", "-o", "out.png"], 1),
        (["decode", "photo.png", "-o", "out.png"], 1),
        (["decode", "folder", "-o", "out.png"], 2),
        (["decode", "cut.cci", "-o", "out.png"], 1),
        (["decode", "damaged.cci", "-o", "out.png"], 1),
        (["decode", "photo.cci", "-o", "nowhere/out.png"], 1),
        (["decode", "photo.cci", "-o", "folder.png/x.png"], 1),
        (["decode", "photo.cci", "-o", "out.xyz"], 2),
        (["decode", "photo.cci", "-o", "out.png", "--scale", "3"], 2),
        (["decode", "photo.cci", "-o", "out.png", "--fill", "x"], 2),
        (["decode", "photo.cci", "-o", "out.png", "--layers", "4"], 2),
        (["info", "missing.cci"], 1),
        (["info", "text.cci"], 1),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else str(value),
)
def test_bad_input_is_one_clear_line_and_no_output(here, arguments, status):
    make_bad_inputs(here)
    assert_refused(here, arguments, status)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_a_clear_error(here):
    (here / "locked").mkdir(mode=0o500)
    result = run("decode", "photo.cci", "-o", "locked/out.png")
    assert result.exit_code == 1
    assert "locked/out.png" in result.stderr


def test_a_full_disk_is_a_clear_error(here):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "cli.main", "decode", "photo.cci", "-o", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=here,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            check=False,
        )
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"standard output: cannot be written" in result.stderr


def test_a_cut_file_decodes_with_a_note(here):
    data = (here / "photo.cci").read_bytes()
    (here / "cut.cci").write_bytes(data[:-1])
    result = run("decode", "cut.cci", "-o", "out.png")
    assert result.exit_code == 0
    assert "2 of its 3 layers" in result.stderr


@pytest.mark.parametrize("command", ["encode", "decode", "info", "view", "batch", "bench"])
def test_help_ends_with_examples_that_parse(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert "codec " + command in result.stdout.split("Examples:")[1]


def test_bench_times_the_model_that_is_named(here, monkeypatch):
    timed = []
    monkeypatch.setattr(
        "benchmarks.bench.run.speed", lambda out, **o: timed.append(o["model"]) or ""
    )
    for options in ([], ["--model", "convdraw"]):
        assert run("bench", "--speed", *options).exit_code == 0
    assert timed == ["ssvae", "convdraw"]


def test_bench_refuses_a_model_that_does_not_exist(here):
    result = run("bench", "--speed", "--model", "no-such", "-o", str(here / "out"))
    assert result.exit_code == 2
    assert re.fullmatch(r"codec: no model named 'no-such' .*ssvae.*\n", result.stderr)


def test_examples_of_the_help_run(here):
    """Each example line, in order, in a folder that holds what it names."""
    Image.open("photo.png").save("photo.jpg")
    (here / "holiday").mkdir()
    Image.open("photo.png").save(here / "holiday" / "beach.png")
    (here / "photo.cci").unlink()
    texts = cli_main._ENCODE_EXAMPLES + cli_main._DECODE_EXAMPLES + INFO_EXAMPLES
    lines = [line.strip() for line in texts.splitlines() if line.strip().startswith("codec ")]
    assert len(lines) >= 10
    for line in lines:
        arguments = re.split(r"\s{2,}", line)[0].split()[1:]
        result = run(*arguments)
        assert result.exit_code == 0, (line, result.stderr)


def test_version():
    assert codec.__version__ in run("--version").stdout
    project = tomllib.loads(Path(codec.__file__).parents[1].joinpath("pyproject.toml").read_text())
    assert codec.__version__ == project["project"]["version"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("20000", 20000), ("20kB", 20000), ("16KiB", 16384), ("1.5MB", 1500000), ("7 B", 7)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "kB", "-5", "20 apples", "1e3"])
def test_sizes_that_are_none(text):
    with pytest.raises(ArgumentError):
        parse_size(text)


def test_bench_says_which_extra_is_missing(tmp_path, monkeypatch):
    from benchmarks.bench import extra

    monkeypatch.setitem(extra.PACKAGES, "no_such_module", "no-such-package")
    result = run("bench", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"codec: codec bench needs no-such-package; .*'\.\[bench\]'\)\n", result.stderr
    )


def test_bench_wants_one_thing_at_a_time(tmp_path):
    for arguments in ([], [tmp_path, "--speed"], ["--speed", "--replot"]):
        result = run("bench", *arguments)
        assert result.exit_code == 2
        assert "give one of: a folder of images, --speed, --replot" in result.stderr
    assert "positive numbers" in run("bench", "--speed", "--threads", "0").stderr
    assert "positive numbers" in run("bench", "--speed", "--megapixels", "x").stderr


def test_bench_measures_and_draws_again(tmp_path, crop):
    Image.fromarray(crop[:80, :96]).save(tmp_path / "a.png")
    out = tmp_path / "out"
    result = run("bench", tmp_path, "--codecs", "jpeg,jpeg2000", "-o", out, "--processes", 1)
    assert result.exit_code == 0, result.stderr
    assert "BD-rate vs JPEG 2000" in result.stdout
    (out / "report.html").unlink()
    assert run("bench", "--replot", "-o", out).exit_code == 0
    assert (out / "report.html").exists()
    assert "is not a folder" in run("bench", tmp_path / "none", "-o", out).stderr
    assert "known are" in run("bench", tmp_path, "--codecs", "gif", "-o", out).stderr
