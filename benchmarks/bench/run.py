"""The three things ``codec bench`` does: compare, time, draw again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import extra
from codec.errors import ArgumentError
from codec.options import DEFAULT_MODEL

#: In the folder of the results: what was measured.
JOURNAL = "measured.jsonl"


def compare(
    folder: Path,
    codecs: str,
    out: Path,
    *,
    anchors: Sequence[str] = (),
    device: str = "auto",
    processes: int | None = None,
    limit: int = 0,
    kodak: bool = False,
) -> tuple[str, list[str]]:
    """Measure a folder and write all outputs into ``out``.

    Args:
        codecs: names separated by commas, see :mod:`benchmarks.bench.codecs`.
        limit: only the first n images (0: all).
        kodak: draw the published curves of learned codecs; only for the 24 Kodak images, of which
            they speak.

    Returns:
        The summary (Markdown), and a line for each image that was left out.

    Raises:
        codec.errors.CodecError: a package or codec is missing, no images, or with ``kodak`` other
            images, output not writable.
    """
    extra.require()
    from benchmarks.bench import crops, output, runner
    from benchmarks.bench.codecs import parse
    from benchmarks.bench.images import images_in, require_kodak, sizes_of
    from benchmarks.bench.measuring import compared
    from codec.installed import resolve_device

    names = list(dict.fromkeys(name.strip() for name in codecs.split(",") if name.strip()))
    if not names:
        raise ArgumentError("--codecs names none")
    pieces = [parse(name) for name in names]
    missing = [a for a in anchors if a not in names]
    if missing:
        raise ArgumentError(f"anchor {missing[0]!r} is not among the codecs {', '.join(names)}")
    device = str(resolve_device(device))
    files = images_in(folder)[: limit or None]
    if kodak:
        require_kodak(sizes_of(files))
    output.make_folder(out)
    processes = processes or runner.cores()
    jobs = [compared(piece, device) for piece in pieces]
    measured = runner.measure_all(files, jobs, runner.Journal(out / JOURNAL), processes=processes)
    known = {record.image for record in measured.records}
    readable = [path for path in files if path.name in known]
    pictures = crops.make(readable, pieces, device, processes)
    about = output.describe(measured, folder.name, device, sizes_of(readable))
    output.save(measured, about, pictures, out)
    return output.draw(out, anchors=list(anchors), kodak=kodak), measured.left_out


def redraw(out: Path, *, anchors: Sequence[str] = (), kodak: bool = False) -> str:
    """Write tables, curves and report of a finished run again; nothing is measured.

    Raises:
        codec.errors.CodecError: nothing was measured into ``out``, or a package is missing.
    """
    extra.require()
    from benchmarks.bench import output

    return output.draw(out, anchors=list(anchors), kodak=kodak)


def speed(
    out: Path,
    *,
    megapixels: Sequence[float],
    threads: Sequence[int],
    device: str = "auto",
    model: str = DEFAULT_MODEL,
    runs: int = 5,
    peers: bool = True,
) -> str:
    """Time this codec and its peers on this machine; writes ``speed.json`` and ``speed.md``.

    Raises:
        codec.errors.CodecError: bad argument, missing model, output not writable.
    """
    from benchmarks.bench import output
    from benchmarks.bench.speed import as_markdown, measure
    from codec.files import write_atomic

    output.make_folder(out)

    def keep(result: dict[str, Any]) -> None:
        write_atomic(out / "speed.json", (json.dumps(result, indent=1) + "\n").encode())

    result = measure(
        megapixels=megapixels,
        threads=threads,
        device=device,
        model=model,
        runs=runs,
        peers=peers,
        keep=keep,
    )
    text = as_markdown(result)
    write_atomic(out / "speed.md", text.encode())
    return text
