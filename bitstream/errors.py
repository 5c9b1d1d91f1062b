"""Errors a user can cause. ``codec.errors`` re-exports them; everything derives from CodecError."""

from __future__ import annotations


class CodecError(Exception):
    """Base of every error that input, arguments or the environment can cause.

    The message names the file or value, the reason and, where there is one, the way out.
    """


class FormatError(CodecError):
    """The bytes are not a readable .cci file."""


class NotACodecFileError(FormatError):
    """The bytes do not start like a .cci file."""


class TruncatedError(FormatError):
    """The file ends too early: not even its first layer is complete."""


class CorruptError(FormatError):
    """A checksum does not match: the file was damaged."""


class UnsupportedFileError(FormatError):
    """The file needs a newer program, or weights that are not installed."""


class LimitError(CodecError):
    """A declared size exceeds what the caller allows."""
