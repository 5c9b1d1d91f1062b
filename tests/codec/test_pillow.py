"""The Pillow plugin behaves as Pillow's users expect."""

import io
import shlex
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

import codec
import codec.pillow
from bitstream.container import Chunk, Container
from codec.errors import ArgumentError, DamageWarning
from tests.codec.test_files import profile_with_other_gamma

DESKTOP = Path(__file__).parents[2] / "docs" / "desktop"


def equal(a, b) -> bool:
    return a.mode == b.mode and np.array_equal(np.array(a), np.array(b))


@pytest.fixture
def path(tmp_path, coded) -> Path:
    target = tmp_path / "photo.cci"
    target.write_bytes(coded)
    return target


def test_open_shows_what_decode_shows(path, coded):
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("CCI", "RGB", (221, 183))
        assert image.get_format_mimetype() == "image/x-cci"
        assert image.info == {"quality": 50, "layers": 3, "layers_declared": 3}
        assert equal(image, codec.decode(coded))


def test_opening_decodes_nothing_and_does_not_even_import_torch(path):
    script = (
        "import sys, codec.pillow\nfrom PIL import Image\n"
        f"print(Image.open({str(path)!r}).size, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "(221, 183) False\n", done.stderr


def test_save_takes_the_encoder_options(crop, tmp_path):
    image = Image.fromarray(crop)
    image.save(tmp_path / "a.cci", quality=60, layers=2)
    assert (tmp_path / "a.cci").read_bytes() == codec.encode(image, quality=60, layers=2)
    buffer = io.BytesIO()
    image.save(buffer, "CCI", target_bytes=2000)
    assert 1000 < len(buffer.getvalue()) <= 2000


def test_save_ignores_no_option_of_the_encoder(crop):
    image = Image.fromarray(crop[:70, :90])
    image.info["icc_profile"] = profile_with_other_gamma()
    plain = codec.encode(image)
    values = {"stages": 1, "srgb": True, "strip": True, "layers": 1, "quality": 9}
    for name, value in values.items():
        image.save(buffer := io.BytesIO(), "CCI", **{name: value})
        assert buffer.getvalue() == codec.encode(image, **{name: value}) != plain, name


def test_wrong_options_and_failures_leave_no_file(crop, tmp_path):
    image = Image.fromarray(crop)
    with pytest.raises(ArgumentError, match="quality"):
        image.save(tmp_path / "a.cci", quality=400)
    with pytest.raises(OSError, match="cannot be reached"):
        image.save(tmp_path / "a.cci", target_bytes=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes_survive(mode, crop):
    image = Image.fromarray(crop[:70, :90]).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "CCI")
    with Image.open(buffer) as shown:
        assert (shown.mode, shown.size) == (mode, (90, 70))
        shown.load()
        assert equal(shown, codec.decode(buffer.getvalue()))


def test_metadata_goes_in_when_given_and_comes_out_in_info(crop):
    image = Image.fromarray(crop[:70, :90])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    image.save(buffer, "CCI", icc_profile=profile, exif=exif, xmp=b"<x/>")
    with Image.open(buffer) as shown:
        assert shown.info["icc_profile"] == profile
        assert shown.getexif()[0x010E] == "a description"
        assert shown.info["xmp"] == b"<x/>"
        again = io.BytesIO()
        shown.save(again, "CCI")  # as with other formats, only the profile goes along unasked
    with Image.open(again) as shown:
        assert shown.info["icc_profile"] == profile
        assert "exif" not in shown.info


def test_an_orientation_that_is_left_in_info_does_not_turn_the_picture_again(crop):
    image = Image.fromarray(crop[:70, :90])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "CCI")
    assert Image.open(buffer).size == (90, 70)
    image.save(buffer := io.BytesIO(), "CCI", exif=exif)
    assert Image.open(buffer).size == (70, 90)


@pytest.mark.parametrize(
    ("asked", "scale"),
    [((221, 183), 1), ((112, 90), 1), ((110, 91), 2), ((56, 9), 2), ((55, 45), 4)],
)
def test_draft_takes_the_smallest_picture_that_is_large_enough(path, coded, asked, scale):
    with Image.open(path) as image:
        mode, box = image.draft("RGB", asked)
        assert (mode, box) == ("RGB", (0, 0, 221 / scale, 183 / scale))
        assert image.size == (-(-221 // scale), -(-183 // scale))
        assert equal(image, codec.decode(coded, scale=scale))
        assert image.draft("RGB", asked) is None  # loaded: too late


def test_a_thumbnail_is_made_from_the_small_picture(path, coded):
    with Image.open(path) as image:
        image.thumbnail((40, 40), reducing_gap=1.0)
        assert image.size == (40, 33)
        full = codec.decode(coded).resize((40, 33), Image.Resampling.BICUBIC)
        assert np.abs(np.array(full, float) - np.array(image, float)).mean() < 6


def test_a_copy_and_a_context_manager_work_as_with_other_formats(path):
    with Image.open(path) as image:
        copied = image.convert("L").resize((20, 20))
    assert copied.size == (20, 20)
    with path.open("rb") as file:  # not Pillow's to close
        Image.open(file).load()
        assert not file.closed


def test_a_cut_file_loads_what_arrived(coded):
    ends = [layer.end for layer in codec.info(coded).layers]
    image = Image.open(io.BytesIO(coded[: ends[1] + 9]))
    assert (image.info["layers"], image.info["layers_declared"]) == (2, 3)
    assert equal(image, codec.decode(coded, layers=2))


def test_a_damaged_file_is_an_error_unless_asked_for(coded, monkeypatch):
    ends = [layer.end for layer in codec.info(coded).layers]
    damaged = bytearray(coded)
    damaged[ends[1] + 30] ^= 1
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(damaged)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.warns(DamageWarning, match="2 of 3 layers"):
        assert equal(Image.open(io.BytesIO(damaged)), codec.decode(coded, layers=2))


def test_a_layer_of_other_symbols_is_damage_too(coded, monkeypatch):
    """Its chunk is whole: it shows on decoding only."""
    container = Container.from_bytes(coded)
    last = container.layers[-1]
    payload = bytes([last.payload[0] ^ 1, *last.payload[1:]])  # of the symbols' checksum
    chunks = [Chunk(c.type, payload) if c is last else c for c in container.chunks]
    data = container.header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
    with pytest.raises(OSError, match="damaged: layer z2"):
        Image.open(io.BytesIO(data)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(data)) as image, pytest.warns(DamageWarning, match="z2"):
        image.load()
    assert image.info["layers"] == 2


def test_verify_finds_damage(coded):
    Image.open(io.BytesIO(coded)).verify()
    broken = bytearray(coded)
    broken[-40] ^= 1
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(bytes(broken))).verify()


@pytest.mark.parametrize("length", [10, 24, 100])
def test_without_a_whole_layer_there_is_nothing_to_open(coded, length):
    with pytest.raises(OSError, match="ends"):
        Image.open(io.BytesIO(coded[:length]))


def test_pillows_own_limit_holds(path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


# -- docs/desktop ------------------------------------------------------------------------------


def test_the_thumbnailer_makes_a_thumbnail(path, tmp_path):
    entry = ConfigParser(interpolation=None)
    entry.optionxform = str
    entry.read(DESKTOP / "conceptual-codec.thumbnailer")
    section = entry["Thumbnailer Entry"]
    assert codec.pillow.MIME in section["MimeType"]
    words = {"%i": str(path), "%o": str(tmp_path / "thumbnail"), "%s": "64"}
    command = [words.get(word, word) for word in shlex.split(section["Exec"])]
    assert command[0] == section["TryExec"] == "python3"
    subprocess.run([sys.executable, *command[1:]], check=True)
    with Image.open(tmp_path / "thumbnail") as image:
        assert (image.format, image.size) == ("PNG", (64, 53))


def test_the_mime_type_matches_files(coded):
    tree = ElementTree.parse(DESKTOP / "conceptual-codec.xml")
    space = {"m": "http://www.freedesktop.org/standards/shared-mime-info"}
    kind = tree.find("m:mime-type", space)
    assert kind is not None
    assert kind.get("type") == codec.pillow.MIME
    assert kind.find("m:glob", space).get("pattern") == "*.cci"
    magic = kind.find("m:magic/m:match", space).get("value")
    assert coded.startswith(magic.encode().decode("unicode_escape").encode("latin-1"))


def test_the_desktop_entry_opens_the_viewer():
    entry = ConfigParser(interpolation=None)
    entry.optionxform = str
    entry.read(DESKTOP / "conceptual-codec.desktop")
    section = entry["Desktop Entry"]
    assert section["Exec"] == "codec view %f"
    assert codec.pillow.MIME in section["MimeType"]
