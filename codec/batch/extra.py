"""The packages of the extras ``batch`` and ``cluster``, asked for in one place."""

from __future__ import annotations

from importlib.util import find_spec

from codec.errors import ArgumentError

#: Import names of each extra; on PyPI they are called the same.
PACKAGES = {"batch": ("fsspec", "pyarrow"), "cluster": ("fsspec", "pyarrow", "ray")}


def require(extra: str, what: str = "codec batch") -> None:
    """Raises ArgumentError, which names what is missing and how to get it."""
    missing = [name for name in PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise ArgumentError(
            f"{what} needs {', '.join(missing)}; install the extra: "
            f"pip install 'conceptual-codec[{extra}]' (in a checkout: pip install '.[{extra}]')"
        )
