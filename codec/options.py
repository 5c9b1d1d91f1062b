"""Options of encoding and decoding: names, defaults, and what is checked of them.

Library, command line, batch, Pillow plugin and viewer take all three from here. A new option is a
field below and a key of the mapping beside it; for the command line a flag in :mod:`cli.options`.
Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral
from typing import TYPE_CHECKING, TypedDict

from codec.errors import ArgumentError
from codec.limits import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from models.protocol import CodingModel, Progress

DEFAULT_MODEL = "ssvae"
DEFAULT_QUALITY = 50
FILLS = ("mean", "sample")
SCALES = (1, 2, 4)


class EncodeKeywords(TypedDict, total=False):
    """:class:`EncodeOptions` as keywords."""

    layers: int
    stages: int | None
    quality: int | None
    target_bpp: float | None
    target_bytes: int | None
    model: str
    device: str
    strip: bool
    srgb: bool
    max_pixels: int | None
    effort: int
    filter: bool
    graphics: bool
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How an image is encoded.

    Args:
        layers: how many layers to store, 1…3; those of a file with fewer are the first of one with
            more.
        stages: store only the first n stages of those; a finer cut where the model's layers consist
            of several.
        quality: 0…100, default 50. Excludes the targets.
        target_bpp: take the best quality whose file has at most that many bits per pixel.
        target_bytes: the same in bytes.
        model: name of an installed model.
        device: ``auto``, ``cpu`` or ``cuda``.
        strip: leave out ICC profile, EXIF and XMP.
        srgb: convert the pixels to sRGB by their ICC profile, which then need not be stored.
        max_pixels: refuse larger images; None: no limit.
        effort: 1…9, how long to look for a smaller file of the same quality; decoding is not
            affected. 1 takes one pass of the network.
        filter: fit a filter to the decoded picture, and store it where it earns its bytes
            (:mod:`codec.filter_fitting`).
        graphics: store text, screenshots and other graphics losslessly where that costs less than
            what it brings (:mod:`codec.graphics_fitting`); in files with all layers and stages.
        progress: called with the share done, 0…1.

    Raises:
        ArgumentError: a value is out of range, or two exclude each other.
    """

    layers: int = 3
    stages: int | None = None
    quality: int | None = None
    target_bpp: float | None = None
    target_bytes: int | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    strip: bool = False
    srgb: bool = False
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    effort: int = 1
    filter: bool = True
    graphics: bool = True
    progress: Progress | None = None

    def __post_init__(self) -> None:
        aims = self.quality, self.target_bpp, self.target_bytes
        if sum(aim is not None for aim in aims) > 1:
            raise ArgumentError("give only one of quality, target bpp and target size")
        if self.target_bpp is not None and not 0 < self.target_bpp < float("inf"):
            raise ArgumentError(f"the target bpp must be positive, not {self.target_bpp}")
        if self.target_bytes is not None and self.target_bytes <= 0:
            raise ArgumentError(f"the target size must be positive, not {self.target_bytes}")
        _check_layers(self.layers)
        if self.quality is not None:
            whole_number("quality", self.quality, 0, 100)
        whole_number("effort", self.effort, 1, 9)

    def check_model(self, model: CodingModel) -> None:
        """Raises ArgumentError where the model has not what is asked for."""
        most = len(model.layers)
        if self.layers > most:
            raise ArgumentError(f"model {model.name} has {most} layers, not {self.layers}")
        if self.effort > model.max_effort:
            raise ArgumentError(f"model {model.name} has no effort above {model.max_effort} yet")
        count = sum(layer.stages for layer in model.layers[: self.layers])
        if self.stages is not None and not 1 <= self.stages <= count:
            raise ArgumentError(
                f"stages must be 1…{count} ({self.layers} layers of model {model.name}), "
                f"not {self.stages}"
            )


class DecodeKeywords(TypedDict, total=False):
    """:class:`DecodeOptions` as keywords."""

    layers: int | None
    stages: int | None
    fill: str
    seed: int
    temperature: float
    scale: int
    device: str
    max_pixels: int | None
    strict: bool
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How a file is decoded.

    Args:
        layers: use only the first n layers; default all that arrived.
        stages: use only the first n stages of those; a finer cut where the model's layers consist
            of several (:func:`codec.info` lists them).
        fill: how missing layers are completed: ``mean`` (smooth) or ``sample`` (drawn from the
            prior: invented detail).
        seed: makes samples reproducible.
        temperature: of the samples; 0 equals ``mean``.
        scale: 1, or 2 and 4 for the picture at half and quarter size (rounded up) without running
            the rest of the network.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: refuse files that declare more; None: no limit.
        strict: a file that is cut or damaged anywhere is an error, even where the layers before
            would give a picture.
        progress: called with the share done, 0…1.

    Raises:
        ArgumentError: a value is out of range.
    """

    layers: int | None = None
    stages: int | None = None
    fill: str = "mean"
    seed: int = 0
    temperature: float = 1.0
    scale: int = 1
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    strict: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            _check_layers(self.layers)
        if self.stages is not None and self.stages < 1:
            raise ArgumentError(f"stages must be 1 or more, not {self.stages}")
        if self.fill not in FILLS:
            raise ArgumentError(f"fill must be mean or sample, not {self.fill!r}")
        if self.scale not in SCALES:
            raise ArgumentError(f"scale must be 1, 2 or 4, not {self.scale}")
        if self.seed < 0:
            raise ArgumentError(f"the seed must not be negative, not {self.seed}")
        if not 0 <= self.temperature <= 10:
            raise ArgumentError(f"the temperature must be between 0 and 10, not {self.temperature}")

    @property
    def invents(self) -> bool:
        """Whether what is missing is drawn by chance."""
        return self.fill == "sample" and self.temperature > 0


def names_of(options: type[EncodeOptions] | type[DecodeOptions]) -> tuple[str, ...]:
    """The names of all options."""
    return tuple(field.name for field in fields(options))


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """The value. Raises ArgumentError unless it is a whole number in the range."""
    if not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ArgumentError(
            f"{name} must be a whole number between {least} and {most}, not {value}"
        )
    return int(value)


def _check_layers(layers: int) -> None:
    if not 1 <= layers <= 3:
        raise ArgumentError(f"layers must be 1, 2 or 3, not {layers}")
