"""``python -m tests.run_images FOLDER``: feed other libraries' test images to ``codec encode``.

Every file below the folder, whatever its suffix, is encoded as it is, then cut and with changed
bytes. Counts what happens, and ends with status 1 where anything but a file or one clear line on
standard error comes out, or where an image takes more than ten seconds. Suited are the test images
of Pillow, libpng, libjpeg-turbo, libtiff, libwebp, giflib, ImageMagick and the like.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from typer.testing import CliRunner

from cli.main import app

SECONDS = 10.0


def variants(data: bytes, count: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """The file, then so many cuts and as many copies with some bytes changed."""
    yield "whole", data
    for _ in range(count if len(data) > 1 else 0):
        yield "cut", data[: rng.integers(1, len(data))]
        changed = bytearray(data)
        # Headers are where parsers can be hurt: half of the changes go into the first 512 bytes.
        reach = len(changed) if rng.random() < 0.5 else min(512, len(changed))
        for place in rng.integers(0, reach, rng.integers(1, 12)):
            changed[place] = rng.integers(256)
        yield "changed", bytes(changed)


def encode(path: Path, out: Path) -> str:
    """Run the command on one file: ``encoded``, ``refused``, or what is wrong."""
    result = CliRunner().invoke(app, ["encode", str(path), "-o", str(out), "--force"])
    wrote = out.exists()
    out.unlink(missing_ok=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"TRACEBACK {type(result.exception).__name__}: {result.exception}"
    if result.exit_code == 0:
        return "encoded" if wrote else "NO FILE, STATUS 0"
    # Image libraries may print warnings of their own; ours begin with the name of the command.
    said = [line for line in result.stderr.splitlines() if line.startswith("codec: ")]
    complaint = [line for line in said if ": note: " not in line]
    if wrote or result.exit_code != 1 or len(complaint) != 1 or path.name not in complaint[0]:
        return f"UNCLEAR: status {result.exit_code}, {result.stderr!r}"
    return "refused"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.run_images", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", type=int, default=2, help="cuts and changes of each file")
    parser.add_argument("--largest", type=int, default=2_000_000, help="bytes; larger: whole only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    slowest = (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(p for p in options.folder.rglob("*") if p.is_file()):
            data = path.read_bytes()
            count = options.variants if len(data) <= options.largest else 0
            for number, (kind, broken) in enumerate(variants(data, count, rng)):
                source = Path(folder) / f"in{path.suffix}"
                source.write_bytes(broken)
                started = time.process_time()
                outcome = encode(source, Path(folder) / "out.cci")
                seconds = time.process_time() - started
                slowest = max(slowest, (seconds, f"{path} {kind}"))
                known = outcome in ("encoded", "refused")
                counts[f"{kind}: {outcome if known else 'WRONG'}"] += 1
                if not known or seconds > SECONDS:
                    wrong.append(f"{path} {kind} {number}: {outcome}, {seconds:.1f} s")
                    print(wrong[-1], flush=True)
    for what, number in sorted(counts.items()):
        print(f"{what:20s} {number:6d}")
    print(f"{counts.total()} files, slowest {slowest[0]:.1f} s ({slowest[1]})")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
