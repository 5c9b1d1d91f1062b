"""The browser's decoder in Node: the corpus, broken files, and the same answers as Python's."""

from __future__ import annotations

import json

import numpy as np
import pytest

import codec
from cli.gallery.site import STATIC
from codec.errors import CodecError
from tests.conformance.test_corpus import CORPUS
from tests.mutations import KINDS, mutate
from tests.web.node import WEB, build, missing, node, weights

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

MAX_PIXELS = 2**20
#: Files of each kind of damage that both decoders are asked for.
EACH = 12


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Built tests, and weights."""
    folder = tmp_path_factory.mktemp("web")
    build(folder, "--tests")
    return {"CCI_WEIGHTS": str(weights(folder / "weights"))}


def passes(name, environment, **more):
    script = f"build/test/{name}.test.js"
    done = node("--test", "--test-reporter=tap", script, **environment, **more)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return done.stdout


def test_the_corpus_decodes_to_the_same_symbols_and_pictures(environment):
    assert "# fail 0" in passes("decoding", environment)


def test_the_kernels_memory_is_kept_in_order(environment):
    assert "# fail 0" in passes("machine", environment)


def test_planes_are_reduced_as_the_format_says(environment):
    assert "# fail 0" in passes("area", environment)


def test_quarter_steps_of_quality_and_lossless_graphics_are_known(environment):
    assert "# fail 0" in passes("additions", environment)


def test_broken_files_do_no_harm(environment):
    assert "240 broken files" in passes("mutations", environment, MUTATIONS="240")


@pytest.mark.slow
def test_two_thousand_broken_files_do_no_harm(environment):
    assert "2000 broken files" in passes("mutations", environment, MUTATIONS="2000")


@pytest.fixture(scope="module")
def outcomes(environment, tmp_path_factory):
    """(kind, file, what the browser's decoder made of it) of mutated files."""
    folder = tmp_path_factory.mktemp("broken")
    about = {path: codec.info(path) for path in sorted(CORPUS.glob("*.cci"))}
    # Node, other than browsers, unpacks no WebP.
    files = [p for p, one in about.items() if one.model != "convdraw" and not one.graphics_bytes]
    for number, kind in enumerate(KINDS):
        for i in range(EACH):
            data = files[(number + i) % len(files)].read_bytes()
            broken = mutate(data, kind, np.random.default_rng(1000 * number + i))
            (folder / f"{number:02d}-{i:02d}.cci").write_bytes(broken)
    done = node("build/test/outcomes.js", folder, str(MAX_PIXELS), **environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == EACH * len(KINDS)
    return [(KINDS[int(line["name"][:2])], folder / line["name"], line) for line in lines]


def test_both_decoders_say_the_same_of_broken_files(outcomes):
    for kind, path, found in outcomes:
        if kind == "header, sealed":  # flags of later versions are known to the browser already
            continue
        expected = in_python(path)
        if isinstance(expected, CodecError):
            names = [one.__name__ for one in type(expected).__mro__]  # LayerError is a CorruptError
            assert found.get("error") in names[:2], (kind, path, found, expected)
            assert plain(found["message"]) == plain(str(expected)), (kind, path)
            continue
        assert "error" not in found, (kind, path, found)
        assert found["symbolChecksums"] == list(expected.symbol_checksums)
        assert [plain(note) for note in found["notes"]] == [plain(n) for n in expected.notes]
        assert (found["layers"], found["damaged"], found["filtered"]) == (
            expected.layers,
            expected.damaged,
            expected.filtered,
        )
        shown = np.array(expected.image.convert("RGBA")).astype(int)
        pixels = np.fromfile(f"{path}.rgba", np.uint8).reshape(shown.shape)
        assert np.abs(pixels - shown).max() <= 2, (kind, path)


def in_python(path):
    """What Python's decoder makes of a file, or its error."""
    try:
        return codec.decode_detailed(path, max_pixels=MAX_PIXELS)
    except CodecError as error:
        return error


def plain(words):
    """Words without the reasons of libraries, which tell a cut stream from a damaged one or not."""
    return words.split(" (")[0].removesuffix(" or too large")


def test_the_shipped_files_are_built_from_the_sources(tmp_path):
    build(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (STATIC / path.name).read_bytes(), f"{path.name}: make web"
    assert {path.name for path in tmp_path.iterdir()} == {"cci.js", "cci-worker.js", "gallery.js"}


def test_the_lock_file_names_no_registry():
    lock = (WEB / "package-lock.json").read_text()
    assert "resolved" not in lock
