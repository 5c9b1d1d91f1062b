"""Incremental decoding gives what one-shot decoding gives, and frames on the way."""

import io
import threading
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import GRAPHICS, Chunk, Container
from codec import errors
from tests.codec import drawings
from tests.codec.test_hostile import with_broken_layer
from tests.conftest import psnr


def fed(data, size=1, **options):
    """Frames and result of a file that arrives in pieces of so many bytes."""
    decoder = codec.ProgressiveDecoder(**options)
    frames = []
    for start in range(0, len(data), size):
        frames += decoder.push(data[start : start + size])
    return frames, decoder.finish()


def same(one, other) -> bool:
    """Equality of two results, pixels and metadata included."""
    fields = (
        "layers",
        "layers_declared",
        "stages",
        "quality",
        "symbol_checksums",
        "notes",
        "damaged",
        "filtered",
    )
    return (
        all(getattr(one, name) == getattr(other, name) for name in fields)
        and one.image.mode == other.image.mode
        and one.image.info == other.image.info
        and np.array_equal(np.array(one.image), np.array(other.image))
    )


def outcome(work):
    """The result of a decode, or the error's type and message."""
    try:
        return work()
    except errors.CodecError as error:
        return type(error), str(error)


@pytest.fixture(scope="module")
def decorated(crop, model) -> bytes:
    """A file with alpha before its layers and EXIF behind them."""
    image = Image.fromarray(crop[:96, :120]).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.info["exif"] = exif.tobytes()
    return codec.encode(image, model=model)


# -- frames ------------------------------------------------------------------------------------


def test_a_file_fed_byte_by_byte_equals_the_one_shot_decode(coded):
    frames, result = fed(coded)
    assert same(result, codec.decode_detailed(coded))
    assert [(frame.layers, frame.scale) for frame in frames] == [(1, 4), (2, 2), (3, 1)]
    assert [frame.end for frame in frames] == [layer.end for layer in codec.info(coded).layers]


def test_each_frame_is_the_small_picture_of_the_one_shot_decode(coded):
    for frame in fed(coded)[0]:
        expected = codec.decode(coded, scale=frame.scale)
        assert np.array_equal(np.array(frame.image), np.array(expected))


def test_frames_sharpen(coded, crop):
    shown = [frame.image.resize(crop.shape[1::-1]) for frame in fed(coded, 100)[0]]
    values = [psnr(crop, image) for image in shown]
    assert values[0] + 1 < values[1] < values[2] - 1


def test_a_frame_comes_with_the_last_byte_it_needs_and_not_before(coded):
    decoder = codec.ProgressiveDecoder()
    ends = [layer.end for layer in codec.info(coded).layers]
    for low, high in pairwise([0, *ends]):
        assert decoder.push(coded[low : high - 1]) == []
        (frame,) = decoder.push(coded[high - 1 : high])
        assert frame.end == decoder.received == high


@pytest.mark.parametrize("size", [7, 1000, 10**9])
def test_the_size_of_the_pieces_does_not_matter(coded, size):
    frames, result = fed(coded, size)
    assert len(frames) == 3
    assert same(result, codec.decode_detailed(coded))


def test_frames_carry_transparency_and_the_result_all_metadata(decorated):
    frames, result = fed(decorated, 50)
    assert [frame.image.mode for frame in frames] == ["RGBA"] * 3
    assert [frame.image.size for frame in frames] == [(30, 24), (60, 48), (120, 96)]
    assert result.image.info["exif"]
    assert same(result, codec.decode_detailed(decorated))


# -- cut and damaged files ---------------------------------------------------------------------


def test_a_cut_file_gives_the_same_result_or_error_as_at_once(decorated):
    for length in sorted({*range(0, len(decorated), 97), 1, 4, 23, 24, 25}):
        cut = decorated[:length]
        at_once = outcome(lambda cut=cut: codec.decode_detailed(cut))
        in_pieces = outcome(lambda cut=cut: fed(cut, 11)[1])
        assert same(at_once, in_pieces) if hasattr(at_once, "image") else at_once == in_pieces


def test_damage_gives_the_same_notes_warnings_and_errors_as_at_once(decorated):
    rng = np.random.default_rng(3)
    seen = set()
    for position in (*range(0, 24, 3), *rng.integers(24, len(decorated), 16)):
        damaged = bytearray(decorated)
        damaged[position] ^= 1 << rng.integers(8)
        data = bytes(damaged)
        at_once = outcome(lambda data=data: codec.decode_detailed(data))
        in_pieces = outcome(lambda data=data: fed(data, 13)[1])
        if hasattr(at_once, "image"):
            assert same(at_once, in_pieces)
            seen.add(at_once.layers)
        else:
            assert at_once == in_pieces
            seen.add("error")
    assert {"error", 1, 2} <= seen  # the test met every kind


@pytest.mark.parametrize("options", [{}, {"fill": "sample", "seed": 5}, {"scale": 2}])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_wrong_symbols_behind_right_bytes_give_the_same_as_at_once(coded, index, options):
    data = with_broken_layer(coded, index, sealed=True)
    at_once = outcome(lambda: codec.decode_detailed(data, **options))
    in_pieces = outcome(lambda: fed(data, 50, **options)[1])
    if hasattr(at_once, "image"):
        assert same(at_once, in_pieces)
        assert at_once.notes == in_pieces.notes
    else:
        assert at_once == in_pieces
    strict = [
        outcome(lambda: codec.decode_detailed(data, strict=True, **options)),
        outcome(lambda: fed(data, 50, strict=True, **options)[1]),
    ]
    assert strict[0] == strict[1] or same(*strict)


def test_after_a_cut_the_last_frame_stays_and_the_result_is_in_full_size(coded):
    ends = [layer.end for layer in codec.info(coded).layers]
    frames, result = fed(coded[: ends[1] + 20], 64)
    assert [frame.scale for frame in frames] == [4, 2]
    assert result.image.size == codec.decode(coded).size
    assert "2 of its 3" in result.notes[0]


def test_a_layer_that_decodes_wrongly_ends_it_for_good(coded):
    whole = codec.info(coded)
    from bitstream.container import LAYER, Chunk

    start = len(Chunk(LAYER, b"x" * whole.layers[0].bytes).to_bytes())
    wrong = bytearray(coded[24 : 24 + start][-whole.layers[0].bytes :])
    wrong[0] ^= 1  # the checksum of the symbols; the chunk's own is made anew
    data = coded[:24] + Chunk(LAYER, bytes(wrong)).to_bytes() + coded[24 + start :]
    with pytest.raises(errors.CorruptError, match="layer u"):
        codec.decode(data)
    decoder = codec.ProgressiveDecoder()
    for _ in range(2):
        with pytest.raises(errors.CorruptError, match="layer u"):
            decoder.push(data)
    with pytest.raises(errors.CorruptError, match="layer u"):
        decoder.finish()


def test_what_is_no_file_of_ours_is_refused_at_its_first_byte():
    with pytest.raises(errors.NotACodecFileError):
        codec.ProgressiveDecoder().push(b"\x89")
    with pytest.raises(errors.NotACodecFileError, match="empty"):
        codec.ProgressiveDecoder().finish()


def test_limits_are_checked_as_soon_as_the_header_is_there(coded):
    decoder = codec.ProgressiveDecoder(max_pixels=1000)
    assert decoder.push(coded[:23]) == []
    with pytest.raises(errors.LimitError, match="max-pixels"):
        decoder.push(coded[23:24])


# -- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 1},
        {"layers": 2},
        {"layers": 1, "fill": "sample", "seed": 5},
        {"layers": 2, "fill": "sample", "temperature": 0.5},
        {"scale": 2},
        {"scale": 4},
        {"layers": 1, "scale": 2, "fill": "sample"},
        {"stages": 3},
        {"stages": 2, "fill": "sample", "scale": 2},
    ],
)
def test_options_mean_the_same_as_at_once(coded, options):
    frames, result = fed(coded, 500, **options)
    assert same(result, codec.decode_detailed(coded, **options))
    assert min(frame.scale for frame in frames) >= options.get("scale", 1)


def test_a_file_with_two_layers_ends_in_full_size(crop, model):
    data = codec.encode(crop, layers=2, model=model)
    frames, result = fed(data, 100)
    assert [frame.scale for frame in frames] == [4, 2]
    assert same(result, codec.decode_detailed(data))


def test_wrong_options_are_refused_before_the_first_byte():
    for wrong in ({"layers": 4}, {"fill": "dream"}, {"scale": 3}, {"seed": -1}):
        with pytest.raises(errors.ArgumentError):
            codec.ProgressiveDecoder(**wrong)


# -- the iterator ------------------------------------------------------------------------------


def test_the_iterator_takes_paths_bytes_and_streams(decorated, tmp_path):
    path = tmp_path / "a.cci"
    path.write_bytes(decorated)
    expected = codec.decode(decorated)
    pieces = (decorated[start : start + 99] for start in range(0, len(decorated), 99))
    for source, scales in [
        (path, [4, 2]),
        (str(path), [4, 2]),
        (decorated, [4, 2]),
        (io.BytesIO(decorated), [4, 2, 1]),  # nobody waits for the metadata to see the picture
        (pieces, [4, 2, 1]),
    ]:
        *frames, last = codec.progressive(source)
        assert [frame.scale for frame in frames] == scales
        assert last.final
        assert not any(frame.final for frame in frames)
        assert np.array_equal(np.array(last.image), np.array(expected))
        assert last.image.info == expected.info


def test_the_iterator_does_not_wait_for_bytes_it_does_not_need(coded):
    import os

    first = codec.info(coded).layers[0].end
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream:
        os.write(into, coded[:first])
        frames = codec.progressive(stream)
        assert next(frames).layers == 1  # the pipe is still open
        rest = threading.Thread(target=lambda: (os.write(into, coded[first:]), os.close(into)))
        rest.start()
        assert [frame.layers for frame in frames] == [2, 3, 3]
        rest.join()


def test_no_picture_comes_twice_from_a_file_at_hand(decorated):
    for data in (decorated, decorated[:-2], decorated[: codec.info(decorated).layers[1].end]):
        for scale in (1, 2, 4):
            shown = [frame.image for frame in codec.progressive(data, scale=scale)]
            assert not any(
                a.size == b.size and a.tobytes() == b.tobytes() for a, b in pairwise(shown)
            )


@pytest.mark.parametrize("source", ["missing.cci", ".", 7, ["text"]])
def test_what_cannot_be_read_is_one_clean_error(source):
    with pytest.raises(errors.CodecError):
        list(codec.progressive(source))


def test_graphics_before_the_first_layer_are_no_frame(photograph):
    container = Container.from_bytes(codec.encode(drawings.captioned(photograph), quality=30))
    chunks = sorted(container.chunks, key=lambda chunk: chunk.type != GRAPHICS)
    data = container.header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
    frames, result = fed(data, 1000)
    assert frames
    assert same(result, codec.decode_detailed(data))


def test_of_several_lossless_parts_the_first_alone_is_drawn(photograph):
    """A few bytes must not cost a picture each."""
    data = codec.encode(drawings.captioned(photograph), quality=30)
    once, _ = fed(data, 1000)
    frames, result = fed(data + 50 * Chunk(GRAPHICS, b"").to_bytes(), 1000)
    assert [(f.layers, f.scale) for f in frames] == [(f.layers, f.scale) for f in once]
    assert same(result, codec.decode_detailed(data))
