"""Images coded together give the files and pictures that they give one by one."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from codec import limits, together
from codec import walk as walking
from codec.errors import CodecError, OptionError
from models.exact.arithmetic import _product


@pytest.fixture(scope="module")
def mixed(photograph):
    """Images of three padded sizes in mixed order: colour, grey, alpha, a page of text."""
    alpha = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (120, 1))
    page = np.full((128, 128, 3), 255, dtype=np.uint8)
    page[20:60:4, 10:100:3] = 0
    return [
        photograph[:128, :128],
        photograph[200:310, 300:420],
        photograph[100:170, 100:150],
        np.dstack([photograph[60:180, 400:500], alpha]),
        photograph[:120, 200:328, 1],
        page,
        photograph[300:428, 10:138],
        Image.fromarray(photograph[:64, 64:128]),
        photograph[130:250, 500:620],
    ]


@pytest.fixture(autouse=True)
def groups_of_three(monkeypatch):
    monkeypatch.setattr(together, "CPU_PIXELS", 3 * 128**2)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 30},
        {"quality": 85},
        {"quality": 70, "stages": 3, "filter": False},
        {"quality": 40.25, "layers": 2},
        {"quality": 60, "model": "convdraw"},
        {"quality": 50, "effort": 2, "tune": "psnr"},
        {"target_bpp": 0.4, "graphics": False},
    ],
    ids=str,
)
def test_files_and_pictures_are_those_of_one_by_one(mixed, options):
    images = mixed[:4] if "effort" in options or "target_bpp" in options else mixed
    files = codec.encode_batch(images, **options)
    assert files == [codec.encode(image, **options) for image in images]
    for asked in ({}, {"layers": 1}, {"scale": 2}, {"fill": "sample", "layers": 2}):
        pictures = codec.decode_batch(files, **asked)
        for file, picture in zip(files, pictures, strict=True):
            alone = codec.decode(file, **asked)
            assert picture.mode == alone.mode
            assert np.array_equal(np.array(picture), np.array(alone))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_many_small_images_has_the_same_bits(photograph, threads):
    """Libraries take other ways for large batches: the files must not depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        images = [
            photograph[y : y + 64, x : x + 64] for y in (0, 64, 128) for x in range(0, 512, 64)
        ]
        assert len(images) == 24
        files = codec.encode_batch(images, quality=80)
        assert files == [codec.encode(image, quality=80) for image in images]
    finally:
        torch.set_num_threads(before)


def test_symbols_and_notes_are_those_of_one_by_one(mixed):
    files = [codec.encode(image, quality=85) for image in mixed[:4]]
    files[1] = files[1][:-40]  # cut
    files.append(bytes([*files[0][:-30], files[0][-30] ^ 1, *files[0][-29:]]))  # damaged
    results = dict(together.decode_each(files, codec.options.DecodeOptions()))
    for number, file in enumerate(files):
        alone = codec.decode_detailed(file)
        assert results[number].symbol_checksums == alone.symbol_checksums
        assert results[number].notes == alone.notes
        assert results[number].filtered == alone.filtered
    with pytest.warns(codec.errors.TruncatedWarning):
        codec.decode_batch(files[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.decode_batch(files[:2], warn=False)


def test_a_layer_that_decodes_to_nothing_spoils_no_other(mixed, monkeypatch):
    files = [codec.encode(image, quality=50) for image in (mixed[0], mixed[6])]
    wanted = [codec.decode(file) for file in files]

    def failing(decoders, plan):
        raise codec.errors.CorruptError("a layer decoded to other symbols than were encoded")

    monkeypatch.setattr(together, "_decode_together", failing)
    for picture, alone in zip(codec.decode_batch(files), wanted, strict=True):
        assert np.array_equal(np.array(picture), np.array(alone))


@pytest.fixture
def sizes_of_batches(monkeypatch):
    """How many images went through each walk, encoding and decoding."""
    counts = []

    def counting(work):
        def counted(images, *arguments, **options):
            counts.append(len(images))
            return work(images, *arguments, **options)

        return counted

    for name in ("encode_together", "_decode_together"):
        monkeypatch.setattr(together, name, counting(getattr(together, name)))
    return counts


def test_images_of_one_size_go_through_one_walk(mixed, sizes_of_batches):
    images = [mixed[0], mixed[2], mixed[6], mixed[4], mixed[3]]  # the third has another size
    files = codec.encode_batch(images, graphics=False)
    assert sizes_of_batches == [3, 1, 1]
    sizes_of_batches.clear()
    codec.decode_batch(files[:1] + files[2:4])
    assert sizes_of_batches == [3]


def test_a_batch_takes_as_many_transfers_as_one_image(photograph, monkeypatch):
    fetched = []
    for kind in (walking.Recorder, walking.Stored):
        fetch = kind.fetch
        monkeypatch.setattr(kind, "fetch", lambda self, v, f=fetch: fetched.append(1) or f(self, v))
    images = [photograph[y : y + 64, :128] for y in (0, 64, 128)]
    counts = []
    for count in (1, 3):
        codec.decode_batch(codec.encode_batch(images[:count], quality=80))
        counts.append(len(fetched))
        fetched.clear()
    assert counts[0] == counts[1] >= 2 * 4 * 4  # four steps of each of four stages, both ways


def test_what_does_not_fit_into_memory_is_divided(mixed, monkeypatch, sizes_of_batches):
    images = [mixed[0], mixed[6], mixed[4]]
    files = [codec.encode(image) for image in images]
    for name in ("encode_together", "_decode_together"):
        work = getattr(together, name)

        def full(images, *arguments, work=work, **options):
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return work(images, *arguments, **options)

        monkeypatch.setattr(together, name, limits.out_of_memory_as_limit(full))
    assert codec.encode_batch(images) == files
    for file, picture in zip(files, codec.decode_batch(files), strict=True):
        assert np.array_equal(np.array(picture), np.array(codec.decode(file)))


def test_few_images_wait_for_others_of_their_size(photograph, monkeypatch, sizes_of_batches):
    """Of many sizes, twice each: without a bound all would wait to the end."""
    images = [photograph[: 64 * rows, :64] for rows in (1, 2, 3, 4, 5, 6)] * 2
    files = codec.encode_batch(images)
    assert max(sizes_of_batches) == 2
    sizes_of_batches.clear()
    monkeypatch.setattr(together, "MOST_WAITING", 0.01)
    assert codec.encode_batch(images) == files
    assert max(sizes_of_batches) == 1


def test_an_error_names_the_first_image_that_cannot_be_coded(mixed, tmp_path):
    missing = tmp_path / "none.png"
    with pytest.raises(CodecError, match=r"^number 2 of 3: .*none\.png"):
        codec.encode_batch([mixed[0], missing, missing])
    good = codec.encode(mixed[0])
    with pytest.raises(CodecError, match=r"^number 3 of 3: "):
        codec.decode_batch([good, good, b"no such file"])
    with pytest.raises(OptionError, match=r"encode_batch\(\) has no option 'qualty'"):
        codec.encode_batch([mixed[0]], qualty=3)
    assert codec.encode_batch([]) == []
    assert codec.decode_batch([]) == []


def test_progress_counts_images(mixed):
    shares = []
    codec.encode_batch(mixed[:3], progress=shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert len(shares) >= 2


@pytest.mark.parametrize("places", [4, 64, 300])
def test_exact_products_do_not_depend_on_the_batch(places):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-(2**18), 2**18, (12, 40), generator=generator).double()
    x = torch.randint(-(2**23), 2**23, (5, 40, places), generator=generator).double()
    exact = (weight.long() @ x.long()).double()
    assert torch.equal(_product(weight, x), exact)
    assert all(torch.equal(_product(weight, x[i : i + 1])[0], exact[i]) for i in range(5))


def test_a_gpu_takes_larger_batches():
    at_once = together.images_at_once
    assert at_once(256 * 256, torch.device("cuda")) > at_once(256 * 256, torch.device("cpu"))
    assert at_once(2**30, torch.device("cuda")) == 1
