"""Drawn pages of text and simple graphics, to train on beside photographs.

Screenshots and scanned documents are what people compress too, and folders of photographs hold
next to none of them. Every page is drawn afresh: paragraphs, headings, lists, tables, charts, boxes
on light or dark ground. The words are made up; letter shapes come from Pillow's own font and from
the TrueType fonts of the machine, so other machines draw other pages from the same seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAGE_SIZE = (768, 1024)
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts")
_SYLLABLES = """
a an ar be ca ce com con da de di e el en er es ex fi for ge gra he i il in is ka la le li lo ma me
mi mo na ne ni no o of on or pa pe per po pro qua ra re ri ro sa se si so st ta te th ti to tra tu
u un ve vi wa we y ze
""".split()  # noqa: SIM905 - a list of seventy literals reads worse
_MARKS = ("", "", "", "", "", "", ",", ".", ";", "?")

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_pages(count: int, seed: int) -> list[np.ndarray]:
    """``count`` pages, uint8, each 768×1024×3."""
    rng = np.random.default_rng(seed)
    return [draw_page(rng) for _ in range(count)]


def draw_page(rng: np.random.Generator) -> np.ndarray:
    """One page, uint8 H×W×3.

    Half of them are drawn at the final size, with the hinting and antialiasing of a plain screen;
    the others are reduced from twice the size, like a screenshot of a dense display.
    """
    page = _Page(rng, dense=bool(rng.random() < 0.5))
    image = page.draw()
    if page.dense:
        half = (image.width // 2, image.height // 2)
        image = image.resize(half, Image.Resampling.LANCZOS)
    return np.array(image)


@lru_cache(maxsize=1)
def _font_files() -> tuple[Path | None, ...]:
    fonts = [path for folder in _FONT_FOLDERS for path in sorted(Path(folder).rglob("*.ttf"))]
    return (None, *fonts)


@lru_cache(maxsize=512)
def _font(path: Path | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)


class _Page:
    """Blocks from top to bottom in one or two columns."""

    def __init__(self, rng: np.random.Generator, *, dense: bool) -> None:
        self.rng, self.dense = rng, dense
        self.unit = 2 if dense else 1
        height, width = (side * self.unit for side in PAGE_SIZE)
        self.ground, self.ink, self.accent = self._palette()
        self.image = Image.new("RGB", (width, height), self.ground)
        self.pen = ImageDraw.Draw(self.image)
        files = _font_files()
        # Pillow's own font often: it is there on every machine, and the cleanest.
        self.face = None if rng.random() < 0.4 else files[rng.integers(len(files))]
        self.size = int(rng.integers(9, 19)) * self.unit

    def _palette(self) -> tuple[Colour, Colour, Colour]:
        rng = self.rng
        if rng.random() < 0.35:  # strong colours, as games and displays have
            ground, ink, accent = rng.choice((0, 40, 215, 255), (3, 3))
            return _colour(ground), _colour(ink), _colour(accent)
        near = rng.integers(225, 256, 3) if rng.random() < 0.5 else np.full(3, 255)
        far = np.full(3, rng.integers(0, 90)) if rng.random() < 0.8 else rng.integers(0, 120, 3)
        if rng.random() < 0.25:
            near, far = far, near
        strong = rng.integers(0, 256, 3)
        return _colour(near), _colour(far), _colour(strong)

    def draw(self) -> Image.Image:
        rng, (width, height) = self.rng, self.image.size
        top = 0
        if rng.random() < 0.5:  # a coloured bar, as windows and sites have
            top = int(rng.integers(16, 60)) * self.unit
            self.pen.rectangle((0, 0, width, top), fill=self.accent)
            self._line(width // 3, top // 4, _contrast(self.accent), words=4)
        columns = int(rng.integers(1, 4))
        gap = int(rng.integers(8, 40)) * self.unit
        column = (width - gap * (columns + 1)) // columns
        blocks: list[Callable[[int, int, int], int]] = [
            self._paragraph,
            self._paragraph,
            self._heading,
            self._list,
            self._table,
            self._chart,
            self._box,
            self._stripes,
        ]
        for index in range(columns):
            left, y = gap + index * (column + gap), top + gap
            while y < height - self.size:
                y = blocks[rng.integers(len(blocks))](left, y, column) + gap // 2
        return self.image

    def _text_font(self, scale: float = 1.0) -> Font:
        return _font(self.face, max(6, round(self.size * scale)))

    def _word(self) -> str:
        word = "".join(self.rng.choice(_SYLLABLES, self.rng.integers(1, 5)))
        draw = self.rng.random()
        if draw < 0.06:
            return str(self.rng.integers(0, 10_000))
        return (word.capitalize() if draw < 0.2 else word) + str(self.rng.choice(_MARKS))

    def _words(self, count: int) -> str:
        return " ".join(self._word() for _ in range(count))

    def _line(self, x: int, y: int, fill: Colour, *, words: int, scale: float = 1.0) -> None:
        self.pen.text((x, y), self._words(words), font=self._text_font(scale), fill=fill)

    def _flow(self, left: int, top: int, width: int, lines: int, fill: Colour) -> int:
        font, step = self._text_font(), round(self.size * self.rng.uniform(1.15, 1.7))
        y = top
        for _ in range(lines):
            text = self._word()
            while font.getlength(longer := f"{text} {self._word()}") < width:
                text = longer
            self.pen.text((left, y), text, font=font, fill=fill)
            y += step
        return y

    def _paragraph(self, left: int, top: int, width: int) -> int:
        fill = self.accent if self.rng.random() < 0.1 else self.ink
        return self._flow(left, top, width, int(self.rng.integers(2, 9)), fill)

    def _heading(self, left: int, top: int, width: int) -> int:
        scale = self.rng.uniform(1.2, 2.5)
        self._line(left, top, self.ink, words=2, scale=scale)
        return top + round(self.size * scale * 1.4)

    def _list(self, left: int, top: int, width: int) -> int:
        y, dot = top, max(2, self.size // 4)
        for _ in range(self.rng.integers(2, 6)):
            centre = y + self.size // 2
            self.pen.ellipse((left, centre, left + dot, centre + dot), fill=self.ink)
            y = self._flow(left + 4 * dot, y, width - 4 * dot, 1, self.ink)
        return y

    def _table(self, left: int, top: int, width: int) -> int:
        rng = self.rng
        rows, columns = int(rng.integers(2, 8)), int(rng.integers(2, 6))
        cell, row = width // columns, round(self.size * 1.8)
        line = _mix(self.ground, self.ink, rng.uniform(0.1, 0.9))
        if rng.random() < 0.5:
            self.pen.rectangle((left, top, left + cell * columns, top + row), fill=self.accent)
        for i in range(rows):
            y = top + i * row
            self.pen.line((left, y, left + cell * columns, y), fill=line, width=self.unit)
            for j in range(columns):
                number = f"{rng.normal() * 10 ** rng.integers(0, 4):.{rng.integers(0, 4)}f}"
                place = (left + j * cell + self.size // 2, y + self.size // 3)
                self.pen.text(place, number, font=self._text_font(), fill=self.ink)
        return top + rows * row

    def _chart(self, left: int, top: int, width: int) -> int:
        rng, height = self.rng, int(self.rng.integers(60, 200)) * self.unit
        bottom, count = top + height, int(rng.integers(5, 24))
        step = width / count
        values = np.clip(0.5 + np.cumsum(rng.normal(0, 0.15, count)), 0.02, 0.98)
        places = [(left + (i + 0.5) * step, bottom - v * height) for i, v in enumerate(values)]
        if rng.random() < 0.5:
            for x, y in places:
                self.pen.rectangle((x - step * 0.35, y, x + step * 0.35, bottom), fill=self.accent)
        else:
            self.pen.line(places, fill=self.accent, width=int(rng.integers(1, 4)) * self.unit)
        self.pen.line((left, top, left, bottom), fill=self.ink, width=self.unit)
        self.pen.line((left, bottom, left + width, bottom), fill=self.ink, width=self.unit)
        return bottom + self.size

    def _stripes(self, left: int, top: int, width: int) -> int:
        rng, height = self.rng, int(self.rng.integers(16, 80)) * self.unit
        period = int(rng.integers(2, 12)) * self.unit
        line = max(self.unit, period // int(rng.integers(2, 5)))
        upright = rng.random() < 0.5
        for place in range(0, width if upright else height, period):
            x, y = (left + place, top) if upright else (left, top + place)
            end = (x + line - 1, top + height) if upright else (left + width, y + line - 1)
            self.pen.rectangle((x, y, *end), fill=self.accent)
        return top + height + self.size

    def _box(self, left: int, top: int, width: int) -> int:
        rng, height = self.rng, int(self.rng.integers(20, 90)) * self.unit
        fill = _mix(self.ground, self.accent, rng.uniform(0, 1))
        edge = _mix(self.ground, self.ink, rng.uniform(0, 0.6))
        corner = int(rng.integers(0, 12)) * self.unit
        place = (left, top, left + width, top + height)
        self.pen.rounded_rectangle(place, corner, fill=fill, outline=edge, width=self.unit)
        self._line(left + self.size, top + height // 2 - self.size // 2, _contrast(fill), words=3)
        return top + height


def _colour(values: np.ndarray) -> Colour:
    r, g, b = (int(v) for v in values)
    return r, g, b


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return _colour(np.array(a) * (1 - share) + np.array(b) * share)


def _contrast(colour: Colour) -> Colour:
    return (255, 255, 255) if sum(colour) < 380 else (20, 20, 20)
