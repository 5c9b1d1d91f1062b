"""``codec web``: a gallery of static files."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.gallery.site import (
    PICTURES,
    Entry,
    check_model,
    check_place,
    check_shown,
    in_words,
    write_site,
)
from cli.jobs import Job, Outcome, errors_as_one_line, naming, plan, run
from cli.options import ENCODING, Threads, encoding, named, takes
from cli.output import printable, say
from cli.suffixes import is_coded, is_picture
from codec.errors import ImageError
from codec.inspection import read_bytes
from codec.options import EncodeOptions

EXAMPLES = """Examples:

\b
  codec web photos/ -o site/                 encodes what is no .cci file yet
  codec web photos/ -o site/ --quality 70 --title "Our holiday"
  codec web a.jpg b.png c.cci -o site/
  python -m http.server --directory site     shows it at http://localhost:8000
"""


@takes(options=ENCODING)
def web(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Images and .cci files, or a folder.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the site.", parser=named)
    ],
    title: Annotated[
        str | None, typer.Option(help="Of the page. Default the name of the folder.")
    ] = None,
    *,
    options: dict[str, Any],
    threads: Threads = None,
    recursive: Annotated[
        bool,
        typer.Option("--recursive", "-r", help="Look into subfolders, links to folders aside."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write beside other files.")] = False,
) -> None:
    """Write a gallery of static files: pictures that sharpen in any browser, without a server."""
    with errors_as_one_line():
        check_place(output, force=force)
        keywords = encoding(options)
        check_model(EncodeOptions(**keywords).weights)
        pictures = output / PICTURES
        jobs, _ = plan(
            inputs, f"{pictures}/", ".cci", accepts=is_picture, recursive=recursive, force=True
        )
        started = time.perf_counter()
        from cli.crew import processes_for

        failure = None
        try:
            run(
                jobs,
                True,
                partial(_add, pictures=pictures, options=keywords),
                as_json=False,
                verb="encoding",
                threads=threads,
                processes=processes_for(len(jobs), threads, keywords.get("device", "auto")),
            )
        except typer.Exit as error:  # of some pictures; the others make a site
            failure = error
        entries = [
            Entry(Path(job.target), _place(job, pictures), Path(job.source).stem) for job in jobs
        ]
        entries = [entry for entry in entries if entry.path.exists()]
        if failure is not None and not entries:
            raise failure
        size = write_site(output, entries, title=title or _title(inputs))
        say(
            f"{output}: {len(entries)} pictures, decoder and weights {in_words(size)}, "
            f"{time.perf_counter() - started:.1f} s; serve it with: "
            f"python -m http.server --directory {output}"
        )
        if failure is not None:
            raise failure


def _place(job: Job, pictures: Path) -> str:
    """Where a picture lies among those of the site."""
    return Path(job.target).relative_to(pictures).as_posix()


def _add(
    job: Job, show: Callable[[float], None], *, pictures: Path, options: dict[str, Any]
) -> Outcome:
    """Put one picture into the site: a .cci file as it is, anything else encoded."""
    import codec

    with naming(job.source):
        place = _place(job, pictures)
        if printable(place) != place:
            raise ImageError("its name cannot be part of an address; rename it")
        if is_coded(Path(job.source).suffix):
            data = read_bytes(job.source)
        else:
            data = codec.encode_detailed(job.read(), progress=show, **options).data
        check_shown(codec.info(data, max_pixels=EncodeOptions(**options).max_pixels))
    job.write(data)
    return Outcome({}, "")


def _title(inputs: list[str]) -> str:
    first = Path(inputs[0]).resolve()
    return (first if first.is_dir() else first.parent).name or "Pictures"
