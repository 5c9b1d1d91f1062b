"""``python -m benchmarks.pages``: tables of README, results page and model cards.

Every table of the shipped weights is made here, from JSON files that name the fingerprint of the
weights they were measured with. Tables from other weights are refused, so that no page can speak of
a codec that is not the one in the package.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import plots
from benchmarks.bench.codecs import OTHERS
from benchmarks.page_tables import (
    about,
    brief_rates,
    duels,
    effort,
    efforts_by_error,
    few_bits,
    qualities,
    rates,
    rates_of_images,
    speed,
    speed_of_sizes,
    timed,
    weights_of,
)
from models.names import MODEL_IDS
from models.training.card import render_card, results_table
from models.weights_file import WEIGHTS_FOLDER, weights_info

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

#: Part of the name ``MODEL-PART-cpu.json`` of results of ``benchmarks.rate_distortion`` → title.
SETS = {"eval": "Validation images", "large": "Large photographs"}
EFFORT = "effort-cpu.json"
FEW_BITS = "few-bits-cpu.json"
#: By squared error and beside other codecs; of ``benchmarks.rate_distortion``.
EFFORTS_BY_ERROR = ("ssvae-psnr-effort-1-cpu.json", "ssvae-psnr-effort-9-cpu.json")
#: Of ``codec bench --speed``.
SPEEDS = ("ssvae-speed-cpu.json", "convdraw-speed-cpu.json")
_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


class PageError(Exception):
    """Results are missing, or of weights that are not shipped."""


def results_of(model: str, folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Results of a model by the title of their images: those that were measured, the validation
    images always.

    Raises:
        PageError: see :func:`read`.
    """
    names = {title: f"{model}-{part}-cpu.json" for part, title in SETS.items()}
    return {
        title: read(name, folder)
        for title, name in names.items()
        if title == SETS["eval"] or (folder / name).exists()
    }


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """A results file of the shipped weights.

    Raises:
        PageError: it is missing, or was measured with other weights.
    """
    path = folder / name
    if not path.exists():
        raise PageError(f"{path}: not measured yet")
    result = json.loads(path.read_text())
    for model, weights in weights_of(result).items():
        shipped = weights_info(model).fingerprint.hex()
        if weights != shipped:
            raise PageError(
                f"{path}: measured with weights {weights} of {model}, shipped are {shipped}; "
                "measure again"
            )
    return result


def blocks() -> dict[str, list[str]]:
    """All generated tables by name."""
    tables: dict[str, list[str]] = {}
    named = {SETS["eval"]: "validation", SETS["large"]: "large photographs"}
    seen, sets = (
        {named[title]: result for title, result in results_of(model).items()}
        for model in ("ssvae", "ssvae-psnr")
    )
    main, error = seen["validation"], sets["validation"]
    measured = ["", about(main), "PSNR: " + about(error)]
    tables["rates"] = [*rates(sets, seen), *measured]
    tables["rates-brief"] = [*brief_rates(sets, seen), *measured]
    tables["rates-of-images"] = rates_of_images(sets, seen)
    looks = read("looks/looks.json")
    tables["looks"] = [*duels(looks), "", about(looks)]
    tables["qualities"] = [*qualities(main), "", about(main)]
    tables["curve"] = [*results_table(error), "", about(error)]
    large = sets["large photographs"]
    tables["large"] = [*results_table(large), "", about(large)]
    result = read(EFFORT)
    tables["effort"] = [*effort(result), "", about(result)]
    result = read(FEW_BITS)
    tables["few-bits"] = [*few_bits(result), "", about(result, "payloads counted")]
    by_error = [read(name) for name in EFFORTS_BY_ERROR]
    tables["effort-by-error"] = [*efforts_by_error(by_error), "", about(by_error[0])]
    times = [read(name) for name in SPEEDS]
    tables["speed"] = [*speed(times), "", *speed_of_sizes(times[0]), "", timed(times)]
    for model in ("convdraw", "ssvae-sketch"):
        result = results_of(model)[SETS["eval"]]
        tables[model] = [*rates({"49 validation images": result}), "", *results_table(result)]
        tables[model] += ["", about(result)]
    return tables


def fill(text: str, tables: dict[str, list[str]]) -> str:
    """A page with its tables renewed.

    Raises:
        PageError: it asks for a table that does not exist.
    """

    def block(match: re.Match[str]) -> str:
        if match[2] not in tables:
            raise PageError(f"no table {match[2]!r}; there are: {', '.join(tables)}")
        return match[1] + "\n".join(tables[match[2]]) + "\n" + match[3]

    return _BLOCK.sub(block, text)


def pages() -> dict[Path, str]:
    """Every generated page: path → text."""
    tables = blocks()
    made = {
        path: fill(path.read_text(), tables)
        for path in (ROOT / "README.md", ROOT / "docs" / "results.md")
    }
    for model in MODEL_IDS:
        made[WEIGHTS_FOLDER / f"{model}.md"] = render_card(model, results_of(model))
    return made


def figures() -> dict[Path, bytes]:
    """The plots of the results page: path → bytes of a PNG."""
    made = {}
    for metric, key, model in (
        ("psnr", "curves", "ssvae-psnr"),
        ("ssimulacra2", "curves_ssimulacra2", "ssvae"),
    ):
        result = results_of(model)[SETS["eval"]]
        curves = {
            model if name == "ours" else name: np.array(rows)
            for name, rows in result[key].items()
            if name == "ours" or name in OTHERS
        }
        if curves:
            title = f"{result['images']} validation images"
            made[ROOT / "docs" / f"{metric}.png"] = plots.rate_distortion(curves, metric, title)[
                "png"
            ]
    return made


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where one differs"
    )
    options = parser.parse_args(arguments)
    try:
        made = pages()
        stale = [path for path, text in made.items() if path.read_text() != text]
        if options.check:
            if stale:
                raise PageError(f"to be made anew: {', '.join(str(p) for p in stale)}")
            return
        for path in stale:
            path.write_text(made[path])
        for path, picture in figures().items():
            path.write_bytes(picture)
    except PageError as error:
        raise SystemExit(f"pages: {error}") from error
    print("\n".join(str(path.relative_to(ROOT)) for path in stale) or "nothing has changed")


if __name__ == "__main__":
    main()
