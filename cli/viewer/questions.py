"""What the page asks for, taken from addresses and checked. Raises ArgumentError."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from codec.errors import ArgumentError
from codec.options import DecodeOptions, EncodeOptions

#: What a new file may aim at and how it is made: options of :func:`codec.encode` with their bounds.
_NUMBERS = {
    "quality": (0, 100),
    "target_ssimulacra2": (-100, 99),
    "target_psnr": (1, 99),
    "target_bytes": (1, 1e12),
    "layers": (1, 3),
}
_WHOLE = ("target_bytes", "layers")
_WORDS = ("tune", "model")


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number of the address, or the default."""
    text = request.query_params.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ArgumentError(f"{name} must be a number from {low:g} to {high:g}, not {text!r}")
    return value


def of_fill(request: Request) -> dict[str, Any]:
    """Options of decoding: how what is missing is completed."""
    return {
        "fill": request.query_params.get("fill", DecodeOptions.fill),
        "seed": int(number(request, "seed", DecodeOptions.seed, 0, 2**53)),
        "temperature": number(request, "temperature", DecodeOptions.temperature, 0, 10),
    }


def of_extent(request: Request) -> dict[str, Any]:
    """Options of decoding: how much of the file is used."""
    extent: dict[str, Any] = {"layers": int(number(request, "layers", 3, 1, 3))}
    if "stages" in request.query_params:
        extent["stages"] = int(number(request, "stages", 1, 1, 255))
    return extent


def of_encoding(request: Request) -> dict[str, Any]:
    """Options of encoding."""
    query = request.query_params
    options: dict[str, Any] = {
        name: number(request, name, 0, *bounds)
        for name, bounds in _NUMBERS.items()
        if name in query
    }
    options |= {name: int(options[name]) for name in _WHOLE if name in options}
    options |= {name: query[name] for name in _WORDS if name in query}
    EncodeOptions(**options)
    return options
