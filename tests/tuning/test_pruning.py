"""Hopeless trials are ended, the best one never, and each is compared with its own phase only."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import optuna
import pytest
from optuna.trial import TrialState

from src.tuning.config import HyperparameterConfig
from src.tuning.pruning import build_pruner, rungs

EPOCHS = 12
DIRECTIONS = ("minimize", "maximize")


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def study_of(pruner: str, direction: str = "minimize", epochs: int = EPOCHS) -> optuna.Study:
    """A study in memory whose phases have ``epochs``, twice and three times as many."""
    config = HyperparameterConfig(
        epochs_per_trial_random=epochs,
        epochs_per_trial_bayesian=2 * epochs,
        epochs_per_trial_fine_tune=3 * epochs,
        pruner=pruner,
    )
    return optuna.create_study(direction=direction, pruner=build_pruner(config))


def started(study: optuna.Study, phase: str = "random", slot: int = 0) -> optuna.Trial:
    study.enqueue_trial({}, user_attrs={"phase": phase, "slot": slot, "attempt": 0})
    return study.ask()


def train(study: optuna.Study, losses: Sequence[float], phase: str = "random", slot: int = 0) -> int:
    """Epochs that a trial with these losses is allowed (values are minus the losses where higher is better)."""
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    trial = started(study, phase, slot)
    for epoch, loss in enumerate(losses):
        trial.report(sign * loss, epoch)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return epoch + 1
    study.tell(trial, sign * min(losses))
    return len(losses)


def curve(end: float, epochs: int = EPOCHS) -> list[float]:
    """Losses that fall to ``end``, higher all along for a higher end."""
    return [end + 1 / (1 + epoch) for epoch in range(epochs)]


# The median rule


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_trial_behind_the_median_is_ended_after_a_quarter_of_the_epochs(direction: str) -> None:
    study = study_of("median", direction)
    for end in (0.1, 0.2, 0.3, 0.4):
        assert train(study, curve(end)) == EPOCHS
    assert train(study, curve(0.5)) == 3
    assert train(study, curve(0.26)) == 3
    assert train(study, curve(0.24)) == EPOCHS
    assert train(study, curve(0.05)) == EPOCHS


def test_the_median_rule_waits_for_four_completed_trials() -> None:
    study = study_of("median")
    ends = (0.1, 0.2, 0.3, 9.0)
    assert all(train(study, curve(end)) == EPOCHS for end in ends)
    assert train(study, curve(9.0)) == 3


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_trials_are_compared_with_their_own_phase_only(pruner: str) -> None:
    study = study_of(pruner)
    for end in (0.1, 0.11, 0.12, 0.13, 0.14, 0.15):
        train(study, curve(end))
        train(study, curve(end, 3 * EPOCHS), "fine_tune")
    assert train(study, curve(0.9, 2 * EPOCHS), "bayesian") == 2 * EPOCHS
    assert train(study, curve(0.9)) < EPOCHS  # of the random phase
    assert train(study, curve(0.9, 3 * EPOCHS), "fine_tune") < 3 * EPOCHS


def test_one_bad_epoch_ends_nothing_and_a_late_fall_behind_does() -> None:
    study = study_of("median")
    for end in (0.1, 0.2, 0.3, 0.4):
        train(study, curve(end))
    spiky = curve(0.1)
    spiky[4:7] = [50.0, math.inf, math.nan]
    assert train(study, spiky) == EPOCHS
    stuck = [*curve(0.2)[:5], *[curve(0.2)[4]] * (EPOCHS - 5)]
    assert 5 < train(study, stuck) < EPOCHS


def test_completed_trials_that_stopped_early_count_with_what_they_reached() -> None:
    study = study_of("median")
    for end in (0.1, 0.2, 0.3, 0.4):
        train(study, curve(end)[:4])
    assert train(study, curve(9.0)) == 3
    assert train(study, [*curve(0.0)[:6], *[0.15] * 6]) == EPOCHS


# Hyperband


def test_rungs_and_brackets_are_those_of_the_paper() -> None:
    assert [rungs(slot, 30) for slot in range(17)] == 9 * [[10, 3]] + 5 * [[10]] + 3 * [[]]
    assert [rungs(slot, 10) for slot in range(6)] == 3 * [[3]] + 2 * [[]] + [[3]]
    # 81 epochs: brackets of 81, 34, 15, 8 and 5 trials (table 1 of the paper), less the one whose rung is one epoch
    assert rungs(0, 81) == [27, 9, 3]
    assert rungs(0, 5) == []


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_third_of_the_trials_passes_a_rung(direction: str) -> None:
    study = study_of("hyperband", direction, epochs=10)
    ends = [0.5, 0.9, 0.7, 0.6, 0.4, 0.3, 0.8, 0.35]
    done = [train(study, curve(end, 10)) for end in ends]
    assert done == [10, 10, 3, 3, 10, 10, 3, 10]  # the first two go on; then those among the best third so far


def test_trials_of_another_bracket_are_no_rivals() -> None:
    study = study_of("hyperband", epochs=30)
    for end in (0.1, 0.2, 0.3):
        train(study, curve(end, 30), slot=0)
    assert [train(study, curve(end, 30), slot=9) for end in (0.8, 0.9, 0.7, 0.75)] == [30, 30, 30, 10]


def test_the_bracket_without_rungs_ends_nothing() -> None:
    study = study_of("hyperband", epochs=10)
    for end in (0.1, 0.2, 0.3, 0.4):
        train(study, curve(end, 10), slot=0)
        train(study, curve(end, 10), slot=4)
    assert train(study, curve(9.0, 10), slot=4) == 10
    assert train(study, curve(9.0, 10), slot=0) == 3


def test_a_running_trial_counts_at_the_rungs_it_has_passed() -> None:
    study = study_of("hyperband", epochs=10)
    for _ in range(2):
        running = started(study)
        for epoch in range(3):
            running.report(0.1, epoch)
    failed = started(study)
    for epoch in range(3):
        failed.report(0.01, epoch)
    study.tell(failed, state=TrialState.FAIL)
    short = started(study)
    short.report(0.01, 0)
    assert train(study, curve(0.0, 10)[:2] + [0.05] * 8) == 10  # better than both; the others are no rivals
    assert train(study, curve(0.5, 10)) == 3


# Both


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_the_best_trial_is_never_ended_and_bad_ones_cost_less(pruner: str, direction: str) -> None:
    """Wherever the best of 20 trials comes."""
    for place in range(20):
        study = study_of(pruner, direction)
        ends = [0.2 + (7 * number % 20) / 20 for number in range(20)]
        ends[place] = 0.1
        done = [train(study, curve(end), slot=number) for number, end in enumerate(ends)]
        assert done[place] == EPOCHS
        assert abs(study.best_value) == pytest.approx(min(curve(0.1)))
        assert sum(done) == 20 * EPOCHS if pruner == "none" else sum(done) < 0.75 * 20 * EPOCHS


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_without_a_finite_value_is_ended_and_spoils_no_comparison(pruner: str, value: float) -> None:
    study = study_of(pruner)
    assert 2 <= train(study, [value] * EPOCHS) < EPOCHS  # also as the first
    for end in (0.1, 0.2, 0.3):
        trial = started(study)
        for epoch in range(EPOCHS):
            trial.report(value, epoch)
        study.tell(trial, end)  # completed all the same
    assert train(study, curve(0.1)) == EPOCHS


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_is_not_ended_after_its_last_epoch_nor_before_the_second(pruner: str) -> None:
    for epochs in (1, 2, 3, 6):
        study = study_of(pruner, epochs=epochs)
        for end in (0.1, 0.2, 0.3, 0.4):
            train(study, curve(end, epochs))
        done = train(study, curve(9.0, epochs))
        assert done == epochs if epochs <= 2 else done >= 2


def test_who_falls_behind_in_the_last_epoch_is_completed() -> None:
    study = study_of("median")
    for end in (0.1, 0.2, 0.3, 0.4):
        train(study, [*curve(0.2)[:-1], end])
    train(study, [*curve(0.2)[:-1], 0.9])
    assert study.trials[-1].state == TrialState.COMPLETE


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_trials_of_no_phase_are_let_be(pruner: str) -> None:
    study = study_of(pruner)
    study.optimize(lambda trial: trial.report(math.nan, 5) or float(trial.should_prune()), n_trials=3)
    assert [trial.value for trial in study.trials] == [0.0] * 3
