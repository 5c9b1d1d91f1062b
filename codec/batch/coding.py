"""Coding one picture: bytes in, bytes and a manifest row out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from codec.batch.planning import Entry, accepted
from codec.batch.records import Row
from codec.batch.settings import DECODE, ENCODE, VERIFY, Settings
from codec.errors import CodecError, CorruptError
from codec.limits import DEFAULT_MAX_PIXELS
from codec.options import DecodeOptions, EncodeOptions
from codec.picture_reading import load_picture

if TYPE_CHECKING:
    from codec.decoding import Decoded
    from codec.encoding import Encoded

#: Stands for no difference at all: averages need a number.
MAX_PSNR = 100.0


class Coder:
    """Encodes, decodes or verifies, as the settings say; with one thread, since there are as many
    workers as cores.

    Raises:
        codec.errors.CodecError: an option is out of range, or the model or device is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._work = {ENCODE: self._encode, DECODE: self._decode, VERIFY: self._verify}[
            settings.kind
        ]
        self.facts: dict[str, Any] = {}
        if settings.kind != VERIFY or settings.options.get("deep"):
            import torch

            torch.set_num_threads(1)
        if settings.kind == ENCODE:
            self._prepare_encoding()
        elif settings.kind == DECODE:
            self._prepare_decoding()
        else:
            self._limit = settings.options.get("max_pixels", DEFAULT_MAX_PIXELS)

    def _prepare_encoding(self) -> None:
        from codec.installed import get_model

        options = EncodeOptions(**self._settings.options)
        model = get_model(options.weights, options.device)
        options.check_model(model)
        self._limit, self._device = options.max_pixels, options.device
        self._model = {"model": model.name, "fingerprint": model.fingerprint.hex()}
        self.facts = {"weights": f"{model.name} {model.fingerprint.hex()}"}

    def _prepare_decoding(self) -> None:
        from codec.installed import resolve_device

        options = DecodeOptions(**self._settings.options)
        resolve_device(options.device)
        self._limit = options.max_pixels

    def code(self, data: bytes, entry: Entry) -> tuple[Row, bytes | None]:
        """What to put on record of a picture, and its result.

        Raises:
            codec.errors.CodecError: it cannot be worked on.
        """
        return self._work(data, entry)

    def code_together(
        self, pictures: Sequence[bytes]
    ) -> list[tuple[Row, bytes | None] | CodecError]:
        """The same of several pictures, those of one padded size at once; not to verify them."""
        from codec.together import decode_each, encode_each

        options, decoding = self._settings.options, self._settings.kind == DECODE
        finish: Callable[..., tuple[Row, bytes]] = self._decoded if decoding else self._encoded
        done: Iterator[tuple[int, Any]] = (
            decode_each(pictures, DecodeOptions(**options))
            if decoding
            else encode_each(pictures, EncodeOptions(**options))
        )
        results: dict[int, tuple[Row, bytes | None] | CodecError] = {}
        seconds, started = 0.0, time.perf_counter()
        for number, result in done:
            seconds += time.perf_counter() - started
            try:
                failed = isinstance(result, CodecError)
                results[number] = result if failed else finish(pictures[number], result, 0.0)
            except CodecError as error:
                results[number] = error
            started = time.perf_counter()
        for made in results.values():
            if not isinstance(made, CodecError):
                made[0]["seconds"] = seconds / len(pictures)  # theirs together, shared out
        return [results[number] for number in range(len(pictures))]

    def _encode(self, data: bytes, entry: Entry) -> tuple[Row, bytes]:
        from codec.encoding import encode_detailed

        started = time.perf_counter()
        coded = encode_detailed(data, **self._settings.options)
        return self._encoded(data, coded, time.perf_counter() - started)

    def _encoded(self, data: bytes, coded: Encoded, seconds: float) -> tuple[Row, bytes]:
        """Row and file of a picture that took ``seconds``."""
        row = {
            "width": coded.width,
            "height": coded.height,
            "bytes": len(coded.data),
            "bpp": coded.bpp,
            "psnr": self._psnr(data, coded.data) if self._settings.psnr else None,
            "seconds": seconds,
            "quality": coded.quality,
            "notes": "; ".join(coded.notes) or None,
        }
        return row | self._model, coded.data

    def _psnr(self, source: bytes, coded: bytes) -> float:
        """PSNR of the RGB pixels, in dB, of transparent ones over white."""
        from codec.decoding import decode
        from codec.encoding import prepared_picture
        from codec.picture import to_pillow
        from codec.picture_writing import seen_pixels
        from models.metrics.psnr import psnr

        original = prepared_picture(source, EncodeOptions(**self._settings.options))
        decoded = decode(coded, device=self._device, max_pixels=self._limit)
        return min(MAX_PSNR, psnr(seen_pixels(to_pillow(original)), seen_pixels(decoded)))

    def _decode(self, data: bytes, entry: Entry) -> tuple[Row, bytes]:
        from codec.decoding import decode_detailed

        started = time.perf_counter()
        decoded = decode_detailed(data, **self._settings.options)
        return self._decoded(data, decoded, time.perf_counter() - started)

    def _decoded(self, data: bytes, decoded: Decoded, seconds: float) -> tuple[Row, bytes]:
        """Row and picture of a file that took ``seconds``."""
        from codec.inspection import info
        from codec.picture_writing import coded_image

        about = info(data, max_pixels=self._limit)
        result, lost = coded_image(
            decoded.image, self._settings.suffix, quality=self._settings.output_quality
        )
        row = {
            "width": decoded.image.width,
            "height": decoded.image.height,
            "bytes": len(result),
            "bpp": about.bpp,
            "seconds": seconds,
            "quality": about.quality,
            "model": about.model,
            "fingerprint": about.weights,
            "notes": "; ".join((*decoded.notes, *lost)) or None,
        }
        return row, result

    def _verify(self, data: bytes, entry: Entry) -> tuple[Row, None]:
        from codec.verification import verify

        if len(data) != entry.size:
            raise CorruptError(f"has {len(data)} bytes; the manifest says {entry.size}")
        if entry.path.endswith(".cci"):
            verify(data, **self._settings.options)
            return {"bytes": len(data)}, None
        if accepted(ENCODE)(entry.path):  # PDF, say, is written but not read
            load_picture(data, max_pixels=self._limit)
        return {"bytes": len(data)}, None
