"""The files of a gallery: pictures, decoder, weights, page."""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

from bitstream.container import padded_pixels
from codec import __version__
from codec.errors import LimitError, ModelError, OutputError, UnsupportedFileError, other_weights
from codec.files import write_atomic
from codec.inspection import FileInfo, info

STATIC = Path(__file__).parent / "static"
#: What a page needs beside its pictures, in the folder :data:`PROGRAM` of a site.
ASSETS = ("cci.js", "cci-worker.js", "gallery.js", "gallery.css", "icon.svg")
PROGRAM = "cci"
PICTURES = "pictures"
#: What the decoder in a browser takes, as in ``web/src/decoder.ts``.
MAX_PIXELS = 2**26

_PICTURE = """<li><a href="$href" data-name="$name">
  <span class="frame"><cci-image src="$href" alt="$alt" width="$width" height="$height"
    loading="lazy" scale="$scale" weights="cci/weights"><span class="why"></span></cci-image></span>
  <span class="name"><b>$alt</b> <span>$size</span></span>
</a></li>"""
#: Pixels along the longer side from which the grid shows half or a quarter of the size.
_SHOWN = 900


@dataclass(frozen=True)
class Entry:
    """One picture of a gallery: its file, where that lies among the site's pictures, and what it is
    called there."""

    path: Path
    place: str
    name: str


def check_place(folder: Path, *, force: bool) -> None:
    """Raises OutputError where a site must not be written: beside files of another kind."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; a site needs a folder")
    ours = (folder / PROGRAM / "gallery.js").exists()
    if folder.exists() and not force and not ours and any(folder.iterdir()):
        raise OutputError(f"{folder}: holds other files; name another folder, or --force")


def check_model(model: str) -> str:
    """Fingerprint of the weights that a site has for a model. Raises ModelError where no browser
    shows what it codes."""
    from models.export_web import web_fingerprint

    try:
        return web_fingerprint(model)
    except ValueError as error:
        raise ModelError(f"cannot be shown in a browser: {error}") from error


def check_shown(found: FileInfo) -> None:
    """Raises UnsupportedFileError or LimitError where the site's decoder would not show a file."""
    try:
        installed = check_model(found.model)
    except ModelError as error:
        raise UnsupportedFileError(str(error)) from error
    if found.weights != installed:
        raise other_weights(found.weights, found.model, installed)
    if padded_pixels(found.width, found.height) > MAX_PIXELS:
        raise LimitError(
            f"{found.width}×{found.height} pixels are more than the {MAX_PIXELS} that the site's "
            "decoder takes (sides rounded up to multiples of 64); --max-side reduces a picture"
        )


def write_site(folder: Path, entries: Sequence[Entry], *, title: str) -> int:
    """Write all but the pictures, which lie in the site's folder of pictures already.

    Returns:
        Bytes of decoder and weights.

    Raises:
        OutputError: the folder cannot be written.
    """
    from models.export_web import web_weights

    infos = [info(entry.path, max_pixels=None) for entry in entries]
    models = {found.model for found in infos}
    try:
        weights = {
            name: data for model in sorted(models) for name, data in web_weights(model).items()
        }
        (folder / PROGRAM / "weights").mkdir(parents=True, exist_ok=True)
        for name in ASSETS:
            shutil.copyfile(STATIC / name, folder / PROGRAM / name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    for name, data in weights.items():
        write_atomic(folder / PROGRAM / "weights" / name, data)
    page = _page(entries, infos, title)
    write_atomic(folder / "index.html", page.encode())
    program = sum((STATIC / name).stat().st_size for name in ASSETS)
    return program + sum(len(data) for data in weights.values())


def _page(entries: Sequence[Entry], infos: Sequence[FileInfo], title: str) -> str:
    pictures = [_picture(entry, found) for entry, found in zip(entries, infos, strict=True)]
    total = sum(found.bytes for found in infos)
    count = f"{len(entries)} picture{'s' * (len(entries) != 1)}"
    return Template((STATIC / "page.html").read_text("utf-8")).substitute(
        title=html.escape(title),
        summary=f"{count}, {in_words(total)}",
        version=__version__,
        pictures="\n".join(pictures),
    )


def _picture(entry: Entry, found: FileInfo) -> str:
    longest = max(found.width, found.height)
    return Template(_PICTURE).substitute(
        href=html.escape(f"{PICTURES}/{quote(entry.place)}"),
        name=html.escape(entry.place.removesuffix(".cci")),
        alt=html.escape(entry.name),
        width=found.width,
        height=found.height,
        scale=4 if longest > 4 * _SHOWN else 2 if longest > 2 * _SHOWN else 1,
        size=in_words(found.bytes),
    )


def in_words(count: int) -> str:
    """Bytes, as the page writes them."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 10**6 else f"{count / 1e6:.2f} MB"
