"""The benchmark for GPUs, run on the CPU at a reduced size."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from benchmarks.bench.images import read_rgb
from codec import walk
from codec.errors import LimitError

pytest.importorskip("bjontegaard")

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import exactness, page, speed


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photograph):
    place = tmp_path_factory.mktemp("images")
    Image.fromarray(photograph[100:196, 200:328]).save(place / "a.png")
    Image.fromarray(photograph[300:396, 500:628]).save(place / "b.png")
    return place


@pytest.mark.slow
def test_the_whole_command_runs_on_the_cpu(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exactness, "CORPUS", tmp_path)  # tests/conformance reads it already
    out = tmp_path / "out"
    small = ["--models", "ssvae", "--anchors", "jpeg", "--sizes", "64x64", "128x96", "--runs", "1"]
    reduced = ["--batches", "1", "3", "--largest", "0.03", "--limit", "1"]
    gpu.main([str(folder), "--device", "cpu", "--out", str(out), *small, *reduced])
    result = json.loads((out / "gpu.json").read_text())
    assert result["hardware"]["gpu"] == "none: measured on the CPU"
    # One photograph at three qualities: both ways, a batch encoded, a batch decoded.
    assert (result["exactness"]["checks"], result["exactness"]["passed"]) == (18, 18)
    rows = result["speed"]["rows"]
    assert [(row["size"], row["batch"]) for row in rows] == [
        ("64×64", 1),
        ("64×64", 3),
        ("128×96", 1),
    ]
    assert result["speed"]["left_out"] == ["3 of 128×96"]
    for row in rows:
        assert set(row["parts"]["encode"]) == set(page.PARTS)
        assert set(row["parts"]["decode"]) == set(page.PARTS) - {"filter"}
        assert row["encode"]["pictures_per_second"] > 0
        assert row["peak_memory_mb"] > 50
    assert "ssvae" in result["rate"]["summary"]["curves"]["psnr"]
    text = (out / "gpu.md").read_text()
    assert "none: measured on the CPU" in text
    assert text.startswith(f"# Measured on the CPU: {result['hardware']['machine']}")
    assert "18 of 18 checks passed" in text
    assert "Not measured yet" not in text
    assert (out / "rate" / "psnr.png").exists()
    assert text.strip() in capsys.readouterr().out


def test_other_symbols_and_pixels_fail_the_check(folder, monkeypatch):
    found = exactness.measure([folder / "a.png"], "cpu", ["convdraw"])
    assert found["failed"] == []
    assert found["checks"] == found["passed"] >= 4  # the corpus too, in a checkout
    bad = exactness.Check("x", "cpu", "cuda", symbols=True, largest=2, share=0.5)
    assert not bad.passed
    monkeypatch.setattr(exactness, "photographs", lambda *_: [bad])
    monkeypatch.setattr(exactness, "corpus", lambda *_: [])
    assert exactness.measure([], "cpu", [])["failed"][0]["largest"] == 2


def other_symbols(_, symbols, device):
    """What a device would send on whose prior is not exact."""
    return torch.from_numpy(symbols + 1).to(device)


def test_a_device_of_other_symbols_fails_the_check_and_does_not_end_it(folder, monkeypatch):
    photograph = read_rgb(folder / "a.png")
    data = codec.encode(photograph[:64, :64])
    assert exactness.compared("x", data, "cpu", ("cpu", "cpu")).passed
    decode = codec.decode_detailed

    def differing(data, device):
        if device == "cpu":
            return decode(data, device="cpu")
        with monkeypatch.context() as patched:
            patched.setattr(walk.Stored, "send", other_symbols)
            return decode(data, device="cpu")

    monkeypatch.setattr(exactness.codec, "decode_detailed", differing)
    check = exactness.compared("x", data, "cpu", ("cpu", "other"))
    assert not check.passed
    assert "other symbols" in check.error


def test_a_batch_whose_pictures_changed_places_fails_the_check(folder, monkeypatch):
    images = [read_rgb(folder / "a.png")[:64, :64], read_rgb(folder / "b.png")[:64, :64]]
    files = [codec.encode(image, quality=80) for image in images]
    assert all(c.passed for c in exactness._batch_decoded("x", images, files, "cpu"))
    decode = codec.decode_batch
    swapped = lambda files, **options: decode(files, **options)[::-1]  # noqa: E731
    monkeypatch.setattr(exactness.codec, "decode_batch", swapped)
    checks = exactness._batch_decoded("x", images, files, "cpu")
    assert [check.error for check in checks] == ["the picture of another file"] * 2
    assert not any(check.passed for check in checks)


def test_what_is_measured_is_kept_when_the_rest_fails(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(exactness, "CORPUS", tmp_path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu.run, "compare", killed)
    small = ["--models", "ssvae", "--sizes", "64x64", "--batches", "2", "--runs", "1"]
    with pytest.raises(KeyboardInterrupt):
        gpu.main([str(folder), "--device", "cpu", "--out", str(tmp_path / "out"), *small])
    result = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert result["exactness"]["passed"] == result["exactness"]["checks"] > 0
    assert result["speed"]["rows"][0]["batch"] == 2
    assert "Not measured yet" in (tmp_path / "out" / "gpu.md").read_text()


def test_timed_pictures_differ_and_have_the_size_asked_for():
    first, second = speed.pictures(1000, 1200, 2)
    assert first.shape == second.shape == (1200, 1000, 3)
    assert not np.array_equal(first, second)


def test_a_size_without_room_is_on_record(monkeypatch):
    def full(*_, **__):
        raise LimitError("there is not enough memory for an image of this size")

    monkeypatch.setattr(speed.codec, "encode_batch", full)
    row = speed.one(64, 64, 1, "cpu", "ssvae", 1)
    assert "not enough memory" in row["failed"]
    assert "not enough memory" in "\n".join(
        page._speed(
            {"rows": [row], "left_out": []} | dict.fromkeys(("model", "quality", "runs"), 1)
        )
    )


def test_a_driver_that_cannot_be_asked_is_unknown(monkeypatch):
    monkeypatch.setattr(page.shutil, "which", lambda _: None)
    assert page._driver() == "unknown"
    monkeypatch.setattr(page.shutil, "which", lambda _: "/no/such/program")
    assert page._driver() == "unknown"


def test_without_a_gpu_it_says_so(folder, tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        gpu.main([str(folder), "--out", str(tmp_path)])
    assert "device cuda is not available here" in capsys.readouterr().err
