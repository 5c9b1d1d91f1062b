"""What commands print: one line per message, whatever names and messages hold.

rich is imported where a bar is drawn: ``--help``, ``info`` and ``verify`` answer without it.
"""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

#: Control characters, halves of code points (bytes of a name that are no UTF-8), line separators.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text in one line: a file's name may hold line breaks and codes that terminals obey."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def say(line: str, *, to_stderr: bool = False) -> None:
    """Print one line."""
    print(printable(line), file=sys.stderr if to_stderr else sys.stdout)


def complain(message: str) -> None:
    """Print one line on standard error, after the name of the command."""
    say(f"codec: {message.strip()}", to_stderr=True)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """On standard error, gone when it is done; none at all where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # else rich leaves an empty line
    )
