"""Which files of a folder commands work on, by their suffix."""

from __future__ import annotations

from codec.limits import NEVER_READ


def is_coded(suffix: str) -> bool:
    """A file of ours."""
    return suffix.lower() == ".cci"


def is_image(suffix: str) -> bool:
    """An image of another format that Pillow reads."""
    from PIL import Image

    form = Image.registered_extensions().get(suffix.lower())
    return not is_coded(suffix) and form in Image.OPEN and form not in NEVER_READ


def is_picture(suffix: str) -> bool:
    """Either."""
    return is_coded(suffix) or is_image(suffix)
