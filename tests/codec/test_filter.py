"""The fitted filter in files: it pays, it harms nothing, and a cut file does without."""

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from bitstream.container import FILTER, LAYER, Chunk, Container
from bitstream.picture_filter import COUNTS, LIMIT, TONES, pack_filter, unpack_filter
from codec.errors import CorruptError, DamageWarning
from codec.filter_fitting import fit_planes
from codec.filter_sample import Sample
from codec.installed import get_model
from models.names import FINE_FROM
from tests.codec.test_progressive import fed, same
from tests.conftest import psnr


def with_filter(data, payload, place=-1, *, first=True):
    """The file with another filter, or none, before one of its layers; instead of its own, or with
    ``first=False`` as a second one behind it."""
    container = Container.from_bytes(data)
    chunks = [chunk for chunk in container.chunks if not first or chunk.type != FILTER]
    if payload is not None:
        layers = [i for i, chunk in enumerate(chunks) if chunk.type == LAYER]
        chunks.insert(layers[place], Chunk(FILTER, payload))
    return container.header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)


def cost(data, original, model):
    """Bits + λ·squared error, in bits."""
    error = (np.array(codec.decode(data), dtype=float) - original) / 255
    pixels = original.shape[0] * original.shape[1]
    worth = get_model(model, "cpu").lagrangian(codec.info(data).quality)
    return 8 * len(data) + worth * pixels * np.mean(error**2)


def before_correction(data):
    """Whether the file has a filter that is used before the fine stage is added."""
    payload = Container.from_bytes(data).filter
    return payload is not None and any(unpack_filter(payload)[1])


@pytest.fixture(scope="module")
def piece(photograph):
    return np.ascontiguousarray(photograph[80:440, 150:490])


@pytest.fixture(scope="module")
def filtered(piece, model):
    return codec.encode(piece, quality=80, model=model)


@pytest.mark.parametrize("quality", [10, 80])
@pytest.mark.parametrize("layers", [2, 3])
def test_a_file_with_a_filter_costs_no_more_than_without(piece, model, quality, layers):
    data = codec.encode(piece, quality=quality, layers=layers, model=model)
    plain = codec.encode(piece, quality=quality, layers=layers, model=model, filter=False)
    if before_correction(data):
        assert quality >= FINE_FROM
        whole, bare = (Container.from_bytes(file).layers for file in (data, plain))
        assert [layer.payload for layer in whole[:2]] == [layer.payload for layer in bare[:2]]
    else:
        assert with_filter(data, None) == plain
    assert cost(data, piece, model) <= cost(plain, piece, model)


@pytest.mark.parametrize("tune", ["eye", "psnr"])
def test_before_the_correction_a_filter_saves_bits(piece, tune):
    """It is used where the fine stage is, and changes what that is added to."""
    model = {"eye": "ssvae", "psnr": "ssvae-psnr"}[tune]
    data = codec.encode(piece, quality=90, tune=tune)
    assert before_correction(data)
    plain = codec.encode(piece, quality=90, tune=tune, filter=False)
    assert len(data) < len(plain)
    container = Container.from_bytes(data)
    last, _ = unpack_filter(container.filter)
    alone = with_filter(plain, pack_filter(last))
    assert cost(data, piece, model) < cost(alone, piece, model)
    misled = np.array(codec.decode(with_filter(data, pack_filter(last))))
    assert psnr(piece, misled) < psnr(piece, codec.decode(data)) - 0.2
    for options in ({"stages": 3}, {"layers": 2}, {"scale": 2}):
        shown = [codec.decode(file, **options) for file in (data, with_filter(data, None))]
        assert np.array_equal(*map(np.array, shown))


def test_tones_are_filtered_only_where_squared_error_is_what_counts(piece):
    def tones(tune):
        payload = Container.from_bytes(codec.encode(piece, quality=30, tune=tune)).filter
        return any(any(plane[-TONES:]) for plane in unpack_filter(payload)[0])

    assert tones("psnr")
    assert not tones("eye")


def test_below_the_correction_no_filter_comes_before_it(piece):
    data = codec.encode(piece, quality=FINE_FROM - 1)
    assert Container.from_bytes(data).filter is not None
    assert not before_correction(data)
    assert not before_correction(codec.encode(piece, quality=90, stages=3))
    added = with_filter(
        data, pack_filter(*[unpack_filter(Container.from_bytes(data).filter)[0]] * 2)
    )
    assert np.array_equal(np.array(codec.decode(added)), np.array(codec.decode(data)))


def test_info_and_results_tell_of_the_filter(piece, filtered, model):
    size = codec.info(filtered).filter_bytes
    assert 0 < size < 200
    assert codec.encode_detailed(piece, quality=80, model=model).filter_bytes == size
    assert codec.decode_detailed(filtered).filtered
    plain = with_filter(filtered, None)
    assert codec.info(plain).filter_bytes == 0
    assert not codec.decode_detailed(plain).filtered
    codec.verify(filtered, deep=True)


@pytest.mark.parametrize("options", [{"layers": 2}, {"layers": 1}, {"scale": 2}, {"stages": 2}])
def test_what_is_not_the_whole_picture_is_decoded_without(filtered, options):
    result = codec.decode_detailed(filtered, **options)
    assert not result.filtered
    expected = codec.decode(with_filter(filtered, None), **options)
    assert np.array_equal(np.array(result.image), np.array(expected))


def test_a_cut_file_is_decoded_without(filtered):
    cut = filtered[: codec.info(filtered).layers[2].end - 1]
    expected = codec.decode(with_filter(filtered, None), layers=2)
    assert np.array_equal(np.array(codec.decode(cut)), np.array(expected))


def test_a_sampled_fill_is_not_filtered(piece, model):
    data = codec.encode(piece, quality=80, layers=2, model=model)
    data = with_filter(data, pack_filter([[9] * COUNTS[0], [], []]))
    assert codec.decode_detailed(data).filtered
    assert not codec.decode_detailed(data, fill="sample").filtered
    at_rest = codec.decode_detailed(data, fill="sample", temperature=0)
    assert np.array_equal(np.array(at_rest.image), np.array(codec.decode(data)))


def test_arriving_in_pieces_gives_the_same_picture(filtered):
    frames, result = fed(filtered, 1000)
    assert same(result, codec.decode_detailed(filtered))
    assert np.array_equal(np.array(frames[-1].image), np.array(result.image))


@pytest.mark.parametrize("payload", [b"", b"\1", b"\x08" * 20, b"\7" + b"\xff" * 5000])
def test_a_malformed_filter_is_damage_and_left_out(filtered, payload):
    broken = with_filter(filtered, payload)
    result = codec.decode_detailed(broken)
    assert result.damaged
    assert not result.filtered
    assert np.array_equal(
        np.array(result.image), np.array(codec.decode(with_filter(filtered, None)))
    )
    assert same(fed(broken, 1000)[1], result)
    with pytest.warns(DamageWarning, match="filter"):
        codec.decode(broken)
    with pytest.raises(CorruptError, match="filter"):
        codec.decode(broken, strict=True)
    with pytest.raises(CorruptError, match="filter"):
        codec.verify(broken)


def test_the_wildest_filter_changes_pixels_by_no_more_than_three_eighths_of_the_range(filtered):
    plain = np.array(codec.decode(with_filter(filtered, None)), dtype=int)
    wild = pack_filter([[LIMIT, -LIMIT] * (count // 2) for count in COUNTS])
    shown = np.array(codec.decode(with_filter(filtered, wild)), dtype=int)
    assert 0 < np.abs(shown - plain).max() <= 96


def test_only_the_first_filter_before_the_last_layer_counts(filtered):
    expected = np.array(codec.decode(filtered))
    early = with_filter(filtered, Container.from_bytes(filtered).filter, place=0)
    assert np.array_equal(np.array(codec.decode(early)), expected)
    good, bad = Container.from_bytes(filtered).filter, b"\x08"
    doubled = with_filter(with_filter(filtered, good), bad, first=False)
    assert np.array_equal(np.array(codec.decode(doubled)), expected)
    spoiled = codec.decode_detailed(with_filter(with_filter(filtered, bad), good, first=False))
    assert spoiled.damaged
    assert not spoiled.filtered
    late = filtered + Chunk(FILTER, b"whatever").to_bytes()
    result = codec.decode_detailed(late)
    assert not result.damaged
    assert np.array_equal(np.array(result.image), expected)


@pytest.mark.parametrize("level", [0, 255])
def test_flat_black_and_white_stay_nearly_flat(level, model):
    """Some levels off at the edges, which no filter mends; tones may mend the level."""
    flat = np.full((100, 120, 3), level, dtype=np.uint8)
    data = codec.encode(flat, quality=90, model=model, graphics=False)
    payload = Container.from_bytes(data).filter
    assert payload is None or not any(any(plane[:-TONES]) for plane in unpack_filter(payload)[0])
    assert payload is None or model != "ssvae"
    assert np.abs(np.array(codec.decode(data)).astype(int) - level).max() <= 6


def test_a_grey_picture_is_filtered_in_luma_alone(piece, model):
    data = codec.encode(piece[:, :, 1], quality=80, model=model)
    assert Container.from_bytes(data).filter[0] in (1, 9)


def test_a_target_counts_the_filter(piece, model):
    result = codec.encode_detailed(piece, target_bytes=9000, model=model)
    assert result.filter_bytes > 0
    assert len(result.data) <= 9000


@pytest.mark.parametrize("width", [768, 1500])
@pytest.mark.parametrize(
    ("tune", "quality"), [("eye", 20), ("eye", 40), ("eye", 80), ("psnr", 20), ("psnr", 80)]
)
def test_a_filter_pays_on_the_whole_picture(photograph, tune, quality, width):
    """All of it is looked at, or 64 pieces. For the eye, at 20, none may pay."""
    size = (width, width * 2 // 3)
    shown = np.array(Image.fromarray(photograph).resize(size, Image.Resampling.BICUBIC))
    model = {"eye": "ssvae", "psnr": "ssvae-psnr"}[tune]
    data = codec.encode(shown, quality=quality, tune=tune)
    plain = codec.encode(shown, quality=quality, tune=tune, filter=False)
    if Container.from_bytes(data).filter is None:
        assert (tune, quality, width) == ("eye", 20, 768)
        assert data == plain
    else:
        assert cost(data, shown, model) < cost(plain, shown, model)


def test_what_a_lossless_part_replaces_does_not_count():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, 1024, 1024), dtype=np.uint8))
    replaced = np.ones((1000, 1000), dtype=bool)
    replaced[600:700, 600:900] = False
    sample = Sample.of(image, (1000, 1000), replaced)
    assert [piece.box.top for piece in sample.pieces] == [512, 512]
    assert sample.whole
    assert sample.pixels == sum(int(piece.counted.sum()) for piece in sample.pieces) == 100 * 300

    def fitted(spoiled):
        """The picture is the image blurred, and anything at all where errors do not count."""
        shown = torch.nn.functional.avg_pool2d(image[None].float() / 255, 3, 1, 1)
        there = torch.from_numpy(np.pad(replaced, ((0, 24), (0, 24))))
        shown = torch.where(there, spoiled * torch.rand(shown.shape) + (1 - spoiled) * shown, shown)
        # Pixels beside the rest are seen by the filter there.
        shown[..., 590:710, 590:910] = 0.5 * image[None, :, 590:710, 590:910] / 255 + 0.2
        about = get_model("ssvae", "cpu"), 80
        return fit_planes(
            sample, lambda b: b.cut(shown), *about, grey=False, tones=True, overhead=0
        )

    assert any(any(plane) for plane in fitted(0.0))
    assert fitted(0.0) == fitted(1.0)


def test_pieces_beside_a_large_lossless_part_are_spread():
    replaced = np.zeros((2048, 2560), dtype=bool)
    replaced[:1024, :1280] = True
    sample = Sample.of(torch.zeros((3, 2048, 2560), dtype=torch.uint8), (2048, 2560), replaced)
    assert not sample.whole
    assert len(sample.pieces) == 64
    quarters = [(piece.box.top // 1024, piece.box.left // 1280) for piece in sample.pieces]
    for quarter in ((0, 1), (1, 0), (1, 1)):
        assert 16 <= quarters.count(quarter) <= 27


@pytest.mark.parametrize(
    "size", [(300, 200), (512, 768), (1300, 250), (1024, 1000), (1030, 1000), (2000, 3000)]
)
def test_a_sample_holds_pieces_of_the_picture_spread_over_it(size):
    height, width = (side + -side % 64 for side in size)
    image = torch.arange(height * width).remainder(251).to(torch.uint8)
    image = image.reshape(1, height, width).expand(3, -1, -1)
    sample = Sample.of(image, size)
    boxes = [piece.box for piece in sample.pieces]
    assert len(set(boxes)) == len(boxes)
    assert all(box.bottom <= size[0] and box.right <= size[1] for box in boxes)
    assert all(torch.equal(piece.box.cut(image), piece.pixels) for piece in sample.pieces)
    area = sum((box.bottom - box.top) * (box.right - box.left) for box in boxes)
    assert sample.whole == (area == size[0] * size[1])
    assert sample.whole == (-(-size[0] // 256) * -(-size[1] // 256) <= 16)
    assert area >= min(0.7 * size[0] * size[1], 0.9 * 64 * 128**2)
    assert min(box.top for box in boxes) < 512
    assert max(box.bottom for box in boxes) > size[0] - 512


@pytest.mark.parametrize("fill", ["mean", "sample"])
def test_a_file_without_its_correction_is_whole(piece, fill):
    """Nothing of it is filled: it is filtered, and streams to a picture of full size."""
    data = codec.encode(piece, quality=80, stages=3)
    result = codec.decode_detailed(data, fill=fill)
    assert result.filtered
    assert np.array_equal(np.array(result.image), np.array(codec.decode(data)))
    frames, streamed = fed(data, 1000)
    assert [frame.scale for frame in frames] == [4, 2, 1]
    assert same(streamed, codec.decode_detailed(data))
    assert np.array_equal(np.array(frames[-1].image), np.array(result.image))
