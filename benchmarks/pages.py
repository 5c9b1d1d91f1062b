"""``python -m benchmarks.pages``: tables of README, results page and model cards.

Every table of the shipped weights is made here, from JSON files that name the fingerprint of the
weights they were measured with. Tables from other weights are refused, so that no page can speak of
a codec that is not the one in the package.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import plots
from benchmarks.bench.codecs import OTHERS
from benchmarks.bench.curves import PERCEPTUAL
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
    for model, weights in _weights_of(result).items():
        shipped = weights_info(model).fingerprint.hex()
        if weights != shipped:
            raise PageError(
                f"{path}: measured with weights {weights} of {model}, shipped are {shipped}; "
                "measure again"
            )
    return result


def _weights_of(result: dict[str, Any]) -> dict[str, str | None]:
    """Fingerprints by model: of one, or of several that were measured together."""
    weights = result.get("weights")
    return weights if isinstance(weights, dict) else {result.get("model", "ssvae"): weights}


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}%".replace("-", "−")


def rates(
    results: dict[str, dict[str, Any]], seen: dict[str, dict[str, Any]] | None = None
) -> list[str]:
    """Bits at equal quality (BD-rate) against each anchor, a line each.

    Args:
        results: name of an image set → results whose PSNR is shown, by bands too.
        seen: those of which the perceptual metrics are shown; they stand first.
    """
    columns: list[tuple[str, dict[str, float | None]]] = []
    for result in (seen or {}).values():
        for metric, name in PERCEPTUAL.items():
            columns.append((name, result.get(f"bd_rate_{metric}_percent", {})))
    for place, (title, result) in enumerate(results.items()):
        bands = result["bands"]
        columns.append((f"{title}: PSNR" if place else "PSNR", result["bd_rate_percent"]))
        for band in bands["jpeg"]:
            inside = {a: (bands[a][band] or {}).get("percent") for a in bands}
            columns.append((f"… {band}", inside))
    columns = [(head, of) for head, of in columns if any(v is not None for v in of.values())]
    anchors = [a for a in OTHERS if any(a in of for _, of in columns)]
    return [
        "| bits at equal quality, against | " + " | ".join(head for head, _ in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
        *(
            f"| {OTHERS[a].label} | " + " | ".join(_percent(of.get(a)) for _, of in columns) + " |"
            for a in anchors
        ),
    ]


def qualities(result: dict[str, Any]) -> list[str]:
    """What a quality means: size, SSIMULACRA2 and PSNR."""
    error = {row[0]: row for row in result["curves"]["ours"]}
    lines = ["| quality | bpp | SSIMULACRA2 | PSNR |", "| ---: | ---: | ---: | ---: |"]
    for quality, bpp, points in result["curves_ssimulacra2"].get("ours", []):
        lines.append(f"| {quality:.0f} | {bpp:.3f} | {points:.1f} | {error[quality][2]:.2f} |")
    return lines


def duels(result: dict[str, Any]) -> list[str]:
    """Our default file beside AVIF tuned for the eye, of at most as many bytes."""
    lines = [
        "| at most, bpp | ours: bpp, SSIMULACRA2, butteraugli | AVIF, tune=iq "
        "| better in SSIMULACRA2 | in butteraugli |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["sizes"]:
        ours = f"{row['bpp']:.3f}, {row['ssimulacra2']:.1f}, {row.get('butteraugli', 0):.2f}"
        theirs = f"{row['avif_bpp']:.3f}, {row['avif_ssimulacra2']:.1f}"
        theirs += f", {row.get('avif_butteraugli', 0):.2f}"
        wins = f"{row['wins']:.0%} | {row.get('wins_butteraugli', 0):.0%}"
        lines.append(f"| {row['target_bpp']:g} | {ours} | {theirs} | {wins} |")
    return lines


def about(result: dict[str, Any], counted: str = "every byte counted") -> str:
    """Of which weights and on what a table was measured."""
    count = result["images"] if isinstance(result["images"], int) else len(result["images"])
    weights = ", ".join(f"`{print_}` of `{m}`" for m, print_ in _weights_of(result).items())
    return (
        f"{count} images, weights {weights}, {result['machine']}; files really written and "
        f"decoded, {counted}."
    )


def _seconds(value: float) -> str:
    """Two digits, or whole seconds."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def effort(result: dict[str, Any]) -> list[str]:
    """What more effort saves, and what it takes."""
    rows = result["efforts"]
    return [
        "| effort | " + " | ".join(str(r["effort"]) for r in rows) + " |",
        "| --- |" + " ---: |" * len(rows),
        "| size at equal SSIMULACRA2 (BD-rate) | "
        + " | ".join("0" if i == 0 else _percent(r["bd_rate_percent"]) for i, r in enumerate(rows))
        + " |",
        "| encoding, seconds per megapixel | "
        + " | ".join(_seconds(r["seconds_per_mpx"]) for r in rows)
        + " |",
    ]


def efforts_by_error(results: Sequence[dict[str, Any]]) -> list[str]:
    """Bits at equal PSNR (BD-rate) of efforts of one model against other codecs, and by bands
    against JPEG 2000."""
    anchors = [a for a in OTHERS if a in results[0]["bd_rate_percent"]]
    bands = list(results[0]["bands"]["jpeg2000"])
    heads = [OTHERS[a].label for a in anchors] + [f"JPEG 2000, {band}" for band in bands]
    lines = [f"| effort, against | {' | '.join(heads)} |", "| ---: |" + " ---: |" * len(heads)]
    for result in results:
        rates = [result["bd_rate_percent"][a] for a in anchors]
        rates += [(result["bands"]["jpeg2000"][band] or {}).get("percent") for band in bands]
        lines.append(f"| {result['effort']} | {' | '.join(map(_percent, rates))} |")
    return lines


def few_bits(result: dict[str, Any]) -> list[str]:
    """Mean PSNR of small pictures within so many bits; in brackets, where not all are as small,
    of how many it is the mean, or the bits of what is compared instead."""
    budgets, count = result["bits"], len(result["images"])

    def cell(row: dict[str, Any]) -> str:
        remark = f"{row['within']} of {count}" if row["within"] else f"{row['bits']:.0f}"
        return f"{row['psnr']:.2f}" + (f" ({remark})" if row["within"] < count else "")

    lines = [
        f"| | {budgets[0]} bits | {' | '.join(map(str, budgets[1:]))} |",
        "| --- |" + " ---: |" * len(budgets),
    ]
    for side, rows in result["sides"].items():
        for name in dict.fromkeys(row["name"] for row in rows):
            cells = " | ".join(cell(row) for row in rows if row["name"] == name)
            lines.append(f"| {side}×{side}, {name} | {cells} |")
    return lines


def blocks() -> dict[str, list[str]]:
    """All generated tables by name."""
    tables: dict[str, list[str]] = {}
    named = {SETS["eval"]: "validation", SETS["large"]: "large photographs"}
    seen, sets = (
        {named[title]: result for title, result in results_of(model).items()}
        for model in ("ssvae", "ssvae-psnr")
    )
    main, error = seen["validation"], sets["validation"]
    tables["rates"] = [*rates(sets, seen), "", about(main), "PSNR: " + about(error)]
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
