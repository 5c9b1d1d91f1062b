"""``python -m cli.manual``: the manual page of the command, in roff, made from ``--help``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import typer


def manual() -> str:
    """The page: man(7) macros."""
    from cli.main import app

    command: Any = typer.main.get_command(app)  # typer has brought click along since 0.27
    context = command.context_class(command, info_name="codec")
    lines = [
        f'.TH CODEC 1 "" "conceptual-codec {version("conceptual-codec")}" "User Commands"',
        ".SH NAME",
        f"codec \\- {_text(_first_sentence(command))}",
        ".SH SYNOPSIS",
        ".B codec",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
        ".SH OPTIONS",
        *_options(command, context),
        ".SH COMMANDS",
    ]
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            lines += _command(name, found, context)
    lines += [".SH EXIT STATUS", "0: done. 1: something failed; one line on standard error says"]
    lines += ["what. 2: wrong usage."]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any, parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS codec {_text(name)} {_text(usage)}"
    yield from _paragraphs(command.help or "")
    if hasattr(command, "list_commands"):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                yield ".TP"
                yield f"\\fB{_text(name)} {_text(inner)}\\fR"
                yield _text(_first_sentence(found))
    yield from _options(command, context)
    if command.epilog:
        yield from _examples(command.epilog)


def _options(command: Any, context: Any) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield ".TP"
            yield f"\\fB{_text(record[0])}\\fR"
            yield _text(record[1]) or "\\&"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _examples(epilog: str) -> Iterator[str]:
    """Lines after a ``\\b`` stay as they are."""
    for part in re.split(r"\n\s*\n", epilog.strip()):
        if part.lstrip().startswith("\b"):
            yield from (".PP", ".nf")
            yield from (_text(line.strip()) for line in part.split("\n")[1:])
            yield ".fi"
        else:
            yield from _paragraphs(part)


def _first_sentence(command: Any) -> str:
    """Of the help, without its full stop."""
    return " ".join((command.help or "").split()).split(". ")[0].rstrip(".")


def _text(text: str) -> str:
    """Escaped: backslashes, hyphens that are typed as such, and what begins like a macro; only
    ASCII, so that any roff reads it."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    plain = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return re.sub(r"(?m)^(?=[.'])", "\\\\&", plain)


if __name__ == "__main__":
    print(manual(), end="")
