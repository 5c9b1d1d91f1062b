"""Silence for libraries in programs of ours, whose standard error is one line per complaint."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2


@contextmanager
def libraries_silenced() -> Iterator[None]:
    """Within, neither Pillow's warnings nor what libraries in C print reach standard error.

    For programs alone: these are settings of the whole process, so that ``import codec`` must not
    touch them. Pillow says of broken files what we say in our own words, or nothing that matters.
    """
    handler = logging.NullHandler()  # without any, Python prints errors that are logged
    logging.getLogger("PIL").addHandler(handler)
    try:
        with warnings.catch_warnings(), _standard_error_of_our_own():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        logging.getLogger("PIL").removeHandler(handler)


@contextmanager
def _standard_error_of_our_own() -> Iterator[None]:
    """Have ``sys.stderr`` write to a duplicate of file descriptor 2, and that one to nowhere.

    libtiff, OpenJPEG and torch print to descriptor 2. libtiff's handler could be taken away, but
    only through ctypes in the very copy of the library that Pillow links to; and that would be one
    library of many. Redirecting for the length of a command, not around each read, needs no care
    about other threads (the progress bar's) that write meanwhile.
    """
    ours = sys.stderr
    try:
        ours.flush()
        kept = os.dup(_STANDARD_ERROR) if ours.fileno() == _STANDARD_ERROR else None
    except (AttributeError, OSError, ValueError):  # closed, or no file, as in tests
        kept = None
    if kept is None:
        yield
        return
    with open(kept, "w", encoding=ours.encoding, errors=ours.errors, buffering=1) as sys.stderr:
        _to_nowhere(_STANDARD_ERROR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, _STANDARD_ERROR)
            sys.stderr = ours


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
