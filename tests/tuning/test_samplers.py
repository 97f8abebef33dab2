"""What each phase proposes: never twice the same, the same in any process, and better from phase to phase."""

from __future__ import annotations

import itertools
import json
import logging
import math
import statistics
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from src.tuning import samplers
from src.tuning.config import PHASES, HyperparameterConfig
from src.tuning.samplers import NARROWED, PhaseSampler, comparable_losses

ROOT = Path(__file__).resolve().parents[2]
Values = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """What the sampler needs of a dimension, without a model behind it."""

    name: str
    kind: str
    default: Any
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def distribution(self) -> optuna.distributions.BaseDistribution:
        if self.kind == "choice":
            return optuna.distributions.CategoricalDistribution(self.choices)
        if self.kind == "int":
            return optuna.distributions.IntDistribution(int(self.low), int(self.high))
        return optuna.distributions.FloatDistribution(self.low, self.high, log=self.log)

    def from_unit(self, position: float) -> Any:
        if self.kind == "choice":
            return self.choices[int(position * len(self.choices))]
        if self.kind == "int":
            return int(self.low + position * (self.high - self.low + 1))
        low, high = self._ends()
        value = low + position * (high - low)
        return min(max(10**value if self.log else value, self.low), self.high)

    def to_unit(self, value: Any) -> float:
        if self.kind == "choice":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        if self.kind == "int":
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        low, high = self._ends()
        return ((math.log10(value) if self.log else value) - low) / (high - low)

    def _ends(self) -> tuple[float, float]:
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)


@dataclass(frozen=True)
class Space:
    dimensions: tuple[Dimension, ...]
    valid: Callable[[Values], bool] = lambda values: True
    repair: Callable[[Values], Values] = dict

    def repaired(self, values: Values) -> Values:
        return self.repair(values)

    def is_valid(self, values: Values) -> bool:
        return self.valid(values)

    def defaults(self) -> Values:
        return {dimension.name: dimension.default for dimension in self.dimensions}


RATE = Dimension("lr", "float", 1e-3, 1e-5, 1e-1, log=True)
MIXED = (
    RATE,
    Dimension("x", "float", 0.9),
    Dimension("y", "float", 0.9),
    Dimension("layers", "int", 2, 1, 8),
    Dimension("cell", "choice", "a", choices=("a", "b", "c")),
)
SPACE = Space(MIXED)
TWELVE = Space((Dimension("p", "choice", 1, choices=(0, 1, 2)), Dimension("q", "choice", "b", choices=tuple("abcd"))))
SMALL = HyperparameterConfig(n_random_trials=8, n_bayesian_trials=8, n_fine_tune_trials=6)


def loss(values: Values) -> float:
    """A bowl with its lowest point at lr 1e-2, x .3, y .4, six layers and cell b."""
    bowl = (values["x"] - 0.3) ** 2 + (values["y"] - 0.4) ** 2 + ((math.log10(values["lr"]) + 2) / 3) ** 2
    return bowl + ((values["layers"] - 6) / 5) ** 2 + 0.2 * (values["cell"] != "b")


def study_of(sampler: PhaseSampler, direction: str = "minimize", slots: int | None = None) -> optuna.Study:
    """A study in memory with all slots waiting."""
    study = optuna.create_study(sampler=sampler, direction=direction)
    enqueue(study, sampler.config, range(sampler.config.total if slots is None else slots))
    return study


def enqueue(study: optuna.Study, config: HyperparameterConfig, slots: Any, attempt: int = 0) -> None:
    for slot in slots:
        attributes = {"slot": slot, "phase": config.phase_of(slot), "attempt": attempt}
        study.enqueue_trial({}, user_attrs=attributes)


def proposed(study: optuna.Study) -> tuple[optuna.Trial, Values]:
    """The next trial with its parameters."""
    trial = study.ask()
    space = {d.name: d.distribution() for d in study.sampler.space.dimensions}
    return trial, {name: trial._suggest(name, distribution) for name, distribution in space.items()}


def search(
    space: Space,
    config: HyperparameterConfig,
    objective: Callable[[Values], float] = loss,
    seed: int = 0,
    direction: str = "minimize",
    hold_shapes: bool = False,
) -> list[FrozenTrial]:
    """All trials of a search."""
    study = study_of(PhaseSampler(space, config, seed, hold_shapes=hold_shapes), direction)
    for _ in range(config.total):
        trial, values = proposed(study)
        study.tell(trial, objective(values))
    return study.trials


def in_phase(trials: list[FrozenTrial], phase: str) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.user_attrs["phase"] == phase]


def lowest(trials: list[FrozenTrial]) -> float:
    return min(loss(trial.params) for trial in trials)


def different(configurations: list[Values]) -> int:
    return len({json.dumps(values, sort_keys=True) for values in configurations})


@pytest.fixture(autouse=True)
def nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever is proposed, neither Python nor Optuna has anything to say about it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    handler = logging.StreamHandler()  # Optuna's own writes to what was the standard error when it was imported
    logging.getLogger("optuna").addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    logging.getLogger("optuna").removeHandler(handler)
    assert capfd.readouterr().err == ""


# The random phase


@pytest.mark.parametrize("sampler", ["qmc", "random"])
def test_random_slots_do_not_depend_on_who_asks_first(sampler: str) -> None:
    config = HyperparameterConfig(n_random_trials=12, random_sampler=sampler)
    by_slot = []
    for order in (range(12), reversed(range(12))):
        study = optuna.create_study(sampler=PhaseSampler(SPACE, config, seed=3))
        enqueue(study, config, order)
        trials = [proposed(study) for _ in range(12)]
        by_slot.append({trial.user_attrs["slot"]: values for trial, values in trials})
    assert by_slot[0] == by_slot[1]
    assert by_slot[0][0] == SPACE.defaults()
    assert different(list(by_slot[0].values())) == 12
    other_seed = PhaseSampler(SPACE, config, seed=4)._configurations(12)
    assert different([*by_slot[0].values(), *other_seed]) == 23  # the defaults are in both


def test_sobol_points_fill_the_ranges_evenly() -> None:
    config = HyperparameterConfig(n_random_trials=16)
    for seed in range(5):
        configurations = PhaseSampler(SPACE, config, seed)._configurations(16)[1:]
        for dimension in MIXED[:3]:
            parts = {int(dimension.to_unit(values[dimension.name]) * 16) for values in configurations}
            assert len(parts) == 15  # one in each sixteenth, without that of point 0


def test_another_attempt_gets_another_point_behind_those_of_all_slots() -> None:
    config = HyperparameterConfig(n_random_trials=6, n_bayesian_trials=0, n_fine_tune_trials=0)
    study = study_of(PhaseSampler(SPACE, config, 0), slots=1)
    enqueue(study, config, [0], attempt=1)
    enqueue(study, config, [0], attempt=2)
    enqueue(study, config, range(1, 6))
    found = [proposed(study)[1] for _ in range(8)]
    assert different(found) == 8
    assert (found[0], *found[3:]) == study.sampler._configurations(6)  # nobody's place was taken


def test_enqueued_parameters_are_left_alone() -> None:
    study = optuna.create_study(sampler=PhaseSampler(SPACE, SMALL, 0))
    given = {"lr": 0.05, "x": 0.25, "y": 0.5, "layers": 7, "cell": "c"}
    study.enqueue_trial(given, user_attrs={"slot": 0, "phase": "random", "attempt": 0})
    study.enqueue_trial({"x": 0.125}, user_attrs={"slot": 0, "phase": "random", "attempt": 0})
    assert study.sampler.infer_relative_search_space(study, study.trials[0]) == {}
    assert proposed(study)[1] == given
    assert proposed(study)[1] == {**SPACE.defaults(), "x": 0.125}


def test_proposals_suit_the_parameters_that_are_given() -> None:
    study = study_of(PhaseSampler(Space(MIXED, valid=lambda values: values["y"] > values["x"]), SMALL, 0), slots=0)
    for slot in range(5):
        study.enqueue_trial({"x": 0.7}, user_attrs={"slot": slot, "phase": "random", "attempt": 0})
        assert proposed(study)[1]["y"] > 0.7


# What holds in every phase


def test_every_configuration_of_a_small_space_is_tried_once_before_any_twice() -> None:
    for seed in range(3):
        config = HyperparameterConfig(n_random_trials=5, n_bayesian_trials=5, n_fine_tune_trials=4)
        trials = search(TWELVE, config, lambda values: values["p"] + ord(values["q"]), seed)
        assert different([trial.params for trial in trials[:12]]) == 12
        assert different([trial.params for trial in trials]) == 12


@pytest.mark.parametrize("tuning", ["local", "cmaes"])
def test_only_valid_repaired_configurations_are_proposed(tuning: str) -> None:
    space = Space(
        MIXED,
        valid=lambda values: values["x"] + values["y"] < 1.2,
        repair=lambda values: {**values, "layers": max(2, values["layers"] // 2 * 2)},
    )
    config = HyperparameterConfig(8, 8, 6, fine_tune_sampler=tuning)
    for trial in itertools.chain(*(search(space, config, seed=seed) for seed in range(4))):
        assert trial.params["layers"] % 2 == 0
        assert trial.params["x"] + trial.params["y"] < 1.2
        assert all(d.distribution() == trial.distributions[d.name] for d in MIXED)


def test_without_a_valid_proposal_the_nearest_known_configuration_is_taken() -> None:
    allowed: list[Values] = []
    space = Space(MIXED, valid=lambda values: not allowed or values in allowed)
    study = study_of(PhaseSampler(space, SMALL, 0))
    first, values = proposed(study)
    study.tell(first, 1.0)
    allowed.append(values)
    assert proposed(study)[1] == values


def failed(study: optuna.Study, status: str) -> Values:
    """The parameters of the next trial, which does not end by itself."""
    trial, values = proposed(study)
    trial.set_user_attr("record", {"status": status})
    study.tell(trial, state=TrialState.FAIL)
    return values


def test_a_configuration_that_failed_by_itself_is_never_tried_again() -> None:
    config = HyperparameterConfig(n_random_trials=4, n_bayesian_trials=9, n_fine_tune_trials=0)
    for seed in range(3):
        study = study_of(PhaseSampler(TWELVE, config, seed))
        bad = failed(study, "failed")
        for _ in range(12):  # there are eleven others, and rather than this one the last repeats one of those
            trial, values = proposed(study)
            assert values != bad
            study.tell(trial, sum(values[name] != bad[name] for name in values))  # the closer the better


def test_a_configuration_is_not_to_blame_for_a_killed_trial() -> None:
    study = study_of(PhaseSampler(SPACE, SMALL, 0), slots=1)
    killed = failed(study, "killed")
    enqueue(study, SMALL, [0])
    assert proposed(study)[1] == killed


def test_a_parameter_outside_the_space_is_proposed_too() -> None:
    study = study_of(PhaseSampler(SPACE, SMALL, 0))
    trial, _ = proposed(study)
    assert 3 <= trial.suggest_int("extra", 3, 5) <= 5
    assert study_of(PhaseSampler(Space(()), SMALL, 0)).ask().suggest_float("extra", 0, 1) != 0.5


def test_trials_without_a_finite_value_teach_nothing() -> None:
    study = study_of(PhaseSampler(SPACE, SMALL, 0))
    for number in range(SMALL.total):
        trial, _ = proposed(study)
        study.tell(trial, math.inf if number % 2 else None, TrialState.COMPLETE if number % 2 else TrialState.PRUNED)
    assert different([trial.params for trial in study.trials]) == SMALL.total
    expected = PhaseSampler(SPACE, SMALL, 0)._configurations(SMALL.total)
    assert [trial.params for trial in study.trials] == list(expected)  # as random to the end


# The Bayesian phase


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_phases_find_better_values_one_after_the_other(direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    config = HyperparameterConfig(n_random_trials=15, n_bayesian_trials=25, n_fine_tune_trials=10)
    searches = [search(SPACE, config, lambda values: sign * loss(values), seed, direction) for seed in range(10)]
    best = {phase: statistics.mean(lowest(in_phase(trials, phase)) for trials in searches) for phase in PHASES}
    assert best["bayesian"] < 0.5 * best["random"]
    assert best["fine_tune"] < 0.95 * best["bayesian"]
    # Not for the number of trials: as many random points come nowhere near.
    points = HyperparameterConfig(n_random_trials=50, n_bayesian_trials=0, n_fine_tune_trials=0)
    assert best["bayesian"] < 0.7 * statistics.mean(lowest(search(SPACE, points, seed=seed)) for seed in range(10))


def test_the_gaussian_process_is_asked_when_it_is_chosen() -> None:
    bowl = Space((RATE, Dimension("x", "float", 0.9), Dimension("layers", "int", 1, 1, 3)))
    config = HyperparameterConfig(n_random_trials=6, n_bayesian_trials=5, n_fine_tune_trials=0, bayesian_sampler="gp")

    def steep(values: Values) -> float:
        return loss({**values, "y": 0.4, "cell": "b", "layers": 6})

    trials = search(bowl, config, steep)
    random, bayesian = (min(t.value for t in in_phase(trials, phase)) for phase in ("random", "bayesian"))
    assert bayesian < 0.05 * random  # the Parzen estimator is nowhere near that after so few trials


def ended(
    value: float | None,
    curve: list[float],
    phase: str = "random",
    state: TrialState = TrialState.COMPLETE,
    status: str = "completed",
) -> FrozenTrial:
    distributions = {dimension.name: dimension.distribution() for dimension in MIXED}
    return create_trial(
        state=state,
        value=value,
        params=SPACE.defaults(),
        distributions=distributions,
        user_attrs={"phase": phase, "record": {"status": status}},
        intermediate_values=dict(enumerate(curve)),
    )


def learned(trials: list[FrozenTrial], sign: float = 1.0, random: int = 2, bayesian: int = 4) -> list[float]:
    config = HyperparameterConfig(epochs_per_trial_random=random, epochs_per_trial_bayesian=bayesian)
    return [value for _, value in comparable_losses(trials, SPACE, config, sign)]


def test_short_random_trials_are_credited_what_longer_ones_gained() -> None:
    random = [ended(0.8, [0.9, 0.8]), ended(0.6, [0.6, 0.7])]
    gaining = [ended(low - 0.2, [1.0, low, low - 0.1, low - 0.2], "bayesian") for low in (0.75, 0.5)]
    late = ended(0.1, [1.0, 1.0, 1.0, 0.1], "bayesian")  # one of three gains much more
    assert learned(random) == [0.8, 0.6]
    assert learned([*random, *gaining, late]) == pytest.approx([0.6, 0.4, 0.55, 0.3, 0.1])
    # The same for an accuracy.
    higher = [
        ended(-t.value, [-v for v in t.intermediate_values.values()], t.user_attrs["phase"]) for t in random + gaining
    ]
    assert learned(higher, sign=-1.0) == pytest.approx([0.6, 0.4, 0.55, 0.3])


def test_what_random_trials_did_in_further_epochs_is_left_out() -> None:
    assert learned([ended(0.2, [0.9, 0.8, 0.3, 0.2]), ended(0.4, [0.4], "bayesian")], random=4, bayesian=2) == [
        0.8,
        0.4,
    ]


def test_pruned_and_failed_trials_are_learned_from_as_bad_ones() -> None:
    completed = [ended(0.5, [0.5]), ended(0.9, [0.9])]
    others = [
        ended(None, [7.0], state=TrialState.PRUNED),
        ended(None, [math.nan], state=TrialState.PRUNED),
        ended(None, [0.7], state=TrialState.PRUNED),
        ended(math.inf, [math.inf]),
        ended(None, [0.1], state=TrialState.FAIL, status="failed"),
        ended(None, [0.1], state=TrialState.FAIL, status="killed"),
    ]
    assert learned(completed + others) == [0.5, 0.9, 0.9, 0.9, 0.7, 0.9, 0.9]
    assert learned(others) == []


# The fine-tuning phase


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("tuning", ["local", "cmaes"])
def test_fine_tuning_stays_near_the_best_trial_and_improves_on_it(tuning: str, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    config = HyperparameterConfig(10, 0, 20, fine_tune_sampler=tuning)
    gains = []
    for seed in range(5):
        trials = search(SPACE, config, lambda values: sign * loss(values), seed, direction)
        best = min(in_phase(trials, "random"), key=lambda trial: loss(trial.params)).params
        for trial in in_phase(trials, "fine_tune"):
            assert trial.params["cell"] == best["cell"]
            for d in MIXED[:3]:
                assert abs(d.to_unit(trial.params[d.name]) - d.to_unit(best[d.name])) <= NARROWED + 1e-9
            assert abs(trial.params["layers"] - best["layers"]) <= 1  # of eight
        gains.append(loss(best) - lowest(in_phase(trials, "fine_tune")))
    assert min(gains) > 0
    assert statistics.mean(gains) > 0.03


@pytest.mark.parametrize("tuning", ["local", "cmaes"])
def test_fine_tuning_leaves_whole_numbers_where_trained_weights_are_to_fit(tuning: str) -> None:
    config = HyperparameterConfig(10, 0, 20, fine_tune_sampler=tuning)
    trials = search(SPACE, config, hold_shapes=True)
    best = min(in_phase(trials, "random"), key=lambda trial: loss(trial.params)).params
    tuned = [trial.params for trial in in_phase(trials, "fine_tune")]
    assert {values["layers"] for values in tuned} == {best["layers"]}
    assert different(tuned) == 20


def test_a_space_of_whole_numbers_is_fine_tuned_all_the_same() -> None:
    space = Space((Dimension("a", "int", 5, 1, 400), Dimension("b", "int", 5, 1, 400)))
    config = HyperparameterConfig(4, 0, 6)
    trials = search(space, config, lambda values: (values["a"] - 200) ** 2 + (values["b"] - 100) ** 2, hold_shapes=True)
    assert different([trial.params for trial in trials]) == 10


def test_fine_tuning_starts_at_random_while_no_trial_is_completed() -> None:
    config = HyperparameterConfig(n_random_trials=1, n_bayesian_trials=0, n_fine_tune_trials=3)
    study = study_of(PhaseSampler(SPACE, config, 0))
    trials = [proposed(study) for _ in range(4)]
    assert tuple(values for _, values in trials) == study.sampler._configurations(4)


def tuned_after(values: list[float], config: HyperparameterConfig, count: int) -> list[Values]:
    """Fine-tuning proposals with x = .5 for the best trial before, and ``values`` of earlier fine-tuning trials."""
    space = Space((Dimension("x", "float", 0.5),))
    study = study_of(PhaseSampler(space, config, 0))
    trial, _ = proposed(study)
    study.tell(trial, 1.0)
    for value in values:
        trial, _ = proposed(study)
        study.tell(trial, value)
    return [values for _, values in (proposed(study) for _ in range(count))]


def test_steps_shrink_over_the_phase() -> None:
    config = HyperparameterConfig(n_random_trials=1, n_bayesian_trials=0, n_fine_tune_trials=60)
    steps = [abs(values["x"] - 0.5) for values in tuned_after([], config, 60)]
    assert statistics.mean(steps[:20]) > 2 * statistics.mean(steps[40:])


def test_one_fine_tuning_trial_does_not_move_the_centre_and_the_best_of_three_does() -> None:
    config = HyperparameterConfig(n_random_trials=1, n_bayesian_trials=0, n_fine_tune_trials=200)
    first = tuned_after([], config, 3)
    assert statistics.mean(values["x"] for values in tuned_after([0.5], config, 40)) == pytest.approx(0.5, abs=0.02)
    far = max(range(3), key=lambda place: abs(first[place]["x"] - 0.5))
    told = [0.4 if place == far else 0.5 for place in range(3)]
    moved = statistics.mean(values["x"] for values in tuned_after(told, config, 40))
    assert abs(moved - first[far]["x"]) < abs(moved - 0.5)


def test_the_evolution_strategy_learns_from_each_generation() -> None:
    """With the best values towards x = 1, later generations come from there."""
    space = Space((Dimension("x", "float", 0.5), Dimension("y", "float", 0.5)))
    config = HyperparameterConfig(1, 0, 24, fine_tune_sampler="cmaes")
    means = []
    for seed in range(5):
        tuned = in_phase(search(space, config, lambda values: -values["x"], seed), "fine_tune")
        means.append([statistics.mean(t.params["x"] for t in part) for part in (tuned[:6], tuned[6:12], tuned[12:])])
    first, second, later = (statistics.mean(column) for column in zip(*means, strict=True))
    assert first < second - 0.01 < later - 0.02


def test_the_evolution_strategy_learns_from_pruned_trials_too() -> None:
    space = Space((Dimension("x", "float", 0.5), Dimension("y", "float", 0.5)))
    config = HyperparameterConfig(1, 0, 40, fine_tune_sampler="cmaes")
    study = study_of(PhaseSampler(space, config, 0))
    study.tell(proposed(study)[0], 1.0)
    for _ in range(18):
        trial, values = proposed(study)
        trial.report(2.0 - values["x"], 0)
        study.tell(trial, state=TrialState.PRUNED)
    assert statistics.mean(proposed(study)[1]["x"] for _ in range(20)) > 0.53


# Several workers


PROPOSALS = """
import json, sys
sys.path[:0] = [{root!r}, {here!r}]
import optuna
from test_samplers import *
optuna.logging.set_verbosity(optuna.logging.WARNING)
backend = optuna.storages.journal.JournalFileBackend(sys.argv[1])
storage = optuna.storages.JournalStorage(backend)
config = HyperparameterConfig(6, 10, 8, fine_tune_sampler=sys.argv[2])
study = optuna.load_study(study_name="s", storage=storage, sampler=PhaseSampler({space}, config, 5))
found = []
while any(t.state == TrialState.WAITING for t in study.get_trials(deepcopy=False)):
    trial, values = proposed(study)
    found.append([trial.number, values])
    study.tell(trial, sum(map(ord, str(values))) % 17)
print(json.dumps(found))
"""


def start(path: Path, space: str, tuning: str = "local") -> subprocess.Popen[str]:
    """A process that works through the trials of the study in a journal and prints their parameters."""
    script = PROPOSALS.format(root=str(ROOT), here=str(Path(__file__).parent), space=space)
    command = [sys.executable, "-W", "error", "-c", script, str(path), tuning]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def journal(path: Path) -> Path:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    study = optuna.create_study(study_name="s", storage=storage)
    enqueue(study, HyperparameterConfig(6, 10, 8), range(24))
    return path


def test_the_same_history_gives_the_same_proposals_in_any_process(tmp_path: Path) -> None:
    processes = [
        start(journal(tmp_path / f"{tuning}{copy}"), "SPACE", tuning) for tuning in ("local", "cmaes") for copy in "ab"
    ]
    first, again, other, other_again = (json.loads(process.communicate()[0]) for process in processes)
    assert first == again and other == other_again
    assert first[:16] == other[:16] and first[16:] != other[16:]


def test_processes_that_ask_at_the_same_time_get_different_parameters(tmp_path: Path) -> None:
    """The 24 configurations of this space, once each; a choice that two would make alike if they did not look."""
    space = """Space((*TWELVE.dimensions, Dimension("r", "choice", 0, choices=(0, 1))))"""
    path = journal(tmp_path / "journal")
    processes = [start(path, space), start(path, space)]
    found = [json.loads(process.communicate()[0]) for process in processes]
    assert all(found)  # both had some
    assert different([values for part in found for _, values in part]) == 24


def test_threads_that_ask_at_the_same_time_get_different_parameters() -> None:
    config = HyperparameterConfig(n_random_trials=4, n_bayesian_trials=8, n_fine_tune_trials=0)
    study = study_of(PhaseSampler(TWELVE, config, 0))
    for _ in range(4):
        trial, values = proposed(study)
        study.tell(trial, float(values["p"]))
    trials = [study.ask() for _ in range(8)]
    found: list[Values] = []
    space = {d.name: d.distribution() for d in TWELVE.dimensions}

    def decide(trial: optuna.Trial) -> None:
        found.append({name: trial._suggest(name, distribution) for name, distribution in space.items()})

    threads = [threading.Thread(target=decide, args=(trial,)) for trial in trials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert different(found) == 8


def test_a_trial_that_never_gets_its_parameters_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "PATIENCE_SECONDS", 0.05)
    config = HyperparameterConfig(n_random_trials=1, n_bayesian_trials=3, n_fine_tune_trials=0)
    study = study_of(PhaseSampler(SPACE, config, 0))
    study.ask()  # its worker is killed before it goes on
    assert different([proposed(study)[1] for _ in range(3)]) == 3
