"""Pictures that are graphics, in whole or in part, drawn for tests; all RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 512, 384


def write(draw, box, fill, size, *, step=None):
    """Lines of made-up words within a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    rng, font = np.random.default_rng(0), ImageFont.load_default(size)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    for y in range(top, bottom - size, step or int(size * 1.4)):
        line = " ".join("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(20))
        while draw.textlength(line, font=font) > right - left:
            line = line[:-1]
        draw.text((left, y), line, fill=fill, font=font)


def blank(colour, size=(WIDTH, HEIGHT)):
    image = Image.new("RGB", size, colour)
    return image, ImageDraw.Draw(image)


def saturated():
    """Red text and stripes on blue."""
    image, draw = blank((0, 0, 255))
    write(draw, (10, 10, WIDTH - 10, 250), (255, 0, 0), 18)
    for x in range(0, WIDTH, 8):
        draw.rectangle([x, 260, x + 3, HEIGHT], fill=(255, 0, 0))
    return image


def screenshot(size=(WIDTH, HEIGHT)):
    """A title bar, a list of buttons, a page of text."""
    image, draw = blank((245, 246, 247), size)
    width, height = size
    draw.rectangle([0, 0, width, 27], fill=(40, 44, 52))
    write(draw, (10, 5, 200, 30), (230, 230, 230), 14)
    draw.rectangle([0, 28, 120, height], fill=(225, 228, 232))
    for y in range(40, 340, 30):
        box = [8, y, 112, y + 22]
        draw.rounded_rectangle(box, 4, fill=(235, 237, 240), outline=(180, 185, 190))
    write(draw, (14, 44, 108, height - 20), (60, 60, 60), 12, step=30)
    write(draw, (134, 40, width - 10, height - 60), (30, 30, 30), 13)
    draw.rounded_rectangle(
        [width - 120, height - 50, width - 20, height - 20], 6, fill=(0, 120, 215)
    )
    return image


def page():
    """Black text on white."""
    image, draw = blank("white")
    write(draw, (30, 30, WIDTH - 30, HEIGHT - 20), (0, 0, 0), 13)
    return image


def pixel_art():
    rng = np.random.default_rng(3)
    palette = rng.integers(0, 256, (12, 3)).astype(np.uint8)
    places = rng.integers(0, 12, (HEIGHT // 16, WIDTH // 16))
    places[8:20, 10:24] = 5
    return Image.fromarray(np.repeat(np.repeat(palette[places], 16, 0), 16, 1))


def dithered(photograph):
    """Black and white alone."""
    grey = Image.fromarray(photograph).convert("L").resize((WIDTH, HEIGHT))
    return grey.convert("1").convert("RGB")


def captioned(photograph):
    """A photograph above a white bar of text, from row 320 on."""
    image = Image.fromarray(photograph[60 : 60 + HEIGHT, 100 : 100 + WIDTH])
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 320, WIDTH, HEIGHT], fill="white")
    write(draw, (10, 326, WIDTH - 10, HEIGHT), (0, 0, 0), 16)
    return image


#: Where a photograph lies in :func:`window`: left, top, right, bottom.
PHOTO_BOX = (288, 144, 624, 400)


def window(photograph):
    """A screenshot with a photograph in it."""
    image = screenshot((768, 512))
    left, top, right, bottom = PHOTO_BOX
    image.paste(
        Image.fromarray(photograph[100 : 100 + bottom - top, 200 : 200 + right - left]), (left, top)
    )
    return image


def product(photograph):
    """A round photograph on white."""
    image, _ = blank("white")
    mask = Image.new("L", (260, 220), 0)
    ImageDraw.Draw(mask).ellipse([4, 4, 255, 215], fill=255)
    image.paste(Image.fromarray(photograph[150:370, 200:460]), (120, 80), mask)
    return image
