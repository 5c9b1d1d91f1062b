"""A worker codes what it has at hand together: same results, and every error on its own picture."""

from queue import Queue

import numpy as np
import pytest
from PIL import Image

import codec
from codec.batch import worker
from codec.batch.planning import Entry, Unit
from codec.batch.settings import DECODE, ENCODE, Settings
from codec.batch.worker import TOGETHER, Worker, _at_hand


@pytest.fixture
def folder(tmp_path, crop):
    place = tmp_path / "in"
    place.mkdir()
    for number in range(5):
        Image.fromarray(crop[number : 60 + number, :50]).save(place / f"{number}.png")
    (place / "5.png").write_bytes(b"broken")
    (place / "6.png").write_bytes(b"")
    return place


def _units(names, suffix):
    return [Unit(n, [Entry(n, 1, n.rpartition(".")[0] + suffix)]) for n in names]


def _worked(settings, root, units):
    done = []
    Worker(settings, str(root)).work(units, lambda *_: None, done.append)
    return {row["path"]: row for each in done for row in each.rows}


@pytest.mark.parametrize("alone", [False, True])
def test_results_are_those_of_one_by_one(folder, tmp_path, monkeypatch, alone):
    groups = []
    together = worker.Coder.code_together

    def counted(self, pictures):
        groups.append(len(pictures))
        return together(self, pictures)

    monkeypatch.setattr(worker.Coder, "code_together", counted)
    monkeypatch.setattr(Queue, "empty", lambda self: False)  # as if all were read ahead
    out, back = tmp_path / "out", tmp_path / "back"
    units = _units([f"{n}.png" for n in range(7)], ".cci")
    for unit in units:
        unit.alone = alone
    settings = Settings(str(folder), str(out), ENCODE, {"quality": 40})
    rows = _worked(settings, folder, units)
    assert bool(groups) is not alone
    assert [rows[f"{n}.png"]["status"] for n in range(7)] == ["ok"] * 5 + ["failed"] * 2
    assert "empty" in rows["6.png"]["error"]
    assert rows["0.png"]["seconds"] > 0
    for number in range(5):
        wanted = codec.encode(folder / f"{number}.png", quality=40)
        assert (out / f"{number}.cci").read_bytes() == wanted
    decoding = Settings(str(out), str(back), DECODE, suffix=".png")
    rows = _worked(decoding, out, _units([f"{n}.cci" for n in range(5)], ".png"))
    assert all(row["status"] == "ok" for row in rows.values())
    for number in range(5):
        wanted = np.array(codec.decode(out / f"{number}.cci"))
        with Image.open(back / f"{number}.png") as image:
            assert np.array_equal(np.array(image), wanted)


def test_a_group_that_fails_as_a_whole_is_coded_one_by_one(folder, tmp_path, monkeypatch):
    def failing(self, pictures):
        raise RuntimeError("unexpected")

    monkeypatch.setattr(worker.Coder, "code_together", failing)
    settings = Settings(str(folder), str(tmp_path / "out"), ENCODE)
    rows = _worked(settings, folder, _units(["0.png", "1.png", "5.png"], ".cci"))
    assert [rows[f"{n}.png"]["status"] for n in (0, 1, 5)] == ["ok", "ok", "failed"]


def test_nothing_is_waited_for_and_the_end_is_kept():
    loaded = Queue()
    for item in (*range(TOGETHER + 2), None):
        loaded.put(item)
    assert _at_hand(loaded) == list(range(TOGETHER))
    assert _at_hand(loaded) == [TOGETHER, TOGETHER + 1]
    assert _at_hand(loaded) == []
