"""Every shipped model and all its numbers, on one page."""

from __future__ import annotations

from collections.abc import Callable

from models.ssvae import SSVAE, SSVAEConfig


def build_ssvae() -> SSVAE:
    """The default: 4.3 M parameters, 22 kMAC/pixel to encode, 13 to decode (CPU-trained size)."""
    return SSVAE(SSVAEConfig())


def build_ssvae_tiny() -> SSVAE:
    """The same shape at a size for tests of the training system; not shipped."""
    return SSVAE(
        SSVAEConfig(
            widths=(8, 16, 16, 16),
            latents=(8, 8, 8),
            analysis_depths=(1, 1, 1, 1),
            synthesis_depths=(1, 1, 1, 1, 1, 1),
            prior_widths=(16, 16, 16),
            prior_depth=1,
            coarse_kernel=3,
        )
    )


BUILDERS: dict[str, Callable[[], SSVAE]] = {
    "ssvae": build_ssvae,
    "ssvae-tiny": build_ssvae_tiny,
}
