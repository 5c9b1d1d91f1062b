"""Training at one λ, with all stages: what a codec of a single rate is trained by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from models.trainable import TrainableModel
from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.trainer import Batch, Trainer


class OneRateTrainer(Trainer):
    """The project's trainer with one quality for all crops, and no layer dropped.

    Loss, crops, schedule, clipping and averaged weights are those of :class:`Trainer`. Of the loss
    ``(bpp + λ MSE) / sqrt(λ)`` the divisor is now a constant.

    Args:
        quality: 0 … 100; its λ is :meth:`TrainableModel.lagrangian`'s.
    """

    def __init__(
        self, config: TrainConfig, build: Callable[[], TrainableModel], *, quality: float
    ) -> None:
        super().__init__(config, build)
        self.quality = quality
        dropped = len(self.model.stages) - 1
        self.loss_config = dataclasses.replace(
            self.loss_config,
            keep_probability=(*[0.0] * dropped, 1.0),
            layer_end=1.0,
            lambda_share=self.loss_config.lambda_share[-1 - dropped :],
        )

    def draw(self, images: ImageSet) -> Batch:
        """The next batch."""
        self.crops_state = self.generator.get_state()
        count, size = self.config.batch, self.config.crop
        quality = torch.full((count,), self.quality)
        return Batch(images.crops(count, size, self.generator, quality), quality)
