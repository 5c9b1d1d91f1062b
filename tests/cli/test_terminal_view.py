"""Pictures as half blocks in a terminal."""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import codec
from cli.main import app
from cli.terminal_view import half_blocks, show

OPTIONS = {"max_pixels": None}


def terminal(width=60, height=20) -> Console:
    """A true-colour terminal that writes into a string."""
    return Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor",
        width=width, height=height, legacy_windows=False, _environ={},
    )  # fmt: skip


def drawn(text) -> np.ndarray:
    """The pixels of the last picture in a terminal's output: uint8, two rows a line."""
    rows = []
    for line in text.split("\n"):
        found = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m(▀+)", line)
        if found:
            cells = [list(map(int, f[:6])) for f in found for _ in f[6]]
            rows += [[cell[:3] for cell in cells], [cell[3:] for cell in cells]]
    return np.array(rows, dtype=np.uint8)


def shown(image, columns, rows) -> np.ndarray:
    console = terminal(columns, rows)
    console.print(half_blocks(image, columns, rows))
    return drawn(console.file.getvalue())


def test_every_character_is_two_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    assert np.array_equal(shown(Image.fromarray(pixels), 40, 20), pixels)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 200), (40, 20)), ((200, 400), (20, 40)), ((3000, 10), (40, 2)), ((1, 1), (1, 2))],
)
def test_it_fits_and_keeps_its_shape(size, expected):
    picture = shown(Image.new("RGB", size, "red"), 40, 20)
    assert picture.shape == (expected[1], expected[0], 3)
    assert (picture == [255, 0, 0]).all()


def test_transparency_shows_grey():
    assert (shown(Image.new("LA", (4, 4), (255, 0)), 10, 10) == 128).all()


def test_frames_sharpen_in_place_and_end_with_the_decoded_picture(coded, tmp_path):
    path = tmp_path / "photo.cci"
    path.write_bytes(coded)
    console = terminal()
    show(path, rate=None, options=OPTIONS, console=console)
    text = console.file.getvalue()
    captions = re.findall(r"photo\.cci: layer (\d) of 3, (\d+) of", text)
    ends = [layer.end for layer in codec.info(coded).layers]
    steps = list(dict.fromkeys(captions))
    assert steps == [(str(n + 1), str(end)) for n, end in enumerate(ends)]
    last = drawn(text.rpartition("\x1b[1A")[2])
    assert last.shape == (36, 43, 3)  # 18 lines: the caption and the prompt have theirs
    expected = codec.decode(coded).resize((43, 36), Image.Resampling.BICUBIC)
    assert np.array_equal(last, np.array(expected))


def test_a_rate_makes_it_take_its_time(coded, tmp_path):
    path = tmp_path / "photo.cci"
    path.write_bytes(coded)
    started = time.perf_counter()
    show(path, rate=2 * len(coded), options=OPTIONS, console=terminal())
    assert time.perf_counter() - started >= 0.5


def run(*arguments, terminal="1"):
    """The command, whose output counts as a terminal unless that is ""."""
    return CliRunner(env={"FORCE_COLOR": terminal}).invoke(app, ["view", *map(str, arguments)])


def test_the_command_shows_a_folder_and_notes_what_is_cut(coded, tmp_path):
    (tmp_path / "a.cci").write_bytes(coded)
    (tmp_path / "b.cci").write_bytes(coded[: codec.info(coded).layers[0].end])
    (tmp_path / "c.txt").write_text("no picture")
    result = run("--terminal", tmp_path)
    assert result.exit_code == 0
    assert "a.cci: layer 3 of 3" in result.stdout
    assert "b.cci: layer 1 of 3" in result.stdout
    assert "c.txt" not in result.stdout
    assert "b.cci: note: the file is cut" in result.stderr


def test_a_picture_is_encoded_in_memory_and_shown(crop, tmp_path):
    Image.fromarray(crop).save(tmp_path / "photo.png")
    result = run("--terminal", tmp_path / "photo.png")
    assert result.exit_code == 0
    assert "photo.png: layer 3 of 3" in result.stdout
    assert "photo.png: encoded in memory: " in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_where_there_is_no_terminal_it_says_so_and_draws_nothing(coded, tmp_path):
    (tmp_path / "a.cci").write_bytes(coded)
    result = run("--terminal", tmp_path / "a.cci", terminal="")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("codec: --terminal draws on a terminal, which standard output")
    assert result.stderr.count("\n") == 1


def test_errors_are_one_line(coded, tmp_path):
    (tmp_path / "bad.cci").write_bytes(b"something else")
    for arguments, reason, status in (
        (["--terminal", tmp_path / "bad.cci"], "bad.cci: this is not a .cci file", 1),
        (["--terminal", tmp_path / "none.cci"], "none.cci", 1),
        (["--terminal", "--originals", tmp_path, tmp_path], "--originals goes with the page", 2),
        (["--terminal", "--rate", "fast", tmp_path], "not a size", 2),
        (["--rate", "4kB", tmp_path], "--rate goes with --terminal", 2),
    ):
        result = run(*arguments)
        assert result.exit_code == status
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert "no .cci file" in run("--terminal", tmp_path / "empty").stderr
