"""A second synthesis for images whose later layers are missing: it makes texture out of noise.

Analysis, prior and files are those of the ssVAE. What is missing comes as two tensors per layer:
the prior's mean, where the ordinary synthesis takes its latent, and noise as strong as the prior
is uncertain (a sample of the prior minus its mean), on an input of its own::

    u ─ 1/32 ─ 1/16 (unchanged) ─ z1, noise ─ 1/8 ─ z2, noise ─ 1/4, two more blocks ─ x̂

A synthesis that is given their sum cannot tell the two apart. Networks see what u explains through
features that the ordinary synthesis made: u is never missing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import GatedBlock, gated_blocks
from models.ssvae.networks import SSVAEConfig, Synthesis

#: Blocks at 1/4 beyond those of the ordinary synthesis, which has little to draw texture with.
_MORE_BLOCKS = 2
#: How loud the noise is at first, relative to a sample that the ordinary synthesis draws.
_FIRST_NOISE = 0.3


class TextureSynthesis(Synthesis):
    """The ssVAE's synthesis after u, with noise; at first nearly the same picture.

    Args:
        config: of the ordinary model.
        base: its synthesis, whose weights are copied.
    """

    #: Parts that draw what u explains: they stay those of the ordinary synthesis.
    UNCHANGED = ("inject.0.", "modulate.0.", "stage_32.", "up_16.", "stage_16.", "head_y")

    def __init__(self, config: SSVAEConfig, base: Synthesis) -> None:
        super().__init__(config)
        self.load_state_dict(base.state_dict())
        width = config.widths
        more = gated_blocks(width[3], _MORE_BLOCKS, kernel=config.kernel)
        for block in more:
            assert isinstance(block, GatedBlock)
            nn.init.zeros_(block.project.weight)
        self.stage_4.extend(more)
        self.noise = nn.ModuleList(
            nn.Conv2d(config.latents[i], width[i], 1, bias=False) for i in (1, 2)
        )
        with torch.no_grad():
            for noise, inject in zip(self.noise, list(base.inject)[1:], strict=True):
                assert isinstance(noise, nn.Conv2d)
                assert isinstance(inject, nn.Conv2d)
                noise.weight.copy_(inject.weight * _FIRST_NOISE)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not name.startswith(self.UNCHANGED))

    def forward(
        self,
        coarse: Tensor,
        values: tuple[Tensor, Tensor],
        noise: tuple[Tensor | None, Tensor | None],
        quality: Tensor,
    ) -> Tensor:
        """The image, B×3×H×W in [0, 1].

        Args:
            coarse: features at 1/16 that u gives, from the ordinary synthesis.
            values: z1 and z2 or their prior means, divided by the gain.
            noise: the same shapes, None where the layer is known.
            quality: (B,).
        """
        x = self.middle(self._stirred(0, coarse, noise[0]), values[0], quality)
        return self.fine(self._stirred(1, x, noise[1]), values[1], quality)

    def _stirred(self, index: int, x: Tensor, noise: Tensor | None) -> Tensor:
        return x if noise is None else x + self.noise[index](noise)
