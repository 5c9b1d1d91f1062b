"""Tables of pages, from the results that they show: lines of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bench.bands import OVERALL
from benchmarks.bench.codecs import OTHERS
from benchmarks.bench.curves import PERCEPTUAL
from benchmarks.bench.judgement import figure

METRIC_NAMES = {**PERCEPTUAL, "psnr": "PSNR"}


def weights_of(result: dict[str, Any]) -> dict[str, str | None]:
    """Fingerprints by model: of one, or of several that were measured together."""
    weights = result.get("weights")
    return weights if isinstance(weights, dict) else {result.get("model", "ssvae"): weights}


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}%".replace("-", "−")


#: A row of a table of rates: its name, and percents by anchor.
_Row = tuple[str, dict[str, float | None]]


def _rated(result: dict[str, Any], metric: str) -> list[_Row]:
    """The rows of a metric: over all qualities, then by bands. Empty where it was not measured."""
    overall = result.get(figure("bd_rate_percent", metric), {})
    bands = result.get(figure("bands", metric), {})
    rows = [(METRIC_NAMES[metric], overall)] if overall else []
    for band in next(iter(bands.values()), {}):
        rows.append((f"… {band}", {a: (bands[a][band] or {}).get("percent") for a in bands}))
    return rows


def _groups(
    results: dict[str, dict[str, Any]], seen: dict[str, dict[str, Any]] | None
) -> list[list[_Row]]:
    """The rows of each metric: of ``seen`` the perceptual ones, of ``results`` PSNR."""
    groups = [_rated(result, metric) for result in (seen or {}).values() for metric in PERCEPTUAL]
    for place, (title, result) in enumerate(results.items()):
        (head, overall), *bands = _rated(result, "psnr")
        groups.append([(f"{title}: {head}" if place else head, overall), *bands])
    return [group for group in groups if group]


def _table(head: str, anchors: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {head} | {' | '.join(OTHERS[a].label for a in anchors)} |",
        "| --- |" + " ---: |" * len(anchors),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _anchors(groups: Sequence[Sequence[_Row]]) -> list[str]:
    return [a for a in OTHERS if any(a in of for rows in groups for _, of in rows)]


def rates(
    results: dict[str, dict[str, Any]], seen: dict[str, dict[str, Any]] | None = None
) -> list[str]:
    """Bits at equal quality (BD-rate) against each anchor, by metrics and bands of quality.

    Args:
        results: name of an image set → results whose PSNR is shown.
        seen: those of which the perceptual metrics are shown; they stand first.
    """
    groups, rows = _groups(results, seen), list[list[str]]()
    anchors = _anchors(groups)
    for group in groups:
        for place, (name, of) in enumerate(group):
            if all(value is None for value in of.values()):
                continue
            mark = "" if place else "**"
            cells = [_percent(of.get(a)) for a in anchors]
            cells = [cell if cell == "–" else f"{mark}{cell}{mark}" for cell in cells]
            rows.append([f"{mark}{name}{mark}", *cells])
    return _table("bits at equal quality, against", anchors, rows)


def brief_rates(
    results: dict[str, dict[str, Any]], seen: dict[str, dict[str, Any]] | None = None
) -> list[str]:
    """As :func:`rates`, a row for each anchor, the bands of a metric within its cell."""
    groups = _groups(results, seen)
    heads = [
        f"{name}<br>{' / '.join(band.removeprefix('… ') for band, _ in bands)}"
        for (name, _), *bands in groups
    ]
    lines = [
        f"| bits at equal quality, against | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * len(heads),
    ]
    for a in _anchors(groups):
        cells = [OTHERS[a].label]
        for (_, overall), *bands in groups:
            inside = " / ".join(_percent(of.get(a)).removesuffix("%") for _, of in bands)
            cells.append(f"**{_percent(overall[a])}**<br>{inside}" if a in overall else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def rates_of_images(
    results: dict[str, dict[str, Any]], seen: dict[str, dict[str, Any]] | None = None
) -> list[str]:
    """As :func:`rates`, over all qualities: means of the rates that each image has of its own."""

    def own(result: dict[str, Any], metric: str) -> dict[str, float | None]:
        means = result[figure("bands_of_images", metric)]
        return {name: of[OVERALL][0] for name, of in means.items() if OVERALL in of}

    group: list[_Row] = []
    for result in (seen or {}).values():
        group += [(METRIC_NAMES[m], own(result, m)) for m in PERCEPTUAL if _rated(result, m)]
    for place, (title, result) in enumerate(results.items()):
        group.append((f"{title}: PSNR" if place else "PSNR", own(result, "psnr")))
    anchors = _anchors([group])
    rows = [[name, *(_percent(of.get(a)) for a in anchors)] for name, of in group]
    return _table("mean of the images' own rates, against", anchors, rows)


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
    weights = ", ".join(f"`{print_}` of `{m}`" for m, print_ in weights_of(result).items())
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


def speed(results: Sequence[dict[str, Any]]) -> list[str]:
    """Times of ``codec bench --speed`` at 768×512: of the models, and of the other codecs that took
    turns with the first."""
    rows = list(results[0]["peers"])
    rows += [row for r in results[1:] for row in r["peers"] if row["codec"] == r["model"]]
    lines = [
        "| 768×512 | setting | bpp | encode, s | decode, s |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        name = OTHERS[row["codec"]].label if row["codec"] in OTHERS else f"`{row['codec']}`"
        times = f"{row['encode_seconds']:.3f} | {row['decode_seconds']:.3f}"
        lines.append(f"| {name} | {row['setting']} | {row['bpp']:.2f} | {times} |")
    return lines


def speed_of_sizes(result: dict[str, Any]) -> list[str]:
    """Seconds per megapixel of ``codec bench --speed``, by size and threads."""
    lines = [
        "| size, threads | encode, s/Mpx | decode, s/Mpx | peak memory |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in result["sizes"]:
        times = (row[f"{way}_seconds"] / row["megapixels"] for way in ("encode", "decode"))
        cells = " | ".join(f"{seconds:.2f}" for seconds in times)
        name = f"{row['size']}, {row['threads']}"
        lines.append(f"| {name} | {cells} | {row['peak_memory_mb']} MB |")
    return lines


def timed(results: Sequence[dict[str, Any]]) -> str:
    """Of which weights and on what times were measured."""
    weights = ", ".join(f"`{r['weights']}` of `{r['model']}`" for r in results)
    runs = results[0]["peers"][0]["runs"]
    return f"Medians of {runs} runs that take turns, weights {weights}, {results[0]['machine']}."
