"""EXIF of a TIFF, whose own tags are of the same kind."""

from __future__ import annotations

from PIL import ExifTags, Image

_BLOCKS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_Base = ExifTags.Base
#: Tags that say something of the picture, not of how its samples lie in the file (TIFF 6.0,
#: sections 8 and 12; EXIF 2.32, section 4.6.4). The orientation is applied to the pixels.
_OF_THE_PICTURE = (
    *(_Base.DocumentName, _Base.ImageDescription, _Base.PageName, _Base.Rating),
    *(_Base.Make, _Base.Model, _Base.Software, _Base.DateTime, _Base.HostComputer),
    *(_Base.Artist, _Base.Copyright),
    *(_Base.XPTitle, _Base.XPComment, _Base.XPAuthor, _Base.XPKeywords, _Base.XPSubject),
)


def is_tiff(image: Image.Image) -> bool:
    return hasattr(image, "tag_v2")


def exif_of_tiff(image: Image.Image) -> Image.Exif:
    """The tags of an image, as it was opened, that other formats hold as EXIF. May raise anything
    where they are damaged."""
    found, kept = image.getexif(), Image.Exif()
    for tag in _OF_THE_PICTURE:
        if tag in found:
            kept[tag] = found[tag]
    for block in _BLOCKS:
        if values := found.get_ifd(block):
            kept[block] = values
    return kept
