from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PHOTOGRAPH = Path(__file__).parent.parent / "benchmarks" / "images" / "pier.png"


def psnr(a, b) -> float:
    error = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return 10 * np.log10(255**2 / max(np.mean(error**2), 1e-9))


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """768×512 photograph, uint8 H×W×3."""
    with Image.open(PHOTOGRAPH) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(scope="session")
def crop(photograph) -> np.ndarray:
    """A piece with sky, mountains and water; sides are no multiples of anything."""
    return np.ascontiguousarray(photograph[100:283, 200:421])


@pytest.fixture(scope="session", params=["ssvae", "convdraw"])
def model(request) -> str:
    """A model of every family in turn: what is asked of files is asked of all families."""
    return request.param


@pytest.fixture(scope="session")
def coded(crop, model) -> bytes:
    """The crop as a three-layer file."""
    import codec

    return codec.encode(crop, model=model)
