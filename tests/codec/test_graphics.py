"""Graphics come back exactly for few bytes, without a seam beside the rest of the picture."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import codec
from bitstream.container import EXIF, FLAG_GRAPHICS, GRAPHICS, LAYER, Chunk, Container
from codec.errors import (
    CorruptError,
    DamageWarning,
    TargetError,
    TruncatedError,
    TruncatedWarning,
)
from codec.graphics import Graphics, pack_graphics, unpack_graphics
from codec.graphics_detection import find_graphics, to_pixels
from codec.graphics_fitting import soften
from codec.installed import get_model
from tests.bitstream.reference_decoder import graphics_over
from tests.codec import drawings
from tests.codec.test_progressive import fed, same
from tests.conftest import psnr

GRAPHICS_ALONE = ("saturated", "screenshot", "page", "pixel_art", "dithered")


@pytest.fixture(scope="module")
def draw(photograph):
    """A drawing by its name."""

    def drawn(name):
        needs_photograph = name in ("dithered", "captioned", "window", "product")
        return getattr(drawings, name)(*[photograph] * needs_photograph)

    return drawn


@pytest.fixture(scope="module")
def captioned(draw):
    """Pixels and file of a photograph with a bar of text."""
    image = draw("captioned")
    return np.array(image), codec.encode(image, quality=80)


def saved(image, form="WEBP", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"lossless": True} if form == "WEBP" else {}) | options)
    return buffer.getvalue()


def with_graphics(data, payload):
    """The file with another lossless part, or none."""
    container = Container.from_bytes(data)
    chunks = [chunk for chunk in container.chunks if chunk.type != GRAPHICS]
    if payload is not None:
        last = max(i for i, chunk in enumerate(chunks) if chunk.type == LAYER)
        chunks.insert(last + 1, Chunk(GRAPHICS, payload))
    flags = container.header.flags & ~FLAG_GRAPHICS | (FLAG_GRAPHICS if payload else 0)
    header = replace(container.header, flags=flags)
    return header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)


def stored_mask(data):
    """Where a file's picture is lossless, bool H×W."""
    container = Container.from_bytes(data)
    size = container.header.width, container.header.height
    return unpack_graphics(container.graphics, *size).mask


def pixels(data, **options):
    return np.array(codec.decode(data, **options))


# -- what is gained --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAPHICS_ALONE)
def test_graphics_are_exact_and_hardly_larger_than_lossless_webp(draw, name):
    image = draw(name)
    data = codec.encode(image, quality=50)
    assert len(data) <= 1.02 * len(saved(image)) + 60
    assert np.array_equal(pixels(data, strict=True), np.array(image))
    codec.verify(data, deep=True)


@pytest.mark.parametrize("name", GRAPHICS_ALONE)
def test_a_reader_without_the_chunk_sees_a_sketch_of_the_colours(draw, name):
    image = draw(name)
    data = codec.encode(image, quality=50)
    plain = with_graphics(data, None)
    assert codec.decode_detailed(plain).layers == 3
    if codec.info(data).layers[0].bytes:
        error = np.mean(np.array(image), axis=(0, 1)) - pixels(plain).mean(axis=(0, 1))
        assert np.abs(error).max() < 30


@pytest.mark.parametrize("name", ["captioned", "window"])
@pytest.mark.parametrize("quality", [50, 90])
def test_mixed_pictures_gain_and_have_no_seam(draw, name, quality):
    image = np.array(draw(name))
    data = codec.encode(image, quality=quality)
    plain = codec.encode(image, quality=quality, graphics=False)
    shown, before = pixels(data, strict=True), pixels(plain)
    mask = stored_mask(data)
    assert np.array_equal(shown[mask], image[mask])
    # By the encoder's measure; exact flat areas may cost a little more than they bring.
    worth = get_model("ssvae", "cpu").lagrangian(quality) * image.shape[0] * image.shape[1]
    costs = [
        8 * len(d) + worth * np.square(p.astype(float) - image).mean() / 255**2
        for d, p in ((data, shown), (plain, before))
    ]
    assert costs[0] < 1.04 * costs[1]
    assert psnr(image, shown) > psnr(image, before) + 1
    # As the layers alone code them, pixels beside the border are no worse than without the part.
    beside = np.zeros_like(mask)
    beside[8:] |= mask[:-8]
    beside[:-8] |= mask[8:]
    beside[:, 8:] |= mask[:, :-8]
    beside[:, :-8] |= mask[:, 8:]
    beside &= ~mask
    error = np.square(shown.astype(float) - image)[beside].mean()
    ordinary = np.square(before.astype(float) - image)[beside].mean()
    assert error < 1.1 * ordinary
    # Nor is there a step across it: the part below goes on where the photograph ends.
    layers = pixels(with_graphics(data, None)).astype(int)
    inside = np.zeros_like(mask)
    inside[1:] |= ~mask[:-1]
    inside[:-1] |= ~mask[1:]
    inside &= mask
    assert np.square(layers - image)[inside].mean() < 3 * max(ordinary, error)


def test_the_text_of_a_caption_is_exact(captioned):
    image, data = captioned
    assert np.array_equal(pixels(data)[320:], image[320:])


def test_what_is_all_graphics_in_a_window_is_exact(draw):
    image = np.array(draw("window"))
    shown = pixels(codec.encode(image, quality=50))
    left, top, right, bottom = drawings.PHOTO_BOX
    different = (shown != image).any(axis=2)
    different[top:bottom, left:right] = False
    assert not different.any()


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_a_product_stands_on_exact_white(draw, quality):
    image = np.array(draw("product"))
    data = codec.encode(image, quality=quality)
    plain = codec.encode(image, quality=quality, graphics=False)
    assert len(data) < len(plain) + 150
    shown = pixels(data)
    assert (shown[:40] == 255).all()
    assert (shown[:, :80] == 255).all()


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_flat_black_and_white_are_exact(level, quality, model):
    flat = np.full((100, 120, 3), level, dtype=np.uint8)
    data = codec.encode(flat, quality=quality, model=model)
    assert len(data) < 150
    assert (pixels(data) == level).all()


@pytest.mark.parametrize("quality", [5, 50, 95])
def test_a_photograph_is_coded_as_ever(photograph, quality):
    assert find_graphics(photograph) is None
    data = codec.encode(photograph, quality=quality)
    assert data == codec.encode(photograph, quality=quality, graphics=False)
    assert codec.info(data).graphics_bytes == 0


def test_the_part_of_a_photograph_that_is_compressed_badly_is_no_graphic(photograph):
    """JPEG's blocks are flat in places."""
    with Image.open(io.BytesIO(saved(Image.fromarray(photograph), "JPEG", quality=60))) as image:
        assert find_graphics(np.array(image)) is None


def test_files_with_fewer_layers_have_no_lossless_part(draw):
    image = draw("page")
    for options in ({"layers": 2}, {"stages": 2}, {"graphics": False}):
        assert codec.info(codec.encode(image, **options)).graphics_bytes == 0


# -- targets ---------------------------------------------------------------------------------------


def test_a_size_is_kept_and_lossless_where_it_can_be(draw):
    image = draw("page")
    lossless = codec.encode(image)
    assert codec.encode(image, target_bytes=len(lossless)) == lossless
    bpp = 8 * (len(lossless) + 1) / (image.width * image.height)
    assert codec.encode(image, target_bpp=bpp) == lossless
    smaller = codec.encode(image, target_bytes=len(lossless) - 1)
    assert len(smaller) < len(lossless)
    with pytest.raises(TargetError):
        codec.encode(image, target_bytes=30)


def test_of_two_mixed_files_of_a_size_the_better_is_taken(draw):
    image = draw("captioned")
    limit = 20000
    data = codec.encode(image, target_bytes=limit)
    plain = codec.encode(image, target_bytes=limit, graphics=False)
    assert len(data) <= limit
    assert codec.info(data).graphics_bytes > 0
    assert psnr(image, codec.decode(data)) > psnr(image, codec.decode(plain))


# -- what is decoded -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"layers": 1}, {"layers": 2}, {"stages": 2}])
def test_a_picture_of_fewer_layers_is_without(captioned, options):
    _, data = captioned
    result = codec.decode_detailed(data, **options)
    assert not result.graphics
    assert np.array_equal(np.array(result.image), pixels(with_graphics(data, None), **options))
    assert codec.decode_detailed(data, layers=3).graphics


def test_a_file_cut_before_it_shows_the_layers(captioned):
    _, data = captioned
    plain = with_graphics(data, None)
    for end in (codec.info(data).layers[2].end, len(data) - 1):
        result = codec.decode_detailed(data[:end])
        assert not result.damaged
        assert np.array_equal(np.array(result.image), pixels(plain))
    with pytest.raises(TruncatedError):
        codec.decode(data[:-1], strict=True)


def test_it_arrives_as_the_last_frame(captioned, draw):
    for data in (captioned[1], codec.encode(draw("page"))):
        frames, result = fed(data, 1000)
        assert same(result, codec.decode_detailed(data))
        assert result.graphics
        assert [frame.scale for frame in frames] == [4, 2, 1, 1]
        assert frames[-1].end == len(data)
        assert np.array_equal(np.array(frames[-1].image), np.array(result.image))
        assert np.array_equal(np.array(frames[-2].image), pixels(with_graphics(data, None)))
        *_, final = codec.progressive(data)
        assert np.array_equal(np.array(final.image), np.array(result.image))


@pytest.mark.parametrize("scale", [2, 4])
def test_small_pictures_are_means_of_both_parts(captioned, scale):
    image, data = captioned
    image, mask = image[:321, :70], stored_mask(data)[:321, :70]  # odd sides
    data = with_graphics(codec.encode(image, graphics=False), pack_graphics(Graphics(image, mask)))
    plain = pixels(with_graphics(data, None), scale=scale)
    expected = graphics_over(plain.tolist(), image.tolist(), mask.tolist(), scale)
    assert np.array_equal(pixels(data, scale=scale), expected)
    assert same(fed(data, 1000, scale=scale)[1], codec.decode_detailed(data, scale=scale))


def test_grey_pictures_stay_grey(draw):
    image = draw("page").convert("L")
    result = codec.decode_detailed(codec.encode(image))
    assert (result.image.mode, result.graphics) == ("L", True)
    assert np.array_equal(np.array(result.image), np.array(image))


def test_alpha_and_metadata_are_kept_beside_it(draw):
    image = draw("page").convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.info["exif"] = exif.tobytes()
    data = codec.encode(image)
    assert [chunk.type for chunk in Container.from_bytes(data).chunks][-2:] == [GRAPHICS, EXIF]
    shown = codec.decode(data, strict=True)
    assert np.array_equal(np.array(shown), np.array(image))
    assert shown.info["exif"] == image.info["exif"]
    assert codec.decode(data, scale=4).size == (128, 96)


def test_info_and_results_tell_of_it(draw):
    result = codec.encode_detailed(draw("page"))
    info = codec.info(result.data)
    assert result.graphics_bytes == info.graphics_bytes > 10000
    assert result.layer_bytes == tuple(layer.bytes for layer in info.layers)


def test_a_progress_never_goes_back(draw):
    shares = []
    codec.encode(draw("captioned"), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


# -- what is malformed -----------------------------------------------------------------------------


def malformed(image):
    """Payloads that a reader must refuse, by what is wrong with them."""
    rgba = image.convert("RGBA")
    half = rgba.copy()
    half.putpixel((3, 3), (1, 2, 3, 254))
    webp, png = saved(image), saved(image, "PNG")
    bomb = bytearray(webp)
    bomb[21:25] = (0x0FFFFFFF).to_bytes(4, "little")  # 16384×16384
    return {
        "empty": b"",
        "noise": bytes(range(256)),
        "another size": saved(image.crop((0, 0, image.width - 1, image.height))),
        "lossy": saved(image, "WEBP", lossless=False),
        "another format": saved(image, "GIF"),
        "animated": saved(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
        "with metadata": saved(image, "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        "palette": saved(image.convert("P"), "PNG"),
        "one partial alpha": saved(half, exact=True),
        "one partial alpha in a PNG": saved(half, "PNG"),
        "bomb": bytes(bomb),
        "cut": webp[: len(webp) // 2],
        "cut but for its lengths": cut_webp(webp, len(webp) // 2 & ~1),
        "cut PNG": png[: len(png) // 2],
        "extended": webp + b"\0\0",
    }


def cut_webp(webp, length):
    size = (length - 8).to_bytes(4, "little"), (length - 20).to_bytes(4, "little")
    return webp[:4] + size[0] + webp[8:16] + size[1] + webp[20:length]


@pytest.fixture(scope="module")
def small(photograph):
    """A small picture and its file."""
    image = np.ascontiguousarray(photograph[100:170, 200:250])
    return Image.fromarray(image), codec.encode(image)


@pytest.mark.parametrize("fault", malformed(Image.linear_gradient("L").convert("RGB")))
def test_a_malformed_part_is_damage_and_left_out(small, fault):
    image, data = small
    broken = with_graphics(data, malformed(image)[fault])
    result = codec.decode_detailed(broken)
    assert result.damaged
    assert not result.graphics
    assert np.array_equal(np.array(result.image), pixels(data))
    assert same(fed(broken, 1000)[1], result)
    with pytest.warns(DamageWarning, match="graphics"):
        codec.decode(broken)
    with pytest.raises(CorruptError, match="graphics"):
        codec.decode(broken, strict=True)
    with pytest.raises(CorruptError, match="graphics"):
        codec.verify(broken)


def test_a_changed_byte_is_damage_and_leaves_the_layers(captioned):
    _, data = captioned
    broken = bytearray(data)
    broken[-100] ^= 1
    result = codec.decode_detailed(bytes(broken))
    assert result.damaged
    assert np.array_equal(np.array(result.image), pixels(with_graphics(data, None)))


def test_only_the_first_part_behind_the_layers_counts(small):
    _, data = small
    white, black = (
        pack_graphics(Graphics(np.full((70, 50, 3), level, np.uint8))) for level in (255, 0)
    )
    doubled = with_graphics(data, white) + Chunk(GRAPHICS, black).to_bytes()
    assert (pixels(doubled) == 255).all()
    container = Container.from_bytes(data)
    chunks = [Chunk(GRAPHICS, white), *container.chunks]
    early = container.header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
    assert np.array_equal(pixels(early), pixels(data))


def test_an_empty_layer_is_one_of_zeros(small):
    """The prior's means, as where it is missing; but the file is whole."""
    _, data = small
    container = Container.from_bytes(data)
    header = replace(container.header, layers=3)
    first = Chunk(LAYER, container.layers[0].payload).to_bytes()
    empty = header.to_bytes() + first + 2 * Chunk(LAYER, b"").to_bytes()
    assert np.array_equal(pixels(empty, strict=True), pixels(data, layers=1))


# -- how it is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (3, 16400)])
@pytest.mark.parametrize("partly", [False, True])
def test_what_is_packed_comes_back(size, partly):
    """Also where WebP's sides do not suffice."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 4, (*size, 3)).astype(np.uint8)
    mask = rng.random(size) < 0.5 if partly else None
    found = unpack_graphics(pack_graphics(Graphics(rgb, mask)), size[1], size[0])
    area = slice(None) if mask is None else mask
    assert np.array_equal(found.rgb[area], rgb[area])
    whole = np.ones(size, dtype=bool)
    assert np.array_equal(
        whole if found.mask is None else found.mask, whole if mask is None else mask
    )


def test_beside_the_rest_the_layers_code_the_picture_itself():
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, 256, (130, 200, 3)).astype(np.uint8)
    blocks = np.zeros((9, 13), bool)
    blocks[3:, 4:] = True
    softened = soften(rgb, blocks)
    near = np.zeros((9, 13), bool)
    near[4:, 5:] = True
    far = to_pixels(near, 130, 200)
    assert np.array_equal(softened[~far], rgb[~far])
    assert softened[80:, 100:].std() < 10


@pytest.mark.parametrize("alpha", [False, True])
def test_a_file_cut_before_its_graphics_is_no_whole_file(captioned, alpha):
    """Where the last layer ends, too: nothing else there tells that something is missing."""
    image, data = captioned
    if alpha:
        transparent = np.dstack([image, np.full(image.shape[:2], 200, np.uint8)])
        data = codec.encode(transparent, quality=80)
    assert codec.verify(data).graphics_bytes
    end = codec.info(data).layers[-1].end
    assert codec.info(data).complete
    cut = data[:end]
    assert not codec.info(cut).complete
    with pytest.raises(TruncatedError):
        codec.verify(cut)
    with pytest.raises(TruncatedError):
        codec.decode(cut, strict=True)
    with pytest.warns(TruncatedWarning, match="graphics or metadata are missing"):
        shown = codec.decode(cut)
    assert not np.array_equal(np.array(shown.convert("RGB")), image)
