"""Pillow plugin: after ``import codec.pillow`` Pillow reads and writes .cci files.

>>> import codec.pillow
>>> image = Image.open("photo.cci")  # reads the file, decodes nothing yet
>>> image.thumbnail((256, 256))  # through the quarter-size picture where that suffices
>>> Image.open("photo.png").save("photo.cci", quality=60, layers=2)

(Pillow 13 looks for plugins in its own package only, so the import is needed.)

*Opening* fills ``info``: ``icc_profile``, ``exif``, ``xmp`` where the file has them, ``quality``,
``layers`` (those that arrived whole) and ``layers_declared``. ``draft()``, and with it
``thumbnail()``, picks the smallest of full, half and quarter size that is large enough.

A file *cut* after its first layer is a .cci file with fewer layers and loads as such, silently:
``info`` says how many arrived. One that is *damaged* there raises OSError on loading, as Pillow's
own plugins do; with ``ImageFile.LOAD_TRUNCATED_IMAGES`` set it loads what is whole, with a
:class:`codec.errors.DamageWarning`. Without one whole layer there is nothing to open.

*Saving* takes the options of :func:`codec.encode` by their names. As elsewhere in Pillow, EXIF and
XMP are written when they are given (``exif=image.getexif()``), an ICC profile also where ``info``
has it. The orientation of EXIF that is given is applied to the pixels; that of an image just opened
is left alone, here too: ``ImageOps.exif_transpose(image)`` turns it.
"""

from __future__ import annotations

import warnings
from typing import IO, Any

from PIL import Image, ImageFile

from bitstream.container import ALPHA, EXIF, HEADER_BYTES, ICC, MAGIC, XMP, Container, Header
from codec.errors import CodecError, DamageWarning, ImageError
from codec.options import EncodeOptions, names_of
from codec.side_data import unpack_metadata

FORMAT = "CCI"
MIME = "image/x-cci"
_METADATA = {"icc_profile": ICC, "exif": EXIF, "xmp": XMP}


class ConceptualImageFile(ImageFile.ImageFile):
    """A .cci file with Pillow's interface; see the module's description."""

    format = FORMAT
    format_description = "Conceptual codec"

    def _open(self) -> None:
        assert self.fp is not None
        head = self.fp.read(HEADER_BYTES)
        if not head.startswith(MAGIC):
            raise SyntaxError("not a .cci file")  # Pillow then asks its next plugin
        try:
            header = Header.from_bytes(head)
            # Pillow's own limit, before the rest is read; open() repeats it to warn.
            Image._decompression_bomb_check((header.width, header.height), error_only=True)
            self._data = head + self.fp.read()
            container = Container.from_bytes(self._data)
        except CodecError as error:
            raise OSError(str(error)) from error
        self._full = self._size = header.width, header.height
        self._mode = "L" if header.grey else "RGB"
        if container.first(ALPHA) is not None:
            self._mode += "A"
        self._scale = 1
        self._damage = container.damage
        self.info.update(
            quality=header.quality,
            layers=len(container.layers),
            layers_declared=header.layers,
        )
        for key, kind in _METADATA.items():
            payload = container.first(kind)
            if payload is None:
                continue
            try:
                self.info[key] = unpack_metadata(payload)
            except ImageError as error:  # the picture is intact
                warnings.warn(f"{key} left out: {error}", DamageWarning, stacklevel=2)
        self.tile = [ImageFile._Tile("cci", (0, 0, *self._size))]

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode at half or quarter size where that still covers ``size``. ``mode`` is ignored.

        Returns:
            The mode, and the box that the picture fills, (0, 0, width, height); None once loaded.
        """
        if not self.tile or size is None:
            return None
        width, height = self._full
        factor = min(width / max(1, size[0]), height / max(1, size[1]))
        self._scale = next(scale for scale in (4, 2, 1) if scale <= max(1.0, factor))
        self._size = -(-width // self._scale), -(-height // self._scale)
        self.tile = [ImageFile._Tile("cci", (0, 0, *self._size))]
        return self.mode, (0, 0, width / self._scale, height / self._scale)

    def verify(self) -> None:
        """Check the file without decoding it. Raises OSError where it is damaged."""
        if self._damage is not None:
            raise OSError(f"image file is damaged: {self._damage}")
        super().verify()

    def _refuse(self, damage: str) -> None:
        if not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise OSError(f"image file is damaged: {damage}")

    def load(self) -> Image.core.PixelAccess | None:
        """Decode, once. Raises OSError where the file is damaged, and see above."""
        if self.tile:
            if self._damage is not None:
                self._refuse(str(self._damage))
            from codec.decoding import decode_detailed  # brings torch

            try:
                result = decode_detailed(self._data, scale=self._scale)
            except CodecError as error:
                raise OSError(str(error)) from error
            if result.spoilt:
                self._refuse("; ".join(result.notes))
                self.info["layers"] = result.layers
            if result.damaged:
                warnings.warn("; ".join(result.notes), DamageWarning, stacklevel=2)
            self.im = result.image.im
            self.tile = []
            self._data = b""
            if self._exclusive_fp and self._close_exclusive_fp_after_loading and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()


def _save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Pillow's save handler. Raises OSError, or ValueError for a bad option."""
    from codec.encoding import encode

    given: dict[Any, Any] = dict(image.encoderinfo)
    metadata = {
        "icc_profile": given.get("icc_profile", image.info.get("icc_profile")),
        "exif": given.get("exif"),
        "xmp": given.get("xmp"),
    }
    if isinstance(metadata["exif"], Image.Exif):
        metadata["exif"] = metadata["exif"].tobytes()
    plain = image.copy()
    kept: dict[Any, Any] = {k: v for k, v in image.info.items() if k in ("transparency", "bits")}
    plain.info = kept | {key: value for key, value in metadata.items() if value}
    options: dict[str, Any] = {k: given[k] for k in names_of(EncodeOptions) if k in given}
    try:
        fp.write(encode(plain, **options))
    except CodecError as error:
        if isinstance(error, ValueError):
            raise
        raise OSError(str(error)) from error


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


Image.register_open(FORMAT, ConceptualImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".cci")
Image.register_mime(FORMAT, MIME)
