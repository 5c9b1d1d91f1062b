"""What ``--help`` shows where typer's own way tells too little."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

EXAMPLES = """Examples:

\b
  codec encode photo.png                  writes photo.cci
  codec decode photo.cci -o photo.jpg     the suffix chooses the format
  codec info photo.cci                    what each layer takes
  codec encode --help                     all options, with examples
"""


class Group(TyperGroup):
    """The commands, each with its whole sentence, and numbers called N instead of ``int range``;
    their range stands after the option's text."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for command in self.commands.values():
            command.short_help = command.get_short_help_str(limit=10_000)
            for parameter in command.params:
                limits: Any = getattr(parameter, "type", parameter)  # typer before 0.27
                ends = getattr(limits, "min", None), getattr(limits, "max", None)
                if parameter.metavar is None and ends != (None, None):
                    parameter.metavar = "N"
