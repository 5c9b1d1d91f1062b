"""The viewer's server: what it serves, what it refuses, how it stops. No browser needed."""

import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image, ImageCms

import codec
from benchmarks.bench import codecs
from cli.viewer import folder as folder_module
from cli.viewer import measures, rivals
from cli.viewer.app import build
from cli.viewer.folder import Library
from cli.viewer.memory import Item, Memory
from cli.viewer.serve import bind
from cli.viewer.thumbnails import Thumbnails
from codec.measures import ssimulacra2_of
from tests.conftest import psnr
from tests.viewer import Viewer, messages, pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory, crop) -> Path:
    """photo.cci with its original, plain.cci without, and things around that are not to be seen."""
    root = tmp_path_factory.mktemp("outside")
    shown = root / "shown"
    shown.mkdir()
    image = Image.fromarray(crop)
    image.save(shown / "photo.png")
    data = codec.encode(image)
    for place in (shown / "photo.cci", shown / "plain.cci", root / "secret.cci"):
        place.write_bytes(data)
    (shown / "notes.txt").write_text("private")
    (shown / "out.cci").symlink_to(root / "secret.cci")
    (shown / "loop.cci").symlink_to(shown / "loop.cci")
    return shown


@pytest.fixture(scope="module")
def viewer(folder):
    with Viewer(folder) as running:
        yield running


# -- what it serves ----------------------------------------------------------------------------


def test_it_lists_the_files_of_the_folder_and_no_others(viewer):
    assert viewer.json("/api/files") == {"files": ["photo.cci", "plain.cci"]}


def test_a_file_alone_is_all_there_is_to_see(folder):
    with Viewer(folder / "plain.cci") as alone:
        assert alone.json("/api/files") == {"files": ["plain.cci"]}
        assert alone.get("/api/info?file=photo.cci")[0] == 404


def test_subfolders_are_listed_but_not_links_that_lead_outside(tmp_path, folder):
    data = (folder / "plain.cci").read_bytes()
    shown = tmp_path / "shown"
    for name in ("b.cci", "sub/a.cci", "sub/deep/z.cci", "a.CCI", "../outside/x.cci"):
        (shown / name).parent.mkdir(parents=True, exist_ok=True)
        (shown / name).write_bytes(data)
    (shown / "linked").symlink_to(tmp_path / "outside")
    (shown / "sub" / "round").symlink_to(shown)
    (shown / "sub" / "x.cci").symlink_to(tmp_path / "outside" / "x.cci")
    library = Library(shown)
    assert library.names() == (["a.CCI", "b.cci", "sub/a.cci", "sub/deep/z.cci"], False)
    assert library.find("sub/deep/z.cci").read() == data
    for name in ("linked/x.cci", "sub/x.cci", "sub/../../outside/x.cci"):
        with pytest.raises(codec.errors.CodecError, match="none of the files"):
            library.find(name)


def test_a_list_of_files_ends_somewhere(folder, tmp_path, monkeypatch):
    for index in range(5):
        (tmp_path / f"{index}.cci").write_bytes(b"")
    monkeypatch.setattr(folder_module, "MAX_FILES", 3)
    assert Library(tmp_path).names() == (["0.cci", "1.cci", "2.cci"], True)
    monkeypatch.setattr(folder_module, "MAX_NAMES", 2)
    assert Library(tmp_path).names() == (["0.cci", "1.cci"], True)


def test_originals_may_lie_elsewhere_but_not_outside_of_it(tmp_path, folder):
    data, picture = (folder / "photo.cci").read_bytes(), (folder / "photo.png").read_bytes()
    shown, raw = tmp_path / "shown", tmp_path / "raw"
    (shown / "sub").mkdir(parents=True)
    (raw / "sub").mkdir(parents=True)
    for name in ("sub/same.cci", "sub/flat.cci", "sub/leads-out.cci", "beside.cci"):
        (shown / name).write_bytes(data)
    for place in (raw / "sub" / "same.png", raw / "flat.JPG", shown / "beside.png"):
        place.write_bytes(picture)
    (raw / "sub" / "leads-out.png").symlink_to(folder / "photo.png")
    library = Library(shown, originals=raw)
    assert library.find("sub/same.cci").original == raw / "sub" / "same.png"
    assert library.find("sub/flat.cci").original == raw / "flat.JPG"
    assert library.find("beside.cci").original == shown / "beside.png"
    assert library.find("sub/leads-out.cci").original is None
    with pytest.raises(codec.errors.ImageError, match="no such folder"):
        Library(shown, originals=tmp_path / "nowhere")


def test_a_picture_is_encoded_in_memory_and_shown_with_its_original(folder, crop):
    before = sorted(folder.iterdir())
    with Viewer(folder / "photo.png") as alone:
        assert alone.json("/api/files") == {"files": ["photo.png"]}
        assert alone.json("/api/info?file=photo.png")["original"] is True
        assert alone.get("/api/file?file=photo.png")[1] == codec.encode(crop)
        ((_, original),) = messages(alone.get("/api/original?file=photo.png")[1])
        assert np.array_equal(pixels(original), crop)
        assert alone.get("/api/info?file=photo.cci")[0] == 404
    assert sorted(folder.iterdir()) == before


def test_it_describes_a_file(viewer, folder):
    found = viewer.json("/api/info?file=photo.cci")
    assert (found["width"], found["height"], found["original"]) == (221, 183, True)
    assert found["bytes"] == (folder / "photo.cci").stat().st_size
    assert [layer["name"] for layer in found["layers"]] == ["u", "z1", "z2"]
    assert viewer.json("/api/info?file=plain.cci")["original"] is False
    assert found["filled_below"] == 3


def test_a_stream_brings_the_frames_and_ends_with_the_decoded_picture(viewer, folder, crop):
    found = list(messages(viewer.get("/api/stream?file=photo.cci&rate=100000")[1]))
    kinds = [head["type"] for head, _ in found]
    assert kinds[0] == "bytes"
    assert kinds[-1] == "end"
    frames = [(head, body) for head, body in found if head["type"] == "frame"]
    assert [(head["layers"], head["scale"]) for head, _ in frames] == [(1, 4), (2, 2), (3, 1)]
    expected = np.array(codec.decode(folder / "photo.cci"))
    assert np.array_equal(pixels(frames[-1][1]), expected)
    scores = {head["layers"]: head["psnr"] for head, _ in found if head["type"] == "score"}
    assert scores[1] < scores[2] < scores[3]
    assert abs(scores[3] - psnr(crop, expected)) < 1e-6


def test_a_slow_line_takes_its_time(viewer, folder):
    size = (folder / "plain.cci").stat().st_size
    found = list(messages(viewer.get(f"/api/stream?file=plain.cci&rate={size}")[1]))
    received = [head["received"] for head, _ in found if head["type"] == "bytes"]
    assert received == sorted(received)
    assert received[-1] == size
    assert len(received) > 5
    assert found[-1][0]["seconds"] >= 0.9


def test_a_cut_file_ends_in_full_size_and_says_so(viewer, folder):
    ends = [layer.end for layer in codec.info(folder / "photo.cci").layers]
    cut = (folder / "photo.cci").read_bytes()[: ends[0] + 5]
    name = json.loads(viewer.post("/api/encode?title=cut.cci", cut)[1])["name"]
    found = list(messages(viewer.get(f"/api/stream?file={name}&fill=sample&seed=3")[1]))
    frames = [(head, body) for head, body in found if head["type"] == "frame"]
    assert [(head["layers"], head["scale"]) for head, _ in frames] == [(1, 4), (1, 1)]
    expected = codec.decode(cut, fill="sample", seed=3)
    assert np.array_equal(pixels(frames[-1][1]), np.array(expected))
    assert "cut" in found[-1][0]["notes"][0]


def test_a_file_of_some_stages_ends_in_full_size(viewer, crop):
    data = codec.encode(crop, model="convdraw", stages=6)
    name = json.loads(viewer.post("/api/encode?title=some.cci", data)[1])["name"]
    found = list(messages(viewer.get(f"/api/stream?file={name}")[1]))
    frames = [(head, body) for head, body in found if head["type"] == "frame"]
    assert [head["scale"] for head, _ in frames] == [4, 2, 1]
    assert np.array_equal(pixels(frames[-1][1]), np.array(codec.decode(data)))


def test_layers_and_fill_are_those_of_decode(viewer, folder):
    for layers, fill, seed in ((1, "mean", 0), (1, "sample", 4), (2, "sample", 4)):
        query = f"file=photo.cci&layers={layers}&fill={fill}&seed={seed}"
        (head, body), _ = messages(viewer.get(f"/api/decode?{query}")[1])
        expected = codec.decode(folder / "photo.cci", layers=layers, fill=fill, seed=seed)
        assert np.array_equal(pixels(body), np.array(expected))
        assert head["layers"] == layers


def test_every_stage_of_a_file_can_be_shown_and_samples_have_a_temperature(viewer, crop):
    drawn = codec.encode(crop, model="convdraw")
    name = json.loads(viewer.post("/api/encode?title=drawn.cci", drawn)[1])["name"]
    about = viewer.json(f"/api/info?file={name}")
    assert [layer["stages"] for layer in about["layers"]] == [2, 2, 4]
    assert about["filled_below"] == 8
    query = f"file={name}&stages=3&fill=sample&seed=2&temperature=0.8"
    ((head, body),) = messages(viewer.get(f"/api/decode?{query}")[1])
    expected = codec.decode(drawn, stages=3, fill="sample", seed=2, temperature=0.8)
    assert np.array_equal(pixels(body), np.array(expected))
    assert (head["layers"], head["stages"]) == (2, 3)


def test_ssimulacra2_follows_a_picture_that_has_an_original(viewer, folder, crop):
    (_, body), (head, none) = messages(viewer.get("/api/decode?file=photo.cci")[1])
    assert (head["type"], none) == ("score", b"")
    assert abs(head["ssimulacra2"] - ssimulacra2_of(crop, pixels(body))) < 1e-3
    found = list(messages(viewer.get("/api/stream?file=photo.cci")[1]))
    scores = [head for head, _ in found if head["type"] == "score" and "ssimulacra2" in head]
    assert [score["layers"] for score in scores][-1] == 3
    assert abs(scores[-1]["ssimulacra2"] - head["ssimulacra2"]) < 1e-3


def test_ssimulacra2_is_left_out_where_it_would_take_long(monkeypatch):
    flat = np.zeros((40, 60, 3), np.uint8)
    assert measures.points(flat, flat) > 99
    assert measures.points(flat[:7], flat[:7]) is None
    monkeypatch.setattr(measures, "MOST_PIXELS", 2000)
    assert measures.points(flat, flat) is None


def test_rivals_have_at_most_the_same_bytes(viewer, crop):
    for name, share in (("jpeg", 0.75), ("jpeg2000", 0.75), ("webp", 0.75), ("avif", 0.9)):
        (head, body), (score, _) = messages(
            viewer.get(f"/api/rival?file=photo.cci&name={name}&bytes=4000")[1]
        )
        assert 4000 * share < head["bytes"] <= 4000
        assert abs(head["psnr"] - psnr(crop, pixels(body))) < 1e-6
        assert abs(score["ssimulacra2"] - ssimulacra2_of(crop, pixels(body))) < 1e-3
    (head, _), _ = messages(viewer.get("/api/rival?file=photo.cci&name=jpeg&bytes=200")[1])
    assert head["bytes"] > 200
    assert "No JPEG is as small" in head["note"]


def test_rivals_get_no_bytes_for_metadata(tmp_path, crop):
    image = Image.fromarray(crop)
    image.save(tmp_path / "photo.png")
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = codec.encode(image)
    beside = sum(codec.info(data).metadata.values())
    assert beside > 300
    (tmp_path / "photo.cci").write_bytes(data)
    with Viewer(tmp_path) as shown:
        answer = shown.get(f"/api/rival?file=photo.cci&name=jpeg&bytes={len(data)}")[1]
    head = next(messages(answer))[0]
    assert head["bytes"] <= len(data) - beside
    assert head["note"] == f"Compared without {beside} bytes of metadata and alpha."


def test_rivals_that_pillow_lacks_are_known_to_the_page(crop, monkeypatch):
    monkeypatch.setattr(rivals.features, "check", lambda needs: needs != "avif")
    assert [each["missing"] for each in rivals.available()] == [False, False, False, True]
    with pytest.raises(codec.errors.ArgumentError, match="AVIF needs a Pillow"):
        rivals.rival(crop, "avif", 1000, lambda: None)


def test_an_avif_library_without_the_tuning_for_the_eye_codes_without_it(crop, monkeypatch):
    def unknown(*_):
        raise ValueError("Invalid codec options")

    plain = codecs.OTHERS["avif"]
    monkeypatch.setitem(codecs.OTHERS, "avif-iq", replace(plain, encode=unknown))
    rivals._encoder.cache_clear()
    try:
        assert rivals._encoder("avif") == plain.encode
    finally:
        rivals._encoder.cache_clear()


def test_the_page_learns_what_its_controls_offer(viewer):
    about = viewer.json("/api/about")
    assert about["models"][0] == {"name": "ssvae", "tunings": ["eye", "psnr"]}
    assert {"name": "convdraw", "tunings": ["psnr"]} in about["models"]
    assert about["temperature"] == 0.5
    assert [rival["name"] for rival in about["rivals"]] == ["jpeg", "jpeg2000", "webp", "avif"]


def test_thumbnails_are_small_made_once_and_follow_their_file(viewer, folder, crop):
    status, body = viewer.get("/api/thumbnail?file=photo.cci")
    assert status == 200
    with Image.open(io.BytesIO(body)) as image:
        assert image.size == (56, 46)  # a quarter of the file
    made = Thumbnails(keep=1)
    data = codec.encode(Image.fromarray(crop).resize((800, 300)))
    large, small = Item("large", "", data, None), Item("small", "", folder / "plain.cci", None)
    with Image.open(io.BytesIO(made.make(large, {}))) as image:
        assert image.size == (128, 48)
    assert made.known(large)
    assert not made.known(Item("large", "", data + b"x", None))
    made.make(small, {})
    assert made.known(small)
    assert not made.known(large)


def test_a_dropped_picture_is_coded_anew_in_its_place(viewer, folder, crop):
    picture = (folder / "photo.png").read_bytes()
    name = json.loads(viewer.post("/api/encode?title=a.png&quality=20", picture)[1])["name"]
    query = "quality=70&tune=psnr&layers=2"
    status, body = viewer.post(f"/api/recode?file={name}&{query}", b"")
    assert status == 200
    found = json.loads(body)
    assert (found["name"], found["title"], found["quality"]) == (name, "a.png", 70)
    expected = codec.encode(crop, quality=70, tune="psnr", layers=2)
    assert viewer.get(f"/api/file?file={name}")[1] == expected


def test_a_file_with_an_original_is_coded_anew_beside_it_once(viewer, folder, crop):
    before = (folder / "photo.cci").read_bytes()
    first, second = (
        json.loads(viewer.post(f"/api/recode?file=photo.cci&quality={quality}", b"")[1])
        for quality in (10, 11)
    )
    assert first["name"] == second["name"] != "photo.cci"
    assert viewer.get(f"/api/file?file={first['name']}")[1] == codec.encode(crop, quality=11)
    assert (folder / "photo.cci").read_bytes() == before
    status, body = viewer.post("/api/recode?file=plain.cci", b"")
    assert status == 422
    assert "no original" in json.loads(body)["error"]
    assert viewer.post("/api/recode?file=photo.cci&model=none", b"")[0] in (400, 422)
    assert viewer.get("/api/recode?file=photo.cci")[0] == 405


def test_what_is_coded_anew_takes_no_more_memory(tmp_path):
    library = Library(tmp_path, memory=Memory(keep=8, keep_bytes=1000))
    item = library.add("x", b"x" * 40, b"original")
    for size in range(300):
        item = library.recoded(item, b"x" * size)
    assert library.find(item.name).read() == b"x" * 299
    assert library._memory._size() == 299 + len(b"original")


def test_encoding_ends_when_the_page_no_longer_waits(viewer, folder, photograph):
    """What is superseded does not hold up what replaces it."""
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, "PNG")
    name = json.loads(viewer.post("/api/encode?title=a.png", buffer.getvalue())[1])["name"]
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", viewer.port)
        connection.request("POST", f"/api/recode?file={name}&target_psnr=33")  # several passes
        time.sleep(0.05)
        connection.close()
    started = time.perf_counter()
    assert viewer.post(f"/api/recode?file={name}&quality=1", b"")[0] == 200
    once = time.perf_counter() - started
    started = time.perf_counter()
    assert viewer.post(f"/api/recode?file={name}&target_psnr=33", b"")[0] == 200
    assert once < 3 * (time.perf_counter() - started)  # one of the ten may end as it began


@pytest.mark.parametrize(
    "options", [{"target_psnr": 33, "tune": "psnr"}, {"target_bytes": 3000}, {"quality": 20.5}]
)
def test_a_dropped_picture_may_aim_at_a_target(viewer, folder, crop, options):
    query = "&".join(f"{name}={value}" for name, value in options.items())
    status, body = viewer.post(f"/api/encode?{query}", (folder / "photo.png").read_bytes())
    assert status == 200
    coded = viewer.get(f"/api/file?file={json.loads(body)['name']}")[1]
    assert coded == codec.encode(crop, **options)


@pytest.mark.parametrize("query", ["target_psnr=x", "tune=ear", "quality=5&target_bytes=9"])
def test_an_aim_that_makes_no_sense_is_refused(viewer, query):
    status, body = viewer.post(f"/api/encode?{query}", b"")
    assert status == 400
    assert json.loads(body)["error"]


def test_a_dropped_picture_is_encoded_and_stays_in_memory(viewer, folder, crop):
    before = sorted(folder.iterdir())
    status, body = viewer.post(
        "/api/encode?quality=30&title=..%2Fdropped.png", (folder / "photo.png").read_bytes()
    )
    assert status == 200
    found = json.loads(body)
    assert (found["quality"], found["title"], found["original"]) == (30, "dropped.png", True)
    assert found["name"] == found["held"][-1]
    coded = viewer.get(f"/api/file?file={found['name']}")[1]
    assert coded == codec.encode(crop, quality=30)
    broken = coded[:30]
    assert viewer.post("/api/encode?title=broken.cci", broken)[0] == 422
    again = json.loads(viewer.post("/api/encode?title=again.cci", coded)[1])
    assert again["held"] == [*found["held"], again["name"]]
    ((_, picture),) = messages(viewer.get(f"/api/original?file={found['name']}")[1])
    assert np.array_equal(pixels(picture), crop)
    assert sorted(folder.iterdir()) == before


def test_two_viewers_at_once_do_not_disturb_each_other(viewer, folder):
    expected = np.array(codec.decode(folder / "photo.cci"))
    sampled = np.array(codec.decode(folder / "plain.cci", layers=1, fill="sample", seed=9))
    results = {}

    def look(number: int) -> None:
        if number % 2:
            body = viewer.get("/api/stream?file=photo.cci&rate=20000")[1]
            frames = [body for head, body in messages(body) if head["type"] == "frame"]
            results[number] = len(frames) == 3 and np.array_equal(pixels(frames[-1]), expected)
        else:
            body = viewer.get("/api/decode?file=plain.cci&layers=1&fill=sample&seed=9")[1]
            ((_, picture),) = messages(body)
            results[number] = np.array_equal(pixels(picture), sampled)

    threads = [threading.Thread(target=look, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(6), True)


def test_a_viewer_that_goes_away_leaves_the_server_well(viewer):
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", viewer.port)
        connection.request("GET", "/api/stream?file=photo.cci&rate=2000")
        connection.getresponse().read(10)
        connection.close()
    assert viewer.get("/api/decode?file=photo.cci&layers=1")[0] == 200


# -- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../secret.cci",
        "..%2Fsecret.cci",
        "sub/../../secret.cci",
        "out.cci",
        "loop.cci",
        "missing.cci",
        "notes.txt",
        "photo.png",
        "photo.cci%00.png",
        "",
        ".",
        "/etc/passwd",
        "a" * 5000 + ".cci",
        "dropped-guess",
    ],
)
def test_what_is_none_of_its_files_is_not_found(viewer, name):
    for address in ("info", "stream", "decode", "file", "original", "rival", "thumbnail"):
        status, body = viewer.get(f"/api/{address}?file={name}&bytes=9")
        assert status == 404, address
        assert "none of the files" in json.loads(body)["error"]


def test_absolute_paths_are_not_found(viewer, folder):
    status, _ = viewer.get(f"/api/info?file={folder / 'photo.cci'}")
    assert status == 404


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/..%2Fapp.py", "/nothing", "/api/"])
def test_nothing_else_of_the_machine_is_served(viewer, path):
    status, body = viewer.get(path)
    assert status == 404
    assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/files", "/static/viewer.js"])
def test_foreign_hosts_origins_and_sites_are_refused(viewer, headers, path):
    sent = {key: value.format(port=viewer.port) for key, value in headers.items()}
    status, body = viewer.get(path, sent)
    assert status == 403
    assert "refused" in json.loads(body)["error"] or "127.0.0.1" in json.loads(body)["error"]


def test_its_own_page_may_ask_by_either_name(viewer):
    for host in ("127.0.0.1", "localhost"):
        own = f"{host}:{viewer.port}"
        headers = {"Host": own, "Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"}
        assert viewer.get("/api/files", headers)[0] == 200


def test_it_listens_on_this_machine_alone(viewer):
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("needs /proc")
    port = f":{viewer.port:04X}"
    local = [line.split()[1] for line in listening.read_text().splitlines()[1:]]
    assert next(a.split(":")[0] for a in local if a.endswith(port)) == "0100007F"
    assert not any(a == "00000000" + port for a in local)


def test_a_body_above_the_limit_is_refused_before_it_is_read(viewer):
    status, body = viewer.post("/api/encode", b"", {"Content-Length": str(10**12)})
    assert status == 413
    assert "limit" in json.loads(body)["error"]


def test_a_body_that_does_not_say_how_long_it_is_is_cut_at_the_limit(folder):
    with in_process(folder, max_body=5000) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        pieces = iter([b"x" * 4000, b"x" * 4000])
        connection.request("POST", "/api/encode", body=pieces, encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        response = connection.getresponse()
        assert response.status == 413
        assert "5000" in json.loads(response.read())["error"]


@contextmanager
def in_process(folder, **options):
    """A server with other limits than the command's."""
    listener = bind(0)
    port = listener.getsockname()[1]
    app = build(Library(folder), hosts=frozenset({f"127.0.0.1:{port}"}), **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/api/decode?file=photo.cci&layers=9", 400, "layers must be"),
        ("/api/decode?file=photo.cci&layers=many", 400, "layers must be"),
        ("/api/decode?file=photo.cci&fill=dream", 400, "fill must be"),
        ("/api/decode?file=photo.cci&fill=sample&seed=-1", 400, "seed must be"),
        ("/api/decode?file=photo.cci&fill=sample&temperature=11", 400, "temperature must be"),
        ("/api/decode?file=photo.cci&stages=0", 400, "stages must be"),
        ("/api/decode?file=photo.cci&stages=9", 400, "stages"),
        ("/api/stream?file=photo.cci&rate=inf", 400, "rate must be"),
        ("/api/rival?file=photo.cci&name=gif&bytes=100", 400, "jpeg"),
        ("/api/rival?file=plain.cci&name=jpeg&bytes=100", 422, "no original"),
    ],
)
def test_wrong_questions_are_errors_in_json(viewer, path, status, reason):
    found, body = viewer.get(path)
    assert found == status
    assert reason in json.loads(body)["error"]


def test_what_is_no_picture_is_an_error_in_json(viewer):
    status, body = viewer.post("/api/encode", b"no picture")
    assert status == 422
    assert "not an image" in json.loads(body)["error"]
    assert viewer.get("/api/encode")[0] == 405


def test_an_image_that_declares_too_much_is_refused(folder):
    with Viewer(folder, "--max-pixels", "10000") as small:
        assert small.get("/api/info?file=photo.cci")[0] == 422
        ((head, _),) = [m for m in messages(small.get("/api/stream?file=photo.cci")[1])
                        if m[0]["type"] == "error"]  # fmt: skip
        assert "limit" in head["error"]


def test_a_stranger_beside_the_file_is_no_original(viewer, folder):
    Image.new("RGB", (10, 10)).save(folder / "plain.jpg")
    try:
        status, body = viewer.get("/api/original?file=plain.cci")
    finally:
        (folder / "plain.jpg").unlink()
    assert status == 422
    assert "another size" in json.loads(body)["error"]


def test_the_oldest_dropped_files_are_forgotten(tmp_path):
    library = Library(tmp_path, memory=Memory(keep=2, keep_bytes=100))
    first, second = (library.add("x", b"x" * 40, None) for _ in range(2))
    assert library.find(first.name).read() == b"x" * 40  # looked at last
    third = library.add("x", b"x" * 40, b"")
    assert {library.find(item.name).name for item in (first, third)}
    with pytest.raises(codec.errors.CodecError):
        library.find(second.name)
    library.touch(first.name)
    assert library.held() == [third.name, first.name]
    large = library.add("x", b"x" * 500, None)
    assert library.held() == [large.name]
    assert library.find(large.name).read() == b"x" * 500  # alone it may be larger


# -- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_while_a_file_streams(folder, number):
    running = Viewer(folder)
    running.__enter__()
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        host = f"127.0.0.1:{running.port}"
        request = f"GET /api/stream?file=photo.cci&rate=100 HTTP/1.1\r\nHost: {host}\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        running.process.send_signal(number)
        out, err = running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    assert err == "codec: viewer stopped\n"
    assert out == ""


def run_view(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "view", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env=os.environ | environment,
    )  # fmt: skip


def test_a_port_in_use_is_one_line(folder, viewer):
    done = run_view(folder, "--no-browser", "--port", viewer.port)
    assert done.returncode == 1
    assert re.fullmatch(rf"codec: port {viewer.port} cannot be used \(.*\n", done.stderr)


def test_a_missing_folder_is_one_line(tmp_path):
    done = run_view(tmp_path / "nowhere", "--no-browser")
    assert done.returncode == 1
    assert done.stderr == f"codec: {tmp_path / 'nowhere'}: no such file or folder\n"


def test_what_is_no_picture_is_one_line_and_no_page(folder):
    done = run_view(folder / "notes.txt", "--no-browser")
    assert done.returncode == 1
    assert done.stderr == f"codec: {folder / 'notes.txt'}: is not an image Pillow can read\n"


def test_without_the_extra_it_says_how_to_get_it(folder, tmp_path):
    (tmp_path / "starlette.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'starlette'\", name='starlette')"
    )
    root = str(Path(codec.__file__).parents[1])
    done = run_view(folder, "--no-browser", PYTHONPATH=f"{tmp_path}:{root}")
    assert done.returncode == 1
    assert done.stderr.startswith("codec: codec view needs starlette: pip install 'conc")
    assert done.stderr.count("\n") == 1


def test_answers_while_a_layer_decodes_come_at_once(viewer, photograph, tmp_path):
    """The page stays responsive: decoding happens beside the loop that answers."""
    large = codec.encode(Image.fromarray(photograph).resize((960, 640)), quality=30)
    name = json.loads(viewer.post("/api/encode?title=large.cci", large)[1])["name"]
    decoding = threading.Thread(target=lambda: viewer.get(f"/api/decode?file={name}"))
    decoding.start()
    waits = []
    while decoding.is_alive():
        started = time.perf_counter()
        assert viewer.get("/api/files")[0] == 200
        waits.append(time.perf_counter() - started)
    assert len(waits) >= 3
    assert sorted(waits)[len(waits) // 2] < 0.5


def test_messages_have_the_documented_form(viewer):
    body = viewer.get("/api/decode?file=plain.cci&layers=1")[1]
    head_bytes, picture_bytes = struct.unpack_from("<II", body)
    assert len(body) == 8 + head_bytes + picture_bytes
    assert json.loads(body[8 : 8 + head_bytes])["type"] == "frame"
    assert body[8 + head_bytes :].startswith(b"\x89PNG")
