"""What a hierarchical joint-embedding model is watched for: collapse above all, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...metrics.representation import collapse_metrics, cosine_similarities
from ..event_writer import EventWriter
from ..hjepa_logger import HJEPATensorBoardLogger
from ..patch_figure import SAMPLES, draw_patches
from ..tag_tables import jepa as names
from ..tag_tables.epochs import HISTOGRAM_INTERVAL
from .base import Monitor, WatchedEpoch, WatchedRun, WatchedStep

VALIDATION_SAMPLES = 1024
EMBEDDINGS = "embeddings"
EMBEDDED_SAMPLES = 500
BATCH = 128
AVERAGE_INTERVAL = 5
"""The moving average is compared at every fifth look that is written; 500 steps with the default interval."""


class HierarchyMonitor(Monitor):
    """Feeds ``HJEPATensorBoardLogger`` with what a model of the kind of ``models.jepa`` compares.

    Collapse of every level is looked at every ten steps, on what the target encoder makes of the batch; after every
    epoch collapse and quality of the predictions on a sample of the whole validation part. Every tenth epoch there are
    the figure of patches, the distributions of features, and the embeddings with their labels in the PROJECTOR tab.

    Args:
        model: with ``compare``, ``masking_fn``, ``embed``, encoders, ``grids``, and ``last`` while ``keep_last``.
    """

    name: ClassVar[str] = "hierarchy"
    diagnosed: ClassVar[bool] = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self._run: WatchedRun | None = None
        self._logger: HJEPATensorBoardLogger | None = None
        self._looks = 0

    def on_start(self, run: WatchedRun) -> None:
        """Join the run's logger."""
        self._run = run
        weights = self._model.config.weights()
        self._logger = HJEPATensorBoardLogger(run.logger, len(weights), hierarchy_weights=weights)

    def before_step(self) -> None:
        """Ask the model to keep what it compares."""
        self._model.keep_last = True

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at the features of every level, and now and then at everything else."""
        levels, self._model.last, self._model.keep_last = self._model.last, None, False
        if levels is None:
            return {}
        if step.detailed and self._logger is not None:
            self._log_step(self._logger, step, levels)
        return {
            names.COLLAPSE.format(prefix="train/", level=level, name=name): value
            for level, features in enumerate(levels.features)
            for name, value in collapse_metrics(features, centred=step.detailed).items()
        }

    def _log_step(self, logger: HJEPATensorBoardLogger, step: WatchedStep, levels: Any) -> None:
        number, model = step.step, self._model
        logger.log_hierarchical_losses(step.losses, number)
        logger.log_masking_statistics(levels.masks[0], model.get_num_patches(), number)
        logger.log_prediction_quality(levels.predicted_features, levels.features, number)
        logger.log_gradient_flow(model, number, clipped_by=step.gradient_scale)
        if step.gradient_norm is not None:
            logger.log_gradient_clipping(step.gradient_norm, None, step.clip or None, number)
        if self._run is not None and self._run.optimizer is not None:
            logger.log_learning_rate(self._run.optimizer, number)
        logger.log_hierarchy_feature_stats(levels.predicted_features, levels.features, number)
        logger.log_training_stability(step.losses["loss"], list(step.recent_losses), number)
        if {"forward", "backward"} <= step.seconds.keys():
            logger.log_performance_metrics(step.samples, step.seconds["forward"], step.seconds["backward"], number)
        if self._looks % AVERAGE_INTERVAL == 0:
            momentum = model.momentum_at(number)
            end = model.config.momentum_end
            logger.log_ema_dynamics(model.context_encoder, model.target_encoder, momentum, end, number)
        self._looks += 1

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Look at the validation part."""
        data = getattr(self._run, "data", None)
        if self._logger is None or data is None or not len(data.validation):
            return {}
        was_training = self._model.training
        self._model.eval()
        device = next(self._model.parameters()).device
        try:
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(0)  # the same masks after every epoch
                self._look_at_validation(self._logger, data.validation, epoch)
        finally:
            self._model.train(was_training)
        return {}

    def _look_at_validation(self, logger: HJEPATensorBoardLogger, split: Any, epoch: WatchedEpoch) -> None:
        validation, compared = logger.validation(), []
        index = np.unique(np.linspace(0, len(split) - 1, min(VALIDATION_SAMPLES, len(split))).astype(np.int64))
        for first in range(0, len(index), BATCH):
            batch = split.select(torch.from_numpy(index[first : first + BATCH]))
            levels = self._model.compare(batch.inputs, self._model.masking_fn(len(batch.inputs), batch.inputs.device))
            validation.add(levels.predicted_features, levels.features)
            compared.append((batch, levels))
        validation.log(epoch.step)
        if epoch.epoch % HISTOGRAM_INTERVAL == 0 and isinstance(logger.writer, EventWriter):
            for level, features in enumerate(compared[0][1].features):
                logger.log_histogram(names.FEATURE_DISTRIBUTION.format(level=level), features, epoch.step)
            logger.log_image(names.PATCHES_IMAGE, self._figure(*compared[0], epoch), epoch.step)
            self._log_embeddings(logger, [batch for batch, _ in compared], epoch)

    def _figure(self, batch: Any, levels: Any, epoch: WatchedEpoch) -> Any:
        chosen = slice(0, SAMPLES)
        grid = self._model.grids[0]
        prediction, target = (level[0][chosen] for level in (levels.predicted_features, levels.features))
        similarity = cosine_similarities(prediction, target).reshape(-1, *grid)
        inputs = batch.inputs[chosen]
        samples = self._pictures(inputs) if self._model.is_image else self._model.normalised(inputs)[0][..., 0]
        masks = levels.masks[0][chosen].reshape(-1, *grid)
        title = f"Prediction of hidden patches, validation part, epoch {epoch.epoch}"
        return draw_patches(samples.float().cpu().numpy(), similarity.float().cpu().numpy(), masks.cpu().numpy(), title)

    def _pictures(self, inputs: Tensor) -> Tensor:
        """Pictures as they were, ``[batch, rows, columns, channels]`` from 0 to 1."""
        spec = self._model.spec
        mean, deviation = (
            inputs.new_tensor(values).view(1, -1, 1, 1) for values in (spec.pixel_mean, spec.pixel_deviation)
        )
        return (inputs * deviation + mean).clamp(0, 1).permute(0, 2, 3, 1)

    def _log_embeddings(self, logger: HJEPATensorBoardLogger, batches: Sequence[Any], epoch: WatchedEpoch) -> None:
        """Embeddings of validation samples for the PROJECTOR tab, pictures with their sprites."""
        inputs = torch.cat([batch.inputs for batch in batches])[:EMBEDDED_SAMPLES]
        targets = torch.cat([batch.targets for batch in batches])[:EMBEDDED_SAMPLES]
        sprites = self._pictures(inputs).permute(0, 3, 1, 2).cpu() if self._model.is_image else None
        logger.writer.add_embedding(
            self._model.embed(inputs).float().cpu(),
            metadata=_labels(targets, self._model.spec),
            label_img=None if sprites is None else sprites.expand(-1, 3, -1, -1),
            global_step=epoch.step,
            tag=EMBEDDINGS,
        )


def _labels(targets: Tensor, spec: Any) -> list[str]:
    """What the points are called: their classes, or whether the first target goes up."""
    if spec.kind != "images":
        first = targets.reshape(len(targets), -1)[:, 0].tolist()
        return ["up" if value > (0.5 if spec.task == "direction" else 0) else "down" for value in first]
    return [spec.class_names[number] if 0 <= number < len(spec.class_names) else "?" for number in targets.tolist()]
