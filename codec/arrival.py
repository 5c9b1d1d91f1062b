"""What has arrived of a file that may be cut or damaged: stages, side data, and what to say."""

from __future__ import annotations

import itertools

import numpy as np

from bitstream.container import ALPHA, EXIF, ICC, XMP, Container, Header
from codec.errors import ArgumentError, CorruptError, ImageError
from codec.inspection import stages_of
from codec.picture import Picture
from codec.side_data import reduced_plane, unpack_alpha, unpack_metadata
from models.protocol import CodingModel
from models.tiles import Box


def arrival_notes(container: Container) -> list[str]:
    """What of a file is missing or damaged, in words."""
    arrived, declared = len(container.layers), container.header.layers
    notes = []
    if container.damage is not None:
        kept = f"; {arrived} of {declared} layers are used" if arrived < declared else ""
        notes.append(f"{container.damage}{kept}")
    elif arrived < declared:
        notes.append(f"the file is cut: {arrived} of its {declared} layers are whole")
    elif container.truncated:
        notes.append("the file is cut after its last layer: graphics or metadata are missing")
    elif container.appended:
        notes.append(f"{container.appended} bytes after the end of the file are ignored")
    return notes


class Stages:
    """How many stages a file holds, and how many of them are used.

    Args:
        model: of the file.
        container: with all that stands before the first layer.
        asked: use only the first n; None: all.

    Raises:
        CorruptError: the file declares a number that its layers cannot hold.
        ArgumentError: more stages are asked for than the model has.
    """

    def __init__(self, model: CodingModel, container: Container, asked: int | None) -> None:
        layers = model.layers_at(container.header.quality)
        counts = [layer.stages for layer in layers]
        self._ends = list(itertools.accumulate(counts))
        self._corrections = [layer.corrections for layer in layers]
        if asked is not None and asked > self._ends[-1]:
            raise ArgumentError(
                f"a file of model {model.name} has {self._ends[-1]} stages at quality "
                f"{container.header.quality}, not {asked}"
            )
        self.declared = sum(stages_of(counts, container))
        self.asked = asked

    def layers(self, upto: int, layers: int | None) -> int:
        """How many layers, ``upto`` at most, are needed for what is asked."""
        needed = upto
        if self.asked is not None:
            needed = 1 + sum(end < self.asked for end in self._ends)
        return min(upto, layers or upto, needed)

    def used(self, layers: int) -> int:
        """How many stages are used of the first n layers."""
        stored = min(self._ends[layers - 1], self.declared)
        return stored if self.asked is None else min(stored, self.asked)

    def read_whole(self, layers: int) -> bool:
        """Whether the last of the first n layers is read to the end of its data."""
        return self.used(layers) == min(self._ends[layers - 1], self.declared)

    @property
    def left_out(self) -> bool:
        """Whether the file itself declares so few stages that some are filled."""
        return self.declared < self._ends[-1] - self._corrections[-1]

    def whole(self, layers: int) -> bool:
        """Whether nothing of the first n layers is filled: a correction that is missing is not."""
        return self.used(layers) >= self._ends[layers - 1] - self._corrections[layers - 1]


class LayerError(CorruptError):
    """The data of layer number ``index`` decode to nothing, or to other symbols than encoded."""

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)  # the one argument that an error is made of in another process
        self.index = index

    def note(self, header: Header) -> str:
        """What is done without it."""
        return f"{self}; {self.index} of {header.layers} layers are used"


def add_side_data(
    picture: Picture,
    container: Container,
    scale: int,
    notes: list[str],
    region: Box | None = None,
) -> None:
    """Alpha (of a region where the picture is one), ICC, EXIF, XMP. Damaged metadata is left out
    with a note: the picture is intact.

    Raises CorruptError for a damaged alpha plane, without which the picture would be another.
    """
    header = container.header

    def metadata(kind: bytes, name: str) -> bytes | None:
        payload = container.first(kind)
        if payload is None:
            return None
        try:
            return unpack_metadata(payload)
        except ImageError as error:
            notes.append(f"{name} left out: {error}")
            return None

    picture.icc = metadata(ICC, "ICC profile")
    picture.exif = metadata(EXIF, "EXIF")
    picture.xmp = metadata(XMP, "XMP")
    coded = container.first(ALPHA)
    if coded is not None:
        try:
            alpha = unpack_alpha(coded, header.width, header.height)
        except ImageError as error:
            raise CorruptError(str(error)) from error
        alpha = reduced_plane(alpha, scale)
        if region is not None:
            alpha = alpha[region.top : region.bottom, region.left : region.right]
        picture.alpha = np.ascontiguousarray(alpha)
