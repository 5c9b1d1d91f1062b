"""Options of encoding and decoding: names, defaults, and what is checked of them.

Library, command line, batch, Pillow plugin and viewer take all three from here. A new option is a
field below and a key of the mapping beside it; for the command line a flag in :mod:`cli.options`.
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, TypedDict

from bitstream.container import MAX_QUALITY, MAX_SIDE, nearest_quality
from codec.errors import ArgumentError, OptionError
from codec.limits import DEFAULT_MAX_PIXELS
from codec.sizes import size_of
from models.names import TUNINGS, VARIANTS, tuning_of

if TYPE_CHECKING:
    from models.protocol import CodingModel, Progress

DEFAULT_MODEL = "ssvae"
DEFAULT_QUALITY = 50
#: Of samples: what looks best. At 1 they are as varied as the prior believes, and noisy.
DEFAULT_TEMPERATURE = 0.5
FILLS = ("mean", "sample")
SCALES = (1, 2, 4)


class _Options:
    """What both kinds of options can do."""

    @classmethod
    def of(cls, function: str, given: Mapping[str, Any]) -> Self:
        """The options from a function's keywords.

        Raises:
            OptionError: one of them is no option; the message names the function, and the option
                that was likely meant.
            ArgumentError: a value is out of range.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for name in given:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
                raise OptionError(f"{function}() has no option {name!r}; {hint}")
        return cls(**given)


class EncodeKeywords(TypedDict, total=False):
    """:class:`EncodeOptions` as keywords."""

    layers: int | None
    stages: int | None
    quality: float | None
    target_bpp: float | None
    target_bytes: int | None
    target_size: int | str | None
    target_ssimulacra2: float | None
    target_psnr: float | None
    tune: str | None
    model: str
    device: str
    strip: bool
    srgb: bool
    max_side: int | None
    max_pixels: int | None
    effort: int
    filter: bool
    graphics: bool
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(_Options):
    """How an image is encoded.

    Args:
        layers: how many layers to store, 1…3; those of a file with fewer are the first of one with
            more. Default: all, but for targets the number that is best by what the model is tuned
            for.
        stages: store only the first n stages of those; a finer cut where the model's layers consist
            of several.
        quality: 0…100 in steps of 1/4 (others are rounded to them), default 50. Excludes the
            targets.
        target_bpp: take the best quality whose file has at most that many bits per pixel.
        target_bytes: the same in bytes.
        target_size: the same as people write it: ``"20kB"``, ``"16KiB"``, or a number of bytes.
            The options keep it as ``target_bytes``.
        target_ssimulacra2: take the smallest file whose picture has at least n points of
            SSIMULACRA2: 90 is visually lossless, 70 good, 50 medium.
        target_psnr: the same in dB of PSNR.
        tune: ``eye`` or ``psnr``, what the model's weights are trained for; default: the model's
            own, ``eye`` for ``ssvae``.
        model: name of an installed model.
        device: ``auto``, ``cpu`` or ``cuda``.
        strip: leave out ICC profile, EXIF and XMP.
        srgb: convert the pixels to sRGB by their ICC profile, which then need not be stored.
        max_side: reduce images whose longer side has more pixels to that many (Lanczos) before they
            are encoded; smaller ones stay as they are. Targets count the reduced picture.
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

    layers: int | None = None
    stages: int | None = None
    quality: float | None = None
    target_bpp: float | None = None
    target_bytes: int | None = None
    target_size: int | str | None = None
    target_ssimulacra2: float | None = None
    target_psnr: float | None = None
    tune: str | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    strip: bool = False
    srgb: bool = False
    max_side: int | None = None
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    effort: int = 1
    filter: bool = True
    graphics: bool = True
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.target_size is not None:
            if self.target_bytes is not None:
                raise ArgumentError("give only one of target_bytes and target_size")
            object.__setattr__(self, "target_bytes", size_of(self.target_size))
            object.__setattr__(self, "target_size", None)  # or a copy would have both
        aims = [self.quality, self.target_bpp, self.target_bytes]
        aims += [self.target_ssimulacra2, self.target_psnr]
        if sum(aim is not None for aim in aims) > 1:
            raise ArgumentError("give only one of quality and the targets")
        if self.target_bpp is not None and not 0 < self.target_bpp < float("inf"):
            raise ArgumentError(f"the target bpp must be positive, not {self.target_bpp}")
        if self.target_bytes is not None and self.target_bytes <= 0:
            raise ArgumentError(f"the target size must be positive, not {self.target_bytes}")
        if self.target_ssimulacra2 is not None and not self.target_ssimulacra2 < 100:
            raise ArgumentError(
                f"the target SSIMULACRA2 must be below 100, not {self.target_ssimulacra2}"
            )
        if self.target_psnr is not None and not 0 < self.target_psnr < 100:
            raise ArgumentError(f"the target PSNR must be 0…100 dB, not {self.target_psnr}")
        if self.layers is not None:
            _check_layers(self.layers)
        if self.quality is not None:
            quality_of(self.quality)
        whole_number("effort", self.effort, 1, 9)
        if self.max_side is not None:
            whole_number("max_side", self.max_side, 1, MAX_SIDE)
        tuned_model(self.model, self.tune)

    @property
    def weights(self) -> str:
        """Name of the installed model that the options ask for, tuning included."""
        return tuned_model(self.model, self.tune)

    @property
    def has_target(self) -> bool:
        """Whether the quality is to be searched for."""
        return self.goal is not None or self.size_limit(1) is not None

    def size_limit(self, pixels: int) -> int | None:
        """The largest file that the target allows for so many pixels, in bytes; None: no such
        target."""
        if self.target_bpp is not None:
            return int(self.target_bpp * pixels / 8)
        return self.target_bytes

    @property
    def goal(self) -> tuple[str, float] | None:
        """The measure (of :mod:`codec.measures`) that is to be reached, and how much of it."""
        goals = {"psnr": self.target_psnr, "ssimulacra2": self.target_ssimulacra2}
        return next(((name, value) for name, value in goals.items() if value is not None), None)

    def check_model(self, model: CodingModel) -> None:
        """Raises ArgumentError where the model has not what is asked for."""
        most = len(model.layers)
        layers = most if self.layers is None else self.layers
        if layers > most:
            raise ArgumentError(f"model {model.name} has {most} layers, not {layers}")
        if self.effort > model.max_effort:
            raise ArgumentError(f"model {model.name} has no effort above {model.max_effort} yet")
        count = sum(layer.stages for layer in model.layers[:layers])
        if self.stages is not None and not 1 <= self.stages <= count:
            raise ArgumentError(
                f"stages must be 1…{count} ({layers} layers of model {model.name}), "
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
    region: tuple[int, int, int, int] | str | None
    device: str
    max_pixels: int | None
    strict: bool
    warn: bool
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(_Options):
    """How a file is decoded.

    Args:
        layers: use only the first n layers; default all that arrived.
        stages: use only the first n stages of those; a finer cut where the model's layers consist
            of several (:func:`codec.info` lists them).
        fill: how missing layers are completed: ``mean`` (smooth) or ``sample`` (drawn from the
            prior: invented detail).
        seed: makes samples reproducible.
        temperature: of the samples: 0 equals ``mean``, 1 is as varied as the prior believes, which
            looks noisy.
        scale: 1, or 2 and 4 for the picture at half and quarter size (rounded up) without running
            the rest of the network.
        region: x, y, width, height of the part that is wanted, in pixels of the picture (at
            ``scale``), as four numbers or as text ``"x,y,w,h"``; kept as numbers. It equals the
            crop of the whole to the last bit, but only what it needs is drawn.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: refuse files that declare more; None: no limit.
        strict: a file that is cut or damaged anywhere is an error, even where the layers before
            would give a picture.
        warn: :func:`codec.decode` warns where a file is cut or damaged; False: it gives what there
            is without a word.
        progress: called with the share done, 0…1.

    Raises:
        ArgumentError: a value is out of range.
    """

    layers: int | None = None
    stages: int | None = None
    fill: str = "mean"
    seed: int = 0
    temperature: float = DEFAULT_TEMPERATURE
    scale: int = 1
    region: tuple[int, int, int, int] | str | None = None
    device: str = "auto"
    max_pixels: int | None = DEFAULT_MAX_PIXELS
    strict: bool = False
    warn: bool = True
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
        if self.region is not None:
            object.__setattr__(self, "region", _region_of(self.region))
        if self.seed < 0:
            raise ArgumentError(f"the seed must not be negative, not {self.seed}")
        if not 0 <= self.temperature <= 10:
            raise ArgumentError(f"the temperature must be between 0 and 10, not {self.temperature}")

    @property
    def invents(self) -> bool:
        """Whether what is missing is drawn by chance."""
        return self.fill == "sample" and self.temperature > 0


@dataclass(frozen=True, kw_only=True)
class SaveOptions(_Options):
    """How commands save a decoded picture; in Python that is Pillow's ``image.save``.

    Args:
        output_quality: of JPEG, WebP, AVIF and JPEG XL, 1…100. Default: 95 for JPEG, Pillow's own
            for the others.

    Raises:
        ArgumentError: a value is out of range.
    """

    output_quality: int | None = None

    def __post_init__(self) -> None:
        if self.output_quality is not None:
            whole_number("output_quality", self.output_quality, 1, 100)


def names_of(options: type[_Options]) -> tuple[str, ...]:
    """The names of all options."""
    return tuple(field.name for field in fields(options))  # type: ignore[arg-type]


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """The value. Raises ArgumentError unless it is a whole number in the range."""
    if not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ArgumentError(
            f"{name} must be a whole number between {least} and {most}, not {value}"
        )
    return int(value)


def quality_of(value: object) -> float:
    """The nearest quality that there is, 0…100 in steps of 1/4.

    Raises:
        ArgumentError: it is no number in the range.
    """
    if not isinstance(value, Real) or not 0 <= float(value) <= MAX_QUALITY:
        raise ArgumentError(f"quality must be a number between 0 and {MAX_QUALITY}, not {value}")
    return nearest_quality(float(value))


def tuned_model(model: str, tune: str | None) -> str:
    """Name of the model whose weights are trained for ``eye`` or ``psnr``; None: ``model`` itself.

    Raises:
        ArgumentError: there are no such weights.
    """
    if tune is None:
        return model
    if tune not in TUNINGS:
        raise ArgumentError(f"tune must be {' or '.join(TUNINGS)}, not {tune!r}")
    for name in [model, *VARIANTS.get(model, ())]:
        if tuning_of(name) == tune:
            return name
    raise ArgumentError(f"model {model} has no weights tuned for {tune}; leave out the tuning")


def _region_of(value: object) -> tuple[int, int, int, int]:
    """x, y, width, height from four numbers or ``"x,y,w,h"``. Raises ArgumentError."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        x, y, width, height = (int(part) for part in parts)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ArgumentError(f"the region must be x,y,width,height, not {value!r}") from None
    if x < 0 or y < 0 or width < 1 or height < 1:
        raise ArgumentError(
            f"the region must begin at 0 or later and have a size, not {value!r} (x,y,width,height)"
        )
    return x, y, width, height


def _check_layers(layers: int) -> None:
    if not 1 <= layers <= 3:
        raise ArgumentError(f"layers must be 1, 2 or 3, not {layers}")
