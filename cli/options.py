"""Flags of the commands for the options of :mod:`codec.options`, and how commands take them.

A command that is decorated with :func:`takes` has one flag for each option; its function gets those
that were given, in one mapping. An option without a flag is an error when this module is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping
from dataclasses import fields
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.jobs import errors_as_one_line, refuse_empty
from codec.errors import ArgumentError
from codec.options import DecodeOptions, EncodeOptions, SaveOptions

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", metavar="auto|cpu|cuda")]
Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON, one object per file.")]
MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse larger images.")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, max=1024, envvar="CODEC_THREADS", help="CPU threads. Default one per idle core."
    ),
]

#: Options that are set by programs alone: the command writes sizes with their units, and where
#: the library warns it prints notes.
_WITHOUT_FLAG = {"progress", "target_bytes", "warn"}

Flags = Mapping[str, Any]


class Tune(StrEnum):
    """What a model's weights are trained for."""

    eye = "eye"
    psnr = "psnr"


class Fill(StrEnum):
    """How missing layers are completed."""

    mean = "mean"
    sample = "sample"


def named(text: str | Path) -> Path:
    """Parser of arguments that are folders: an empty one would be the working folder."""
    with errors_as_one_line():
        refuse_empty(str(text))
    return Path(text)


def flag(kind: Any, *names: str, **how: Any) -> Any:
    """The annotation of a flag that may be left out."""
    return Annotated[kind | None, typer.Option(*names, **how)]


def _flags(
    kind: type[EncodeOptions] | type[DecodeOptions] | type[SaveOptions], **flags: Any
) -> Flags:
    """One flag for each option of a kind; ``--help`` tells the option's default."""
    defaults = {f.name: f.default for f in fields(kind) if f.name not in _WITHOUT_FLAG}
    if flags.keys() != defaults.keys():
        raise AssertionError(f"{kind.__name__}: {flags.keys() ^ defaults.keys()} without a flag")
    for name, annotation in flags.items():
        default, option = defaults[name], annotation.__metadata__[0]
        shown = default is None or isinstance(default, bool) or "Default" in option.help
        option.help += "" if shown else f" Default {default}."
    return flags


_DEVICE = flag(str, help="auto, cpu or cuda.", metavar="auto|cpu|cuda")
_MAX_PIXELS = flag(int, min=1, help="Refuse larger images.")
ENCODING = _flags(
    EncodeOptions,
    layers=flag(int, "--layers", "-l", min=1, max=3, help="How many layers to store."),
    stages=flag(int, min=1, help="Store only the first n stages of the layers."),
    quality=flag(
        float,
        "--quality",
        "-q",
        min=0,
        max=100,
        help="0 is smallest, 100 best, in steps of 1/4. Default 50.",
    ),
    target_bpp=flag(float, help="Best quality of at most that many bits per pixel."),
    target_size=flag(str, help="Best quality of at most that size, e.g. 20kB.", metavar="SIZE"),
    target_ssimulacra2=flag(
        float, help="Smallest file of at least N points: 90 visually lossless, 70 good."
    ),
    target_psnr=flag(float, help="Smallest file of at least N dB."),
    tune=flag(Tune, help="What the picture is good for: the eye (default of ssvae), or PSNR."),
    effort=flag(int, "--effort", "-e", min=1, max=9, help="Time spent to make the file smaller."),
    filter=flag(
        bool, "--filter/--no-filter", help="Fit a filter to the picture where it pays (default)."
    ),
    graphics=flag(
        bool,
        "--graphics/--no-graphics",
        help="Keep text and other graphics lossless where it pays (default).",
    ),
    model=flag(str, help="Which installed model."),
    device=_DEVICE,
    strip=flag(bool, "--strip", help="Drop ICC, EXIF and XMP."),
    srgb=flag(bool, "--srgb", help="Convert to sRGB by the ICC profile, and drop it."),
    max_side=flag(int, min=1, help="Reduce larger images to at most N pixels a side."),
    max_pixels=_MAX_PIXELS,
)
DECODING = _flags(
    DecodeOptions,
    layers=flag(int, "--layers", "-l", min=1, max=3, help="Use only the first n."),
    stages=flag(int, min=1, help="Use only the first n stages; codec info counts them."),
    fill=flag(Fill, help="Missing layers: mean of the prior, or a sample of it."),
    seed=flag(int, min=0, help="Of the sample."),
    temperature=flag(float, min=0.0, max=10.0, help="Of the sample; lower is calmer."),
    scale=flag(int, help="1, or 2 and 4 for a smaller picture."),
    region=flag(str, help="Only this part, in pixels at --scale.", metavar="X,Y,W,H"),
    strict=flag(bool, "--strict", help="Fail on files that are cut or damaged."),
    device=_DEVICE,
    max_pixels=_MAX_PIXELS,
)


SAVING = _flags(
    SaveOptions,
    output_quality=flag(
        int, min=1, max=100, help="Of JPEG, WebP and AVIF files. Default 95 for JPEG."
    ),
)


def takes(**groups: Flags) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command's keyword-only parameters of these names one flag each for all in the group.

    The parameter gets a dict of the flags that were given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters = []
        for parameter in signature.parameters.values():
            if parameter.name not in groups:
                parameters.append(parameter)
                continue
            for name, annotation in groups[parameter.name].items():
                kind = inspect.Parameter.KEYWORD_ONLY
                parameters.append(
                    inspect.Parameter(name, kind, default=None, annotation=annotation)
                )

        @wraps(command)
        def flagged(**values: Any) -> None:
            for group, flags in groups.items():
                given = {name: values.pop(name) for name in flags}
                values[group] = {name: value for name, value in given.items() if value is not None}
            command(**values)

        flagged.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        flagged.__annotations__ = {p.name: p.annotation for p in parameters}
        return flagged

    return decorate


def encoding(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for the encoder, from flags that were given. Raises ArgumentError."""
    options = _plain(given)
    EncodeOptions(**options)
    return options


def decoding(given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for the decoder, likewise."""
    sampling = [flag_of(name) for name in ("seed", "temperature") if name in given]
    if sampling and given.get("fill") != Fill.sample:
        raise ArgumentError(f"{' and '.join(sampling)}: only with --fill sample")
    DecodeOptions(**given)
    return _plain(given)


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """The library takes strings where flags are choices."""
    return {k: str(v) if isinstance(v, StrEnum) else v for k, v in given.items()}


def refuse(given: Mapping[str, Any], allowed: Container[str], why: str) -> None:
    """Raises ArgumentError where flags are given that do not go with what is asked for."""
    others = [flag_of(name) for name in given if name not in allowed]
    if others:
        raise ArgumentError(f"{', '.join(others)}: {why}")


def flag_of(name: str) -> str:
    """How an option is written on the command line."""
    return f"--{name.replace('_', '-')}"
