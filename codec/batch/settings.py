"""What a batch run is to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from codec.batch.stores import absolute
from codec.errors import ArgumentError
from codec.options import DecodeOptions, EncodeOptions, SaveOptions
from codec.picture_writing import check_writable

ENCODE, DECODE, VERIFY = "encode", "decode", "verify"
#: Options that decide about results, by kind.
_OPTIONS: dict[str, type[EncodeOptions] | type[DecodeOptions]] = {
    ENCODE: EncodeOptions,
    DECODE: DecodeOptions,
}


@dataclass(frozen=True)
class Settings:
    """One batch run. Sent to every worker.

    Args:
        source: folder, URL, tar shard or pattern of tar shards.
        destination: folder or URL for the results.
        kind: ``encode``, ``decode`` or ``verify``.
        options: of :func:`codec.encode_detailed`, :func:`codec.decode_detailed` or
            :func:`codec.verify`.
        suffix: of the results.
        psnr: when encoding, decode again and measure.
        output_quality: when decoding, of the pictures, as of :class:`codec.options.SaveOptions`.
        shards: write tar shards of n pictures each; None: shards in give shards out, files
            give files; 0: files always.
        staging: of the run, see :class:`codec.batch.stores.Store`.

    Raises:
        ArgumentError: a value is out of range.
    """

    source: str
    destination: str
    kind: str = ENCODE
    options: dict[str, Any] = field(default_factory=dict)
    suffix: str = ".cci"
    psnr: bool = False
    output_quality: int | None = None
    shards: int | None = None
    staging: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in (ENCODE, DECODE, VERIFY):
            raise ArgumentError(f"the kind must be encode, decode or verify, not {self.kind!r}")
        if self.shards is not None and self.shards < 0:
            raise ArgumentError(f"--shards takes 0 or more pictures per shard, not {self.shards}")
        if self.kind in _OPTIONS:
            _OPTIONS[self.kind].of(self.kind, self.options)  # checks them
        if self.kind == DECODE:
            SaveOptions(output_quality=self.output_quality)
            check_writable(self.suffix, self.output_quality)
            if absolute(self.source) == absolute(self.destination):
                raise ArgumentError(
                    "decoding into the folder of the .cci files might overwrite the originals "
                    "beside them; name another"
                )

    def lasting(self) -> dict[str, Any]:
        """What must stay the same when a run is resumed: all that decides about the results."""
        return {
            "kind": self.kind,
            "source": absolute(self.source),
            "destination": absolute(self.destination),
            "options": lasting_options(self.kind, self.options),
            "suffix": self.suffix,
            "psnr": self.psnr,
            "output_quality": self.output_quality or "default",
            "shards": self.shards,
        }


def lasting_options(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """All options that decide about results, defaults included: a run may be older than
    some of them."""
    if kind not in _OPTIONS:
        return options
    values = vars(_OPTIONS[kind](**options))
    elsewhere = ("device", "progress", "warn")
    return {k: v for k, v in sorted(values.items()) if k not in elsewhere and v is not None}
