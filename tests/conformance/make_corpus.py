"""``python -m tests.conformance.make_corpus``: write the corpus anew, after weights changed.

A change of these files without a change of weights is a change of the format.
"""

from __future__ import annotations

import json

import numpy as np
from PIL import Image, ImageDraw

import codec
from tests.conformance.test_corpus import CORPUS
from tests.conftest import PHOTOGRAPH


def page(photograph: np.ndarray) -> np.ndarray:
    """A piece of a photograph on a page of text."""
    image = Image.new("RGB", (300, 220), "white")
    pen = ImageDraw.Draw(image)
    for row in range(12):
        pen.text((6, 4 + 18 * row), "Pictures that sharpen as their bytes arrive.", fill="black")
    image.paste(Image.fromarray(photograph), (144, 72))
    return np.array(image)


def main() -> None:
    with Image.open(PHOTOGRAPH) as image:
        rgb = np.array(image.convert("RGB"))
    alpha = np.linspace(0, 255, 60 * 44).reshape(60, 44).astype(np.uint8)
    cases = {
        "low": codec.encode(rgb[200:331, 300:471], quality=5),
        "middle": codec.encode(rgb[60:190, 400:600], quality=50),
        "high": codec.encode(rgb[300:370, 330:420], quality=100),
        "without_fine_or_filter": codec.encode(
            rgb[200:270, 250:330], quality=80, stages=3, filter=False
        ),
        "two_layers_grey": codec.encode(rgb[100:165, 100:201, 1], quality=40, layers=2),
        "one_layer_alpha": codec.encode(np.dstack([rgb[:60, :44], alpha]), quality=60, layers=1),
        "quarter_step": codec.encode(rgb[150:280, 500:640], quality=30.75),
        "squared_error": codec.encode(rgb[200:400, 300:560], quality=93.75, tune="psnr"),
        "graphics": codec.encode(page(rgb[150:280, 500:640]), quality=60),
        "one_pixel": codec.encode(rgb[:1, :1], quality=75, graphics=False),
        "empty_layers": codec.encode(rgb[:1, :1], quality=75),
        "convdraw_low": codec.encode(rgb[200:331, 300:471], quality=5, model="convdraw"),
        "convdraw_middle_alpha": codec.encode(
            np.dstack([rgb[60:120, 400:444], alpha]), quality=50, model="convdraw"
        ),
        "convdraw_high": codec.encode(rgb[300:370, 330:420], quality=100, model="convdraw"),
        "convdraw_two_layers_grey": codec.encode(
            rgb[100:165, 100:201, 1], quality=40, layers=2, model="convdraw"
        ),
    }
    expected = {}
    for name, data in cases.items():
        (CORPUS / f"{name}.cci").write_bytes(data)
        result = codec.decode_detailed(data, device="cpu")
        expected[name] = {
            "symbols": [f"{crc:08x}" for crc in result.symbol_checksums],
            "mode": result.image.mode,
            "size": list(result.image.size),
        }
        result.image.save(CORPUS / f"{name}.png", optimize=True)
    (CORPUS / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    total = sum(path.stat().st_size for path in CORPUS.iterdir() if path.is_file())
    print(f"{len(cases)} files, {total} bytes with pictures and sources, in {CORPUS}")


if __name__ == "__main__":
    main()
