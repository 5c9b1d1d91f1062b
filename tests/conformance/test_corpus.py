"""Files written once decode to the same symbols for ever (while their weights are installed)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import codec

CORPUS = Path(__file__).parent
EXPECTED = CORPUS / "expected.json"
CASES = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}


def test_the_corpus_is_there():
    assert len(CASES) >= 6


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_old_files_decode_to_the_same_symbols(name, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = codec.decode_detailed(CORPUS / f"{name}.cci")
    finally:
        torch.set_num_threads(before)
    assert [f"{crc:08x}" for crc in result.symbol_checksums] == CASES[name]["symbols"]
    assert (result.image.mode, list(result.image.size)) == (
        CASES[name]["mode"],
        CASES[name]["size"],
    )
    with Image.open(CORPUS / f"{name}.png") as shown:
        difference = np.array(result.image).astype(int) - np.array(shown)
    assert np.abs(difference).max() <= 1
