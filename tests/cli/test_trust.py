"""What can go wrong around a file, for real: full disks, signals, vanished inputs, rivals."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "cli.main", *(str(a) for a in arguments)]


def run(*arguments, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False, **options
    )


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def refused(result: subprocess.CompletedProcess[str], name: str, words: str) -> bool:
    """One line on standard error that names the file and the reason, and exit status 1."""
    lines = result.stderr.strip().splitlines()
    return (
        result.returncode == 1
        and len(lines) == 1
        and name in lines[0]
        and words.lower() in lines[0].lower()
    )


@pytest.fixture
def noise(tmp_path) -> Path:
    """An image whose file takes some kilobytes."""
    path = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def large(tmp_path, photograph) -> Path:
    """An image that takes seconds to encode."""
    path = tmp_path / "large.png"
    Image.fromarray(np.tile(photograph, (4, 4, 1))).save(path, compress_level=1)
    return path


@pytest.fixture
def mounted(tmp_path, request):
    """A file system of its own in memory, with the options of the test's parameter."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# -- disks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mounted", ["size=8k"], indirect=True)
def test_a_full_disk_leaves_neither_part_nor_loss(noise, mounted):
    before = codec.encode(Image.new("RGB", (8, 8)))
    (mounted / "old.cci").write_bytes(before)
    for name in ("new.cci", "old.cci"):
        result = run("encode", noise, "-o", mounted / name, "--quality", 90, "--force")
        assert refused(result, name, "no space"), result.stderr
    assert names(mounted) == ["old.cci"]
    assert (mounted / "old.cci").read_bytes() == before


@pytest.mark.parametrize("mounted", ["ro"], indirect=True)
def test_a_read_only_disk_is_a_clear_error(noise, mounted):
    result = run("encode", noise, "-o", mounted / "a.cci")
    assert refused(result, "a.cci", "read-only"), result.stderr


def test_a_quota_leaves_no_part(noise, tmp_path):
    out = tmp_path / "out"
    out.mkdir()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    result = run("encode", noise, "-o", out / "a.cci", "--quality", 90, preexec_fn=limit)
    assert refused(result, "a.cci", "too large"), result.stderr
    assert names(out) == []


# -- signals -----------------------------------------------------------------------------------


def started(*arguments) -> subprocess.Popen[bytes]:
    """A command that has begun its work: it shows its first progress, or has had the time."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        # Shells start background jobs with Ctrl-C ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Python, torch and the reading of the image take two seconds and more.
    for _ in range(600):
        if process.poll() is not None or _cpu_seconds(process.pid) > 4:
            break
        time.sleep(0.05)
    return process


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_encode_leaves_the_old_file_and_nothing_else(large, tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir()
    before = codec.encode(Image.new("RGB", (8, 8)))
    (out / "a.cci").write_bytes(before)
    process = started("encode", large, "-o", out / "a.cci", "--force", "--effort", 9)
    assert process.poll() is None, "it ended before it could be stopped"
    process.send_signal(kind)
    try:
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert b"Traceback" not in complaint
    assert names(out) == ["a.cci"]
    assert (out / "a.cci").read_bytes() == before


# -- inputs and rivals -------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_an_input_that_vanishes_is_one_failure_and_the_rest_goes_on(large, tmp_path, crop):
    folder = tmp_path / "in"
    folder.mkdir()
    large.rename(folder / "a.png")
    for name in ("b.png", "c.png"):
        Image.fromarray(crop[:64, :64]).save(folder / name)
    process = started("encode", folder, "-o", tmp_path / "out")
    (folder / "b.png").unlink()  # while a.png is being encoded
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 1
    assert b"b.png: no such file" in complaint
    assert b"Traceback" not in complaint
    assert names(tmp_path / "out") == ["a.cci", "c.cci"]


def test_two_encodes_of_one_folder_do_not_disturb_each_other(tmp_path, photograph):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(6):
        Image.fromarray(photograph[64 * index : 64 * index + 64, :96]).save(folder / f"{index}.png")
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run("encode", folder, "-o", alone).returncode == 0
    rivals = [
        subprocess.Popen(
            command("encode", folder, "-o", together, "--force"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        for _ in range(2)
    ]
    for rival in rivals:
        _, complaint = rival.communicate(timeout=120)
        assert rival.returncode == 0, complaint
    assert names(together) == names(alone)
    for name in names(alone):
        assert (together / name).read_bytes() == (alone / name).read_bytes()
