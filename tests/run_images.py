"""``python -m tests.run_images FOLDER…``: feed other libraries' test images to ``codec encode``.

Every file below the folders, whatever its suffix, is encoded as it is, then cut and with changed
bytes. Counts what happens, and ends with status 1 where anything but a file or one clear line on
standard error comes out, where a part of a file is left, where the program crashes, or where an
image takes more than ten seconds. Suited are the test images of Pillow, libpng, libjpeg-turbo,
libtiff, libwebp, giflib, ImageMagick and the like.

The command runs in a process that is kept from file to file, since starting one takes seconds. It
is replaced where it crashes or hangs. ``--keep FOLDER`` keeps the inputs that went wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 10.0
#: Of wall time: other programs may want the processor too.
PATIENCE = 6 * SECONDS
RIGHT = ("encoded", "refused")


@dataclass(frozen=True)
class Outcome:
    """What the command made of a file; ``memory`` in MB is the most it held."""

    text: str
    seconds: float = 0.0
    memory: int = 0


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


# -- the process that runs the command -------------------------------------------------------------


def serve(connection: Connection, said: str, max_memory: int, crop: int) -> None:
    """Run the command on each path that comes, until none does. What it prints goes to ``said``."""
    import torch

    from cli.main import app

    torch.set_num_threads(1)
    if crop:
        _crop_what_is_read(crop)
    if max_memory:
        resource.setrlimit(resource.RLIMIT_AS, (max_memory << 20, max_memory << 20))
    for number in (1, 2):  # at this level, since libraries in C print too
        os.dup2(os.open(said + str(number), os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    while path := connection.recv():
        for number in (1, 2):
            os.truncate(said + str(number), 0)
        _forget_peak()
        out = Path(path).parent / "out" / "out.cci"
        started, status, raised = time.process_time(), 0, ""
        try:
            app(["encode", path, "-o", str(out), "--force"])
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException as error:  # noqa: BLE001 - a traceback is what is looked for
            raised = f"TRACEBACK {type(error).__name__}: {error}"
        sys.stdout.flush()
        seconds = time.process_time() - started
        text = raised or judge(Path(path), out, status, Path(said + "2").read_text("utf-8"))
        connection.send(Outcome(text, seconds, _peak()))


def _crop_what_is_read(side: int) -> None:
    """Coding a large picture takes its time, which says nothing about broken files."""
    import codec.encoding as encoding

    load = encoding.load_picture

    def load_part(*args: Any, **kwargs: Any) -> Any:
        picture = load(*args, **kwargs)
        picture.rgb = np.ascontiguousarray(picture.rgb[:side, :side])
        if picture.alpha is not None:
            picture.alpha = np.ascontiguousarray(picture.alpha[:side, :side])
        return picture

    encoding.load_picture = load_part


def judge(path: Path, out: Path, status: int, said: str) -> str:
    """``encoded``, ``refused``, or what is wrong."""
    wrote = out.exists()
    out.unlink(missing_ok=True)
    if any(out.parent.iterdir()):
        return f"LEFT BEHIND: {sorted(p.name for p in out.parent.iterdir())}"
    lines = said.splitlines()
    notes = [line for line in lines if line.startswith("codec: ") and ": note: " in line]
    rest = [line for line in lines if line not in notes]
    if status == 0 and wrote and not rest:
        return "encoded"
    clear = len(rest) == 1 and rest[0].startswith("codec: ") and path.name in rest[0]
    if status == 1 and not wrote and clear and not notes:
        return "refused"
    return f"UNCLEAR: status {status}, {'a' if wrote else 'no'} file, {said!r}"


def _forget_peak() -> None:
    """Let the kernel measure the most memory held anew (Linux)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status")
    found = [line for line in status.read_text().splitlines() if "VmHWM" in line]
    return int(found[0].split()[1]) // 1024 if found else 0


# -- the process that watches it -------------------------------------------------------------------


class Worker:
    """The process above, started when it is needed."""

    def __init__(self, folder: Path, max_memory: int, crop: int) -> None:
        self._folder, self._arguments = folder, (str(folder / "said"), max_memory, crop)
        self._process: multiprocessing.process.BaseProcess | None = None

    def run(self, path: Path) -> Outcome:
        if self._process is None:
            self._start()
        self._connection.send(str(path))
        try:
            if self._connection.poll(PATIENCE):
                return self._connection.recv()
            outcome = Outcome(f"HANGS: no end after {PATIENCE:.0f} s", PATIENCE)
        except EOFError:
            self._process.join()
            outcome = Outcome(f"CRASH: exit status {self._process.exitcode}")
        self._process.kill()
        self._process = None
        shutil.rmtree(self._folder / "out")
        return outcome

    def _start(self) -> None:
        (self._folder / "out").mkdir(exist_ok=True)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, *self._arguments)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.run_images", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--variants", type=int, default=2, help="cuts and changes of each file")
    parser.add_argument("--seed", type=int, default=0, help="of cuts and changes")
    parser.add_argument("--largest", type=int, default=2_000_000, help="bytes; larger: whole only")
    parser.add_argument("--max-memory", type=int, default=0, help="MB of address space; 0: any")
    parser.add_argument(
        "--crop", type=int, default=512, help="code only so much of each side; 0: all"
    )
    parser.add_argument("--keep", type=Path, help="folder for the inputs that went wrong")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    slowest, largest, wrong = (0.0, ""), (0, ""), 0
    paths = sorted(p for folder in options.folders for p in folder.rglob("*") if p.is_file())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        worker = Worker(folder, options.max_memory, options.crop)
        for path in paths:
            data = path.read_bytes()
            count = options.variants if len(data) <= options.largest else 0
            # Seeded by file, so that a finding can be made again from that file alone.
            rng = np.random.default_rng([options.seed, *path.name.encode()])
            for number, (kind, broken) in enumerate(variants(data, count, rng)):
                source = folder / f"in{path.suffix}"
                source.write_bytes(broken)
                outcome = worker.run(source)
                title = f"{path} {kind} {number}"
                slowest = max(slowest, (outcome.seconds, title))
                largest = max(largest, (outcome.memory, title))
                right = outcome.text in RIGHT and outcome.seconds <= SECONDS
                counts[f"{kind}: {outcome.text if right else 'WRONG'}"] += 1
                if not right:
                    wrong += 1
                    print(f"{title}: {outcome.text}, {outcome.seconds:.1f} s", flush=True)
                    if options.keep:
                        options.keep.mkdir(parents=True, exist_ok=True)
                        shutil.copy(source, options.keep / f"{wrong:04d}-{number}-{path.name}")
                source.unlink()
    for what, number in sorted(counts.items()):
        print(f"{what:20s} {number:6d}")
    print(f"{counts.total()} files, {wrong} wrong")
    print(f"slowest {slowest[0]:.1f} s of processor time ({slowest[1]})")
    print(f"most memory {largest[0]} MB ({largest[1]})")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
