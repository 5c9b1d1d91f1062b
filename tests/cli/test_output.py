"""What commands print: one line per message, nothing of other libraries, nothing left unsaid."""

from __future__ import annotations

import io
import json
import re
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import codec
from cli import jobs
from cli.output import printable
from tests.cli.test_cli import run
from tests.cli.test_trust import run as run_process


@pytest.fixture
def here(tmp_path, monkeypatch, crop):
    """A working folder with a small photo.png and photo.cci."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(crop[:60, :64]).save("photo.png")
    (tmp_path / "photo.cci").write_bytes(codec.encode("photo.png"))
    return tmp_path


def tiff_that_makes_libraries_talk() -> bytes:
    """Deflated, with data cut short: libtiff prints. More values than a tag takes: Pillow warns."""
    buffer = io.BytesIO()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = 1
    Image.new("L", (200, 200), 7).save(
        buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo=tags
    )
    data = bytearray(buffer.getvalue())
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, place)[0] == 274:
            struct.pack_into("<I", data, place + 4, 2)
    data[8:40] = b"\xaa" * 32
    return bytes(data)


def test_libraries_add_nothing_to_our_lines(here):
    (here / "in").mkdir()
    (here / "in" / "a.tif").write_bytes(tiff_that_makes_libraries_talk())
    (here / "in" / "b.jpg").write_bytes(b"\xff\xd8\xff no")
    Image.open("photo.png").save(here / "in" / "c.png")
    result = run_process("encode", "in", "-o", "out", cwd=here)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert [re.match(r"codec: in/(\w)\.\w+: ", line)[1] for line in lines] == ["a", "b"], lines
    assert result.stdout.startswith("1 of 3 files")


def test_a_name_cannot_break_the_line(here):
    name = "two\nlines \x1b[31m.png"
    Image.open("photo.png").save(name)
    done = run("encode", name, "-o", "x.cci\n")
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("x.cci\\n: ")
    failed = run("encode", "no\n" + name, "-o", "y.cci")
    assert failed.stderr == "codec: no\\ntwo\\nlines \\x1b[31m.png: no such file\n"
    listed = run("info", "x.cci\n").stdout
    assert listed.startswith("x.cci\\n: ")
    assert json.loads(run("info", "x.cci\n", "--json").stdout)["file"] == "x.cci\n"


def test_names_in_all_scripts_stay_as_they_are():
    name = "Straße 写真  \u202f🏝\ufe0f.png"
    assert printable(name) == name
    assert printable("\udcff\u2028") == "\\udcff\\u2028"


def test_bytes_behind_the_end_are_ignored_with_a_note(here):
    with (here / "photo.cci").open("ab") as file:
        file.write(b"\0" * 100)
    result = run("decode", "photo.cci", "-o", "a.png")
    assert result.exit_code == 0
    assert "note: 100 bytes after the end of the file are ignored" in result.stderr
    assert "100 bytes after the end" in run("info", "photo.cci").stdout
    assert run("verify", "photo.cci").exit_code == 1
    assert run("decode", "photo.cci", "-o", "a.png", "--strict").exit_code == 1


@pytest.mark.parametrize("option", ["--seed", "--temperature"])
def test_options_of_a_sample_need_one(here, option):
    result = run("decode", "photo.cci", "-o", "a.png", "--layers", 1, option, 1)
    assert (result.exit_code, list(here.glob("a.png"))) == (2, [])
    assert f"{option}: only with --fill sample" in result.stderr
    with_sample = ("--fill", "sample", option, 1)
    assert run("decode", "photo.cci", "-o", "a.png", "-l", 1, *with_sample).exit_code == 0


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".ppm"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_lost_transparency_is_noted(here, mode, suffix):
    clear, opaque = (Image.new(mode, (20, 20), (0,) * (len(mode) - 1) + (a,)) for a in (0, 255))
    for image, noted in ((clear, True), (opaque, False)):
        (here / "a.cci").write_bytes(codec.encode(image))
        result = run("decode", "a.cci", "-o", f"a{suffix}")
        assert result.exit_code == 0, result.stderr
        assert (f"laid over white: {suffix} holds no transparency" in result.stderr) == noted
    assert np.array(Image.open(f"a{suffix}").convert("L")).mean() < 30


def test_transparency_is_laid_over_white(here):
    (here / "a.cci").write_bytes(codec.encode(Image.new("RGBA", (20, 20), (0, 0, 0, 0))))
    run("decode", "a.cci", "-o", "a.bmp")
    assert np.array(Image.open("a.bmp")).min() == 255


def test_metadata_is_counted_beside_the_layers(here):
    Image.open("photo.png").save("icc.png", icc_profile=b"profile" * 50)
    line = run("encode", "icc.png", "-o", "a.cci").stdout
    found = json.loads(run("encode", "icc.png", "-o", "a.cci", "--json").stdout)
    assert set(found["metadata"]) == {"icc"}
    assert f"), icc {found['metadata']['icc']}, " in line
    assert sum(found["layers"].values()) + found["metadata"]["icc"] < found["bytes"]


@pytest.mark.parametrize("name", ["x.cci", "x.JPG", "x.CCI"])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_several_results_do_not_go_into_a_folder_named_like_a_file(here, command, name):
    sources = ("photo.png", "photo.png") if command == "encode" else ("photo.cci", "photo.cci")
    result = run(command, *sources, "-o", name)
    assert result.exit_code == 2
    assert f"{name}: looks like one file" in result.stderr
    assert not (here / name).exists()


def test_a_folder_may_be_named_like_a_file_on_purpose(here):
    Image.open("photo.png").save("b.png")
    assert run("encode", "photo.png", "b.png", "-o", "x.cci/").exit_code == 0
    assert sorted(p.name for p in (here / "x.cci").iterdir()) == ["b.cci", "photo.cci"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, codec.errors.ImageError])
def test_folders_without_results_are_removed_again(here, monkeypatch, error):
    (here / "in").mkdir()
    (here / "old").mkdir()
    Image.open("photo.png").save("in/a.png")

    def fail(*_, **__):
        raise error("no")

    monkeypatch.setattr(codec, "encode_detailed", fail)
    for target in ("new/sub", "old"):
        assert run("encode", "in", "-o", target).exit_code != 0
    assert not (here / "new").exists()
    assert (here / "old").exists()  # it was there before
    monkeypatch.undo()


def test_folders_with_results_stay(tmp_path):
    with jobs._folders() as make:
        make(tmp_path / "a" / "b")
        make(tmp_path / "a" / "c")
        (tmp_path / "a" / "b" / "x.cci").write_bytes(b"")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_damaged_exif_is_noted(here):
    image = Image.open("photo.png")
    image.info["exif"] = b"Exif\0\0no TIFF"
    assert codec.encode_detailed(image).notes == ("EXIF left out: it is damaged",)
