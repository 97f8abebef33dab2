"""``TrialObserver``: what a trial tells while it trains, and what ends it early."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.trial_logger import TrialLogger
from ..training.loop import EpochReport, Observer, StepReport, TrainingState
from .objective import objective_value
from .reports import TrialEpoch

if TYPE_CHECKING:
    from .trial import Trial


class TrialObserver(Observer):
    """Tells the run's events, the storage and whoever shows the search how a trial goes, and ends it if it is to be.

    Args:
        trial: whose it is.
        writer: the run's event writer.
        log_batches: whether every batch is logged.
        naive: what values are divided by, if they are relative to the naive forecast.
    """

    is_logging = True

    def __init__(
        self, trial: Trial, writer: EventWriter | SilentWriter, log_batches: bool, naive: float | None = None
    ) -> None:
        self.trial, self.logger, self.log_batches, self.naive = trial, TrialLogger(writer=writer), log_batches, naive
        self.is_written = isinstance(writer, EventWriter)
        self.value, self.values = math.nan, dict[str, float]()
        self.best_accuracy, self.last_accuracy = math.nan, math.nan
        self.epochs, self.best_epoch, self.steps, self.seconds = 0, -1, 0, 0.0
        self.pruned, self.reason = False, ""
        self._state: TrainingState | None = None

    def on_start(self, state: TrainingState) -> None:
        """What is known at the start stands at step 0."""
        self._state = state
        trial = self.trial
        metadata = {
            "model": trial.search.model,
            "objective": trial.search.objective,
            "epochs at most": state.config.epochs,
            "folder": trial.folder,
            "started from": trial.started_from or "random weights",
        }
        self.logger.log_trial(trial.trial.number, trial.phase, trial.shown_hyperparameters(), metadata)
        self.logger.flush()

    def on_step(self, report: StepReport) -> None:
        """Where the trial is."""
        if self.log_batches and self.is_written:
            self.logger.global_step = report.step
            self.logger.trial_batch(report.epoch, report.step_in_epoch)
            self.logger.increment_step()

    def on_epoch_end(self, report: EpochReport) -> str | None:
        """Tell the storage, which may say that this trial will not become the best."""
        trial = self.trial
        value = objective_value(trial.search.objective, report.validation) / (self.naive or 1.0)
        self.last_accuracy = report.validation.get("accuracy", value)
        if report.is_best:
            self.value, self.values = value, dict(report.validation)
            self.best_accuracy = self.last_accuracy
        self.epochs, self.best_epoch, self.steps = report.epoch + 1, report.best_epoch, report.step
        self.seconds = report.progress.seconds
        self.logger.trial_epoch(report.epoch, report.best_epoch, self.best_accuracy, max(0, report.step - 1))
        trial.report(
            TrialEpoch(
                trial.search.model,
                trial.trial.number,
                report.epoch,
                report.epochs,
                value,
                self.value,
                report.seconds,
            )
        )
        trial.trial.report(value, report.epoch)
        if trial.search.uses_gradients and trial.trial.should_prune():
            self.pruned = True
            return "pruned: it will not become the best"
        return None

    def on_end(self, reason: str) -> None:
        """What is known in the end stands at the last step."""
        self.reason = reason
        if (state := self._state) is None:
            return
        step = self.steps = state.progress.step
        is_whole = not self.pruned and bool(state.progress.stop_reason or state.progress.epoch >= state.config.epochs)
        self.logger.end_trial(max(0, self.epochs - 1), self.last_accuracy, completed=is_whole, step=max(0, step - 1))
