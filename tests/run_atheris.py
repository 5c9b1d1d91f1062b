"""``python -m tests.run_atheris -max_total_time=1800``: a coverage-guided hunt for files that hurt.

Needs ``pip install atheris``; options are libFuzzer's. Seeds are the conformance corpus and small
files of every kind made here. Half of the mutations are libFuzzer's own, after which the checksums
of header and chunks are made right again, so that they reach the code behind; the others are those
of ``tests.mutations``.

A finding is an exception other than a ``codec.errors.CodecError`` with a message, a decode that
takes more than ten seconds, or a picture of another size than the header says.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bitstream", "codec"]):
    import bitstream.container as container
    import bitstream.incremental
    import bitstream.range_coder  # noqa: F401
    import codec
    import codec.decoding
    import codec.incremental
    import codec.inspection
    import codec.verification
    from codec.errors import CodecError

import numpy as np
import torch
from PIL import Image

from models.names import MODEL_IDS
from tests.conformance.test_corpus import CORPUS
from tests.conftest import PHOTOGRAPH
from tests.mutations import KINDS, mutate

#: Larger declarations are refused: they are valid files that only take their time.
MAX_PIXELS = 64 * 64 * 8
_WAYS = ("decode", "progressive", "info", "verify")


def seeds() -> list[bytes]:
    """Whole, cut and unusual files of all models."""
    with Image.open(PHOTOGRAPH) as image:
        rgb = np.array(image.convert("RGB"))[100:150, 200:260]
    alpha = np.linspace(0, 255, 50 * 60).reshape(50, 60, 1).astype(np.uint8)
    found = [path.read_bytes() for path in sorted(CORPUS.glob("*.cci"))]
    for model in MODEL_IDS:
        whole = codec.encode(rgb, model=model, quality=40)
        found += [
            whole,
            whole[: len(whole) * 2 // 3],
            codec.encode(np.concatenate([rgb, alpha], axis=2), model=model, layers=1),
            codec.encode(rgb[:, :, 0], model=model, stages=2),
        ]
    return found


def sealed(data: bytes) -> bytes:
    """The same bytes with right checksums, as far as chunks can be told."""
    if len(data) < container.HEADER_BYTES:
        return data
    out = bytearray(data)
    out[20:24] = struct.pack("<I", zlib.crc32(out[:20]))
    offset = container.HEADER_BYTES
    while offset + 6 <= len(out):
        size, shift, start = 0, 0, offset + 1
        while start < len(out) and shift < 35:
            size |= (out[start] & 127) << shift
            shift, start = shift + 7, start + 1
            if out[start - 1] < 128:
                break
        end = start + 4 + size
        if end > len(out):
            break
        crc = zlib.crc32(out[start + 4 : end], zlib.crc32(out[offset:start]))
        out[start : start + 4] = struct.pack("<I", crc)
        offset = end
    return bytes(out)


def mutator(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's mutation, sealed again, or one of ours."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        return sealed(atheris.Mutate(data, max_size))[:max_size]
    try:
        return mutate(data, KINDS[rng.integers(len(KINDS))], rng)[:max_size]
    except (CodecError, ValueError, IndexError):  # ours expect a file that parses
        return sealed(atheris.Mutate(data, max_size))[:max_size]


def one(data: bytes) -> None:
    """Everything a program does with a file of unknown origin."""
    way = _WAYS[zlib.crc32(data) % len(_WAYS)]
    started = time.process_time()
    try:
        if way == "decode":
            _check(codec.decode_detailed(data, max_pixels=MAX_PIXELS).image, data)
        elif way == "progressive":
            decoder = codec.ProgressiveDecoder(max_pixels=MAX_PIXELS)
            for start in range(0, len(data), 700):
                decoder.push(data[start : start + 700])
            _check(decoder.finish().image, data)
        elif way == "info":
            codec.info(data, max_pixels=MAX_PIXELS)
        else:
            codec.verify(data, deep=True, max_pixels=MAX_PIXELS)
    except CodecError as error:
        if not str(error):
            raise RuntimeError("an error without a message") from error
    seconds = time.process_time() - started
    if seconds > 10:
        raise RuntimeError(f"{way} took {seconds:.1f} s")


def _check(image: Image.Image, data: bytes) -> None:
    header = container.Header.from_bytes(data)
    if image.size != (header.width, header.height):
        raise RuntimeError(f"a picture of {image.size} for {header.width}×{header.height}")


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="cci-fuzz-"))
    for index, data in enumerate(seeds()):
        (folder / f"seed{index}.cci").write_bytes(data)
    print(f"corpus and findings in {folder}")
    # libFuzzer's clock is the wall's, on which other programs count too; one() has a better one.
    options = ["-max_len=20000", "-timeout=600", "-rss_limit_mb=4096"]
    options.append(f"-artifact_prefix={folder}/")
    atheris.Setup([sys.argv[0], str(folder), *options, *sys.argv[1:]], one, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
