"""``BatchLog``: every batch of a training, and every epoch, on the global-step axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from .tag_tables import progress as names
from .training_logger import TrainingLogger


@dataclass(frozen=True)
class EvaluatedBatch:
    """One batch of an evaluation: seconds, samples, and means per sample (``loss``, and ``accuracy`` and the like)."""

    seconds: float
    samples: int
    values: Mapping[str, Tensor | float]


class BatchLog:
    """Writes what batch-level logging promises: ``train/*``, ``eval/*``, ``val/*`` and ``progress/*``.

    The diagnosis is not shown these values: it looks at every tenth step, and hears of losses there.

    Accuracy, calls and returns are written where the task has them.

    Args:
        logger: where to write.
        steps_per_epoch: batches in an epoch.
        total_steps: batches in all epochs.
        answers: how many answers a sample asks for, steps ahead times targets; sums count every answer.
    """

    def __init__(self, logger: TrainingLogger, steps_per_epoch: int, total_steps: int, answers: int = 1) -> None:
        self.logger, self.answers = logger, answers
        self.steps_per_epoch, self.total_steps = steps_per_epoch, total_steps
        self.best_accuracy = -math.inf

    def train_batch(self, step: int, loss: Tensor | float, seconds: float) -> None:
        """A batch has been trained on.

        Args:
            step: number of the optimiser step, from 0, over all epochs.
            loss: 0-dimensional.
            seconds: time it took.
        """
        epoch, number = divmod(step, self.steps_per_epoch)
        values: dict[str, Tensor | float] = {
            names.BATCH_LOSS: loss,
            names.BATCH_SECONDS: seconds,
            names.BATCH_INDEX: float(number),
            names.BATCHES_PER_EPOCH: float(self.steps_per_epoch),
            names.EPOCH: float(epoch),
            names.BATCH_IN_EPOCH: float(number),
            names.GLOBAL_STEP: float(step),
            names.COMPLETION: 100.0 * (step + 1) / self.total_steps,
        }
        self.logger.log_values(values, step, observed=False)

    def evaluation(self, first_step: int, batches: Sequence[EvaluatedBatch]) -> None:
        """An evaluation is over; its batches are drawn over the steps of the epoch that began with ``first_step``."""
        count = len(batches)
        for number, batch in enumerate(batches):
            values: dict[str, Tensor | float] = {
                names.EVALUATION_LOSS: batch.values["loss"],
                names.EVALUATION_SECONDS: batch.seconds,
                names.EVALUATION_INDEX: float(number),
                names.EVALUATION_BATCHES: float(count),
                names.EVALUATION_SAMPLES: float(batch.samples),
                names.EVALUATION_PROGRESS: 100.0 * (number + 1) / count,
                names.EVALUATION_PROCESSED: float(number + 1),
            }
            answers = batch.samples * self.answers
            if "accuracy" in batch.values:
                values[names.EVALUATION_ACCURACY] = batch.values["accuracy"]
                values[names.EVALUATION_CORRECT] = batch.values["accuracy"] * answers
            if "simulated_return" in batch.values:
                values[names.EVALUATION_RETURN] = batch.values["simulated_return"]
                values[names.EVALUATION_CALLS] = batch.values["actual_calls"] * answers
                values[names.EVALUATION_CALL_RETURNS] = batch.values["actual_call_returns"] * answers
            self.logger.log_values(values, first_step + number * self.steps_per_epoch // count, observed=False)

    def epoch(
        self,
        step: int,
        train_loss: float,
        validation: Mapping[str, float],
        *,
        seconds: float,
        validation_seconds: float,
        samples: int,
        epochs_since_best: int,
    ) -> None:
        """The summary of an epoch, at its last step.

        Args:
            step: number of that step.
            train_loss: mean over the epoch's batches.
            validation: means per sample over the validation part.
            seconds, validation_seconds: time of the whole epoch, and of its validation.
            samples: how many the validation part has.
            epochs_since_best: 0 if this one is the best so far.
        """
        values = {
            names.EPOCH_LOSS: train_loss,
            names.EPOCH_SECONDS: seconds,
            names.BATCHES_PROCESSED: float(step + 1),
            names.VALIDATION_LOSS: validation["loss"],
            names.VALIDATION_SECONDS: validation_seconds,
            names.VALIDATION_EPOCHS_SINCE_BEST: float(epochs_since_best),
        }
        if "accuracy" in validation:
            self.best_accuracy = max(self.best_accuracy, validation["accuracy"])
            values[names.VALIDATION_ACCURACY] = validation["accuracy"]
            values[names.VALIDATION_BEST_ACCURACY] = self.best_accuracy
        if "simulated_return" in validation:
            values[names.VALIDATION_RETURN] = validation["simulated_return"]
            values[names.VALIDATION_CALL_RETURNS] = validation["actual_call_returns"] * samples * self.answers
        self.logger.log_values(values, step, observed=False)
