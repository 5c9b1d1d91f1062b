"""Every shipped model and all its numbers, on one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.convdraw.coding import ConvDRAWCoding
from models.convdraw.networks import ConvDRAW, ConvDRAWConfig, Level
from models.protocol import CodingModel
from models.ssvae.coding import SSVAECoding
from models.ssvae.networks import SSVAE, SSVAEConfig
from models.trainable import TrainableModel


def build_ssvae() -> SSVAE:
    """The default: 4.6 M parameters; 21 kMAC/pixel to encode, 13 to decode, 25 and 16 with fine."""
    return SSVAE(SSVAEConfig())


def build_ssvae_base() -> SSVAE:
    """The default before it gets its fine stage: what training from nothing begins with; not
    shipped."""
    return SSVAE(SSVAEConfig(fine=0))


def build_ssvae_psnr() -> SSVAE:
    """The networks of ssvae, with weights for least squared error instead of the eye."""
    return build_ssvae()


def build_ssvae_sketch() -> SSVAE:
    """u carries a pencil drawing at a quarter of the size, z1 and z2 colour and texture."""
    return SSVAE(
        SSVAEConfig(
            analysis_depths=(1, 3, 3, 1),
            synthesis_depths=(1, 2, 2, 2, 3, 1),
            representation="sketch",
        )
    )


def build_ssvae_grey() -> SSVAE:
    """u carries brightness at a quarter of the size, z1 and z2 colour and detail; not shipped."""
    return SSVAE(SSVAEConfig(representation="greyscale", fine=0))


def build_ssvae_tiny() -> SSVAE:
    """The same shape at a size for tests of the training system; not shipped."""
    return SSVAE(
        SSVAEConfig(
            widths=(16, 16, 16, 8),
            latents=(8, 8, 8),
            fine=8,
            analysis_depths=(1, 1, 1, 1),
            synthesis_depths=(1, 1, 1, 1, 1, 1),
            prior_widths=(16, 16, 16, 16),
            prior_depth=1,
            coarse_kernel=3,
        )
    )


def build_convdraw() -> ConvDRAW:
    """Convolutional DRAW: eight steps at 1/8, 2.3 M parameters, 36 kMAC/pixel to encode."""
    return ConvDRAW(ConvDRAWConfig())


def build_convdraw_tiny() -> ConvDRAW:
    """The shape of ``convdraw`` at a size for tests of the training system; not shipped."""
    return ConvDRAW(
        ConvDRAWConfig(
            levels=(
                Level(stride=16, steps=3, channels=8, hidden=16, prior_width=16),
                Level(stride=8, steps=1, channels=8, hidden=16, prior_width=16),
            ),
            steps_per_layer=(2, 1, 1),
            features=(16, 16, 8),
            feature_depths=(1, 1, 1),
            final_widths=(16, 8),
            final_depths=(1, 1),
        )
    )


BUILDERS: dict[str, Callable[[], TrainableModel]] = {
    "ssvae": build_ssvae,
    "ssvae-base": build_ssvae_base,
    "ssvae-psnr": build_ssvae_psnr,
    "ssvae-sketch": build_ssvae_sketch,
    "ssvae-grey": build_ssvae_grey,
    "ssvae-tiny": build_ssvae_tiny,
    "convdraw": build_convdraw,
    "convdraw-tiny": build_convdraw_tiny,
}

_CODING: dict[type, Callable[..., CodingModel]] = {
    SSVAE: SSVAECoding,
    ConvDRAW: ConvDRAWCoding,
}


def coding_model(model: TrainableModel, **identity: Any) -> CodingModel:
    """Networks with frozen priors, ready for the codec, as :mod:`models.exact.frozen` says."""
    return _CODING[type(model)](model, **identity)
