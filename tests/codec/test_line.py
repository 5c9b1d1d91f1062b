"""The bundled photograph's rate–distortion does not get worse than a recorded line.

After a change that makes it better, ``python -m tests.codec.test_line`` prints the new line.
"""

import numpy as np
import pytest

import codec
from codec.measures import MEASURES

#: Tuning → its measure, and for each size in bytes how much of it a file of that size has.
LINE: dict[str, tuple[str, dict[int, float]]] = {
    "eye": ("ssimulacra2", {5000: 41.06, 15000: 70.63, 45000: 86.43}),
    "psnr": ("psnr", {5000: 32.15, 15000: 35.53, 45000: 40.42}),
}
#: What sizes that differ by a quarter step, and another machine's pixels, may cost.
TOLERANCE = {"ssimulacra2": 0.3, "psnr": 0.05}


def measured(photograph, tune: str, size: int) -> float:
    data = codec.encode(photograph, target_bytes=size, tune=tune)
    assert len(data) <= size
    return MEASURES[LINE[tune][0]](photograph, np.array(codec.decode(data)))


@pytest.mark.parametrize(("tune", "size"), [(t, s) for t, (_, line) in LINE.items() for s in line])
def test_the_photograph_is_as_good_at_a_size_as_recorded(photograph, tune, size):
    measure, line = LINE[tune]
    assert measured(photograph, tune, size) > line[size] - TOLERANCE[measure]


if __name__ == "__main__":
    from PIL import Image

    from tests.conftest import PHOTOGRAPH

    with Image.open(PHOTOGRAPH) as image:
        pixels = np.array(image.convert("RGB"))
    for tune, (_, line) in LINE.items():
        print(tune, {size: round(measured(pixels, tune, size), 2) for size in line})
