"""The HTML report: one file, no network, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --soft: #666; --line: #ddd; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e6e6e6; --soft: #9aa0a6; --line: #34383d; } }
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p.note, td small { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { white-space: nowrap; padding: .3rem .7rem; text-align: right;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
.plot { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .5rem;
  margin: 1rem 0; } .plot svg, .plot img { width: 100%; height: auto; display: block; }
.group { display: flex; flex-wrap: wrap; gap: 12px; margin-bottom: 1.5rem; }
figure { margin: 0; width: 224px; } figcaption { font-size: .8rem; line-height: 1.3; }
figcaption span { color: var(--soft); display: block; }
.view { width: 224px; height: 224px; overflow: hidden; border: 1px solid var(--line);
  cursor: grab; touch-action: none; } .view.empty { background: var(--line); }
.view img { width: 100%; height: 100%; object-fit: cover; object-position: 0 0;
  transform-origin: 0 0; image-rendering: pixelated; user-select: none; }
.bar { position: sticky; top: 0; background: var(--paper); padding: .5rem 0; z-index: 1; }
"""

_SCRIPT = """
const bar = document.getElementById('zoom');
let zoom = 1, x = 0, y = 0, from = null;
const show = () => {
  const most = 224 * (zoom - 1);
  x = Math.min(Math.max(x, 0), most); y = Math.min(Math.max(y, 0), most);
  for (const img of document.querySelectorAll('.view img'))
    img.style.transform = `translate(${-x}px, ${-y}px) scale(${zoom})`;
  document.getElementById('times').textContent = '×' + zoom;
};
bar.addEventListener('input', () => {
  const next = Number(bar.value), centre = 112;
  x = (x + centre) * next / zoom - centre; y = (y + centre) * next / zoom - centre;
  zoom = next; show();
});
for (const view of document.querySelectorAll('.view')) {
  view.addEventListener('pointerdown', e => {
    from = [e.clientX + x, e.clientY + y]; view.setPointerCapture(e.pointerId); });
  view.addEventListener('pointermove', e => {
    if (from) { x = from[0] - e.clientX; y = from[1] - e.clientY; show(); } });
  view.addEventListener('pointerup', () => { from = null; });
  view.addEventListener('pointercancel', () => { from = null; });
}
show();
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def plot(png: bytes, title: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(png).decode()
    return f'<div class="plot"><img alt="{escape(title)}" src="data:image/png;base64,{data}"></div>'


def crops(groups: list[dict[str, Any]]) -> str:
    """Pieces side by side; one slider zooms all, dragging one moves all."""
    if not groups:
        return ""
    parts = [
        "<h2>Pieces at equal size</h2>",
        '<p class="note">Each other codec wrote a file of at most the size of the first of ours; '
        "further ones of ours have its quality. Drag a piece to move all of them.</p>",
        '<div class="bar"><label>Zoom <input id="zoom" type="range" min="1" max="6" value="1"> '
        '<span id="times">×1</span></label></div>',
    ]
    for group in groups:
        parts.append(f"<h3>{escape(group['image'])}, {group['bpp']:.3f} bpp</h3>")
        parts.append('<div class="group">')
        for piece in group["pieces"]:
            name, note = escape(piece["label"]), escape(piece["note"])
            if piece["webp"]:
                source = f"data:image/webp;base64,{piece['webp']}"
                view = (
                    f'<div class="view"><img alt="{name}" draggable="false" src="{source}"></div>'
                )
            else:
                view = '<div class="view empty"></div>'
            parts.append(
                f"<figure>{view}<figcaption>{name}<span>{note}</span></figcaption></figure>"
            )
        parts.append("</div>")
    return "\n".join([*parts, f"<script>{_SCRIPT}</script>"])


def page(title: str, intro: Sequence[str], sections: Sequence[tuple[str, str]]) -> str:
    """The whole page: paragraphs, then sections of (heading, HTML)."""
    body = [f"<h1>{escape(title)}</h1>", *(f'<p class="note">{escape(t)}</p>' for t in intro)]
    for heading, html in sections:
        body.append((f"<h2>{escape(heading)}</h2>" if heading else "") + html)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )
