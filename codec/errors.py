"""Every error a user can cause. All derive from :class:`CodecError`."""

from collections.abc import Iterator
from contextlib import contextmanager

from bitstream.errors import (
    CodecError,
    CorruptError,
    FormatError,
    LimitError,
    NotACodecFileError,
    TruncatedError,
    UnsupportedFileError,
)

__all__ = [
    "ArgumentError",
    "BatchError",
    "CodecError",
    "CorruptError",
    "DamageWarning",
    "FormatError",
    "ImageError",
    "LimitError",
    "ModelError",
    "NotACodecFileError",
    "OptionError",
    "OutputError",
    "TargetError",
    "TruncatedError",
    "TruncatedWarning",
    "UnsupportedFileError",
]


class ArgumentError(CodecError, ValueError):
    """An argument is out of range."""


class BatchError(CodecError):
    """A batch run cannot go on. What was done is on record; ``--resume`` continues."""


class DamageWarning(UserWarning):
    """A file is damaged after what was decoded: the picture is right, but coarser than stored."""


class ImageError(CodecError):
    """The input is not an image this program can read."""


class ModelError(CodecError):
    """A model is not installed, or its device is not available."""


class OptionError(ArgumentError, TypeError):
    """A keyword that the function does not take."""


class OutputError(CodecError):
    """The output cannot be written."""


class TargetError(CodecError):
    """No quality reaches the size asked for."""


class TruncatedWarning(UserWarning):
    """A file is cut before all that was asked for: the picture is right, but coarser than stored,
    or without metadata."""


def other_weights(written: str, model: str, installed: str) -> UnsupportedFileError:
    """Of a file whose weights, by their fingerprints in hex, are not the installed ones."""
    return UnsupportedFileError(
        f"the file was written with weights {written} of model {model}; installed are "
        f"{installed}: install the program version that wrote it"
    )


def reason_of(error: Exception) -> str:
    """What an exception says, in one line. Pillow's plugins raise anything, some of it without a
    word."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Make the messages of errors about a file begin with its name."""
    try:
        yield
    except (ArgumentError, ModelError):  # about what was asked for, not about this file
        raise
    except CodecError as error:
        message = str(error)
        if not message.startswith(name):
            error.args = (f"{name}: {message}",)
        raise
