"""The packages of the extra ``bench``, asked for in one place."""

from __future__ import annotations

from importlib.util import find_spec

from codec.errors import ArgumentError

#: Import name → name on PyPI.
PACKAGES = {
    "bjontegaard": "bjontegaard",
    "matplotlib": "matplotlib",
    "pytorch_msssim": "pytorch-msssim",
    "ssimulacra2": "ssimulacra2",
}


def require() -> None:
    """Raises ArgumentError, which names what is missing and how to get it."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ArgumentError(
            f"codec bench needs {', '.join(missing)}; install the extra: "
            "pip install 'conceptual-codec[bench]' (in a checkout: pip install '.[bench]')"
        )
