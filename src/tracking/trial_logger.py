"""``TrialLogger``: the trial of a hyperparameter search, from its parameters at step 0 to how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UserError, did_you_mean
from .tag_tables import trials as names
from .tag_tables.trials import PHASES
from .training_logger import TrainingLogger


class TrialLogger(TrainingLogger):
    """A ``TrainingLogger`` for one trial.

    What is known at the start stands at step 0, what changes while it trains at every step or epoch, and what is known
    in the end at the last step.
    """

    def start_trial(
        self,
        number: int,
        phase: str,
        hyperparameters: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Log number, phase and hyperparameters at step 0, and enter the trial in the HPARAMS tab.

        Arguments and errors are those of ``log_trial``.
        """
        self.log_trial(number, phase, hyperparameters, metadata)
        self.log_hparams(dict(hyperparameters))

    def log_trial(
        self,
        number: int,
        phase: str,
        hyperparameters: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Log number, phase and hyperparameters at step 0.

        Args:
            number: of the trial, from 0.
            phase: ``random``, ``bayesian`` or ``fine_tune``.
            hyperparameters: name to value. Numbers and bools become ``hyperparam/<name>``; text stands in the table.
            metadata: whatever else is worth a row in the table.

        Raises:
            UserError: if there is no such phase.
        """
        if phase not in PHASES:
            raise UserError(
                f"phase must be one of {', '.join(PHASES)}, but got '{phase}'.{did_you_mean(phase, PHASES)}"
            )
        values = {names.NUMBER: float(number), names.PHASE: float(PHASES.index(phase))}
        for name, value in hyperparameters.items():
            if isinstance(value, int | float):
                values[names.HYPERPARAMETER.format(name=name)] = float(value)
        self.log_values(values, 0)
        rows = {"trial": number, "phase": phase, **(metadata or {}), **hyperparameters}
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        self.log_text(names.METADATA, f"| | |\n|:--|:--|\n{table}", 0)

    def trial_batch(self, epoch: int, batch: int, step: int | None = None) -> None:
        """Log where the trial is; both count from 0."""
        self.log_values({names.CURRENT_EPOCH: float(epoch), names.CURRENT_BATCH: float(batch)}, step)

    def trial_epoch(self, epoch: int, best_epoch: int, best_accuracy: float, step: int | None = None) -> None:
        """Log an epoch that has ended, the best one so far, and its accuracy (or whatever value decides)."""
        values = {names.EPOCH: epoch, names.BEST_EPOCH: best_epoch, names.BEST_ACCURACY: best_accuracy}
        self.log_values({name: float(value) for name, value in values.items()}, step)

    def end_trial(self, final_epoch: int, final_accuracy: float, *, completed: bool, step: int | None = None) -> None:
        """Log how the trial ended, at its last step.

        Args:
            final_epoch: the last epoch, from 0.
            final_accuracy: its accuracy, or whatever value decides.
            completed: False if it was pruned or failed.
            step: the last step, from 0; ``global_step`` by default.
        """
        last = self.global_step if step is None else step
        values = {
            names.FINAL_EPOCH: float(final_epoch),
            names.FINAL_ACCURACY: final_accuracy,
            names.TOTAL_STEPS: float(last + 1),
            names.COMPLETED: float(completed),
        }
        self.log_values(values, last)
        self.flush()
