"""What a model family offers to the codec. ``codec/`` knows families only through this page.

Coding order: layers coarse to fine; within a layer, stages; within a stage, coding steps. Encoder
and decoder run the same loop::

    prior = model.prior(height, width, quality)
    for layer in model.layers_at(quality):
        for _ in range(layer.stages):
            target = posterior.target(prior.latents)  # encoder only
            for _ in range(layer.steps):
                prediction = prior.predict()      # exact: same bits on every machine
                symbols = …                       # round(target − mean), or from the range decoder
                prior.push(symbols)

A *stage* is as much as the posterior settles at once; the next one answers to what became of it. A
layer of ConvDRAW is several stages (its drawing steps), a layer of the ssVAE one; but z2 has a
second one at high qualities, the *fine* stage, which corrects the picture that the first one gives.

Latents, targets and means are in *symbol units*: the quantization step is 1.

All tensors begin with a *batch* of B images of one padded size and one quality, B = 1 for a single
one. What is predicted of an image does not depend on the others of its batch; what the analysis
finds does not on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # commands that code nothing read this page too, and must not wait for torch
    import numpy as np
    from torch import Tensor

    from models.tiles import Box

#: Takes the share of the work that is done, 0…1.
Progress = Callable[[float], None]


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the stack."""

    name: str
    channels: tuple[int, ...]
    """Of each stage."""
    stride: int
    steps: int
    """Coding steps of one stage."""
    corrections: int = 0
    """How many stages at the end answer to the picture that the ones before give. Where the layer
    is missing they are left out, not filled."""

    @property
    def stages(self) -> int:
        """After every one of them an image may end."""
        return len(self.channels)

    @property
    def density(self) -> float:
        """Symbols per pixel."""
        return sum(self.channels) / self.stride**2


@dataclass(frozen=True)
class Prediction:
    """What the exact prior says about the symbols of one coding step, in coding order: a row for
    each image."""

    mean: Tensor
    """(B, N) float32, multiples of 2^-10 below 2^13, symbol units."""
    scale_index: Tensor
    """(B, N) uint8, index into the scale table."""


class PriorState(Protocol):
    """Walks through all coding steps of all stages."""

    latents: list[Tensor]
    """The finished stages, each B×C×H×W float32 in symbol units."""

    def predict(self) -> Prediction:
        """The next step's prediction. Calls to predict and push alternate."""

    def push(self, symbols: Tensor) -> None:
        """Make the step's symbols known, (B, N) integers.

        Latents that come from no file need not be whole-numbered: multiples of 2^-10.
        """

    def push_fill(self, rng: np.random.Generator | None, temperature: float) -> None:
        """Complete the step without symbols: by the prior mean, or by a sample from ``rng``."""

    def gather(self, target: Tensor) -> Tensor:
        """Values of B×C×H×W at the places of the step predicted last, (B, N) in coding order."""


class Draw(Protocol):
    """Draws a box of the images of a batch, B×3×h×w float32 around [0, 1]; only some of them where
    ``images`` names them. The box has its sides on multiples of 8."""

    def __call__(self, box: Box, images: Sequence[int] | None = None) -> Tensor: ...


class Posterior(Protocol):
    """The encoder's view of a batch of images."""

    def target(self, latents: Sequence[Tensor], progress: Progress | None = None) -> Tensor:
        """Posterior mean of the stage after ``latents``, B×C×H×W float32, symbol units.

        ``progress`` is called with the share done.
        """

    def draw(
        self, latents: Sequence[Tensor], box: Box, images: Sequence[int] | None = None
    ) -> Tensor:
        """What :meth:`CodingModel.synthesize` draws of all stages in a box, B×3×h×w float32 around
        [0, 1], before it is rounded; only some images of the batch where ``images`` names them. The
        box has its sides on multiples of 8. No target may be asked after it."""


class Finish(Protocol):
    """What is done with a drawn picture before it is rounded."""

    reach: int
    """Pixels seen beyond the output."""

    def __call__(self, drawn: Tensor) -> Tensor:
        """B×3×h×w float32 → the same shape; what lies beyond ``drawn`` is its edge repeated."""


class EachFinish(Finish, Protocol):
    """A finish for each image of a batch."""

    def of(self, images: Sequence[int] | None) -> Finish:
        """Those of some images; None: of all."""


#: Asked once, before a correction is computed, with what draws the picture that it corrects: gives
#: what that picture is finished by first.
Prepare = Callable[[Draw], EachFinish | None]


class CodingModel(Protocol):
    """One set of weights of a model family."""

    def __hash__(self) -> int:
        """Models serve as cache keys."""

    name: str
    model_id: int
    fingerprint: bytes
    layers: tuple[LayerSpec, ...]
    """With all stages that any quality has."""
    size_multiple: int
    margin: int
    """Squares of 8×8 pixels around what is seen of a picture that has transparent pixels, whose
    symbols pay too."""
    max_effort: int
    frequencies: list[list[np.ndarray]]
    """Per stage the tables of the 64 scale indices; stages that share a set share the object."""
    skip_index: int

    def posterior(
        self,
        images: Tensor,
        quality: float,
        *,
        effort: int = 1,
        content: tuple[int, int] | None = None,
        prepare: Prepare | None = None,
        progress: Progress | None = None,
    ) -> Posterior:
        """Analyse images B×3×H×W, uint8; sides are multiples of ``size_multiple``.

        Args:
            effort: 1…``max_effort``; above 1 the posterior means are refined for this very image,
                which takes time and changes nothing for the decoder; one image at a time.
            content: height and width without padding, whose errors do not count; default: all.
            prepare: see :data:`Prepare`; a decoder has to do the same. Without corrections it is
                not asked.
            progress: called with the share of the refinement done.
        """

    def layers_at(self, quality: float) -> tuple[LayerSpec, ...]:
        """The layers of a file of that quality."""

    def prior(self, height: int, width: int, quality: float, batch: int = 1) -> PriorState:
        """Start the prior for ``batch`` images of that (padded) size."""

    def synthesize(
        self,
        latents: Sequence[Tensor],
        quality: float,
        scale: int,
        progress: Progress | None = None,
        *,
        prepared: EachFinish | None = None,
        finish: Finish | None = None,
        box: Box | None = None,
    ) -> Tensor:
        """Latents of stages → B×3×H/scale×W/scale, uint8. ``scale`` is 1, 2 or 4; ``prepared``,
        done before a correction is added, and ``finish`` belong to scale 1. With a ``box``, edges
        on multiples of the scale, only that part of it, the same to the last bit; what it does not
        depend on need not be computed."""

    def lagrangian(self, quality: float) -> float:
        """λ of a quality: bits per pixel that one unit of mean squared error is worth, pixels in
        [0, 1]."""

    def layers_for_scale(self, scale: int) -> int:
        """How many layers the picture at that scale depends on."""
