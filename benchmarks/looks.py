"""What people see at equal bytes: our default file beside AVIF tuned for the eye.

``python -m benchmarks.looks FOLDER -o OUT`` encodes every image of a folder at several sizes, and
as AVIF (``tune=iq``, 4:4:4, speed 6) of at most as many bytes, or its smallest file where that is
larger. It writes ``looks.json`` (SSIMULACRA2 and butteraugli of both, and the share of images
where ours is better) and a contact sheet for each size: original, ours, AVIF, from :data:`CROPS`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from benchmarks.bench import metrics
from benchmarks.bench.codecs import OTHERS, TUNED_AVIF
from benchmarks.bench.images import (
    Cell,
    contact_sheet,
    folder_parser,
    piece,
    read_rgb,
    save_sheet,
)
from benchmarks.bench.runner import in_processes
from benchmarks.bench.sizes import between, largest_within
from models.training.hardware import machine
from models.weights_file import weights_info

SIZES = (0.1, 0.2, 0.4, 0.8)
RIVAL = "avif-iq"
SIDE = 192
#: Name → beginning of a file's name, and where the middle of the piece lies (x, y; shares).
CROPS: dict[str, tuple[str, float, float]] = {
    "hair": ("clic2025-2a2420f9", 0.14, 0.55),
    "face": ("clic2025-2a2420f9", 0.47, 0.55),
    "fur": ("cid22-1420710", 0.5, 0.5),
    "grass": ("cid22-162520", 0.25, 0.8),
    "letters": ("clic2025-4cd6910a", 0.45, 0.35),
    "sign": ("clic2025-0c49a5cc", 0.2, 0.62),
    "flowers": ("clic2025-c80999cd", 0.4, 0.75),
    "leaves": ("cid22-5458393", 0.6, 0.3),
    "water": ("cid22-3653963", 0.45, 0.65),
    "night": ("cid22-2389166", 0.4, 0.6),
    "wall": ("cid22-2079234", 0.45, 0.55),
    "people": ("cid22-5055743", 0.8, 0.5),
}


@dataclass(frozen=True)
class Duel:
    """One image at one size. ``avif_*`` are the rival's; of butteraugli less is better."""

    image: str
    target_bpp: float
    bpp: float
    quality: float
    layers: int
    ssimulacra2: float
    butteraugli: float | None
    avif_bpp: float
    avif_ssimulacra2: float
    avif_butteraugli: float | None


def _rival(rgb: np.ndarray, limit: int) -> bytes:
    """The best file of at most ``limit`` bytes, or the smallest there is."""
    encode = partial(OTHERS[RIVAL].encode, rgb)
    fitting = largest_within(limit, encode, between(TUNED_AVIF[0], TUNED_AVIF[-1]))
    return encode(TUNED_AVIF[0]) if fitting is None else fitting[1]


def fight(path: Path, bpp: float) -> tuple[Duel, list[np.ndarray]]:
    """One duel; the original, our picture and the rival's, uint8 H×W×3."""
    rgb = read_rgb(path)
    pixels = rgb.shape[0] * rgb.shape[1]
    ours = codec.encode_detailed(rgb, target_bpp=bpp)
    theirs = _rival(rgb, len(ours.data))
    shown = [np.array(codec.decode(ours.data).convert("RGB")), OTHERS[RIVAL].decode(theirs)]
    seen = [(metrics.ssimulacra2(rgb, s), metrics.butteraugli(rgb, s)) for s in shown]
    duel = Duel(
        path.name,
        bpp,
        round(ours.bpp, 4),
        ours.quality,
        len(ours.layer_bytes),
        *seen[0],
        round(8 * len(theirs) / pixels, 4),
        *seen[1],
    )
    return duel, [rgb, *shown]


def _pieces(path: Path, bpp: float) -> tuple[Duel, dict[str, list[Cell]]]:
    """A duel, and the pieces of its pictures that a contact sheet shows, by their names."""
    duel, pictures = fight(path, bpp)
    titles = f"ours {duel.bpp:.2f} bpp", f"AVIF {duel.avif_bpp:.2f} bpp"
    pieces: dict[str, list[Cell]] = {
        name: [
            (title, piece(pixels, SIDE, SIDE, x=x, y=y))
            for title, pixels in zip((name, *titles), pictures, strict=True)
        ]
        for name, (start, x, y) in CROPS.items()
        if path.name.startswith(start)
    }
    return duel, pieces


def draw_sheet(pieces: dict[str, list[Cell]]) -> Image.Image:
    """Two columns of rows: a piece of the original, of ours, of AVIF."""
    triples = [pieces[name] for name in CROPS if name in pieces]
    halves = zip_longest(triples[::2], triples[1::2], fillvalue=list[Cell]())
    return contact_sheet([[*left, *right] for left, right in halves])


def summary(duels: list[Duel]) -> list[dict[str, Any]]:
    """Per size: mean scores, and the share of images where ours is better."""
    rows = []
    for bpp in sorted({d.target_bpp for d in duels}):
        members = [d for d in duels if d.target_bpp == bpp]
        row = {"target_bpp": bpp, "images": len(members)}
        for name in ("bpp", "ssimulacra2", "avif_bpp", "avif_ssimulacra2"):
            row[name] = round(float(np.mean([getattr(d, name) for d in members])), 4)
        row["wins"] = round(
            float(np.mean([d.ssimulacra2 > d.avif_ssimulacra2 for d in members])), 3
        )
        both = [
            (d.butteraugli, d.avif_butteraugli)
            for d in members
            if d.butteraugli is not None and d.avif_butteraugli is not None
        ]
        if both:
            row["butteraugli"], row["avif_butteraugli"] = np.mean(both, axis=0).round(3).tolist()
            row["wins_butteraugli"] = round(float(np.mean([a < b for a, b in both])), 3)
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = folder_parser("looks", __doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--bpp", type=float, nargs="+", default=SIZES, help="sizes")
    parser.add_argument(
        "--sheets", type=float, nargs="*", default=[], help="sizes of which sheets alone are made"
    )
    parser.add_argument("--workers", type=int, default=2, help="images at a time")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    options = parser.parse_args(arguments)
    files = options.files[: options.limit or None]
    options.output.mkdir(parents=True, exist_ok=True)
    duels: list[Duel] = []
    starts = tuple(start for start, _, _ in CROPS.values())
    shown = [path for path in files if path.name.startswith(starts)]
    for bpp in sorted({*options.bpp, *options.sheets}):
        members = files if bpp in options.bpp else shown
        work = partial(_pieces, bpp=bpp)
        pieces: dict[str, list[Cell]] = {}
        for duel, own in in_processes(work, members, options.workers, f"{bpp:g} bpp"):
            duels += [duel] * (bpp in options.bpp)
            pieces |= own
        if pieces:
            save_sheet(draw_sheet(pieces), options.output / f"looks-{bpp:g}bpp.webp")
    sizes = summary(duels)
    result = {
        "model": "ssvae",
        "weights": weights_info("ssvae").fingerprint.hex(),
        "machine": machine(),
        "images": len(files),
        "sizes": sizes,
        "duels": [asdict(d) for d in duels],
    }
    (options.output / "looks.json").write_text(json.dumps(result, indent=1) + "\n")
    for row in sizes:
        print(row)


if __name__ == "__main__":
    main()
