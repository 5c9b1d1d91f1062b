"""What goes along with a picture, in formats that store it in ways of their own."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

import codec
from bitstream.container import ALPHA, Chunk, Container
from codec.errors import CorruptError
from codec.picture_reading import load_picture
from codec.picture_writing import coded_image

TAKEN = "2024:05:06 07:08:09"


def coded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def exif() -> bytes:
    found = Image.Exif()
    found[ExifTags.Base.Make] = "Maker"
    found[ExifTags.Base.Orientation] = 6
    found[ExifTags.IFD.Exif] = {int(ExifTags.Base.DateTimeOriginal): TAKEN}
    return found.tobytes()


@pytest.mark.parametrize("form", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_exif_of_every_format_is_kept(crop, exif, form, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(coded(Image.fromarray(crop[:30, :40]), form, exif=exif))
    for source in (path, path.read_bytes(), Image.open(path)):
        picture = load_picture(source, max_pixels=None)
        assert picture.rgb.shape == (40, 30, 3)  # the orientation is applied
        assert picture.notes == []
        found = Image.Exif()
        found.load(picture.exif)
        assert found.get(ExifTags.Base.Make) == "Maker"
        assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == TAKEN
        assert ExifTags.Base.Orientation not in found
        assert ExifTags.Base.ImageWidth not in found


def test_a_tiff_that_says_nothing_of_its_picture_has_no_exif(crop):
    picture = load_picture(coded(Image.fromarray(crop), "TIFF", dpi=(300, 300)), max_pixels=None)
    assert picture.exif is None


def test_a_tiff_that_is_decoded_to_says_so_again(crop, exif):
    data = codec.encode(coded(Image.fromarray(crop[:30, :40]), "TIFF", exif=exif))
    written, notes = coded_image(codec.decode(data), ".tif")
    assert notes == []
    assert load_picture(written, max_pixels=None).exif == codec.decode(data).info["exif"]


def test_of_metadata_that_is_refused_the_rest_stays(crop, exif):
    """Without its profile a picture has other colours, whatever is wrong with the rest."""
    image = Image.fromarray(crop[:20, :20])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info |= {"icc_profile": profile, "exif": exif, "xmp": b"x" * 70_000}
    data, notes = coded_image(image, ".jpg")
    assert notes == ["XMP left out: .jpg refused it (XMP data is too long)"]
    assert {"icc_profile", "exif"} <= Image.open(io.BytesIO(data)).info.keys()
    image.info |= {"exif": exif + bytes(70_000), "xmp": b"<x/>"}
    data, notes = coded_image(image, ".jpg")
    assert notes == ["EXIF left out: .jpg refused it (EXIF data is too long)"]
    assert {"icc_profile", "xmp"} <= Image.open(io.BytesIO(data)).info.keys()


def test_where_it_cannot_be_seen_what_is_kept_a_note_says_so(crop, exif):
    image = Image.fromarray(crop[:20, :20])
    image.info["exif"] = exif
    assert coded_image(image, ".pdf")[1] == [
        "EXIF may be missing: .pdf files cannot be read back to see"
    ]


def test_the_see_through_colour_of_sixteen_bit_png_becomes_alpha():
    colours = np.array([[[0x8040, 0x2010, 0x1234], [0x4000, 0x1000, 0x3400]]], ">u2")

    def chunk(kind: bytes, payload: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + payload))
        return struct.pack(">I", len(payload)) + kind + payload + checksum

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data += chunk(b"tRNS", colours[0, 0].tobytes())
    data += chunk(b"IDAT", zlib.compress(b"\0" + colours.tobytes())) + chunk(b"IEND", b"")
    picture = load_picture(data, max_pixels=None)
    assert picture.alpha.tolist() == [[0, 255]]


def test_small_alpha_is_the_mean_of_the_squares_that_its_pixels_stand_for(crop):
    alpha = np.zeros((30, 65), np.uint8)
    alpha[:, 60:] = 255
    alpha[:2] = 101
    data = codec.encode(np.dstack([crop[:30, :65], alpha]))
    for scale in (2, 4):
        small = np.array(codec.decode(data, scale=scale).getchannel("A"))
        for y in range(small.shape[0]):
            for x in range(small.shape[1]):
                square = alpha[y * scale : (y + 1) * scale, x * scale : (x + 1) * scale]
                assert small[y, x] == int(np.floor(square.mean() + 0.5)), (scale, y, x)


def test_an_alpha_plane_of_colours_is_damage(crop):
    data = codec.encode(np.dstack([crop[:30, :40], np.full((30, 40), 9, np.uint8)]))
    whole = Container.from_bytes(data)
    coloured = coded(Image.new("RGB", (40, 30)), "PNG")
    chunks = (Chunk(ALPHA, coloured) if c.type == ALPHA else c for c in whole.chunks)
    bad = whole.header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
    with pytest.raises(CorruptError, match="alpha plane is damaged"):
        codec.decode(bad)
