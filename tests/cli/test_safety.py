"""Commands spare what is there, refuse what cannot be before any work, and say what is lost."""

# ruff: noqa: F811 - `here` is a fixture

import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image, ImageCms, ImageDraw

import codec
from tests.cli.test_cli import here, run  # noqa: F401


def test_decoding_into_the_folder_of_the_originals_spares_them(here):
    own = here / "own"
    own.mkdir()
    shutil.copy("photo.png", own)
    shutil.copy("photo.cci", own)
    before = (own / "photo.png").read_bytes()
    for source, output in (("own", "own"), ("own/photo.cci", "own"), ("own/photo.cci", "own/")):
        result = run("decode", source, "-o", output)
        assert result.exit_code == 1
        assert "exists already" in result.stderr
        assert (own / "photo.png").read_bytes() == before
    assert run("decode", "own", "-o", "own", "--force").exit_code == 0
    assert (own / "photo.png").read_bytes() != before
    for _ in range(2):  # elsewhere results are made again
        assert run("decode", "own", "-o", "elsewhere").exit_code == 0


def test_one_picture_that_an_option_does_not_suit_is_named_and_the_rest_goes_on(here):
    (here / "in").mkdir()
    shutil.copy("photo.png", here / "in")
    Image.new("RGB", (4, 4)).save(here / "in" / "little.png")
    result = run("encode", "in", "-o", "out", "--target-ssimulacra2", 40)
    assert result.exit_code == 1
    assert "in/little.png: SSIMULACRA2 needs sides of at least 8 pixels" in result.stderr
    assert [path.name for path in (here / "out").iterdir()] == ["photo.cci"]
    assert "1 of 2 files" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("encode", ""), "an empty name"),
        (("decode", "photo.cci", "-o", ""), "an empty name"),
        (("upscale", ""), "an empty name"),
        (("interpolate", "", "photo.png"), "an empty name"),
        (("batch", "", "out"), "an empty name"),
        (("bench", ""), "an empty name"),
        (("bench", "--replot", "-o", ""), "an empty name"),
        (("view", ""), "an empty name"),
        (("web", "photo.png", "-o", ""), "an empty name"),
        (("vary", "."), "is a folder"),
        (("encode", "photo.png", "-o", "none/x.cci"), "the folder none does not exist"),
        (("upscale", "photo.png", "-o", "none/x.png"), "the folder none does not exist"),
        (("encode", "a", "b", "-o", "out"), "a/photo.png and b/photo.png would be written"),
    ],
)
def test_names_that_cannot_be_are_refused_before_any_work(here, monkeypatch, arguments, words):
    for folder in ("a", "b"):
        (here / folder).mkdir()
        shutil.copy("photo.png", here / folder)

    def work(*_, **__):
        raise AssertionError("began to work")

    monkeypatch.setattr(codec, "encode_detailed", work)
    monkeypatch.setattr("codec.generation.upscale", work)
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="closes streams by the shell")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("encode - -o - <&-", "standard input: is empty"),
        ("info - <&-", "is empty"),
        ("encode photo.png -o - >&-", "standard output: is closed"),
        ("info photo.cci >&-", ""),
    ],
)
def test_closed_streams_are_no_traceback(here, command, words):
    shell = f"{sys.executable} -m cli.main {command}"
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}
    )
    assert "Traceback" not in done.stderr
    assert words in done.stderr


def test_what_a_format_does_not_hold_is_said(here):
    image = Image.open("photo.png").convert("RGB")
    ramp = Image.linear_gradient("L").resize(image.size)
    image.putalpha(ramp)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.save(
        "full.png",
        exif=exif,
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    assert run("encode", "full.png").exit_code == 0
    gif = run("decode", "full.cci", "-o", "full.gif")
    assert "laid over white" in gif.stderr
    assert "ICC profile, EXIF left out: .gif does not hold it" in gif.stderr
    assert "reduced to 256 colours" in gif.stderr
    assert "left out" not in run("decode", "full.cci", "-o", "full.webp").stderr
    assert run("decode", "photo.cci", "-o", "small.ico").exit_code == 0
    assert Image.open("small.ico").size == Image.open("photo.png").size
    square = run("decode", "photo.cci", "-o", "photo.icns")
    assert square.exit_code == 1
    assert ".icns: cannot hold a picture of" in square.stderr
    assert not (here / "photo.icns").exists()


def test_a_file_whose_graphics_are_not_shown_says_so(here):
    page = Image.new("RGB", (160, 96), "white")
    ImageDraw.Draw(page).text((9, 9), "nothing but text", fill="black")
    page.save("page.png")
    assert run("encode", "page.png").exit_code == 0
    data = (here / "page.cci").read_bytes()
    (here / "cut.cci").write_bytes(data[:-5])
    for arguments in (("page.cci", "--layers", 1), ("cut.cci",)):
        assert "are not shown" in run("decode", *arguments, "-o", "x.png").stderr
    assert "are not shown" not in run("decode", "page.cci", "-o", "x.png").stderr
    assert "cut after the last layer" in run("info", "cut.cci").stdout
    assert "cut" not in run("info", "page.cci").stdout


def test_a_link_to_nowhere_is_a_failure_and_not_passed_over(here):
    (here / "in").mkdir()
    shutil.copy("photo.png", here / "in")
    (here / "in" / "gone.png").symlink_to("missing.png")
    result = run("encode", "in", "-o", "out")
    assert result.exit_code == 1
    assert "gone.png: no such file" in result.stderr
    assert [path.name for path in (here / "out").iterdir()] == ["photo.cci"]


def test_an_input_that_vanishes_once_it_is_read_ends_nothing(here, monkeypatch):
    (here / "in").mkdir()
    for name in "ab":
        shutil.copy("photo.png", here / "in" / f"{name}.png")
    encode = codec.encode_detailed

    def encode_and_remove(source, **options):
        result = encode(source, **options)
        os.unlink(source)
        return result

    monkeypatch.setattr(codec, "encode_detailed", encode_and_remove)
    result = run("encode", "in", "-o", "out")
    assert result.exit_code == 0, result.stderr
    assert "2 of 2 files" in result.stdout


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs devices as files")
def test_a_pipe_given_as_a_device_is_written_to(here):
    command = [sys.executable, "-m", "cli.main", "encode", "photo.png", "-o", "/dev/stdout"]
    paths = os.pathsep.join(p for p in sys.path if p)
    environment = os.environ | {"PYTHONPATH": paths}
    result = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert result.stdout == codec.encode("photo.png")
    assert b"/dev/stdout: " in result.stderr
