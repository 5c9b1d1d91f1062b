"""``python -m models.training.card NAME``: write the model card of installed weights.

A card holds what is known from elsewhere — the weights file, the history of its training (kept in
``NAME.training.json`` beside it), results measured by ``benchmarks.rate_distortion`` — and, below
the heading *Notes*, what people wrote by hand, which is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from models.registry import BUILDERS
from models.weights_file import WEIGHTS_FOLDER, fingerprint_of

_NOTES = "## Notes"
_ANCHORS = {"jpeg": "JPEG", "jpeg2000": "JPEG 2000"}
_RATED = _ANCHORS | {"avif-psnr": "AVIF tuned for PSNR"}
_SEEN = _ANCHORS | {"avif-iq": "AVIF tuned for the eye", "jxl": "JPEG XL"}


def history_path(weights: Path) -> Path:
    """Where the training history of a weights file is kept."""
    return weights.with_suffix(".training.json")


def read_history(weights: Path) -> list[dict[str, Any]]:
    """The runs that led to a weights file, oldest first; empty where nothing is known."""
    path = history_path(weights)
    return json.loads(path.read_text()) if path.exists() else []


def write_history(weights: Path, history: list[dict[str, Any]]) -> None:
    """Keep the runs that led to a weights file."""
    history_path(weights).write_text(json.dumps(history, indent=1) + "\n")


def _training(history: list[dict[str, Any]]) -> list[str]:
    if not history:
        return ["Nothing is recorded."]
    steps = sum(run["steps"] for run in history)
    crops = sum(run["steps"] * run["batch"] for run in history)
    minutes = sum(run["minutes"] for run in history)
    lines = [
        f"{steps:,} steps, {crops:,} crops, {minutes:.0f} minutes in all:",
        "",
        "| steps | crops | optimizer, peak rate, decay | data | hardware | minutes |",
        "| ---: | --- | --- | --- | --- | ---: |",
    ]
    for run in history:
        size = f"{run['batch']} × {run['crop']}²"
        rate = f"{run['optimizer']}, {run['learning_rate']:g}, {run['decay_steps']:,} steps"
        data = f"{run['images']:,} images, {run['megapixels']} Mpx"
        if run.get("pages"):
            data += f", {run['pages']} of them drawn pages"
        if run.get("recolour"):
            data += f"; {run['recolour']:.0%} of the crops in other colours"
        if run.get("enlarge"):
            data += f"; {run['enlarge']:.0%} enlarged"
        if run.get("whole", 0.65) != 0.65:
            data += f"; {run['whole']:.0%} with all layers"
        if run.get("small", 1.0) != 1.0:
            data += f"; small pictures weigh {run['small']:g} times as much"
        if run.get("eye"):
            data += f"; {run['eye']:.0%} of the distortion measured by {run['eye_loss']}"
        note = f" ({run['note']})" if "note" in run else ""
        lines.append(
            f"| {run['steps']:,} | {size} | {rate}{note} | {data} | {run['hardware']} "
            f"| {run['minutes']:.0f} |"
        )
    return lines


def results_table(result: dict[str, Any]) -> list[str]:
    """The curve of a results file as a table: whole files, cut ones, the anchors at that rate."""
    curves = {name: np.array(rows) for name, rows in result["curves"].items()}
    points = {row[0]: row[2] for row in result.get("curves_ssimulacra2", {}).get("ours", [])}
    lines = [
        "| quality | bpp | PSNR | cut after z1: bpp, PSNR | cut after u: bpp, PSNR "
        "| JPEG at that bpp | JPEG 2000 at that bpp |" + (" SSIMULACRA2 |" if points else ""),
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |" + (" ---: |" if points else ""),
    ]
    for row, (quality, bpp, psnr) in enumerate(curves["ours"]):
        cells = [f"{quality:.0f}", f"{bpp:.3f}", f"{psnr:.2f}"]
        for count in (2, 1):
            cut = curves[f"ours, first {count}"][row]
            cells.append(f"{cut[1]:.3f}, {cut[2]:.2f}")
        for anchor in _ANCHORS:
            curve = curves[anchor]
            order = np.argsort(curve[:, 1])
            x, y = curve[order, 1], curve[order, 2]
            rival = np.interp(bpp, x, y, left=np.nan, right=np.nan)
            cells.append("–" if np.isnan(rival) else f"{rival:.2f}")
        if points:
            cells.append(f"{points[quality]:.1f}" if quality in points else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _results(result: dict[str, Any], title: str) -> list[str]:
    rates = result["bd_rate_percent"]
    known = [name for name in _RATED if rates.get(name) is not None]
    summary = ", ".join(f"**{rates[name]:+.1f}%** against {_RATED[name]}" for name in known)
    seen = result.get("bd_rate_ssimulacra2_percent", {})
    also = ", ".join(
        f"**{rate:+.1f}%** against {_SEEN[name]}"
        for name, rate in seen.items()
        if name in _SEEN and rate is not None
    )
    return [
        f"### {title}",
        "",
        f"{result['images']} images, files really written and decoded; {result['machine']}. "
        "bpp counts every byte; PSNR in RGB, mean over images.",
        "",
        *results_table(result),
        "",
        f"BD-rate (PSNR, Akima, mean curves): {summary}."
        + (f" By SSIMULACRA2: {also}." if also else ""),
    ]


#: What a run must be told to go on as the last one was trained: key of its record → option.
_AS_BEFORE = {
    "pages": "--pages",
    "recolour": "--recolour",
    "enlarge": "--enlarge",
    "whole": "--whole",
    "small": "--small",
    "eye": "--eye",
    "eye_loss": "--eye-loss",
    "optimizer": "--optimizer",
    "learning_rate": "--learning-rate",
    "batch": "--batch",
    "crop": "--crop",
}


def _continue(name: str, history: list[dict[str, Any]]) -> list[str]:
    last = history[-1] if history else {}
    told = [f"{option}\xa0{last[key]}" for key, option in _AS_BEFORE.items() if last.get(key)]
    told += ["--steps\xa020000", "--decay-steps\xa018000"]
    lines = [line.replace("\xa0", " ") for line in textwrap.wrap(" ".join(told), 90)]
    return [
        "The weights were taken at the end of a decay. A new run starts from them, with the "
        "options of the last one, and replaces them if it is better:",
        "",
        "```sh",
        f"python -m models.training FOLDER --model {name} --out runs/next \\",
        f"    --init models/weights/{name}.safetensors --validation VALIDATION \\",
        *(f"    {line} \\" for line in lines[:-1]),
        f"    {lines[-1]}",
        f"python -m benchmarks.adopt runs/next VALIDATION --name {name} --data FOLDER",
        "```",
        "",
        "On a GPU add `--device cuda --compile --batch 32 --crop 256`; on several, start it with",
        "`torchrun --nproc-per-node N -m models.training …`.",
    ]


def _identity(weights: Path, data: bytes) -> list[str]:
    return [
        f"- file: `{weights.name}`, {len(data) / 1e6:.1f} MB: float networks in half precision, "
        "exact prior in integers",
        f"- fingerprint: `{fingerprint_of(data).hex()}`",
    ]


def render(weights: Path, results: dict[str, dict[str, Any]], notes: str) -> str:
    """The card's text. ``results``: title → content of a results file."""
    name, data = weights.stem, weights.read_bytes()
    with safe_open(weights, framework="pt") as file:
        keys = [key for key in file.keys() if not key.startswith("coding.")]  # noqa: SIM118
        parameters = sum(file.get_tensor(key).numel() for key in keys)
    purpose = (BUILDERS[name].__doc__ or "").strip().splitlines()[0] if name in BUILDERS else ""
    lines = [
        f"# {name}",
        "",
        purpose,
        "",
        *_identity(weights, data),
        f"- parameters: {parameters / 1e6:.2f} M",
        "",
        "## Training",
        "",
        *_training(read_history(weights)),
        "",
        "## Results",
        "",
    ]
    for title, result in results.items():
        lines += [*_results(result, title), ""]
    if not results:
        lines += ["Not measured yet.", ""]
    return "\n".join(
        [
            *lines,
            "## How to continue",
            "",
            *_continue(name, read_history(weights)),
            "",
            notes.strip(),
            "",
        ]
    )


def _notes_of(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text[text.index(_NOTES) :] if _NOTES in text else _NOTES


def render_card(name: str, results: dict[str, dict[str, Any]]) -> str:
    """The card of installed weights with other results, its notes kept."""
    weights = WEIGHTS_FOLDER / f"{name}.safetensors"
    return render(weights, results, _notes_of(weights.with_suffix(".md")))


def write_card(weights: Path, results: dict[str, dict[str, Any]]) -> Path:
    """Write ``NAME.md`` beside the weights, keeping the notes of the earlier card."""
    path = weights.with_suffix(".md")
    path.write_text(render(weights, results, _notes_of(path)))
    return path


def keep_card(source: Path, weights: Path) -> Path:
    """Write ``NAME.md`` beside weights of the same networks as ``source``: its card with the new
    file's name, size and fingerprint."""
    old = source.with_suffix(".md")
    if not old.exists():
        return write_card(weights, {})
    text = old.read_text()
    for line in _identity(weights, weights.read_bytes()):
        begin = line[: line.index(":")]
        text = re.sub(rf"^{begin}: .*$", line, text, count=1, flags=re.MULTILINE)
    path = weights.with_suffix(".md")
    path.write_text(text)
    return path


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.training.card",
        description="Write the model card of installed weights.",
    )
    parser.add_argument("name", nargs="?", default="ssvae")
    parser.add_argument(
        "--results",
        nargs=2,
        action="append",
        default=[],
        metavar=("TITLE", "JSON"),
        help="a results file of benchmarks.rate_distortion made with these weights; repeatable",
    )
    options = parser.parse_args(arguments)
    results = {title: json.loads(Path(path).read_text()) for title, path in options.results}
    print(write_card(WEIGHTS_FOLDER / f"{options.name}.safetensors", results))


if __name__ == "__main__":
    main()
