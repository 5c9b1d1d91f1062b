"""The rows of a manifest: their columns, and reading them back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from codec.batch.stores import Store, split_place
from codec.errors import CodecError, ImageError

Row = dict[str, Any]

OK, FAILED = "ok", "failed"
#: Of a row that takes an older one of its path back, and is not told of itself: a shard that could
#: not be read had one, and now its members have theirs.
GONE = "gone"
#: Name of a column → name of its type in pyarrow.
COLUMNS = {
    "path": "string",  # of the input, below the source; SHARD.tar/MEMBER for shards
    "size": "int64",  # bytes of the input
    "result": "string",  # below the destination
    "width": "int32",
    "height": "int32",
    "bytes": "int64",  # of the result
    "bpp": "float64",  # of the coded file
    "psnr": "float64",
    "seconds": "float64",  # coding alone
    "quality": "float32",
    "model": "string",
    "fingerprint": "string",
    "status": "string",
    "error": "string",
    "notes": "string",
    "shard": "string",  # the tar shard that was worked on as a whole
}
_BATCH = 20_000
SETTINGS_KEY = b"codec.batch"


def schema(settings: dict[str, Any] | None = None):
    """The manifest's columns; with the run's settings in its metadata."""
    import pyarrow as pa

    fields = [pa.field(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()]
    meta = None if settings is None else {SETTINGS_KEY: json.dumps(settings).encode()}
    return pa.schema(fields, metadata=meta)


def read_settings(place: str) -> dict[str, Any]:
    """What a run was to do, from its manifest. Raises ImageError."""
    import pyarrow.parquet as pq

    folder, name = split_place(place)
    parts = Store(f"{place}.parts")
    store = Store(folder)
    begun = parts.size("settings.json") is not None
    if not begun and store.size(name) is None:
        raise ImageError(f"{place}: no such manifest")
    try:
        if begun:
            settings = json.loads(parts.read("settings.json"))
        else:
            with store.open(name) as file:
                settings = json.loads(pq.read_schema(_seekable(file)).metadata[SETTINGS_KEY])
        if not isinstance(settings, dict):
            raise ValueError("its settings are no table")
        return settings
    except CodecError:
        raise
    except Exception as error:
        raise ImageError(
            f"{place}: is no manifest of codec batch ({error}); codec batch --force replaces it"
        ) from error


def read_rows(place: str) -> Iterator[Row]:
    """The rows of a manifest, finished or not, each path once. Raises ImageError."""
    folder, name = split_place(place)
    home, parts = Store(folder), Store(f"{place}.parts")
    begun = parts.size("settings.json") is not None
    if not begun and home.size(name) is None:
        raise ImageError(f"{place}: no such manifest")
    names = [f.path for f in parts.list()] if begun else []
    yield from newest(_all_rows(home, name, parts, names))


def newest(rows: Iterable[Row]) -> Iterator[Row]:
    """The row that counts of each path, the first one."""
    seen: set[str] = set()
    for row in rows:
        if row["path"] not in seen:
            seen.add(row["path"])
            if row["status"] != GONE:
                yield row


def _all_rows(home: Store, name: str, parts: Store, names: list[str]) -> Iterator[Row]:
    if "journal.jsonl" in names:
        for rows in reversed(list(journal_rows(parts.read("journal.jsonl")))):
            yield from reversed(rows)
    yield from stored_rows(home, name, parts, newest_first(names))


def journal_rows(data: bytes) -> Iterator[list[Row]]:
    """The rows of each line of a journal, oldest first.

    Lines that are half written, or that a failing machine has spoilt, are left out: a resumed run
    does again what is not on record.
    """
    for line in data.split(b"\n")[:-1]:
        try:
            rows = json.loads(line)
            known = [{name: row[name] for name in COLUMNS} for row in rows]
        except (ValueError, TypeError, KeyError):
            continue
        yield known


def stored_rows(home: Store, name: str, parts: Store, names: list[str]) -> Iterator[Row]:
    """Rows of the parts, named newest first, and then of the manifest itself."""
    for part in names:
        yield from _table_rows(parts, part)
    if home.size(name) is not None:
        yield from _table_rows(home, name)


def _table_rows(store: Store, name: str) -> Iterator[Row]:
    import pyarrow.parquet as pq

    try:
        with store.open(name) as file:
            for batch in pq.ParquetFile(_seekable(file)).iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except CodecError as error:
        raise ImageError(f"{store}/{name}: {error}") from error
    except Exception as error:
        raise ImageError(f"{store}/{name}: is no manifest of codec batch ({error})") from error


def _seekable(file: Any) -> Any:
    """A remote file's stream goes forward only; Parquet begins at the end."""
    return file if file.seekable() else io.BytesIO(file.read())


def newest_first(names: list[str]) -> list[str]:
    """The part files among the names in a manifest's folder of parts."""
    parts = (n for n in names if n.startswith("part-") and n.endswith(".parquet"))
    return sorted(parts, reverse=True)


def recordable(text: str) -> str:
    """A name as a table can hold it: file systems allow bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


def coded_size(row: Row) -> tuple[float, float]:
    """Bits and pixels of the coded file of a row, which is the result or, decoded, the input."""
    coded = row["bytes"] if row["result"].endswith(".cci") else row["size"]
    return 8.0 * coded, 8.0 * coded / row["bpp"]
