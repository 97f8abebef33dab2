"""What ends trials that will not become the best: the median rule or Hyperband, within a phase."""

from __future__ import annotations

import abc
import math
import statistics
from collections.abc import Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .config import PHASES, HyperparameterConfig

STARTUP_TRIALS = 4  # completed trials of the phase that the median rule waits for
SHORTEST_EPOCHS = 2  # of a trial that is ended
REDUCTION = 3  # Hyperband: one of so many trials goes on at a rung


def build_pruner(config: HyperparameterConfig) -> optuna.pruners.BasePruner:
    """The pruner that ``config.pruner`` names, for studies in either direction."""
    if config.pruner == "median":
        return MedianPruner(config)
    if config.pruner == "hyperband":
        return HyperbandPruner(config)
    return optuna.pruners.NopPruner()


class PhasePruner(optuna.pruners.BasePruner):
    """Compares a trial with trials of its own phase, which its user attributes ``phase`` and ``slot`` tell.

    The phases train for different numbers of epochs, perhaps from trained weights, so other trials are no measure.
    (Optuna's own pruners compare with all trials of a study, and ``HyperbandPruner`` cannot be given fewer: it reads
    the storage behind the study.)

    A trial is judged by its best value so far. Values that are not finite are none, and a trial with no other is
    ended as soon as any may be. None is ended before ``SHORTEST_EPOCHS``, or after its last epoch, where nothing
    would be saved. Steps of ``trial.report`` are epochs, from 0.
    """

    def __init__(self, config: HyperparameterConfig) -> None:
        self.config = config

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether to end ``trial`` now."""
        phase = trial.user_attrs.get("phase")
        if phase not in PHASES or trial.last_step is None:
            return False
        done, planned = trial.last_step + 1, self.config.epochs_of(phase)
        if done >= planned or not self.is_due(trial, done, planned):
            return False
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        loss = _lowest_loss(trial, done, sign)
        if not math.isfinite(loss):
            return True
        others = (other for other in study.get_trials(deepcopy=False) if other.user_attrs.get("phase") == phase)
        rivals = (other for other in others if other.number != trial.number and self.is_rival(trial, other, done))
        return self.is_behind(loss, [_lowest_loss(rival, done, sign) for rival in rivals])

    @abc.abstractmethod
    def is_due(self, trial: FrozenTrial, done: int, planned: int) -> bool:
        """Whether to judge a trial after ``done`` of ``planned`` epochs."""

    @abc.abstractmethod
    def is_rival(self, trial: FrozenTrial, other: FrozenTrial, done: int) -> bool:
        """Whether to compare a trial with another one of its phase after ``done`` epochs."""

    @abc.abstractmethod
    def is_behind(self, loss: float, rivals: Sequence[float]) -> bool:
        """Whether a loss is hopeless beside those of the rivals after as many epochs; lower is better."""


class MedianPruner(PhasePruner):
    """Ends trials that are behind the median of the phase's completed trials after as many epochs.

    It waits for ``STARTUP_TRIALS`` completed trials and a quarter of the phase's epochs. The median rule is that of
    Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, but for best values on both sides
    where they take running averages: a single bad epoch ends nothing.
    """

    def is_due(self, trial: FrozenTrial, done: int, planned: int) -> bool:
        """After a quarter of the epochs."""
        return done >= max(SHORTEST_EPOCHS, math.ceil(planned / 4))

    def is_rival(self, trial: FrozenTrial, other: FrozenTrial, done: int) -> bool:
        """Completed trials."""
        return other.state == TrialState.COMPLETE

    def is_behind(self, loss: float, rivals: Sequence[float]) -> bool:
        """Behind the median."""
        return len(rivals) >= STARTUP_TRIALS and loss > statistics.median(rivals)


class HyperbandPruner(PhasePruner):
    """Ends all but the best third of the trials at a few rungs; some brackets of trials have fewer rungs, one none.

    Rungs, brackets and their shares of the trials are those of Li et al., "Hyperband: A Novel Bandit-Based Approach to
    Hyperparameter Optimization", JMLR 18 (2018), with epochs for the resource: of 30, rungs after 3 and 10 for nine of
    17 trials, after 10 for five, and none for three. Trials do not wait for each other at a rung; each is compared
    with those of its bracket that have come so far (Li et al., "A System for Massively Parallel Hyperparameter
    Tuning", MLSys 2020), and the first two go on. All of it follows from slots and reported values.
    """

    def is_due(self, trial: FrozenTrial, done: int, planned: int) -> bool:
        """At a rung of the trial's bracket."""
        return done in rungs(_slot(trial), planned)

    def is_rival(self, trial: FrozenTrial, other: FrozenTrial, done: int) -> bool:
        """Trials of the same bracket that have reached the rung, or completed before it."""
        planned = self.config.epochs_of(trial.user_attrs["phase"])
        if rungs(_slot(trial), planned) != rungs(_slot(other), planned) or other.last_step is None:
            return False
        reached = other.state in (TrialState.RUNNING, TrialState.PRUNED) and other.last_step + 1 >= done
        return reached or other.state == TrialState.COMPLETE

    def is_behind(self, loss: float, rivals: Sequence[float]) -> bool:
        """Not among the best third."""
        count = len(rivals) + 1
        return count >= REDUCTION and sum(rival < loss for rival in rivals) >= count // REDUCTION


def rungs(slot: int, epochs: int) -> list[int]:
    """The epochs, latest first, after which Hyperband judges the trial in ``slot`` of a phase with so many epochs."""
    every: list[int] = []
    while (rung := epochs // REDUCTION ** (len(every) + 1)) >= SHORTEST_EPOCHS:
        every.append(rung)
    # The number of halvings of each bracket, and its share of the trials (algorithm 1 of the paper).
    shares = {s: math.ceil((len(every) + 1) * REDUCTION**s / (s + 1)) for s in range(len(every), -1, -1)}
    brackets = [halvings for halvings, share in shares.items() for _ in range(share)]
    return every[: brackets[slot % len(brackets)]]


def _lowest_loss(trial: FrozenTrial, epochs: int, sign: float) -> float:
    """A trial's lowest value, times ``sign``, of its first ``epochs`` epochs; infinite without one."""
    losses = (sign * value for step, value in trial.intermediate_values.items() if step < epochs)
    return min(filter(math.isfinite, losses), default=math.inf)


def _slot(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("slot", trial.number))
