"""Everything a run leaves in its folder, drawn from ``results.json`` and ``crops.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import plots, report, tables
from benchmarks.bench.codecs import OTHERS, OUR_QUALITIES, cut_name, label, version
from benchmarks.bench.curves import METRICS, deltas, mean_curves, progressive
from benchmarks.bench.images import require_kodak
from benchmarks.bench.measuring import STOP_QUALITIES
from benchmarks.bench.records import Record, Stop
from benchmarks.bench.runner import Measured
from codec.errors import ArgumentError, OutputError
from codec.files import write_atomic
from models.training.hardware import machine

RESULTS, CROPS = "results.json", "crops.json"


def describe(measured: Measured, folder: str, device: str, sizes: dict[str, int]) -> dict[str, Any]:
    """What the figures speak of: images, machine, versions."""
    names = dict.fromkeys(r.codec.partition(":layers=")[0] for r in measured.records)
    return {
        "folder": folder,
        "images": len({record.image for record in measured.records}),
        "sizes": sizes,
        "machine": machine(),
        "device": device,
        "codecs": {
            name: {"version": version(name), "settings": OTHERS[name].note}
            if name in OTHERS
            else {"version": version(name)}
            for name in names
        },
    }


def _lines(items: Sequence[Record | Stop]) -> str:
    return ",\n".join("  " + json.dumps(item.stored()) for item in items)


def save(measured: Measured, about: dict[str, Any], crops: list[dict[str, Any]], out: Path) -> None:
    """Write ``results.json`` (one line per record) and ``crops.json``. Raises OutputError."""
    text = json.dumps({"about": about}, indent=1).removesuffix("\n}")
    rows, stops = _lines(measured.records), _lines(measured.stops)
    text += f',\n "rows": [\n{rows}\n ],\n "stops": [\n{stops}\n ]\n}}\n'
    write_atomic(out / RESULTS, text.encode())
    write_atomic(out / CROPS, (json.dumps(crops) + "\n").encode())


def load(out: Path) -> tuple[Measured, dict[str, Any], list[dict[str, Any]]]:
    """What :func:`save` wrote. Raises ArgumentError."""
    try:
        saved = json.loads((out / RESULTS).read_text())
        crops = json.loads((out / CROPS).read_text()) if (out / CROPS).exists() else []
        rows, stops = [Record(**r) for r in saved["rows"]], [Stop(**s) for s in saved["stops"]]
        return Measured(rows, stops), saved["about"], crops
    except FileNotFoundError as error:
        raise ArgumentError(
            f"{out / RESULTS}: does not exist; name the -o folder of a finished run"
        ) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ArgumentError(
            f"{out / RESULTS}: cannot be read ({error}); measure again into a new folder"
        ) from error


def make_folder(out: Path) -> None:
    """Raises OutputError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be created ({error.strerror})") from error


def _one_file(records: list[Record], name: str, quality: int) -> list[tuple[float, float]]:
    """Mean (bpp, PSNR) of a file after 1, 2, 3 layers."""
    points = []
    for key in (cut_name(name, 1), cut_name(name, 2), name):
        values = [(r.bpp, r.psnr) for r in records if r.codec == key and r.setting == quality]
        if values:
            bpp, decibel = np.mean(values, axis=0)
            points.append((float(bpp), float(decibel)))
    return points


def draw(out: Path, *, anchors: list[str] | None = None, kodak: bool = False) -> str:
    """Tables, curves and report from what is saved in ``out``; returns the summary (Markdown).

    Args:
        anchors: codecs to compute BD-rates against; default JPEG and JPEG 2000, as far as measured.
        kodak: draw the published curves too; only beside means of the Kodak images.

    Raises:
        ArgumentError: nothing is saved there, an anchor was not measured, or ``kodak`` and the
            images are others. OutputError.
    """
    measured, about, crops = load(out)
    all_curves = {m: c for m in METRICS if (c := mean_curves(measured.records, m))}
    curves = all_curves.get("psnr")
    if curves is None:
        raise ArgumentError(f"{out / RESULTS}: no image was measured with all codecs")
    if kodak:
        require_kodak(about.get("sizes", {}))
    for name in anchors or []:
        if name not in curves:
            raise ArgumentError(f"anchor {name!r} was not measured; there are {', '.join(curves)}")
    anchors = anchors or [a for a in ("jpeg", "jpeg2000") if a in curves] or list(curves)[:1]
    title = f"Rate and quality, mean of {about['images']} images"
    sections: list[tuple[str, str]] = []
    snippet = [f"{title}; {about['machine']}.", ""]
    computed = []
    for metric, by_codec in all_curves.items():
        rates = deltas(metric, anchors, by_codec)
        computed += rates
        shown = tables.summary(by_codec, rates, metric)
        snippet += [tables.markdown(*shown), ""]
        drawn = plots.rate_distortion(by_codec, metric, title, kodak=kodak)
        _write(out, f"{metric}", drawn)
        heading = METRICS[metric]
        sections.append((heading, report.plot(drawn["png"], heading) + report.table(*shown)))
    stops = progressive(measured.stops, curves)
    for name in dict.fromkeys(stop.codec for stop in stops):
        files = [_one_file(measured.records, name, quality) for quality in STOP_QUALITIES]
        drawn = plots.layers(curves, name, files)
        _write(out, f"layers-{name}".replace(":", "-"), drawn)
        shown = tables.progressive([s for s in stops if s.codec == name])
        early = {n: c for n, c in curves.items() if n.partition(":layers=")[0] == name}
        rates = deltas("psnr", [name], early)
        computed += rates
        cost = tables.stopping(rates)
        snippet += [tables.markdown(*shown), "", tables.markdown(*cost), ""]
        heading = f"Layers of {label(name)}"
        html = report.plot(drawn["png"], heading) + report.table(*shown) + report.table(*cost)
        sections.append((heading, html))
    sections.append(("", report.crops(crops)))
    sections.append(("Codecs", _versions(about)))
    note = (
        "bpp counts every byte of the real file. BD-rate: change of bits at equal quality "
        "(negative is better), Akima interpolation of the mean curves, over the range of quality "
        "that is given in brackets."
    )
    if kodak:
        note += f" Published curves: {plots.published()['source']}."
    intro = [f"{about['machine']}, device {about['device']}.", note]
    html = report.page(title, intro, sections)
    write_atomic(out / "report.html", html.encode())
    write_atomic(out / "summary.csv", tables.as_csv(all_curves).encode())
    text = "\n".join([*snippet, note, ""])
    write_atomic(out / "summary.md", text.encode())
    figures = {
        "about": about,
        "bd": [asdict(d) for d in computed],
        "progressive": [asdict(s) for s in stops],
        "curves": {
            m: {n: c.round(5).tolist() for n, c in by.items()} for m, by in all_curves.items()
        },
    }
    write_atomic(out / "summary.json", (json.dumps(figures, indent=1) + "\n").encode())
    return text


def _write(out: Path, name: str, drawn: dict[str, bytes]) -> None:
    for suffix, data in drawn.items():
        write_atomic(out / f"{name}.{suffix}", data)


def _versions(about: dict[str, Any]) -> str:
    rows = [[label(n), v["version"], v.get("settings", "")] for n, v in about["codecs"].items()]
    ours = f"qualities {', '.join(map(str, OUR_QUALITIES))}"
    rows = [[a, b, c or ours] for a, b, c in rows]
    return report.table(["codec", "version", "settings"], rows)
