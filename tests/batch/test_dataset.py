"""A training set that stays compressed."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import codec
from codec.batch import CodedImages
from codec.errors import ArgumentError, CodecError, ImageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, crop):
    place = tmp_path_factory.mktemp("coded")
    (place / "sub").mkdir()
    for number in range(4):
        data = codec.encode(crop[number : 70 + number, :90])
        (place / ("sub" if number % 2 else ".") / f"{number}.cci").write_bytes(data)
    return place


def test_items_are_what_decode_gives(folder):
    images = CodedImages(str(folder))
    assert len(images) == 4
    assert [images.path(i) for i in range(4)] == ["0.cci", "2.cci", "sub/1.cci", "sub/3.cci"]
    assert images[1].dtype == torch.uint8
    expected = np.asarray(codec.decode(folder / "2.cci"), int)
    assert np.abs(images[1].permute(1, 2, 0).numpy() - expected).max() <= 1


@pytest.mark.parametrize(
    ("size", "shape"), [("full", (70, 90)), ("y2", (35, 45)), ("y1", (18, 23))]
)
def test_sizes(folder, size, shape):
    assert CodedImages(str(folder), size=size)[0].shape == (3, *shape)


def test_a_small_size_needs_the_first_layers_alone(folder, tmp_path):
    data = (folder / "0.cci").read_bytes()
    (tmp_path / "cut.cci").write_bytes(data[: codec.info(data).layers[0].end])
    whole = CodedImages(str(folder), size="y1", paths=["0.cci"])[0]
    assert torch.equal(CodedImages(str(tmp_path), size="y1")[0], whole)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_loaders_workers_decode(folder, method):
    images = CodedImages(str(folder), transform=_crop)
    loader = DataLoader(images, batch_size=2, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert [b.shape for b in batches] == [(2, 3, 64, 64)] * 2
    assert torch.equal(batches[0][1], images[1])


def _crop(picture):
    return picture[:, :64, :64]


def test_pickled_after_use(folder):
    images = CodedImages(str(folder))
    first = images[0]
    assert torch.equal(pickle.loads(pickle.dumps(images))[0], first)


def test_the_number_of_threads_is_left_as_it_was(folder):
    before = torch.get_num_threads()
    CodedImages(str(folder))[0]
    assert torch.get_num_threads() == before


def test_errors_name_the_file(folder, tmp_path):
    (tmp_path / "bad.cci").write_bytes(b"no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CodecError, match=r"bad\.cci: "):
        CodedImages(str(tmp_path))[0]
    with pytest.raises(ImageError, match=r"holds no \.cci file"):
        CodedImages(str(tmp_path / "empty"))
    with pytest.raises(ArgumentError, match="full, y2 or y1"):
        CodedImages(str(folder), size="half")
