"""S3, as a server process of its own, with requests that fail."""

import os

import fsspec
import pytest
import torch
from torch.utils.data import DataLoader

from codec.batch import CodedImages
from codec.batch.retrying import TRIES, retrying
from codec.batch.stores import Store
from codec.errors import OutputError
from tests.batch.conftest import figures, make_pictures, results, rows_of, run, start
from tests.batch.s3_server import Proxy, moto_server
from tests.batch.test_interruptions import wait_until

pytest.importorskip("moto")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def server():
    with moto_server() as port:
        yield port


@pytest.fixture
def s3(server, monkeypatch, request):
    """A proxy with a fresh bucket behind it; workers find both through the environment."""
    proxy = Proxy(server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # The driver's own tries would hide ours.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.bucket = request.node.name.replace("_", "-").replace("[", "-").strip("]")[:60]
    fsspec.filesystem("s3").mkdir(proxy.bucket)
    yield proxy
    proxy.close()
    fsspec.filesystem("s3").clear_instance_cache()


def objects(url) -> dict[str, bytes]:
    store = Store(url)
    return {f.path: store.read(f.path) for f in store.list() if "manifest" not in f.path}


@pytest.fixture
def whole(tmp_path, crop):
    """Four pictures and a broken one, and their results on disk."""
    make_pictures(tmp_path / "in", crop, 4)
    (tmp_path / "in" / "broken.png").write_bytes(b"broken")
    run(tmp_path / "in", tmp_path / "whole", "-w", 1)
    return tmp_path


def upload(folder, url):
    store = Store(url)
    for path in folder.rglob("*.*"):
        store.write(str(path.relative_to(folder)), path.read_bytes())


def test_a_bucket_is_a_folder(s3, whole):
    upload(whole / "in", f"s3://{s3.bucket}/in")
    out = f"s3://{s3.bucket}/out"
    result = run(f"s3://{s3.bucket}/in", out, "-w", 1)
    assert result.exit_code == 1
    assert "4 of 5 pictures" in result.stdout
    assert objects(out) == results(whole / "whole")
    rows = rows_of(f"{out}/manifest.parquet")
    assert {p: r["bytes"] for p, r in rows.items()} == {
        p: r["bytes"] for p, r in rows_of(whole / "whole" / "manifest.parquet").items()
    }
    assert not [f.path for f in Store(out).list() if "parts" in f.path]
    assert "4 of 4 results sound" in run("--verify", out, "-w", 1).stdout
    assert run("--report", f"s3://{s3.bucket}/page.html", out).exit_code == 0
    assert b"4 coded, 1 failed" in Store(f"s3://{s3.bucket}").read("page.html")


@pytest.mark.parametrize("what", ["refuse", "drop"])
def test_requests_that_fail_are_made_again(s3, whole, what):
    upload(whole / "in", f"s3://{s3.bucket}/in")
    # The first two tries to read or write any object, the manifest's too, and the first to list.
    s3.seen.clear()
    s3.fault = lambda method, path, before: (
        what if before < (2 if method in ("GET", "PUT") else 0) else None
    )
    out = f"s3://{s3.bucket}/out"
    result = run(f"s3://{s3.bucket}/in", out, "-w", 1, "--json")
    assert figures(result)["ok"] == 4
    s3.fault = lambda *_: None
    assert objects(out) == results(whole / "whole")
    assert s3.injected[what] >= 2 * (5 + 4)  # each picture's read, each result's write


def test_an_object_that_never_gets_through_is_on_record(s3, whole):
    out = f"s3://{s3.bucket}/out"
    s3.fault = lambda method, path, before: (
        "refuse" if method == "PUT" and path.endswith("/out/0/000.cci") else None
    )
    result = run(whole / "in", out, "-w", 1, "--json")
    assert (figures(result)["ok"], figures(result)["failed"]) == (3, 2)
    row = rows_of(f"{out}/manifest.parquet")["0/000.png"]
    assert row["status"] == "failed"
    assert "0/000.cci: cannot be written" in row["error"]
    assert s3.seen["PUT", f"/{s3.bucket}/out/0/000.cci"] == TRIES
    s3.fault = lambda *_: None
    assert run(whole / "in", out, "-w", 1, "--retry-failed").exit_code == 1  # broken.png
    assert objects(out) == results(whole / "whole")


def test_killed_and_resumed_on_s3(s3, whole, crop):
    make_pictures(whole / "in", crop, 12)
    run(whole / "in", whole / "whole", "-w", 1, "--force")
    out = f"s3://{s3.bucket}/out"
    process = start(whole / "in", out, "-w", 1)
    wait_until(lambda: any(path.endswith(".cci") for _, path in s3.seen))
    process.kill()
    process.communicate()
    assert run(whole / "in", out, "-w", 1, "--resume").exit_code == 1
    assert objects(out) == results(whole / "whole")


def test_shards_on_s3(s3, whole):
    out = f"s3://{s3.bucket}/shards"
    s3.fault = lambda method, path, before: (
        "drop" if method == "PUT" and path.endswith(".tar") and before < 2 else None
    )
    assert run(whole / "in", out, "-w", 1, "--shards", 3).exit_code == 1
    s3.fault = lambda method, path, before: "drop" if method == "GET" and before < 1 else None
    back = run("--decode", out, whole / "decoded", "--shards", 0, "-w", 1)
    assert back.exit_code == 0
    assert len(list((whole / "decoded").rglob("*.png"))) == 4
    assert s3.injected["drop"] >= 4


def test_a_data_set_lives_in_a_bucket(s3, whole):
    upload(whole / "whole", f"s3://{s3.bucket}/coded")
    here, there = (
        CodedImages(place) for place in (str(whole / "whole"), f"s3://{s3.bucket}/coded")
    )
    first = there[0]  # connections of this process, which forked workers must not use
    loader = DataLoader(there, batch_size=None, num_workers=2, multiprocessing_context="fork")
    found = list(loader)
    assert len(found) == 4
    assert torch.equal(found[0], first)
    assert all(torch.equal(a, b) for a, b in zip(found, here, strict=True))


def test_a_bucket_that_is_not_there_is_a_clear_error(s3, whole):
    missing = run("s3://no-such-bucket-at-all/x", whole / "out")
    assert missing.exit_code == 1
    assert "Traceback" not in missing.stderr
    with pytest.raises(OutputError, match="cannot be written"):
        Store("s3://no-such-bucket-at-all").write("a", b"x")


def test_retrying_waits_longer_each_time_and_gives_up():
    pauses = []

    def fail():
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        retrying(fail, pause=pauses.append)
    assert len(pauses) == TRIES - 1
    assert pauses == sorted(pauses)
    with pytest.raises(FileNotFoundError):
        retrying(lambda: os.stat("/no/such"), pause=pauses.append)
    assert len(pauses) == TRIES - 1  # another try would not change that
