"""What there is to do: a source cut into units that workers do whole.

A unit is one file; or one tar shard, read or written from end to end. A unit's name says whether it
is done already, so that a resumed run plans the same units and leaves those out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import PurePosixPath

from codec.batch.records import recordable
from codec.batch.settings import DECODE, Settings
from codec.batch.stores import Found, Store, absolute, split_place
from codec.errors import ArgumentError, ImageError
from codec.files import result_names
from codec.limits import NEVER_READ

SHARD = ".tar"


@dataclass(frozen=True, slots=True)  # there may be millions
class Entry:
    """One picture of a unit: its file, that file's size, and where the result goes."""

    path: str
    size: int
    target: str


@dataclass(slots=True)
class Unit:
    """What one worker does at once.

    ``entries`` are the files, known beforehand unless a shard is read (``shard_in``); ``skip`` says
    of pictures that workers died of what to put on record instead of trying again. ``alone``: a
    worker died of a picture of it or of one beside it, so that its pictures are coded one by one.
    """

    name: str
    entries: Sequence[Entry] = ()
    shard_in: str | None = None
    shard_out: str | None = None
    skip: dict[str, str] | None = None
    alone: bool = False

    @property
    def shard(self) -> str | None:
        """The shard that the unit reads, or else writes."""
        return self.shard_in or self.shard_out


@dataclass(frozen=True)
class Plan:
    """All units of a source. ``root`` is the place that their paths are relative to."""

    root: str
    units: list[Unit]
    listing: str
    """Digest of the files' names and sizes, which decides what a numbered shard holds."""

    @property
    def pictures(self) -> int | None:
        """How many there are; None where shards must be read first."""
        if any(unit.shard_in for unit in self.units):
            return None
        return sum(len(unit.entries) for unit in self.units)


def make_plan(settings: Settings, manifest: str) -> Plan:
    """Look at a source and cut it into units; what the run itself writes below it is no source.

    Raises:
        ImageError: it cannot be listed, or holds nothing to work on.
        ArgumentError: its kind does not go with the settings.
    """
    root, files = _listed(settings.source)
    own = _below(root, settings.destination), _below(root, manifest)
    files = [f for f in files if not any(o and (f.path + "/").startswith(o) for o in own)]
    shards = [f for f in files if f.path.endswith(SHARD)]
    pictures = [f for f in files if accepted(settings.kind)(f.path)]
    if shards and pictures:
        raise ArgumentError(
            f"{settings.source}: holds tar shards and single files; work on them one after the "
            "other (name the shards by a pattern such as 'folder/*.tar')"
        )
    lines = "\n".join(f"{f.path} {f.size}" for f in files)
    listing = hashlib.sha256(recordable(lines).encode()).hexdigest()
    if shards:
        if settings.shards:
            raise ArgumentError("shards keep their shape; --shards N is for folders of files")
        units = [_shard_unit(f, settings) for f in shards]
    elif pictures:
        units = _file_units(pictures, settings)
    else:
        what = ".cci file" if settings.kind == DECODE else "image"
        raise ImageError(f"{settings.source}: holds no {what} and no tar shard")
    return Plan(root, units, listing)


def _below(root: str, place: str) -> str | None:
    """The path of a place that lies below a root, with a slash; None of one that does not."""
    path, above = absolute(place) + "/", absolute(root).rstrip("/") + "/"
    return path.removeprefix(above) if path.startswith(above) and path != above else None


def _listed(source: str) -> tuple[str, list[Found]]:
    """A source's root, and its files: all of a folder, or the shards that a pattern names."""
    if not source.rstrip("/").endswith(SHARD):
        return source, Store(source).list()
    root, pattern = split_place(source)
    files = [f for f in Store(root).list() if "/" not in f.path]
    # A name is taken as it is before it is taken for a pattern: s[1].tar may be a file.
    named = [f for f in files if f.path == pattern]
    files = named or [f for f in files if fnmatch(f.path, pattern)]
    if not files:
        raise ImageError(f"{source}: no such tar shard")
    return root, files


@cache
def _image_suffixes() -> frozenset[str]:
    from PIL import Image

    known = Image.registered_extensions()
    forms = Image.OPEN.keys() - NEVER_READ
    return frozenset(suffix for suffix, form in known.items() if form in forms) - {".cci"}


def accepted(kind: str) -> Callable[[str], bool]:
    """Which names are worked on: images for encoding, else .cci files."""
    suffixes = frozenset({".cci"}) if kind == DECODE else _image_suffixes()
    return lambda path: PurePosixPath(path).suffix.lower() in suffixes


def _shard_unit(file: Found, settings: Settings) -> Unit:
    return Unit(
        file.path, shard_in=file.path, shard_out=None if settings.shards == 0 else file.path
    )


def _file_units(files: list[Found], settings: Settings) -> list[Unit]:
    entries = list(_entries(files, settings.suffix))
    size = settings.shards
    if not size:
        return [Unit(entry.path, (entry,)) for entry in entries]
    names = (f"shard-{n:06d}{SHARD}" for n in range(-(-len(entries) // size)))
    return [
        Unit(name, entries[n * size : (n + 1) * size], shard_out=name)
        for n, name in enumerate(names)
    ]


def _entries(files: Iterable[Found], suffix: str) -> Iterable[Entry]:
    files = list(files)
    for f, target in zip(files, result_names([f.path for f in files], suffix), strict=True):
        yield Entry(f.path, f.size, recordable(target))  # the manifest must be able to name it


def spare_results(units: list[Unit], kept: Callable[[], Iterable[str]], suffix: str) -> None:
    """Name the results of units so that they replace none of those that are ``kept``.

    Since a run began a.png may have gone and a.bmp come. Both results would be a.cci, which is all
    that is left of a.png: the second becomes a.bmp.cci. Shards have their names from elsewhere.
    """
    single = [unit for unit in units if unit.shard is None]
    wanted = {entry.target for unit in single for entry in unit.entries}
    if wanted.isdisjoint(kept()):  # a set of all names may be large
        return
    kept_names = set(kept())
    taken = kept_names | wanted
    for unit in single:
        entries = []
        for entry in unit.entries:
            target = entry.target
            if target in kept_names:
                target = recordable(entry.path + suffix)
                while target in taken:
                    target += suffix
                taken.add(target)
            entries.append(replace(entry, target=target))
        unit.entries = entries
