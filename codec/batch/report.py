"""A page about a batch run: one file, no network, light and dark."""

from __future__ import annotations

import base64
import heapq
import io
from collections import Counter
from collections.abc import Iterable
from html import escape
from itertools import chain

from PIL import Image

from bitstream.container import MAGIC
from codec.batch import extra
from codec.batch.records import OK, Row, read_rows, read_settings
from codec.batch.shards import read_members
from codec.batch.statistics import Totals
from codec.batch.stores import Store, split_place
from codec.batch.verification import shard_of
from codec.errors import CodecError, ImageError

WORST = 12
_FAILURES = 100
_SIDE = 320

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --soft: #666; --line: #ddd;
  --bar: #2f6fb0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e6e6e6; --soft: #9aa0a6; --line: #34383d; --bar: #6ea8e0; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.soft, figcaption span { color: var(--soft); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
.facts th { white-space: nowrap; }
svg { width: 100%; height: auto; } svg rect { fill: var(--bar); }
svg text { fill: var(--soft); font: 13px system-ui, sans-serif; }
@media (max-width: 700px) { svg text { font-size: 28px; } }
.group { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 0; width: 332px; } figure img { max-width: 160px; max-height: 160px; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; } figcaption span { display: block; }
"""


def write_report(out: str, destination: str, *, manifest: str | None = None) -> None:
    """Write a page: totals, sizes, histogram of bpp, what failed, and the worst pictures.

    The worst are those of lowest PSNR where it was measured, else of highest bpp.

    Args:
        out: path or URL of the HTML file.
        destination: folder or URL of the results.
        manifest: default ``manifest.parquet`` in it.

    Raises:
        codec.errors.CodecError: there is no manifest, or the page cannot be written.
    """
    extra.require("batch")
    place = manifest or f"{destination.rstrip('/')}/manifest.parquet"
    settings = read_settings(place)
    totals = Totals()
    worst: list[tuple[float, int, Row]] = []
    for number, row in enumerate(read_rows(place)):
        totals.add(row)
        if row["status"] == OK and row["bpp"] is not None:
            badness = -row["psnr"] if row["psnr"] is not None else row["bpp"]
            heapq.heappush(worst, (badness, number, row))
            if len(worst) > WORST:
                heapq.heappop(worst)
    rows = [row for _, _, row in sorted(worst, key=lambda item: item[:2], reverse=True)]
    name = escape(destination.rstrip("/") or "/")
    body = chain(
        [f"<h1>{name}</h1>", _overview(totals, settings), "<h2>Bits per pixel</h2>"],
        [histogram(totals.bpp_counts, Totals.BPP_STEP)],
        _failures(totals),
        _worst(rows, settings, destination, totals.measured > 0),
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{name}</title>'
        f"<style>{_STYLE}</style>{''.join(body)}</html>"
    )
    folder, file = split_place(out)
    store = Store(folder)
    store.write(file, page.encode())
    store.clear_staging()


def _overview(totals: Totals, settings: dict) -> str:
    made = "decoded" if settings.get("kind") == "decode" else "coded"
    rows = [
        ("Pictures", f"{totals.ok:,} {made}, {totals.failed:,} failed"),
        ("Bytes", f"{totals.read:,} → {totals.written:,}{_share(totals)}"),
        ("Pixels", f"{totals.pixels:,.0f}"),
    ]
    if totals.pixels:
        rows.append(("Bits per pixel", f"{totals.bits / totals.pixels:.4f} over all pixels"))
    if totals.qualities:
        rows.append(("Quality", _span(totals.qualities)))
    if totals.measured:
        text = f"mean {totals.psnr / totals.measured:.2f} dB, lowest {totals.lowest:.2f} dB"
        rows.append(("PSNR", text))
    if totals.seconds and totals.ok:
        each = 1000 * totals.seconds / totals.ok
        rows.append(("Coding time", f"{totals.seconds:,.0f} s on one core, {each:.0f} ms each"))
    weights = ", ".join(f"{w} ({n:,})" for w, n in totals.weights.most_common(5))
    rows.append(("Weights", weights or "–"))
    options = settings.get("options", {}).items()
    rows.append(("Options", ", ".join(f"{k} {v}" for k, v in options) or "–"))
    return f'<div class="facts">{_table(rows)}</div>'


def _span(qualities: Counter[float]) -> str:
    """The quality of all files, or the ends and the mean where a target chose it."""
    least, most = min(qualities), max(qualities)
    if least == most:
        return f"{least:g}"
    mean = sum(q * n for q, n in qualities.items()) / qualities.total()
    return f"{least:g} … {most:g}, mean {mean:.1f}"


def _share(totals: Totals) -> str:
    return f" ({totals.written / totals.read:.1%})" if totals.read else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows)
    return f"<table>{cells}</table>"


def histogram(counts: Counter[int], step: float) -> str:
    """Bars of how many pictures fall into each step, as SVG."""
    if not counts:
        return '<p class="soft">No picture.</p>'
    last = max(counts)
    group = max(1, -(-(last + 1) // 60))  # at most 60 bars
    bars: Counter[int] = Counter()
    for bin_, count in counts.items():
        bars[bin_ // group] += count
    number, highest = max(bars) + 1, max(bars.values())
    width = 900 / number
    parts = [
        f'<rect x="{40 + n * width:.1f}" y="{190 - 150 * bars[n] / highest:.1f}" '
        f'width="{max(width - 2, 1):.1f}" height="{150 * bars[n] / highest:.1f}">'
        f"<title>{n * group * step:.2f}–{(n + 1) * group * step:.2f} bpp: {bars[n]:,}</title>"
        "</rect>"
        for n in sorted(bars)
    ]
    for tick in range(6):
        value = tick / 5 * number * group * step
        parts.append(f'<text x="{40 + 180 * tick}" y="216" text-anchor="middle">{value:.2f}</text>')
    parts.append(f'<text x="40" y="26">{highest:,}</text>')
    return f'<svg viewBox="0 0 980 222" role="img">{"".join(parts)}</svg>'


def _failures(totals: Totals) -> Iterable[str]:
    if not totals.failed:
        return
    shown = totals.failures[:_FAILURES]
    yield f"<h2>Failed ({totals.failed:,})</h2>"
    yield _table(shown)
    if totals.failed > len(shown):
        yield f'<p class="soft">The first {len(shown)}; the manifest has all.</p>'


def _worst(rows: list[Row], settings: dict, destination: str, measured: bool) -> Iterable[str]:
    if not rows:
        return
    kind = "Lowest PSNR" if measured else "Most bits per pixel"
    yield f'<h2>{kind}</h2><p class="soft">Left the original where it still exists, right ours.</p>'
    yield '<div class="group">'
    for row in rows:
        before = _picture(settings.get("root") or settings.get("source", ""), row["path"])
        after = _picture(destination, row["result"])
        psnr = "" if row["psnr"] is None else f", {row['psnr']:.2f} dB"
        yield (
            f"<figure>{before}{after}<figcaption>{escape(row['path'])}<span>"
            f"{row['width']}×{row['height']}, {row['bytes']:,} bytes, {row['bpp']:.3f} bpp{psnr}"
            "</span></figcaption></figure>"
        )
    yield "</div>"


def _picture(place: str, path: str) -> str:
    """An ``img`` with the picture inside; words where it cannot be had."""
    try:
        data = read_picture(Store(place), path)
        image = _opened(data)
    except CodecError as error:
        return f'<span class="soft">{escape(str(error))}</span> '
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/webp;base64,{text}"> '


def read_picture(store: Store, path: str) -> bytes:
    """A file, or a member of a tar shard named ``SHARD.tar/MEMBER``. Raises ImageError."""
    if ".tar/" not in path or store.size(path) is not None:
        return store.read(path)
    shard = shard_of(path)
    with store.open(shard) as file:
        for name, data in read_members(file):
            if f"{shard}/{name}" == path:
                return data
    raise ImageError("no such file in the shard")


def _opened(data: bytes) -> Image.Image:
    from codec.decoding import decode
    from codec.picture import to_pillow
    from codec.picture_reading import load_picture
    from codec.picture_writing import seen_pixels

    ours = data.startswith(MAGIC)
    image = decode(data, warn=False) if ours else to_pillow(load_picture(data, max_pixels=None))
    return Image.fromarray(seen_pixels(image))
