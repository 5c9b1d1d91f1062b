"""The commands that draw from the prior, as people and scripts use them."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import LAYER, Chunk, Container
from cli import generate
from codec.generation import upscale, vary
from tests.cli.test_cli import assert_refused, make_bad_inputs, run

COMMANDS = {
    "reconstruct": generate.RECONSTRUCT_EXAMPLES,
    "upscale": generate.UPSCALE_EXAMPLES,
    "sample": generate.SAMPLE_EXAMPLES,
    "interpolate": generate.INTERPOLATE_EXAMPLES,
    "vary": generate.VARY_EXAMPLES,
}


@pytest.fixture
def here(tmp_path, monkeypatch, crop):
    """A working folder with photo.png, other.png and photo.cci."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(crop[:30, :32]).save("photo.png")
    Image.fromarray(crop[60:90, :50]).save("other.png")
    (tmp_path / "photo.cci").write_bytes(codec.encode("photo.png"))
    return tmp_path


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_has_examples_that_run(here, command):
    shown = run(command, "--help").stdout
    lines = [x.strip() for x in COMMANDS[command].splitlines() if x.strip().startswith("codec ")]
    assert len(lines) == 2
    for line in lines:
        arguments = re.split(r"\s{2,}", line)[0].split()[1:]
        assert arguments[0] == command
        assert " ".join(arguments) in " ".join(shown.split())
        result = run(*arguments)
        assert result.exit_code == 0, (line, result.stderr)
        assert re.fullmatch(r"\S+( … \S+)?: \d+×\d+, [\d.]+ s\n", result.stdout)


def test_the_file_holds_what_the_library_gives(here):
    run("upscale", "photo.png", "-o", "large.png")
    assert np.array_equal(np.array(Image.open("large.png")), np.array(upscale("photo.png")))
    options = ("-n", 2, "--seed", 3, "--temperature", 0.5, "--keep", 2)
    result = run("vary", "photo.cci", *options, "-o", "v.png", "--separate", "--json")
    found = json.loads(result.stdout)
    assert found["files"] == ["v-1.png", "v-2.png"]
    assert found["output"] is None
    expected = vary("photo.cci", 2, seed=3, temperature=0.5, keep=2)
    for name, image in zip(found["files"], expected, strict=True):
        assert np.array_equal(np.array(Image.open(name)), np.array(image))
    run("sample", "-n", 4, "--size", 20, "-o", "s.webp")
    assert Image.open("s.webp").size == (44, 44)


def test_standard_streams(here):
    result = run("upscale", "-", input=(here / "photo.png").read_bytes())
    assert result.exit_code == 0
    assert Image.open(io.BytesIO(result.stdout_bytes)).size == (64, 60)
    result = run("interpolate", "photo.png", "-", "-o", "p.png", "--steps", 2, input=b"no image")
    assert result.exit_code == 1
    assert result.stderr.strip() == "codec: the data: is not an image Pillow can read"


def test_of_two_inputs_the_bad_one_is_named(here):
    """A file of good checksum and bad symbols, beside a good one."""
    whole = Container.from_bytes((here / "photo.cci").read_bytes())
    bad = whole.header.to_bytes() + Chunk(LAYER, b"no symbols at all").to_bytes()
    (here / "bad.cci").write_bytes(bad)
    for pair in (["bad.cci", "photo.png"], ["photo.png", "bad.cci"], ["photo.cci", "bad.cci"]):
        result = run("interpolate", *pair, "-o", "out.png")
        assert result.exit_code == 1
        assert result.stderr.strip().startswith("codec: bad.cci: layer u")
    decoded = run("decode", "bad.cci", "-o", "out.png")
    assert decoded.stderr.strip().startswith("codec: bad.cci: layer u")
    assert not (here / "out.png").exists()


def test_results_never_overwrite_the_input_and_nothing_silently(here):
    assert run("upscale", "photo.png").exit_code == 0
    assert Image.open("photo-upscale.png").size == (64, 60)
    result = run("upscale", "photo.png")
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert run("upscale", "photo.png", "--force").exit_code == 0
    (here / "results").mkdir()
    assert run("upscale", "photo.png", "-o", "results/").exit_code == 0
    assert (here / "results" / "photo-upscale.png").exists()
    before = (here / "photo.png").read_bytes()
    (here / "a-1.png").write_bytes(before)
    for arguments in (
        ("upscale", "photo.png", "-o", "./photo.png"),
        ("interpolate", "other.png", "photo.png", "-o", "photo.png"),
        ("vary", "a-1.png", "-n", 2, "--separate", "-o", "a.png"),
        ("interpolate", "other.png", "a-1.png", "--steps", 2, "--separate", "-o", "a.png"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "input itself" in result.stderr
    assert (here / "photo.png").read_bytes() == (here / "a-1.png").read_bytes() == before


def test_single_pictures_do_not_ask_for_the_name_that_they_do_not_write(here):
    (here / "photo-vary.png").write_bytes(b"of another run")
    assert run("vary", "photo.png", "-n", 2, "--separate").exit_code == 0
    assert (here / "photo-vary.png").read_bytes() == b"of another run"
    result = run("vary", "photo.png", "-n", 2, "--separate")
    assert result.exit_code == 1
    assert result.stderr.startswith("codec: photo-vary-1.png: exists already")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["reconstruct", "missing.png", "-o", "out.png"], 1),
        (["reconstruct", "photo.cci", "-o", "out.png"], 1),
        (["reconstruct", "text.png", "-o", "out.png"], 1),
        (["reconstruct", "photo.png", "-o", "out.png", "--fill", "x"], 2),
        (["reconstruct", "photo.png", "-o", "out.xyz"], 2),
        (["reconstruct", "photo.png", "-o", "-", "--json"], 2),
        (["upscale", "empty.png", "-o", "out.png"], 1),
        (["upscale", "folder", "-o", "out.png"], 1),
        (["upscale", "photo.png", "-o", "out.png", "--factor", "3"], 2),
        (["upscale", "photo.png", "-o", "nowhere/out.png"], 1),
        (["upscale", "photo.png", "-o", "out.png", "--max-pixels", "4000"], 1),
        (["upscale", "photo.png", "-o", "out.png", "--model", "nonesuch"], 2),
        (["sample"], 2),
        (["sample", "-o", "out.png", "-n", "0"], 2),
        (["sample", "-o", "out.png", "--size", "65536"], 2),
        (["sample", "-o", "out.png", "--size", "60000"], 1),
        (["sample", "-o", "out.png", "--device", "mps"], 2),
        (["sample", "-o", "-", "--separate"], 2),
        (["sample", "-o", "nowhere/out.png", "--size", "20", "-n", "1"], 1),
        (["interpolate", "photo.png", "-o", "out.png"], 2),
        (["interpolate", "photo.png", "missing.png", "-o", "out.png"], 1),
        (["interpolate", "-", "-", "-o", "out.png"], 2),
        (["interpolate", "photo.png", "other.png", "-o", "out.png", "--steps", "1"], 2),
        (["interpolate", "photo.cci", "text.cci", "-o", "out.png"], 1),
        (["vary", "damaged.cci", "-o", "out.png"], 1),
        (["vary", "cut.cci", "-o", "out.png"], 1),
        (["vary", "photo.png", "-o", "out.png", "--keep", "3"], 2),
        (["vary", "photo.cci", "-o", "out.png", "--quality", "80"], 2),
        (["vary", "photo.png", "-o", "out.png", "--temperature", "-1"], 2),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else str(value),
)
def test_bad_input_is_one_clear_line_and_no_output(here, arguments, status):
    make_bad_inputs(here)
    good = (here / "photo.cci").read_bytes()
    (here / "damaged.cci").write_bytes(good[:35] + bytes([good[35] ^ 1]) + good[36:])
    (here / "cut.cci").write_bytes(good[:34])
    assert_refused(here, arguments, status)
