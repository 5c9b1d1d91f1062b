"""``python -m models.studies.painter.photograph --out DIR``: what a layer of strokes would buy.

Strokes are fitted to a photograph one after the other, then all together, their numbers rounded to
:data:`BITS`, and the picture they make compared with files of the codec that hold u alone in as
many bytes of payload: of the photograph, and of the reduced one that the strokes are fitted to. In
``DIR``: ``photograph.json`` and ``photograph.png``.

What came of it: docs/decisions/0027-painter.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import codec
from benchmarks.bench.images import PHOTOGRAPH, Cell, contact_sheet, read_rgb
from codec.errors import TargetError
from models.metrics.psnr import psnr
from models.studies.painter.strokes import PARAMETERS, mask_of, paint, stroke_of

#: Of each number of a stroke, in their order: x, y, length, width, angle, roundness, softness,
#: opacity, colour. Not entropy-coded: a coder would save perhaps a fifth.
BITS = (8, 8, 6, 6, 6, 1, 2, 3, 5, 5, 5)
GROUND_BITS = 15
#: The photograph is reduced by this while strokes are fitted.
REDUCTION = 4
CANDIDATES = 96
_RATE = 0.05
_ANGLE = 4


def rounded(raw: Tensor) -> Tensor:
    """What :data:`BITS` leave of strokes, N×PARAMETERS: steps are equal in what a number does."""
    found = torch.empty_like(raw)
    for index, bits in enumerate(BITS):
        value = raw[:, index]
        if index == _ANGLE:  # an angle comes back after half a turn
            found[:, index] = (value % 2 * 2 ** (bits - 1)).round() % 2**bits / 2 ** (bits - 1)
        else:
            share = torch.sigmoid(value) * 2**bits - 0.5  # the middle of one of 2^bits cells
            level = share.round().clamp(0, 2**bits - 1)
            found[:, index] = torch.logit((level + 0.5) / 2**bits)
    return found


def rendered(raw: Tensor, ground: Tensor, height: int, width: int) -> Tensor:
    """Strokes N×PARAMETERS over a ground of log-odds 1×3 → 1×3×height×width."""
    canvas = torch.sigmoid(ground)[:, :, None, None].expand(-1, -1, height, width)
    for one in raw:
        canvas = paint(canvas, stroke_of(one[None], height, width, ground))
    return canvas


@torch.no_grad()
def best_candidate(image: Tensor, canvas: Tensor, ground: Tensor, sharpness: float) -> Tensor:
    """The stroke of :data:`CANDIDATES` random ones, each in its best colour, that takes most of the
    squared error away: 1×PARAMETERS."""
    height, width = image.shape[-2:]
    raw = torch.randn(CANDIDATES, PARAMETERS)
    raw[:, 2:4] -= sharpness  # later strokes are smaller
    # Middles where the error is.
    error = (image - canvas).square().sum(1).flatten()
    at = torch.multinomial(error + 1e-9, CANDIDATES, replacement=True)
    places = torch.stack([(at % width + 0.5) / width, (at // width + 0.5) / height], dim=1)
    raw[:, :2] = torch.logit(places) / 2
    raw[:, 7] = 2.0
    strokes = stroke_of(raw, height, width)
    mask = strokes.opacity[:, None, None] * mask_of(strokes, height, width)
    flat, wanted = mask.flatten(1), (image - canvas).flatten(2)[0]  # (K, P), (3, P)
    under = canvas.flatten(2)[0]
    power = flat.square().sum(1, keepdim=True) + 1e-6
    # Least squares of wanted = mask · (colour − under).
    colour = (flat @ wanted.T + flat.square() @ under.T) / power
    colour = colour.clamp(0.01, 0.99)
    painted = under + flat[:, None] * (colour[:, :, None] - under)
    left = (image.flatten(2)[0] - painted).square().sum((1, 2))
    best = int(left.argmin())
    raw[best, 8:] = torch.logit(colour[best]) - ground[0]
    return raw[best : best + 1]


def _refined(
    raw: Tensor, image: Tensor, before: Tensor, ground: Tensor, steps: int, *, coded: bool = False
) -> Tensor:
    """Strokes over what is ``before`` them, after gradient descent on the squared error: the best
    on the way. With ``coded`` they are drawn rounded, with gradients as if they were not."""
    height, width = image.shape[-2:]
    raw = raw.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=_RATE)
    best, least = raw.detach().clone(), float("inf")
    for step in range(steps):
        shown = raw + (rounded(raw.detach()) - raw).detach() if coded else raw
        canvas = before
        for one in shown:
            canvas = paint(canvas, stroke_of(one[None], height, width, ground))
        loss = (image - canvas).square().mean()
        if loss.item() < least:
            best, least = raw.detach().clone(), loss.item()
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best


def fit(image: Tensor, count: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """``count`` strokes for a picture 1×3×H×W as a file would hold them, and the ground's log-odds.

    Args:
        steps: of gradient descent on each new stroke, and three times as many on all in the end.
    """
    torch.manual_seed(seed)
    height, width = image.shape[-2:]
    mean = image.mean((2, 3))
    ground = torch.logit(((mean * 32).floor().clamp(0, 31) + 0.5) / 32)  # GROUND_BITS
    blank = torch.sigmoid(ground)[:, :, None, None].expand_as(image)
    canvas, found = blank, []
    for index in range(count):
        stroke = best_candidate(image, canvas, ground, 1.5 * index / max(count - 1, 1))
        stroke = _refined(stroke, image, canvas, ground, steps)
        canvas = paint(canvas, stroke_of(stroke, height, width, ground))
        found.append(stroke)
    together = _refined(torch.cat(found), image, blank, ground, steps)
    return rounded(_refined(together, image, blank, ground, 2 * steps, coded=True)), ground


def _pixels(picture: Tensor) -> np.ndarray:
    return picture[0].mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def u_alone(rgb: np.ndarray, payload: int) -> bytes:
    """The largest file of u alone within so many bytes of payload, or the smallest."""
    smallest = codec.encode(rgb, model="ssvae-psnr", layers=1, quality=0)
    limit = payload + codec.info(smallest).overhead_bytes
    try:
        return codec.encode(rgb, model="ssvae-psnr", layers=1, target_bytes=limit)
    except TargetError:
        return smallest


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.painter.photograph", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--image", type=Path, default=PHOTOGRAPH)
    parser.add_argument("--strokes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--steps", type=int, default=40, help="of gradient descent per stroke")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rgb = read_rgb(options.image)
    height, width = rgb.shape[:2]
    small = np.array(Image.fromarray(rgb).reduce(REDUCTION))
    image = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    rows, cells = [], []
    for count in options.strokes:
        begin = time.process_time()
        raw, ground = fit(image, count, options.steps)
        fitted = time.process_time()
        with torch.no_grad():
            # Softness and the least width are pixels: strokes are drawn small, then enlarged.
            drawn = _pixels(rendered(raw, ground, *small.shape[:2]))
        took = time.process_time() - fitted
        enlarged = Image.fromarray(drawn).resize((width, height), Image.Resampling.BICUBIC)
        strokes = np.array(enlarged)
        size = (count * sum(BITS) + GROUND_BITS + 7) // 8
        row: dict[str, float] = {
            "strokes": count,
            "bytes": size,
            "psnr": round(psnr(rgb, strokes), 2),
            "fit_seconds": round(fitted - begin, 1),
            "draw_seconds": round(took, 3),
        }
        cells.append((f"{count} strokes: {size} B, {row['psnr']:.1f} dB", strokes))
        for name, pixels in (("u", rgb), ("u of the reduced", small)):
            data = u_alone(pixels, size)
            picture = codec.decode(data).resize((width, height), Image.Resampling.BICUBIC)
            key, decoded = name.replace(" ", "_"), np.array(picture)
            row[f"{key}_bytes"] = used = codec.info(data).layers[0].bytes
            row[f"{key}_psnr"] = round(psnr(rgb, decoded), 2)
            cells.append((f"{name}: {used} B, {row[f'{key}_psnr']:.1f} dB", decoded))
        rows.append(row)
        print(json.dumps(row), flush=True)
    figures = {"image": options.image.name, "bits_per_stroke": sum(BITS), "strokes": rows}
    (options.out / "photograph.json").write_text(json.dumps(figures, indent=1) + "\n")
    per = len(cells) // len(rows)
    shown: list[list[Cell]] = [
        [
            (title, Image.fromarray(p).reduce(2))
            for title, p in [("original", rgb), *cells[at : at + per]]
        ]
        for at in range(0, len(cells), per)
    ]
    contact_sheet(shown).save(options.out / "photograph.png")


if __name__ == "__main__":
    main()
