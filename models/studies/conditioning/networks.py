"""An ssVAE whose layers pass on pictures, as the papers write it, instead of features.

Gatopoulos & Tomczak 2020 condition on the smaller picture itself, with ELBO terms (y1 = x/4,
y2 = x/2)::

    log p(y1|u)  + log p(u)          − log q(u|x)          u  → ŷ1
    log p(y2|y1, z1) + log p(z1|u, y1)  − log q(z1|x, y1)      z1 → ŷ2
    log p(x|y2, z2)  + log p(z2|u, z1, y2) − log q(z2|x, y2)   z2 → x̂

:mod:`models.ssvae.networks` keeps the terms of bits (the log p and log q of latents) and the errors
of y1, y2 and x, but passes the *features* from which ŷ1 and ŷ2 were drawn on to the next layer: y1
and y2 are side heads there, and z1 and z2 see more than a picture. Here features end at each
picture::

    u → features → ŷ1 → see → features, z1 → ŷ2 → see → features, z2 → x̂

In training a share of the pictures passed on are the true ones, so that a picture given from
outside (:func:`complete`) means the same as a decoded one. The exact priors see symbols alone, as
ever: ŷ1 and ŷ2 are functions of symbols.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.blocks import Down, gated_blocks
from models.ssvae.networks import SSVAE, SSVAEConfig, Synthesis
from models.trainable import TrainingPass

#: Share of the images whose next layers see the true picture instead of the decoded one.
TRUE_SHARE = 0.25


class PictureSynthesis(Synthesis):
    """Between layers only pictures pass: ŷ1 at 1/4 and ŷ2 at 1/2 of the size."""

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__(config)
        w = config.widths
        # Four to one in each direction: 1/4 → 1/16, 1/2 → 1/8.
        self.see = nn.ModuleList(
            nn.Sequential(Down(3, w[i + 1], factor=4), gated_blocks(w[i + 1], 1)) for i in range(2)
        )
        self._given: list[Tensor | None] = [None, None]
        self._use = torch.zeros(0, dtype=torch.bool)

    @contextmanager
    def given(self, y1: Tensor | None, y2: Tensor | None, use: Tensor) -> Iterator[None]:
        """For a while, take these pictures (in [0, 1]) for the images of ``use``, (B,) boolean."""
        self._given, self._use = [y1, y2], use
        try:
            yield
        finally:
            self._given, self._use = [None, None], torch.zeros(0, dtype=torch.bool)

    def advance(
        self, index: int, top_down: tuple[Tensor, ...], value: Tensor, quality: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        following, picture = super().advance(index, top_down, value, quality)
        if index == 2:
            return following, picture
        shown, true = picture, self._given[index]
        if true is not None:
            shown = torch.where(self._use[:, None, None, None], true, picture)
        return (self.see[index](shown.to(picture) - 0.5),), picture


class PictureSSVAE(SSVAE):
    """The model of :mod:`models.ssvae.networks` with :class:`PictureSynthesis`."""

    def __init__(self, config: SSVAEConfig) -> None:
        super().__init__(config)
        self.synthesis = PictureSynthesis(config)

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> TrainingPass:
        """See :class:`models.trainable.TrainableModel`."""
        if not noisy:
            return super().forward(image, quality, kept, sample, noisy=False)
        assert isinstance(self.synthesis, PictureSynthesis)
        use = torch.rand(len(image), device=image.device) < TRUE_SHARE
        y1, y2 = self.small_target(image, 4), self.small_target(image, 2)
        with self.synthesis.given(y1, y2, use):
            return super().forward(image, quality, kept, sample)


@torch.no_grad()
def complete(
    model: PictureSSVAE, small: Tensor, factor: int, quality: float, *, temperature: float = 0.0
) -> Tensor:
    """A picture of ``factor`` times the size of y, drawn given y: p(x | y).

    The layers that explain y are the analysis' of y enlarged; those beyond are the prior's, its
    mean or, with a temperature, a sample; what is drawn from sees y itself.

    Args:
        small: y2 (factor 2) or y1 (factor 4), B×3×h×w in [0, 1]; h and w times the factor must be
            multiples of 64.
        quality: whose priors and gains are used.

    Raises:
        ValueError: another factor.
    """
    if factor not in (2, 4):
        raise ValueError(f"the factor must be 2 or 4, not {factor}")
    assert isinstance(model.synthesis, PictureSynthesis)
    enlarged = nn.functional.interpolate(small, scale_factor=factor, mode="bicubic").clamp(0, 1)
    batch = len(small)
    at = small.new_full((batch,), float(quality))
    kept = torch.full((batch,), 2 if factor == 2 else 1, device=small.device)
    y1 = small if factor == 4 else nn.functional.avg_pool2d(small, 2)
    y2 = small if factor == 2 else None
    use = torch.ones(batch, dtype=torch.bool, device=small.device)
    drawn = small.new_full((batch,), float(temperature))
    with model.synthesis.given(y1, y2, use):
        return SSVAE.forward(model, enlarged, at, kept, drawn, noisy=False).image
