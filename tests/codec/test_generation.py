"""Pictures from the prior: what is given stays, what is drawn can be drawn again."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import codec
from codec.colour import pixels_to_srgb
from codec.errors import ArgumentError, ImageError, LimitError, ModelError
from codec.generation import grid, interpolate, projection, reconstruct, sample, upscale, vary
from codec.generation.projection import enlarge, settle, shrink
from codec.generation.stack import generator
from codec.generation.subject import subject_of
from codec.walk import Filled, Given, walk
from tests.codec import drawings
from tests.codec.test_files import profile_with_other_gamma
from tests.conftest import psnr


def same(a, b) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def small(crop) -> np.ndarray:
    """59×62 pixels, which stay below one block of 64 when padded."""
    return np.ascontiguousarray(crop[60:119, 40:102])


@pytest.fixture(scope="module")
def averaged(crop) -> tuple[np.ndarray, np.ndarray]:
    """A picture, and its averages over 2×2 pixels."""
    large = np.ascontiguousarray(crop[40:104, 80:208])
    half = np.array(Image.fromarray(large).resize((64, 32), Image.Resampling.BOX))
    return large, half


# -- sample ----------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_samples_and_another_seed_others(model):
    first = sample(2, size=50, seed=3, model=model)
    assert [image.size for image in first] == [(50, 50)] * 2
    assert same(first[0], sample(1, size=50, seed=3, model=model)[0])  # fewer are the first of more
    assert not same(first[0], first[1])
    assert not same(first[0], sample(1, size=50, seed=4, model=model)[0])


def test_at_temperature_zero_chance_has_no_part():
    a, b = sample(2, size=40, temperature=0)
    assert same(a, b)
    assert not same(a, sample(1, size=40, temperature=0, quality=90)[0])


# -- vary ------------------------------------------------------------------------------------------


def test_variants_keep_u_and_draw_the_rest_anew(small, model):
    subject = subject_of(small, 1, quality=40, model=model, device="cpu", max_pixels=None)
    count = subject.model.layers[0].stages
    stacks = [
        walk(
            subject.model,
            subject.size,
            subject.quality,
            [Given(subject.latents)] + [Filled(generator(1, index), 1.0)] * 2,
        ).latents
        for index in range(2)
    ]
    for stack in stacks:
        assert all(torch.equal(a, b) for a, b in zip(stack[:count], subject.latents, strict=True))
    assert not torch.equal(stacks[0][count], stacks[1][count])


def test_variants_look_alike_from_afar(small):
    whole = np.array(Image.fromarray(small).resize((5, 4), Image.Resampling.BOX), float)
    a, b = vary(small, 2, seed=1)
    assert same(a, vary(small, 1, seed=1)[0])
    assert not same(a, b)
    assert not same(a, vary(small, 1, seed=2)[0])
    for variant in (a, b):
        afar = np.array(variant.resize((5, 4), Image.Resampling.BOX), float)
        assert np.abs(afar - whole).mean() < 8
    closer = vary(small, 1, keep=2, seed=1)[0]
    assert psnr(small, closer) > psnr(small, a)


def test_without_chance_a_variant_is_the_decoded_cut(small, model):
    data = codec.encode(small, quality=35, model=model)
    for keep in (1, 2):
        expected = codec.decode(data, layers=keep)
        assert same(vary(data, 1, keep=keep, temperature=0)[0], expected)
        found = vary(small, 1, keep=keep, temperature=0, quality=35, model=model)
        assert same(found[0], expected)


def test_grey_pictures_stay_grey(small):
    grey = small[:, :, 0]
    assert vary(grey, 1)[0].mode == "L"
    assert upscale(grey).mode == "L"
    assert interpolate(grey, grey[::-1], steps=2)[0].mode == "L"
    assert interpolate(grey, small, steps=2)[0].mode == "RGB"


# -- interpolate -----------------------------------------------------------------------------------


def test_the_ends_of_an_interpolation_are_the_reconstructions(small, model):
    other = np.ascontiguousarray(small[::-1])
    coded = [codec.encode(image, model=model, filter=False) for image in (small, other)]
    for detail, layers in (("mean", 1), ("interpolate", 3)):
        path = interpolate(small, other, steps=3, detail=detail, model=model)
        ends = [codec.decode(data, layers=layers) for data in coded]
        assert same(path[0], ends[0])
        assert same(path[-1], ends[1])
        assert not any(same(path[1], end) for end in ends)


@pytest.mark.parametrize(("layers", "detail"), [(3, "interpolate"), (1, "mean")])
def test_the_ends_between_files_are_the_decoded_files_filters_included(crop, layers, detail):
    """At quality 85 a filter stands before the fine stage too: the correction needs it."""
    images = crop[:, :160], np.ascontiguousarray(crop[:, -160:])
    files = [codec.encode(image, quality=85, layers=layers, model="ssvae-psnr") for image in images]
    assert all(codec.decode_detailed(data).filtered for data in files)
    path = interpolate(*files, steps=3, detail=detail)
    for end, data in zip((path[0], path[-1]), files, strict=True):
        assert same(end, codec.decode(data))
    assert not same(path[1], path[0])


def test_files_without_the_correction_are_drawn_without_it(crop):
    """A target makes such files: quality 65 and above, three stages of four."""
    images = crop[:, :128], np.ascontiguousarray(crop[:, -128:])
    without, other = (codec.encode(image, quality=70, stages=3) for image in images)
    whole = codec.encode(images[1], quality=70)
    for second in (other, whole, images[1]):
        path = interpolate(without, second, steps=3, detail="interpolate")
        assert same(path[0], codec.decode(without))
        assert not same(path[1], path[0])
    assert same(interpolate(without, whole, steps=3, detail="interpolate")[-1], codec.decode(whole))


def test_a_file_with_graphics_is_refused_with_the_way_out(photograph):
    data = codec.encode(drawings.captioned(photograph), quality=40)
    for draw_from in (lambda: vary(data), lambda: interpolate(data, data)):
        with pytest.raises(ArgumentError, match="take the image itself"):
            draw_from()


def test_sampled_details_are_those_of_the_seed(small):
    def path(seed):
        return interpolate(small, small[:, ::-1], steps=2, detail="sample", seed=seed)

    assert same(path(1)[0], path(1)[0])
    assert not same(path(1)[0], path(2)[0])


def test_another_size_is_scaled_and_cut_to_the_first_or_to_the_file(small, crop):
    wide = crop[:30, :63]
    assert interpolate(small, wide, steps=2)[1].size == (62, 59)
    data = codec.encode(small)
    path = interpolate(wide, data, steps=2)
    assert path[0].size == (62, 59)
    assert same(path[1], codec.decode(data, layers=1))


def test_files_that_do_not_match_are_refused(small):
    data = codec.encode(small, quality=30)
    with pytest.raises(ArgumentError, match="62×59 and 60×59"):
        interpolate(data, codec.encode(small[:, :60], quality=30))
    with pytest.raises(ArgumentError, match="quality 50"):
        interpolate(data, codec.encode(small))
    with pytest.raises(ArgumentError, match="of model convdraw"):
        interpolate(data, codec.encode(small, quality=30, model="convdraw"))
    cut = codec.encode(small, layers=1)
    with pytest.raises(ArgumentError, match="does not hold 3 whole layers"):
        interpolate(cut, cut, detail="interpolate")


def test_reconstructions_of_graphics_are_of_the_layers(photograph):
    """Stored losslessly, the layers would show a stand-in."""
    image = np.array(drawings.captioned(photograph))[-128:, :128]
    panels = {panel.name: np.array(panel.image) for panel in reconstruct(image, quality=60)}
    whole = codec.decode(codec.encode(image, quality=60, graphics=False, filter=False))
    assert psnr(image, panels["u + z1 + z2"]) > psnr(image, np.array(whole)) - 1


# -- colours ---------------------------------------------------------------------------------------


def with_profile(pixels, profile) -> Image.Image:
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = profile
    return image


def test_pictures_with_a_profile_are_drawn_in_srgb(small):
    linear = profile_with_other_gamma()
    image, shown = with_profile(small, linear), pixels_to_srgb(small, linear, grey=False)
    assert abs(shown.mean() - small.mean()) > 20
    file = codec.encode(image, quality=90)
    drawn = [
        vary(image, 1, keep=2, temperature=0, quality=90)[0],
        vary(file, 1, keep=2, temperature=0)[0],
        interpolate(file, file, steps=2, detail="interpolate")[1],
        interpolate(small, image, steps=2, detail="interpolate", quality=90)[1],
        reconstruct(image)[0].image,
    ]
    for picture in drawn:
        assert "icc_profile" not in picture.info
        assert abs(np.asarray(picture).mean() - shown.mean()) < 4


def test_files_of_other_colours_are_not_mixed(small):
    image = with_profile(small, profile_with_other_gamma())
    file = codec.encode(image)
    assert len(interpolate(file, file, steps=3)) == 3
    for other in (small, image, codec.encode(small)):
        with pytest.raises(ArgumentError, match="decode it to an image"):
            interpolate(file, other)


# -- upscale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 4])
def test_a_larger_picture_shrinks_to_the_small_one(small, factor, model):
    hard = small[:13, :16].copy()
    hard[:4], hard[4:7] = 0, 255
    large = np.array(upscale(hard, factor=factor, model=model))
    assert large.shape == (13 * factor, 16 * factor, 3)
    pixels = torch.from_numpy(large).permute(2, 0, 1)[None].float()
    assert same(F.avg_pool2d(pixels, factor)[0].permute(1, 2, 0), hard)


def test_a_larger_picture_is_nearer_to_the_original_than_interpolation(averaged):
    large, half = averaged
    bicubic = Image.fromarray(half).resize((128, 64), Image.Resampling.BICUBIC)
    projected = enlarge(torch.from_numpy(half).permute(2, 0, 1), 2, 5).permute(1, 2, 0)
    found = upscale(half)
    assert psnr(large, found) > psnr(large, projected) + 0.1 > psnr(large, bicubic) + 0.2


def test_alpha_is_enlarged_too(small):
    rgba = np.dstack([small[:20, :20], np.full((20, 20), 99, np.uint8)])
    found = upscale(rgba)
    assert found.mode == "RGBA"
    assert set(np.array(found)[:, :, 3].ravel()) == {99}


def test_bands_leave_no_seams(small, monkeypatch):
    pixels = torch.from_numpy(small).permute(2, 0, 1)
    other = torch.from_numpy(np.ascontiguousarray(small[::-1])).permute(2, 0, 1)
    picture = other.repeat_interleave(2, 1).repeat_interleave(2, 2)
    whole = enlarge(pixels, 2, 3), settle(picture, pixels, 2, 3)
    monkeypatch.setattr(projection, "BAND", 11)
    assert same(enlarge(pixels, 2, 3), whole[0])
    assert same(settle(picture, pixels, 2, 3), whole[1])


# -- reconstruct -----------------------------------------------------------------------------------


def test_reconstructions_are_the_decoded_cuts(small):
    panels = reconstruct(small, quality=40, fill="sample", seed=5)
    assert [p.name for p in panels] == ["original", "u", "u + z1", "u + z1 + z2", "y2", "y2 + z2"]
    data = codec.encode(small, quality=40)
    for layers, panel in enumerate(panels[1:4], start=1):
        assert same(panel.image, codec.decode(data, layers=layers, fill="sample", seed=5))
    assert [panel.bytes for panel in panels[1:4]] == [x.end for x in codec.info(data).layers]
    assert same(panels[0].image, small)


def test_given_the_half_size_picture_only_detail_is_missing(small, model):
    panels = {p.name: np.array(p.image) for p in reconstruct(small, model=model)}
    half = shrink(torch.from_numpy(small).permute(2, 0, 1), 2)
    for name in ("y2", "y2 + z2"):
        found = shrink(torch.from_numpy(panels[name]).permute(2, 0, 1), 2)
        # Of odd sides, the last row is cut with what stands behind it.
        assert same(found[:, :29, :31], half[:, :29, :31])
    assert psnr(small, panels["y2 + z2"]) > psnr(small, panels["y2"])
    assert psnr(small, panels["y2 + z2"]) > psnr(small, panels["u + z1 + z2"])


# -- grid and errors -------------------------------------------------------------------------------


def test_a_grid_holds_every_picture(small):
    images = [Image.new("RGB", (10, 6), (n, 0, 0)) for n in range(8)]
    sheet = grid(images)
    assert sheet.size == (4 * 10 + 3 * 4, 2 * 6 + 4)
    assert [sheet.getpixel((n % 4 * 14, n // 4 * 10)) for n in range(8)] == [
        (n, 0, 0) for n in range(8)
    ]
    assert grid(images[:1]) is images[0]
    assert grid(images[:2], titles=["a", "b"]).size == (24, 22)
    for bad in ({"images": []}, {"images": images, "columns": 0}):
        with pytest.raises(ArgumentError):
            grid(**bad)
    with pytest.raises(ArgumentError, match="titles"):
        grid(images, titles=["one"])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda image: sample(0), ArgumentError, "number of pictures"),
        (lambda image: sample(1, size=0), ArgumentError, "size"),
        (lambda image: sample(1, quality=101), ArgumentError, "quality"),
        (lambda image: sample(1, seed=-1), ArgumentError, "seed"),
        (lambda image: sample(1, temperature=11), ArgumentError, "temperature"),
        (lambda image: sample(9, size=256, max_pixels=9 * 255**2), LimitError, "9 pictures"),
        (lambda image: sample(1, model="nonesuch"), ModelError, "nonesuch"),
        (lambda image: vary(image, 1, keep=3), ArgumentError, "layers to keep"),
        (lambda image: vary("missing.png"), ImageError, "missing.png"),
        (lambda image: vary(image, 9, max_pixels=64**2 * 8), LimitError, "9 pictures"),
        (lambda image: vary(codec.encode(image), model="convdraw"), ArgumentError, "model ssvae"),
        (lambda image: vary(codec.encode(image, layers=1), keep=2), ArgumentError, "hold 2"),
        (lambda image: interpolate(image, image, steps=1), ArgumentError, "steps"),
        (lambda image: interpolate(image, image, detail="x"), ArgumentError, "mean, sample or"),
        (lambda image: upscale(image, factor=3), ArgumentError, "2 or 4"),
        (lambda image: upscale(image, max_pixels=64**2), LimitError, "124×118"),
        (lambda image: upscale(codec.encode(image)), ImageError, "decode it first"),
        (lambda image: reconstruct(image, fill="x"), ArgumentError, "mean or sample"),
        (lambda image: reconstruct(image, max_pixels=10), LimitError, "more than the limit"),
    ],
)
def test_what_cannot_be_done_is_said(small, call, error, words):
    with pytest.raises(error, match=words):
        call(small)
