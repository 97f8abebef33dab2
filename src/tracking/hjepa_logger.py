"""``HJEPATensorBoardLogger``: what to watch when a hierarchical joint-embedding predictive model is trained."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from ..errors import UserError
from ..metrics.ema import ema_metrics
from ..metrics.representation import (
    EvenSample,
    collapse_metrics,
    combined_similarities,
    cosine_similarities,
    similarity_summary,
)
from ..metrics.stability import STEPS, loss_stability
from .device_memory import MemoryReader, gpu_memory
from .event_writer import BorrowedWriter, EventWriter, SilentWriter
from .monitors.base import group_of
from .tag_tables import jepa as names
from .training_logger import TrainingLogger, gradient_norms

Levels = Sequence[Tensor] | Mapping[int, Tensor] | Tensor
_TOTAL_NAMES = ("loss", "total", "total_loss", "loss_total")
_UNWEIGHTED_NAMES = ("unweighted", "loss_unweighted", "unweighted_loss")
_LEVEL_NAME = re.compile(r"(?:loss_?)?(?:h|level_?)(\d+)(?:_loss)?")


class HJEPATensorBoardLogger(TrainingLogger):
    """Logs losses, collapse, prediction quality, EMA and the rest for every level of a hierarchy.

    Each method computes its metrics on the device and never waits for it. A metric's step is ``global_step``, the
    number of optimiser steps; by default the logger's own, which ``increment_step`` counts up.
    """

    def __init__(
        self,
        metrics_logger: TrainingLogger | SummaryWriter | SilentWriter | None = None,
        num_hierarchies: int = 3,
        *,
        hierarchy_weights: Sequence[float] | None = None,
        log_dir: str | Path = "runs",
        experiment_name: str | None = None,
        memory_reader: MemoryReader = gpu_memory,
    ) -> None:
        """Join a logger that is open already, or open an event file.

        Args:
            metrics_logger: a ``TrainingLogger``, a ``SummaryWriter``, or an object that has one as ``writer``; it stays
                open. None opens ``<log_dir>/<experiment_name>/``.
            num_hierarchies: levels of the model.
            hierarchy_weights: weight of each level's loss in the total one, 1 by default; for contributions.
            log_dir, experiment_name: as in ``TrainingLogger``.
            memory_reader: what says how much memory a GPU uses.

        Raises:
            UserError: if ``metrics_logger`` is none of these, there is no level, or weights are not one a level.
        """
        if num_hierarchies < 1:
            raise UserError(f"num_hierarchies must be at least 1, but got {num_hierarchies}; 3 is usual")
        weights = tuple(hierarchy_weights or (1.0,) * num_hierarchies)
        if len(weights) != num_hierarchies:
            raise UserError(
                f"hierarchy_weights must be one for each of {num_hierarchies} levels, but got {len(weights)}; "
                "num_hierarchies says how many levels there are"
            )
        if metrics_logger is None:
            super().__init__(log_dir, experiment_name)
        else:
            super().__init__(writer=_writer_of(metrics_logger))
        if isinstance(metrics_logger, TrainingLogger):
            self._pending = metrics_logger._pending  # one event for what both log of a step
        self.num_hierarchies, self.hierarchy_weights = num_hierarchies, weights
        self._memory_reader = memory_reader
        self._clipped: deque[Tensor] = deque(maxlen=STEPS)
        self._losses: deque[Tensor | float] = deque(maxlen=STEPS)

    def log_hierarchical_losses(self, loss_dict: Mapping[str, Tensor | float], global_step: int | None = None) -> None:
        """Log the loss of every level, the total, and what each level contributes to it, in percent.

        Args:
            loss_dict: ``loss`` (or ``total``), the weighted sum; ``h0``, ``h1`` and so on (or ``level0``,
                ``loss_h0``), the levels' losses without weights; ``unweighted``, by default the sum of the levels'.
                Other entries are left out.
            global_step: optimiser step.

        Raises:
            UserError: if there is neither a total nor a level.
        """
        levels = {int(match[1]): value for name, value in loss_dict.items() if (match := _LEVEL_NAME.fullmatch(name))}
        total = next((loss_dict[name] for name in _TOTAL_NAMES if name in loss_dict), None)
        if total is None and not levels:
            raise UserError(
                "loss_dict must have 'loss' or the levels' losses 'h0', 'h1', ..., but has "
                f"{', '.join(map(repr, loss_dict)) or 'nothing'}"
            )
        parts = {level: self._weight(level) * value for level, value in levels.items()}
        weighted = sum(parts.values())
        values: dict[str, Tensor | float] = {names.LOSS_TOTAL: weighted if total is None else total}
        given = next((loss_dict[name] for name in _UNWEIGHTED_NAMES if name in loss_dict), None)
        if levels or given is not None:
            values[names.LOSS_UNWEIGHTED] = sum(levels.values()) if given is None else given
        for level, value in levels.items():
            values[names.LOSS_LEVEL.format(level=level)] = value
            values[names.LOSS_CONTRIBUTION.format(level=level)] = 100 * _share(parts[level], weighted)
        self.log_values(values, global_step)

    def log_masking_statistics(self, mask: Tensor, num_patches: int, global_step: int | None = None) -> None:
        """Log how much is hidden from the context encoder.

        Args:
            mask: ``[batch, patches]`` or ``[batch, rows, columns]``: True or 1 where a patch is hidden.
            num_patches: patches of an image.
            global_step: optimiser step.
        """
        masked = (mask.detach() != 0).reshape(len(mask), -1).sum(1).float().mean()
        self.log_values(
            {
                names.MASK_RATIO: masked / num_patches,
                names.MASKED_PATCHES: masked,
                names.UNMASKED_PATCHES: num_patches - masked,
            },
            global_step,
        )

    def log_prediction_quality(
        self, predictions: Levels, targets: Levels, global_step: int | None = None, prefix: str = "train/"
    ) -> None:
        """Log cosine similarity and normalised error of predictions and targets at every level.

        Args:
            predictions, targets: one tensor ``[..., dimensions]`` a level, the finest first. A list of several times as
                many as there are levels counts as several batches: level 0, level 1, ..., level 0, level 1, ...
            global_step: optimiser step.
            prefix: "train/" or "val/".

        Raises:
            UserError: if predictions and targets do not fit together.
        """
        found, wanted = self._by_level(predictions), self._by_level(targets)
        for level, batches in found.items():
            pairs = list(zip(batches, wanted.get(level, []), strict=False))
            if len(pairs) < len(batches) or any(one.shape != other.shape for one, other in pairs):
                raise UserError(
                    f"predictions and targets of level {level} must have the same shapes, but got "
                    f"{[list(one.shape) for one in batches]} and {[list(one.shape) for one in wanted.get(level, [])]}"
                )
            summary = similarity_summary(torch.cat([cosine_similarities(*pair) for pair in pairs]))
            self._log_level(names.PREDICTION, prefix, level, summary, global_step)

    def log_collapse_metrics(
        self, features: Tensor, level: int = 0, global_step: int | None = None, prefix: str = "train/"
    ) -> None:
        """Log whether the features of a level still differ from one another; see ``metrics.representation``.

        Args:
            features: ``[..., dimensions]``; at most 512 evenly spaced samples are looked at.
            level: level of the hierarchy, 0 the finest.
            global_step: optimiser step.
            prefix: "train/" or "val/".
        """
        self._log_level(names.COLLAPSE, prefix, level, collapse_metrics(features, centred=True), global_step)

    def log_gradient_flow(
        self, model: nn.Module, global_step: int | None = None, *, clipped_by: Tensor | float = 1.0
    ) -> None:
        """Log the gradient norm of the whole model and the mean one of each part; call it before clipping.

        Args:
            model: with gradients.
            global_step: optimiser step.
            clipped_by: what clipping has multiplied the gradients with, if they are clipped already.
        """
        norms = {name: norm / clipped_by for name, norm in gradient_norms(model).items()}
        if not norms:
            return
        parts: dict[str, list[Tensor]] = {}
        for name, norm in norms.items():
            parts.setdefault(group_of(name), []).append(norm)
        values: dict[str, Tensor | float] = {
            names.GRADIENT_FLOW_GROUP.format(group=group): torch.stack(own).mean() for group, own in parts.items()
        }
        values[names.GRADIENT_FLOW_NORM] = torch.linalg.vector_norm(torch.stack(list(norms.values())))
        self.log_values(values, global_step)

    def log_gradient_clipping(
        self,
        global_norm_before: Tensor | float,
        global_norm_after: Tensor | float | None = None,
        clip_threshold: float | None = None,
        global_step: int | None = None,
    ) -> None:
        """Log the gradient norm before and after clipping and how many of the last 100 calls clipped, in percent.

        Args:
            global_norm_before: what ``torch.nn.utils.clip_grad_norm_`` returned.
            global_norm_after: by default the lesser of norm and threshold, which is what clipping leaves.
            clip_threshold: its ``max_norm``; None or infinity for no clipping.
            global_step: optimiser step.
        """
        before = torch.as_tensor(global_norm_before).detach()
        threshold = float("inf") if clip_threshold is None else clip_threshold
        self._clipped.append(before > threshold)
        self.log_values(
            {
                names.NORM_BEFORE_CLIP: before,
                names.NORM_AFTER_CLIP: before.clamp_max(threshold) if global_norm_after is None else global_norm_after,
                names.CLIPPING_PERCENTAGE: 100 * torch.stack([c.to(before.device) for c in self._clipped]).float(),
            },
            global_step,
        )

    def log_learning_rate(self, optimizer: torch.optim.Optimizer, global_step: int | None = None) -> None:
        """Log the first parameter group's learning rate, and every group's by itself where there are several."""
        rates = [group["lr"] for group in optimizer.param_groups]
        values = {names.BASE_LEARNING_RATE: rates[0]}
        if len(rates) > 1:
            values |= {names.GROUP_LEARNING_RATE.format(number=number): rate for number, rate in enumerate(rates)}
        self.log_values(values, global_step)

    def log_hierarchy_feature_stats(self, predictions: Levels, targets: Levels, global_step: int | None = None) -> None:
        """Log mean and deviation of every level's target features and how many patches it has.

        Args:
            predictions: not looked at: what the targets are like decides what can be predicted.
            targets: one tensor ``[batch, patches, dimensions]`` a level, the finest first.
            global_step: optimiser step.
        """
        for level, batches in self._by_level(targets).items():
            features = torch.cat([batch.detach().float().reshape(-1) for batch in batches])
            summary: dict[str, Tensor | float] = {
                "feat_mean": features.mean(),
                "feat_std": features.std(correction=0),
                "num_patches": float(batches[0].shape[-2]) if batches[0].ndim > 2 else 1.0,
            }
            self._log_level(names.FEATURES, "", level, summary, global_step)

    def log_training_stability(
        self,
        current_loss: Tensor | float,
        loss_history: Sequence[Tensor | float] | None = None,
        global_step: int | None = None,
    ) -> None:
        """Log smoothness, slope and spikes of the loss over its last 100 values; see ``metrics.stability``.

        Args:
            current_loss: of this step.
            loss_history: the last losses, the current one included; by default those of earlier calls.
            global_step: optimiser step.
        """
        self._losses.append(current_loss.detach() if isinstance(current_loss, Tensor) else current_loss)
        found = loss_stability(list(self._losses) if loss_history is None else list(loss_history)[-STEPS:])
        self.log_values({names.STABILITY.format(name=name): value for name, value in found.items()}, global_step)

    def log_performance_metrics(
        self, batch_size: int, forward_time: float, backward_time: float, global_step: int | None = None
    ) -> None:
        """Log how fast a step was and, on a GPU, how much memory it took.

        Args:
            batch_size: samples of the step.
            forward_time, backward_time: in seconds. A GPU works on after a call has returned: time it with
                ``torch.cuda.Event``, or ``time.perf_counter`` after ``torch.cuda.synchronize``.
            global_step: optimiser step.
        """
        speed = {
            "forward_time_ms": 1000 * forward_time,
            "backward_time_ms": 1000 * backward_time,
            "samples_per_second": batch_size / max(forward_time + backward_time, 1e-9),
        }
        values = speed | dict(self._memory_reader())
        self.log_values({names.PERFORMANCE.format(name=name): value for name, value in values.items()}, global_step)

    def log_ema_dynamics(
        self,
        context_encoder: nn.Module,
        target_encoder: nn.Module,
        current_momentum: float,
        target_momentum: float,
        global_step: int | None = None,
    ) -> None:
        """Log the momentum and how far the target encoder is from the one it follows; see ``metrics.ema``.

        Args:
            context_encoder, target_encoder: the trained one and its moving average.
            current_momentum: of this step.
            target_momentum: what its schedule ends with.
            global_step: optimiser step.
        """
        found = ema_metrics(context_encoder, target_encoder)
        self.log_values(
            {
                names.MOMENTUM_CURRENT: current_momentum,
                names.MOMENTUM_TARGET: target_momentum,
                names.PARAMETER_DIVERGENCE: found["avg_parameter_divergence"],
                names.WEIGHT_MAGNITUDE_RATIO: found["weight_magnitude_ratio"],
            },
            global_step,
        )

    def validation(self) -> HJEPAValidation:
        """Start a validation whose metrics are over all of its batches."""
        return HJEPAValidation(self)

    def _log_level(
        self, template: str, prefix: str, level: int, values: Mapping[str, Tensor | float], step: int | None
    ) -> None:
        tags = {template.format(prefix=prefix, level=level, name=name): value for name, value in values.items()}
        self.log_values(tags, step)

    def _weight(self, level: int) -> float:
        return self.hierarchy_weights[level] if level < self.num_hierarchies else 1.0

    def _by_level(self, values: Levels) -> dict[int, list[Tensor]]:
        """Level to its tensors, one a batch."""
        if isinstance(values, Tensor):
            return {0: [values]}
        if isinstance(values, Mapping):
            return {level: [value] for level, value in values.items()}
        count = len(values)
        if count > self.num_hierarchies and count % self.num_hierarchies:
            raise UserError(
                f"a list must have one tensor for each of {self.num_hierarchies} levels, or so many for each batch, "
                f"but has {count}; num_hierarchies says how many levels there are"
            )
        levels: dict[int, list[Tensor]] = {}
        for place, value in enumerate(values):
            levels.setdefault(place % self.num_hierarchies, []).append(value)
        return levels


class HJEPAValidation:
    """Gathers a validation batch by batch in bounded memory, so that its metrics are over the whole set.

    Args:
        logger: where ``log`` writes to.
    """

    def __init__(self, logger: HJEPATensorBoardLogger) -> None:
        self._logger = logger
        self._features: dict[int, EvenSample] = {}
        self._counts: dict[int, list[int]] = {}
        self._summaries: dict[int, list[dict[str, Tensor]]] = {}

    def add(self, predictions: Levels, targets: Levels, features: Levels | None = None) -> None:
        """Take in a batch.

        Args:
            predictions, targets: one tensor ``[batch, patches, dimensions]`` a level, the finest first.
            features: what is watched for collapse, likewise; the targets by default.
        """
        wanted = self._logger._by_level(targets)
        for level, batches in self._logger._by_level(predictions).items():
            for found, target in zip(batches, wanted[level], strict=True):
                similarities = cosine_similarities(found, target)
                self._counts.setdefault(level, []).append(len(similarities))
                self._summaries.setdefault(level, []).append(similarity_summary(similarities))
        for level, batches in self._logger._by_level(targets if features is None else features).items():
            for batch in batches:
                self._features.setdefault(level, EvenSample()).add(batch)

    def log(self, global_step: int | None = None, prefix: str = "val/") -> None:
        """Log collapse and prediction quality of everything added."""
        for level, summaries in self._summaries.items():
            summary = combined_similarities(self._counts[level], summaries)
            self._logger._log_level(names.PREDICTION, prefix, level, summary, global_step)
        for level, sample in self._features.items():
            self._logger.log_collapse_metrics(sample.rows(), level, global_step, prefix)


def _writer_of(metrics_logger: Any) -> EventWriter | SilentWriter:
    writer = metrics_logger if isinstance(metrics_logger, SummaryWriter) else getattr(metrics_logger, "writer", None)
    writer = metrics_logger if isinstance(metrics_logger, SilentWriter) else writer
    if isinstance(writer, (EventWriter, SilentWriter)):
        return writer
    if isinstance(writer, SummaryWriter):
        return BorrowedWriter(writer)
    raise UserError(
        "metrics_logger must be a TrainingLogger, a SummaryWriter, or an object with one as its 'writer', but is a "
        f"{type(metrics_logger).__name__}; without it, log_dir and experiment_name say where to log"
    )


def _share(part: Tensor | float, whole: Tensor | float) -> Tensor | float:
    if isinstance(part, Tensor) or isinstance(whole, Tensor):
        return part / whole
    return part / whole if whole else 0.0
