"""Properties of whole files: every prefix, size, colour mode and piece of metadata."""

import gc
import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import codec
from codec import errors
from codec.files import write_atomic
from codec.picture_reading import load_picture
from codec.pillow_limit import PillowLimit
from tests.conftest import psnr


def picture(rng_seed=0, size=(70, 50)):
    rng = np.random.default_rng(rng_seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def saved(image, form, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


# -- layers and quality ------------------------------------------------------------------------


def test_each_layer_brings_it_closer(crop, coded):
    values = [psnr(crop, codec.decode(coded, layers=n)) for n in (1, 2, 3)]
    assert values[0] < values[1] < values[2]
    assert values[2] > 26


def test_quality_is_monotone_in_size_and_psnr(crop, model):
    found = []
    for quality in (0, 25, 50, 75, 100):
        data = codec.encode(crop, quality=quality, model=model)
        found.append((len(data), psnr(crop, codec.decode(data))))
    assert found == sorted(found)
    assert len({size for size, _ in found}) == 5


def test_fewer_layers_are_the_same_chunks(crop, coded, model):
    whole = codec.info(coded)
    for count in (1, 2):
        data = codec.encode(crop, layers=count, model=model, filter=False)  # each fits its own
        end = whole.layers[count - 1].end
        assert data[24:] == coded[24:end]
        assert data[:19] == coded[:19]
        cut, stored = codec.decode(coded[:end]), codec.decode(data)
        assert np.array_equal(np.array(cut), np.array(stored))


def test_a_cut_file_gives_the_layers_that_arrived(coded):
    whole = codec.info(coded)
    by_layers = [np.array(codec.decode(coded, layers=n)) for n in (1, 2, 3)]
    ends = [layer.end for layer in whole.layers]
    steps = sorted({*range(0, len(coded), max(1, len(coded) // 40)), *ends, *(e - 1 for e in ends)})
    for length in steps:
        arrived = sum(end <= length for end in ends)
        if not arrived:
            with pytest.raises(errors.FormatError):
                codec.decode(coded[:length])
            continue
        result = codec.decode_detailed(coded[:length])
        assert result.layers == arrived
        assert np.array_equal(np.array(result.image), by_layers[arrived - 1])
        assert bool(result.notes) == (length < len(coded))


def test_a_decode_may_stop_after_any_stage(crop, coded):
    """Stages are the finer cut: those that end a layer give the picture of that layer."""
    whole = codec.info(coded)
    counts = [layer.stages for layer in whole.layers]
    ends = [sum(counts[: n + 1]) for n in range(3)]
    assert codec.decode_detailed(coded).stages_declared == ends[-1]
    pictures = {}
    for stages in range(1, ends[-1] + 1):
        found = codec.decode_detailed(coded, stages=stages)
        assert found.stages == stages
        assert found.layers == 1 + sum(end < stages for end in ends)
        pictures[stages] = np.array(found.image)
    for layers, end in enumerate(ends, start=1):
        assert np.array_equal(pictures[end], np.array(codec.decode(coded, layers=layers)))
    assert len({picture.tobytes() for picture in pictures.values()}) == ends[-1]
    cut = codec.decode_detailed(coded[: whole.layers[1].end], stages=ends[-1])
    assert cut.stages == ends[1]
    with pytest.raises(errors.ArgumentError, match=f"{ends[-1]} stages"):
        codec.decode(coded, stages=ends[-1] + 1)


def test_overhead_is_at_most_64_bytes(coded):
    assert codec.info(coded).overhead_bytes + 3 * 2 <= 64  # symbol checksums are in the payloads


def test_damage_is_an_error_or_a_note_never_a_wrong_picture(coded):
    by_layers = [np.array(codec.decode(coded, layers=n)) for n in (1, 2, 3)]
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(coded), 60):
        damaged = bytearray(coded)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            result = codec.decode_detailed(bytes(damaged))
        except errors.CodecError:
            continue
        assert result.notes
        assert np.array_equal(np.array(result.image), by_layers[result.layers - 1])


def test_damage_behind_the_picture_is_a_warning(coded):
    ends = [layer.end for layer in codec.info(coded).layers]
    damaged = bytearray(coded)
    damaged[ends[1] + 30] ^= 1
    with pytest.warns(errors.DamageWarning, match="2 of 3 layers"):
        image = codec.decode(bytes(damaged))
    assert np.array_equal(np.array(image), np.array(codec.decode(coded, layers=2)))


def test_a_cut_is_a_warning_where_something_asked_for_is_missing(coded, recwarn):
    ends = [layer.end for layer in codec.info(coded).layers]
    with pytest.warns(errors.TruncatedWarning, match="2 of its 3 layers"):
        codec.decode(coded[: ends[1] + 5])
    recwarn.clear()
    codec.decode(coded)
    codec.decode(coded[: ends[1] + 5], warn=False)
    codec.decode(coded[: ends[1] + 5], layers=2)
    codec.decode(coded[: ends[0]], scale=4)  # takes the first layer alone
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


def test_a_cut_in_the_metadata_is_a_warning():
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = codec.encode(saved(picture(), "PNG", exif=exif.tobytes()))
    with pytest.warns(errors.TruncatedWarning, match="after its last layer"):
        codec.decode(data[:-3])


@pytest.mark.parametrize("thing", [None, 7, [1, 2]])
def test_things_that_are_no_images_or_files_are_refused(thing):
    with pytest.raises(errors.ArgumentError, match=type(thing).__name__):
        codec.encode(thing)
    with pytest.raises(errors.ArgumentError, match=type(thing).__name__):
        codec.decode(thing)


def test_sampled_fill_is_reproducible_and_differs_by_seed(coded):
    a, b, c = (np.array(codec.decode(coded, layers=1, fill="sample", seed=s)) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    calm = np.array(codec.decode(coded, layers=1, fill="sample", temperature=0.0))
    assert np.array_equal(calm, np.array(codec.decode(coded, layers=1)))


@pytest.mark.parametrize("scale", [2, 4])
def test_small_pictures_resemble_the_image_reduced(crop, coded, scale):
    small = codec.decode(coded, scale=scale)
    height, width = crop.shape[:2]
    assert small.size == (-(-width // scale), -(-height // scale))
    reduced = Image.fromarray(crop).resize(small.size, Image.Resampling.BOX)
    assert psnr(reduced, small) > 20


def test_targets_are_met_from_below_and_closely(crop, model):
    pixels = crop.shape[0] * crop.shape[1]
    for bpp in (0.3, 0.8):
        data = codec.encode(crop, target_bpp=bpp, model=model)
        assert 0.85 * bpp < 8 * len(data) / pixels <= bpp
    assert len(codec.encode(crop, target_bytes=3000, layers=2, model=model)) <= 3000


def test_a_target_out_of_reach_says_what_would_help(crop, model):
    with pytest.raises(errors.TargetError, match=r"3 layers needs .* fewer --layers"):
        codec.encode(crop, target_bytes=100, layers=3, model=model)
    with pytest.raises(errors.TargetError, match=r"1 layer needs .* reduce the image"):
        codec.encode(crop, target_bytes=30, model=model)


def test_the_smallest_quality_meets_a_target_of_its_own_size(crop, model):
    smallest = codec.encode_detailed(crop, quality=0, model=model)
    found = codec.encode_detailed(crop, target_bytes=len(smallest.data), model=model)
    assert len(found.data) <= len(smallest.data)  # a higher quality may happen to be as small


# -- sizes and modes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 200), (200, 1), (2, 3), (63, 65), (64, 64), (129, 31), (257, 100)]
)
def test_any_size_works(size, model):
    image = picture(size=size)
    for layers in (1, 3):
        shown = codec.decode(codec.encode(image, quality=80, model=model), layers=layers)
        assert shown.size == size
    assert psnr(image, shown) > 18


def test_grey_stays_grey(model):
    image = picture().convert("L")
    shown = codec.decode(codec.encode(image, quality=80, model=model))
    assert shown.mode == "L"
    assert psnr(image, shown) > 25


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_other_modes_become_rgb_or_grey(mode, model):
    image = picture().convert("RGB")
    converted = (
        ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        if mode == "LAB"
        else image.convert(mode)
    )
    shown = codec.decode(codec.encode(converted, quality=60, model=model))
    assert shown.size == image.size
    assert shown.mode == ("L" if mode == "1" else "RGB")


def test_sixteen_bits_are_reduced_with_a_note():
    ramp = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    result = codec.encode_detailed(saved(Image.fromarray(ramp), "PNG"), quality=80)
    assert any("16-bit" in note for note in result.notes)
    shown = codec.decode(result.data)
    assert shown.mode == "L"
    assert psnr(ramp / 257, shown) > 28


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6], ids=["grey", "rgb", "grey+a", "rgb+a"])
def test_every_kind_of_sixteen_bit_png_is_noted(colour_type):
    data = png16(colour_type, 20, 10)
    result = codec.encode_detailed(data)
    assert any("16-bit" in note for note in result.notes)
    assert codec.decode(result.data).mode == {0: "L", 2: "RGB"}.get(colour_type, "RGBA")


def png16(colour_type, width, height) -> bytes:
    """A 16-bit PNG, which Pillow reads but cannot write in colour."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    row = b"\0" + np.linspace(0, 65535, width * channels).astype(">u2").tobytes()
    out = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b"")):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        out += struct.pack(">I", len(body)) + kind + body + crc
    return out


def test_the_see_through_value_of_sixteen_bit_grey_becomes_alpha():
    ramp = np.repeat(np.array([[0, 1000, 65535]], dtype=np.uint16), 4, axis=0)
    data = saved(Image.fromarray(ramp), "PNG", transparency=1000)
    alpha = codec.decode(codec.encode(data)).getchannel("A")
    assert np.array(alpha)[0].tolist() == [255, 0, 255]


def test_small_integers_are_eight_bit_values():
    shown = codec.decode(codec.encode(Image.new("I", (64, 64), 200), quality=60))
    assert abs(float(np.array(shown).mean()) - 200) < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_lossless(mode, model):
    rng = np.random.default_rng(1)
    alpha = Image.fromarray(rng.integers(0, 256, (50, 70), dtype=np.uint8))
    image = picture()
    if mode == "P":
        image = image.quantize(16)
        data = saved(image, "PNG", transparency=3)
        expected = np.array(Image.open(io.BytesIO(data)).convert("RGBA").getchannel("A"))
    else:
        image = image.convert(mode[:-1])
        image.putalpha(alpha)
        data, expected = saved(image, "PNG"), np.array(alpha)
    shown = codec.decode(codec.encode(data, model=model))
    assert shown.mode == ("LA" if mode == "LA" else "RGBA")
    assert np.array_equal(np.array(shown.getchannel("A")), expected)


def test_exif_orientation_is_applied_and_the_rest_kept(model):
    image = picture(size=(80, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "a description"
    shown = codec.decode(
        codec.encode(saved(image, "JPEG", exif=exif, quality=95), quality=90, model=model)
    )
    assert shown.size == (40, 80)
    assert psnr(image.transpose(Image.Transpose.ROTATE_270), shown) > 20
    kept = Image.Exif()
    kept.load(shown.info["exif"])
    assert kept[0x010E] == "a description"
    assert 0x0112 not in kept


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"'
    b' dc:title="a title"/></rdf:RDF></x:xmpmeta>'
)


def test_xmp_is_kept_without_its_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(picture(), "JPEG", exif=exif, xmp=XMP)
    xmp = codec.decode(codec.encode(data)).info["xmp"]
    assert b"a title" in xmp
    assert b"Orientation" not in xmp


def test_icc_profile_is_kept_byte_for_byte_and_strip_drops_it(model):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(picture(), "PNG", icc_profile=profile)
    kept, stripped = codec.encode(data, model=model), codec.encode(data, strip=True, model=model)
    assert codec.decode(kept).info["icc_profile"] == profile
    assert "icc_profile" not in codec.decode(stripped).info
    assert len(stripped) < len(kept)


def profile_with_other_gamma() -> bytes:
    """sRGB's primaries with a linear tone curve."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)  # no entries: the identity
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    for entry in range(132, 132 + 12 * count, 12):
        if data[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">II", data, entry + 4, len(data), len(curve))
    data += curve
    struct.pack_into(">I", data, 0, len(data))
    return bytes(data)


def test_a_profile_can_be_applied_instead_of_kept(model):
    image, linear = picture(), profile_with_other_gamma()
    data = saved(image, "PNG", icc_profile=linear)
    found = codec.encode_detailed(data, srgb=True, quality=90, model=model)
    assert "icc" not in codec.info(found.data).metadata
    assert "sRGB" in " ".join(found.notes)
    light = np.asarray(image) / 255  # what linear values look like in sRGB
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert psnr(codec.decode(found.data), expected) > 26
    assert psnr(codec.decode(found.data), np.asarray(image)) < 20
    grey = codec.decode(codec.encode(saved(image.convert("L"), "PNG"), srgb=True, model=model))
    assert grey.mode == "L"


def test_a_profile_that_cannot_be_applied_is_kept_with_a_note():
    data = saved(picture(), "PNG", icc_profile=b"no profile at all")
    found = codec.encode_detailed(data, srgb=True)
    assert codec.decode(found.data).info["icc_profile"] == b"no profile at all"
    assert "cannot be used" in " ".join(found.notes)


def test_arrays_paths_bytes_and_images_give_the_same_file(tmp_path):
    image = picture()
    path = tmp_path / "p.png"
    image.save(path)
    files = {codec.encode(x) for x in (image, np.array(image), path, str(path), path.read_bytes())}
    assert len(files) == 1


def test_a_longer_side_is_reduced_and_a_shorter_one_stays():
    image = picture(size=(70, 50))
    found = codec.encode_detailed(image, max_side=35)
    assert (found.width, found.height) == (35, 25)
    assert found.notes == ("reduced from 70×50 to 35×25 pixels",)
    assert found.data == codec.encode(image.resize((35, 25), Image.Resampling.LANCZOS))
    assert codec.encode(image, max_side=70) == codec.encode(image)
    assert codec.encode_detailed(image, max_side=1).height == 1
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = saved(image, "JPEG", exif=exif)
    assert codec.encode_detailed(turned, max_side=35).height == 35
    clear = image.convert("LA")
    clear.putalpha(128)
    assert codec.decode(codec.encode(clear, max_side=10)).mode == "LA"


# -- what cannot work --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 0}, "layers"),
        ({"layers": 4}, "layers"),
        ({"quality": 101}, "quality"),
        ({"quality": -1}, "quality"),
        ({"target_bpp": 0}, "positive"),
        ({"target_bpp": float("nan")}, "positive"),
        ({"target_bytes": -5}, "positive"),
        ({"quality": 3, "target_bpp": 1.0}, "only one"),
    ],
)
def test_bad_encode_arguments_name_the_argument(options, words, model):
    with pytest.raises(errors.ArgumentError, match=words):
        codec.encode(picture(), **options, model=model)


@pytest.mark.parametrize(
    "options",
    [{"layers": 0}, {"stages": 0}, {"fill": "x"}, {"scale": 3}, {"seed": -1}, {"temperature": -1}],
)
def test_bad_decode_arguments_are_refused(coded, options):
    with pytest.raises(errors.ArgumentError):
        codec.decode(coded, **options)


def test_a_damaged_image_object_is_an_image_error():
    image = Image.open(io.BytesIO(saved(picture(), "PNG")[:-60]))
    with pytest.raises(errors.ImageError, match="damaged"):
        codec.encode(image)


def test_limits_count_the_padded_image():
    """A line of 16 million pixels becomes a gigapixel for the networks."""
    from bitstream.container import Chunk, Header

    header = Header(1, b"\0" * 4, 2**24, 1, 50, 3)
    with pytest.raises(errors.LimitError):
        codec.decode(header.to_bytes() + Chunk(b"L", b"\0\0").to_bytes())


@pytest.mark.parametrize("device", ["mps", "cuda:99", "cpu:1", "", "meta"])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(errors.ModelError, match="use"):
        codec.encode(picture(), device=device)


def test_unknown_models_and_devices_are_refused():
    with pytest.raises(errors.ModelError, match="installed: ssvae, convdraw"):
        codec.encode(picture(), model="nonesuch")
    with pytest.raises(errors.ModelError, match="auto, cpu or cuda"):
        codec.encode(picture(), device="toaster")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4, 2), dtype=np.uint8),
        np.zeros((4,), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
    ],
)
def test_arrays_that_are_no_images_are_refused(array):
    with pytest.raises(errors.ImageError):
        codec.encode(array)


def test_limits_hold_on_both_sides(coded, model):
    with pytest.raises(errors.LimitError, match="max"):
        codec.encode(picture(), max_pixels=100, model=model)
    with pytest.raises(errors.LimitError, match="max"):
        codec.decode(coded, max_pixels=100)


def test_other_weights_are_a_clear_error(coded):
    from dataclasses import replace

    from bitstream.container import Header

    header = Header.from_bytes(coded)
    for changed, words in (
        (replace(header, fingerprint=b"\0\0\0\0"), "00000000"),
        (replace(header, model_id=99), "99"),
    ):
        with pytest.raises(errors.UnsupportedFileError, match=words):
            codec.decode(changed.to_bytes() + coded[24:])


def test_one_changed_bit_in_the_weights_is_caught(coded, model, tmp_path, monkeypatch):
    """Other weights have another fingerprint: both are named, and nothing is guessed."""
    from codec import installed
    from models import weights_file as weights

    own = weights.weights_info(model)
    changed = bytearray(own.path.read_bytes())
    changed[-1000] ^= 1
    (tmp_path / own.path.name).write_bytes(changed)
    monkeypatch.setattr(weights, "WEIGHTS_FOLDER", tmp_path)
    caches = (weights.weights_info, installed._load)
    for cache in caches:
        cache.cache_clear()
    try:
        other = weights.fingerprint_of(bytes(changed)).hex()
        with pytest.raises(errors.UnsupportedFileError, match=other) as caught:
            codec.decode(coded)
        assert own.fingerprint.hex() in str(caught.value)
    finally:
        for cache in caches:
            cache.cache_clear()


def test_every_error_is_a_codec_error():
    for name in errors.__all__:
        kind = Warning if name.endswith("Warning") else errors.CodecError
        assert issubclass(getattr(errors, name), kind)


# Linux counts the parent's memory at the fork in ru_maxrss too: a long test run would be blamed on
# the codec. VmHWM is the process' own.
_TWELVE_MEGAPIXELS = """
import resource, sys
from pathlib import Path
import codec
data = codec.encode(sys.argv[1], quality=50, model=sys.argv[3])
codec.decode(data).save(sys.argv[2], compress_level=1)
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
own = [line.split()[1] for line in lines if line.startswith("VmHWM")]
print(own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_twelve_megapixels_stay_below_1500_megabytes(photograph, tmp_path, model):
    big = Image.fromarray(photograph).resize((4000, 3000), Image.Resampling.BICUBIC)
    paths = [str(tmp_path / name) for name in ("big.png", "shown.png")]
    big.save(paths[0], compress_level=1)
    command = [sys.executable, "-c", _TWELVE_MEGAPIXELS, *paths, model]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(result.stdout) * unit < 1.5e9
    with Image.open(paths[1]) as shown:
        assert psnr(np.array(big), shown) > 30


def test_no_image_waits_for_the_garbage_collector(crop, model):
    def held():
        return sum(x.nbytes for x in gc.get_objects() if issubclass(type(x), torch.Tensor))

    codec.decode(codec.encode(crop, model=model))
    gc.collect()
    gc.disable()
    try:
        before = held()
        codec.decode(codec.encode(crop, model=model), fill="sample", layers=1)
        assert held() == before
    finally:
        gc.enable()


def test_arrays_in_read_only_memory_bring_no_warning(crop, recwarn):
    view = crop.view()
    view.flags.writeable = False
    assert codec.encode(view) == codec.encode(crop)
    assert not recwarn.list


def test_pillows_own_limit_is_back_after_readers_in_several_threads(photograph):
    before = Image.MAX_IMAGE_PIXELS
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, "PNG")

    def read(_):
        return load_picture(buffer.getvalue(), max_pixels=None).rgb.shape

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(40))) == {photograph.shape}
    assert Image.MAX_IMAGE_PIXELS == before is not None


def icon(inner: Image.Image) -> bytes:
    """A Windows icon that declares 16×16 pixels and holds a PNG of any size."""
    png = io.BytesIO()
    inner.save(png, "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, png.tell(), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + png.getvalue()


@pytest.mark.parametrize("side", [1100, 2000])  # behind loading it, and in Pillow before
@pytest.mark.filterwarnings("ignore")
def test_the_pixel_limit_holds_for_what_is_inside_a_file(side):
    data = icon(Image.new("RGBA", (side, side)))
    with pytest.raises(errors.LimitError, match="max-pixels"):
        codec.encode(data, max_pixels=2**20)
    assert codec.info(codec.encode(icon(Image.new("RGBA", (16, 16))))).width == 16


def test_the_pixel_limit_holds_for_the_tiles_of_a_tiff():
    values = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 46000, 323: 46000}
    values |= {324: 200, 325: 100}  # where the one tile is
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    data = struct.pack("<2sHIH", b"II", 42, 8, len(values)) + entries + bytes(4)
    with pytest.raises(errors.LimitError, match="max-pixels"):
        codec.encode(data.ljust(200, b"\0") + zlib.compress(bytes(10**5)))


def test_limits_of_readers_at_the_same_time():
    limit = PillowLimit()
    before = Image.MAX_IMAGE_PIXELS
    with limit.of(10):
        with limit.of(20):
            assert Image.MAX_IMAGE_PIXELS == 20
            with limit.of(None):
                assert Image.MAX_IMAGE_PIXELS is None
        assert Image.MAX_IMAGE_PIXELS == 10
    assert before == Image.MAX_IMAGE_PIXELS


def test_postscript_is_never_run():
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"
    with pytest.raises(errors.ImageError, match="PostScript"):
        codec.encode(data)


def test_a_file_that_is_overwritten_keeps_its_mode(tmp_path):
    private, fresh = tmp_path / "private", tmp_path / "fresh"
    private.touch()
    private.chmod(0o600)
    for path in (private, fresh):
        write_atomic(path, b"data")
    assert private.stat().st_mode & 0o777 == 0o600
    assert fresh.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert private.read_bytes() == b"data"


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("values", [(-128, 127), (0, 245740)])
def test_numbers_that_are_no_pixels_are_refused(values):
    data = saved(
        Image.fromarray(np.linspace(*values, 600).astype(np.int32).reshape(20, 30)), "TIFF"
    )
    with pytest.raises(errors.ImageError, match=r"pixels outside 0…65535"):
        codec.encode(data)


def test_a_profile_of_lab_is_not_one_of_the_rgb_pixels():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = saved(Image.new("LAB", (40, 30), (120, 140, 100)), "TIFF", icc_profile=lab)
    coded = codec.encode_detailed(data)
    assert "icc_profile" not in codec.decode(coded.data).info
    assert "converted from Lab to sRGB" in coded.notes
