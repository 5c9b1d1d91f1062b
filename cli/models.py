"""``codec models``: what is installed."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from cli.jobs import errors_as_one_line
from cli.output import say

EXAMPLES = """Examples:

\b
  codec models
  codec encode photo.png --model convdraw         by its name
"""


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print figures as JSON, one object per model.")
    ] = False,
) -> None:
    """List the installed models: what they are for, and how files name them."""
    with errors_as_one_line():
        from codec.catalogue import installed_models

        found = installed_models()
        width = max((len(model.name) for model in found), default=0)
        for model in found:
            if as_json:
                print(json.dumps(dataclasses.asdict(model)))
                continue
            say(
                f"{model.name:{width}}  id {model.id}  weights {model.weights}  "
                f"{model.bytes / 1e6:4.1f} MB  {model.purpose}"
            )
