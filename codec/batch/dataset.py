"""A PyTorch data set that stays compressed: .cci files, decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from codec.batch import extra
from codec.batch.stores import Store
from codec.decoding import decode
from codec.errors import ArgumentError, ImageError, naming
from codec.limits import DEFAULT_MAX_PIXELS
from codec.options import DecodeOptions
from codec.picture_writing import seen_pixels

#: How much smaller than the picture each of the model's representations is.
SIZES = {"full": 1, "y2": 2, "y1": 4}


class CodedImages(Dataset):
    """The .cci files of a folder or URL, decoded one by one.

    An item is a uint8 tensor 3×H×W, or what ``transform`` makes of it. Pictures keep their own
    sizes: crop them to one in ``transform``, or batch them with a ``collate_fn``. Decoding uses one
    thread of torch; use as many ``num_workers`` as there are cores. A worker needs no more of the
    network than the size takes: y1 decodes layer u alone, y2 u and z1.

    Args:
        place: folder or URL.
        size: ``full``; ``y2``, half of it; ``y1``, a quarter.
        layers: use only the first n layers.
        transform: applied to each item.
        paths: take these files below ``place``; default: all .cci files, sorted.
        device: ``cpu``, or where workers are few a GPU.
        max_pixels: refuse files that declare more.

    Raises:
        codec.errors.CodecError: the place cannot be listed, or an argument is out of range; from
            items, that a file cannot be decoded, by its name.
    """

    def __init__(
        self,
        place: str,
        *,
        size: str = "full",
        layers: int | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        paths: Sequence[str] | None = None,
        device: str = "cpu",
        max_pixels: int | None = DEFAULT_MAX_PIXELS,
    ) -> None:
        extra.require("batch", "CodedImages")
        if size not in SIZES:
            raise ArgumentError(f"the size must be full, y2 or y1, not {size!r}")
        self.place = place
        self._options = DecodeOptions(
            layers=layers, scale=SIZES[size], device=device, max_pixels=max_pixels
        )
        self._transform = transform
        if paths is None:
            paths = [f.path for f in Store(place).list() if f.path.endswith(".cci")]
            if not paths:
                raise ImageError(f"{place}: holds no .cci file")
        # One array instead of many strings: workers that are forked share its memory for good.
        self._paths = np.array(list(paths), dtype=np.bytes_) if _plain(paths) else np.array(paths)
        self._store: Store | None = None
        self._process = 0

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, index: int) -> str:
        """Which file an item comes from."""
        name = self._paths[index]
        return name.decode() if isinstance(name, bytes) else str(name)

    def __getitem__(self, index: int) -> Any:
        if self._store is None or self._process != os.getpid():
            # Connections belong to one process; workers may be forked after the first item.
            self._store, self._process = Store(self.place), os.getpid()
        name = self.path(index)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            with naming(name):
                image = decode(self._store.read(name), **vars(self._options))
        finally:
            torch.set_num_threads(threads)
        pixels = np.array(seen_pixels(image))
        item = torch.from_numpy(pixels).permute(2, 0, 1)
        return item if self._transform is None else self._transform(item)

    def __getstate__(self) -> dict[str, Any]:
        """Without the connections of a store, which belong to one process."""
        return self.__dict__ | {"_store": None}


def _plain(paths: Sequence[str]) -> bool:
    return all(path.isascii() for path in paths)
