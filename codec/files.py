"""Listing folders so that nothing is passed over; writing files so that half of one is never
seen."""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from codec.errors import ImageError, OutputError


def files_in(folder: Path, *, recursive: bool) -> list[Path]:
    """Files of a folder, sorted; links to files count, links to folders do not.

    A link to nowhere is among them, for reading it to fail: what is passed over without a word is
    lost. Raises ImageError where the folder, or one in it, cannot be read.
    """

    def fail(error: OSError) -> None:
        raise ImageError(f"{error.filename}: the folder cannot be read ({error.strerror})")

    files: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=fail):
        files += (Path(place, name) for name in names)
        if not recursive:
            folders.clear()
    return sorted(f for f in files if f.is_file() or (f.is_symlink() and not f.exists()))


def renamed(path: str, suffix: str) -> str:
    """The same path with another last suffix."""
    return os.path.splitext(path)[0] + suffix


def result_names(paths: Sequence[str], suffix: str) -> list[str]:
    """What the results of files are called: no two alike, as long as no two paths are.

    Each has the last suffix replaced; but a.png and a.jpg must not meet in a.cci, and become
    a.png.cci and a.jpg.cci; which may be the name of a third, that then keeps its suffix too.
    """
    names = [renamed(path, suffix) for path in paths]
    while True:
        count = Counter(names)
        longer = [p + suffix if count[n] > 1 else n for p, n in zip(paths, names, strict=True)]
        if longer == names:
            return names
        names = longer


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the target, then rename over it.

    A link is followed; a device or a pipe is written to, not replaced.

    Raises:
        OutputError: the folder is missing or not writable, the target is a folder or read-only,
            the disk is full. No partial file is left.
    """
    beside: Path | None = None
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file")
        if path.exists() and not path.is_file():  # a pipe's link, /dev/stdout, leads to no path
            path.write_bytes(data)
            return
        target = Path(os.path.realpath(path))
        mode = 0o666 & ~_umask()
        if target.exists():
            if not os.access(target, os.W_OK):
                raise OutputError(f"{path}: is write-protected")
            mode = stat.S_IMODE(target.stat().st_mode)  # a private file stays one
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part", delete=False
        ) as file:
            beside = Path(file.name)
            file.write(data)
        beside.chmod(mode)
        os.replace(beside, target)
        beside = None
    except FileNotFoundError as error:
        missing = not path.parent.exists()  # /proc is there, but says so of files that are not
        why = "does not exist" if missing else "takes no new files"
        raise OutputError(f"{path}: the folder {path.parent} {why}") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
