"""The manual page holds what --help says, and is roff without mistakes; ImageMagick reads files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import codec
from cli.main import app
from cli.manual import manual
from tests.conftest import psnr

DESKTOP = Path(__file__).parents[2] / "docs" / "desktop"


@pytest.fixture(scope="module")
def page():
    return manual()


def test_every_command_and_option_is_in_it(page):
    plain = page.replace("\\-", "-")
    listed = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands:")[2]
    names = re.findall(r"(?m)^  ([a-z]+) ", listed)
    assert {"encode", "decode", "batch", "models", "compare"} <= set(names)
    for name in names:
        section = plain.partition(f".SS codec {name} ")[2].partition(".SS codec")[0]
        shown = CliRunner().invoke(app, [name, "--help"], terminal_width=200).stdout
        for option in re.findall(r"(?m)^  (?:-\w, )?(--[a-z][a-z-]+)", shown):
            assert option in section, (name, option)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_it_is_set_without_a_warning_and_keeps_examples_as_they_are(page):
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww"],
        input=page.encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    shown = re.sub("\x1b\\[[0-9;]*m|.\x08", "", done.stdout.decode())
    assert re.search(r"(?m)^\s+codec encode photo\.png -o small\.cci --layers 2$", shown)
    assert "EXIT STATUS" in shown


def has_imagemagick() -> bool:
    """Other programs are called convert too."""
    if shutil.which("convert") is None:
        return False
    told = subprocess.run(["convert", "-version"], capture_output=True, check=False)
    return b"ImageMagick" in told.stdout


@pytest.mark.skipif(not has_imagemagick(), reason="ImageMagick is not installed")
def test_imagemagick_reads_and_writes_through_the_command(tmp_path, crop):
    original = crop[:96, :128]
    (tmp_path / "photo.cci").write_bytes(codec.encode(original, quality=60))
    Image.fromarray(original).save(tmp_path / "photo.png")
    command = tmp_path / "bin" / "codec"
    command.parent.mkdir()
    command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from cli.main import app; app()' \"$@\"\n"
    )
    command.chmod(0o755)
    settings = os.environ | {
        "MAGICK_CONFIGURE_PATH": str(DESKTOP),
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    for arguments in (["photo.cci", "read.png"], ["photo.png", "written.cci"]):
        subprocess.run(["convert", *arguments], cwd=tmp_path, env=settings, check=True)
    with Image.open(tmp_path / "read.png") as read:
        assert psnr(original, read.convert("RGB")) > 25
    assert codec.info((tmp_path / "written.cci").read_bytes()).width == 128
