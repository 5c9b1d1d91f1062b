"""``python -m models.studies.given.reconstruction WEIGHTS FOLDER --out DIR``: colour from grey,
pictures from drawings, with the weights of :mod:`models.studies.given.training`.

Of every photograph only its grey (or a drawing of it) is given; the prior's mean and some samples
complete it. In ``DIR``: ``sheet.png`` with what is given of eight photographs, the mean, samples
and the original, and ``results.json`` and ``table.md`` with what those of all photographs are worth
beside simple pictures: what is given itself, and the same in one colour. With ``--bare`` the images
themselves are grey pictures or drawings (dark strokes on white paper), and there is nothing to
measure.

A picture completed from grey has the luma that was given. One completed from a drawing draws the
same, as far as ``--search`` steps of descent on u bring it. Sides may be any; small images
(CIFAR-10, ImageNet 32 or 64, CelebA as files) serve too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.bench.images import Cell, contact_sheet, images_in, read_rgb, spread
from codec.errors import ImageError
from models.metrics.ms_ssim import ms_ssim
from models.metrics.psnr import psnr
from models.studies.conditioning.comparison import pixels
from models.studies.equal_time import write_results
from models.studies.given.networks import GivenPrior
from models.studies.given.pictures import GIVEN, chroma, coloured, luma
from models.studies.given.training import load_weights
from models.trainable import SIZE_MULTIPLE

#: Pictures on the sheet: the first, the last, and between.
SHEET_ROWS = 8


def complete(
    model: GivenPrior,
    kind: str,
    given: Tensor,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    search: int = 0,
) -> Tensor:
    """A picture of which only ``given`` is known: 1×3×H×W in [0, 1].

    Args:
        model: trained for that kind.
        kind: a name in :data:`models.studies.given.pictures.GIVEN`.
        given: 1×3×H×W in [0, 1].
        temperature: of a sample; 0: the prior's mean.
        seed: of a sample.
        search: steps that make u answer to a drawing.
    """
    height, width = given.shape[-2:]
    sides = (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE)
    padded = F.pad(given, sides, mode="replicate")
    steps = search if kind == "sketch" else 0
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        drawn = model(padded, temperature=temperature, steps=steps).image
    drawn = drawn[..., :height, :width].clamp(0, 1)
    return coloured(luma(given), chroma(drawn)) if kind == "grey" else drawn


def plain(kind: str, given: Tensor, colour: Tensor) -> Tensor:
    """What a single colour (red, green, blue in [0, 1]) makes of it: grey tinted with its chroma,
    or, for a drawing, a picture of that colour throughout."""
    flat = colour[None, :, None, None].expand_as(given)
    return coloured(luma(given), chroma(flat)) if kind == "grey" else flat


def judged(kind: str, given: Tensor, original: Tensor, picture: Tensor) -> dict[str, float]:
    """How near a picture, rounded to 8 bits, comes to what was given and to the original.

    Errors are root mean squares in steps of 1/255. Colour is the size of its chroma as a share of
    the original's: below 1 is duller.
    """
    shown = torch.from_numpy(pixels(picture)).permute(2, 0, 1)[None].float() / 255
    again = _given(kind, shown)
    distances = [
        255 * float((a - b).square().mean().sqrt())
        for a, b in ((again, given), (chroma(shown), chroma(original)))
    ]
    found = {
        "given_error": distances[0],
        "chroma_error": distances[1],
        "colour": float(chroma(shown).norm() / chroma(original).norm().clamp_min(1e-6)),
        "psnr": psnr(pixels(original), pixels(picture)),
    }
    alike = ms_ssim(pixels(given), pixels(again))
    return found if alike is None else found | {"given_ms_ssim": alike}


@torch.no_grad()
def bits_of(model: GivenPrior, kind: str, original: Tensor) -> dict[str, float]:
    """Bits per pixel of a picture's latents, rounded: by the released prior, and by the one that
    knows what is given. Padding is coded with the picture."""
    height, width = original.shape[-2:]
    sides = (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE)
    image = F.pad(original, sides, mode="replicate")
    at = torch.tensor([float(model.quality)])
    # The released tables were learned; the other prior has none, so that both are Gaussian here.
    known, model.base.costs = model.base.costs, ()
    plainly = model.base(image, at, torch.tensor([3]), noisy=False).bits.sum()
    model.base.costs = known
    told = model(GIVEN[kind](image), image, noisy=False).bits.sum()
    pixel_count = height * width
    return {
        "released prior": float(plainly) / pixel_count,
        "prior that knows": float(told) / pixel_count,
    }


def table(rows: Mapping[str, Mapping[str, float]], kind: str) -> str:
    """Markdown: one line per way to complete."""
    head = ["", f"error of the {kind}", f"MS-SSIM of the {kind}", "error of chroma"]
    head += ["size of chroma", "PSNR"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, row in rows.items():
        alike = f"{row['given_ms_ssim']:.4f}" if "given_ms_ssim" in row else "–"
        cells = [name, f"{row['given_error']:.2f}", alike, f"{row['chroma_error']:.2f}"]
        cells += [f"{row['colour']:.0%}", f"{row['psnr']:.2f} dB"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read(path: Path, most: int) -> Tensor:
    """1×3×H×W in [0, 1], reduced so that no side is above ``most``, cut to multiples of 4."""
    image = Image.fromarray(read_rgb(path))
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    height, width = (side - side % 4 for side in (image.height, image.width))
    if min(height, width) < 4:
        raise ImageError(f"{path}: is smaller than 4 pixels")
    cut = np.array(image)[:height, :width]
    return torch.from_numpy(cut).permute(2, 0, 1)[None].float() / 255


def _given(kind: str, picture: Tensor) -> Tensor:
    return GIVEN[kind](picture)


def _bare(kind: str, picture: Tensor) -> Tensor:
    """A picture that already is grey, or a drawing: its luma, at the resolution of strokes."""
    grey = luma(picture).expand(-1, 3, -1, -1)
    if kind == "grey":
        return grey
    return F.interpolate(F.avg_pool2d(grey, 4), scale_factor=4, mode="nearest")


def _cell(title: str, picture: Tensor) -> Cell:
    return title, Image.fromarray(pixels(picture))


def work(
    model: GivenPrior, settings: dict[str, Any], files: list[Path], options: argparse.Namespace
) -> tuple[list[list[Cell]], dict[str, Any]]:
    """Rows of the sheet, and what was measured (nothing of bare pictures)."""
    kind, colour = settings["given"], settings["colour"]
    rows: list[list[Cell]] = []
    values: dict[str, list[dict[str, float]]] = {}
    bits = []
    for path in files:
        original = read(path, options.max_side)
        given = (_bare if options.bare else _given)(kind, original)
        mean = complete(model, kind, given, search=options.search)
        samples = [
            complete(
                model,
                kind,
                given,
                temperature=options.temperature,
                seed=seed,
                search=options.search,
            )
            for seed in range(1, 1 + options.samples)
        ]
        row = [_cell("given", given), _cell("mean", mean)]
        row += [_cell(f"sample {i}", sample) for i, sample in enumerate(samples, start=1)]
        if not options.bare:
            own = original.mean(dim=(0, 2, 3))
            drawn = {
                "what is given": given,
                "mean colour of the training images": plain(kind, given, colour),
                "mean colour of the original itself": plain(kind, given, own),
                "mean of the prior": mean,
            } | {f"sample {i}": sample for i, sample in enumerate(samples, start=1)}
            if kind == "sketch" and options.search:
                drawn["mean of the prior, no search"] = complete(model, kind, given)
            for name, picture in drawn.items():
                key = "samples" if name.startswith("sample") else name
                values.setdefault(key, []).append(judged(kind, given, original, picture))
            bits.append(bits_of(model, kind, original))
            row.append(_cell("original", original))
        rows.append(row)
        print(path.name, flush=True)
    return rows, {"pictures": _means(values), "bits_per_pixel": _means({"": bits}).get("", {})}


def _means(values: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Over the pictures, of what is defined for all of them."""
    return {
        name: {
            key: round(float(np.mean([one[key] for one in each])), 4)
            for key in each[0]
            if all(key in one for one in each)
        }
        for name, each in values.items()
        if each
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.given.reconstruction", description=__doc__
    )
    parser.add_argument("weights", type=Path, help="weights.pt of a training run")
    parser.add_argument("images", type=Path, help="a folder of images, or one image")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--bare", action="store_true", help="images are grey or drawings already")
    parser.add_argument("--count", type=int, default=0, help="images taken, evenly spread; 0: all")
    parser.add_argument("--samples", type=int, default=3, help="per picture")
    parser.add_argument("--temperature", type=float, default=0.7, help="of samples")
    parser.add_argument("--search", type=int, default=30, help="steps towards a drawing")
    parser.add_argument("--max-side", type=int, default=384, help="larger images are reduced")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        files = [options.images] if options.images.is_file() else images_in(options.images)
        model, settings = load_weights(options.weights)
        files = spread(files, options.count or len(files))
        rows, found = work(model, settings, files, options)
    except (ValueError, OSError, ImageError) as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(spread(rows, SHEET_ROWS)).save(options.out / "sheet.png")
    if options.bare:
        return
    settings["colour"] = [round(float(value), 4) for value in settings["colour"]]
    asked = {
        "images": len(files),
        "temperature": options.temperature,
        "search": options.search,
        "max_side": options.max_side,
    }
    figures = {"training": settings, "settings": asked} | found
    write_results(options.out, figures, table(found["pictures"], settings["given"]))
    print("bits per pixel of the latents:", found["bits_per_pixel"])


if __name__ == "__main__":
    main()
