"""Who proposes a trial's parameters: Sobol points, then a model of what was seen, then steps around the best trial."""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import threading
import time
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from .config import HyperparameterConfig

if TYPE_CHECKING:
    from .space import SearchSpace

FURTHER_PROPOSALS = 20  # asked for when one is invalid or was tried before
POINTS_PER_CONFIGURATION = 16  # points of the random sequence looked at for each valid new configuration
STARTUP_TRIALS = 10  # ended trials that a model needs; as many as the random phase has, if those are fewer, but not
FEWEST_STARTUP_TRIALS = 4  # under this
NARROWED = 0.1  # fine-tuning looks so far to either side of the best trial, as a share of the range's unit length
FIRST_STEP, LAST_STEP = NARROWED / 2, NARROWED / 8  # standard deviation of its steps, in the same measure
ENOUGH_TUNED = 3  # completed fine-tuning trials from which on the best of them may be the centre of the next
PATIENCE_SECONDS = 3.0  # for trials claimed a moment earlier to get their parameters

Values = dict[str, Any]
Result = tuple[Values, float]  # a configuration and its loss: the objective, or minus it where higher is better
_silencing = threading.Lock()  # Optuna's verbosity is one for all threads


class PhaseSampler(optuna.samplers.BaseSampler):
    """Proposes by the phase of a trial, which its user attributes ``phase``, ``slot`` and ``attempt`` tell.

    A proposal follows from the seed, the trial and the other trials of the study, so it is the same in any process, and
    there is no generator to seed anew for parallel trials. Whatever a phase proposes is put right by the search space,
    and no configuration is proposed twice, nor one that failed by itself, as long as others are found.

    - Random: place ``slot`` in a sequence of different valid configurations that follows from the seed alone, so
      trials asked for at the same moment cannot get the same one. (Optuna's ``QMCSampler`` counts its points in the
      storage without a lock, and leaves out choices.) Place 0 has the model's defaults; another attempt, after a
      configuration failed, takes a place behind those of all slots.
    - Bayesian: the tree-structured Parzen estimator or the Gaussian process, taught with ``comparable_losses``. As
      random until a few trials have ended.
    - Fine-tuning: in a ``Neighbourhood`` of the best completed trial of the phases before, Gaussian steps or CMA-ES.
      As random until there is a completed trial.

    Args:
        space: what is searched.
        config: trials and epochs of the phases, and who proposes in each.
        seed: of the search, not negative.
        hold_shapes: whether fine-tuning leaves whole numbers as they are, so that trained weights fit.
    """

    def __init__(
        self, space: SearchSpace, config: HyperparameterConfig, seed: int, *, hold_shapes: bool = False
    ) -> None:
        self.space, self.config, self.seed, self.hold_shapes = space, config, seed, hold_shapes
        self._sequence: tuple[Values, ...] = ()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space, or nothing for a trial that was enqueued with all its parameters."""
        space = _distributions(self.space)
        return {} if _fixed(trial).keys() >= space.keys() else space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Values:
        """Valid parameters for ``trial`` that no other trial of the study has; killed ones do not count."""
        if not search_space:
            return {}
        trials = self._other_trials(study, trial)
        counted = (other for other in trials if other.state != TrialState.FAIL or _failed_by_itself(other))
        taken = [configuration for other in counted if (configuration := _configuration(other, self.space))]
        values = self.space.defaults()
        proposals = itertools.islice(self._proposals(study, trial, trials), 1 + FURTHER_PROPOSALS)
        for proposal in itertools.chain(proposals, self._untried(taken)):
            values = self.space.repaired({**proposal, **_fixed(trial)})
            if values not in taken and self.space.is_valid(values):
                return values
        return self._nearest_known(values, trials)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random, for a parameter that is not in the search space."""
        sampler = optuna.samplers.RandomSampler(seed=self._seed(trial, *param_name.encode()))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _seed(self, trial: FrozenTrial, *more: int) -> int:
        """A seed for one trial, of 32 bits."""
        return int(np.random.SeedSequence([self.seed, trial.number, *more]).generate_state(1)[0])

    def _other_trials(self, study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
        """All other trials, once those claimed earlier have their parameters.

        Without waiting, workers that start at the same moment would not know of each other's proposals. The random
        sequence needs no such knowledge.
        """
        deadline = time.monotonic() + (0.0 if _phase(trial) == "random" else PATIENCE_SECONDS)
        while True:
            trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
            running = (t for t in trials if t.state == TrialState.RUNNING and t.number < trial.number)
            if all(_configuration(t, self.space) for t in running) or time.monotonic() >= deadline:
                return trials
            time.sleep(0.02)

    def _nearest_known(self, values: Values, trials: Sequence[FrozenTrial]) -> Values:
        """The valid configuration closest to ``values`` of the trials that did not fail, or ``values``."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        tried = (_configuration(trial, self.space) for trial in trials if trial.state in states)
        known = [candidate for candidate in tried if candidate and self.space.is_valid(candidate)]

        def distance(candidate: Values) -> float:
            return sum((d.to_unit(candidate[d.name]) - d.to_unit(values[d.name])) ** 2 for d in self.space.dimensions)

        return min(known, key=distance, default=values)

    def _proposals(self, study: optuna.Study, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> Iterator[Values]:
        """What the trial's phase proposes, best first; perhaps neither valid nor new, perhaps nothing (more)."""
        phase, sign = _phase(trial), -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
        tuned = [other for other in trials if _phase(other) == "fine_tune"]
        before = [other for other in trials if _phase(other) != "fine_tune"]
        if phase == "bayesian":
            seen = comparable_losses(before, self.space, self.config, sign)
            if len(seen) >= max(FEWEST_STARTUP_TRIALS, min(STARTUP_TRIALS, self.config.n_random_trials)):
                running = [_configuration(other, self.space) for other in before if other.state == TrialState.RUNNING]
                return self._learned(trial, seen, [values for values in running if values])
        if phase == "fine_tune" and (losses := _losses(before, self.space, sign)):
            near = Neighbourhood(self.space, _best(losses), hold_shapes=self.hold_shapes)
            if self.config.fine_tune_sampler == "cmaes":
                ended = _losses(tuned, self.space, sign, (TrialState.COMPLETE, TrialState.PRUNED))
                return near.evolution(ended, self._seed(trial))
            tuned_losses = _losses(tuned, self.space, sign)
            # Fine-tuning trials train longer and start from trained weights, so the first would be best whatever it
            # changed, and the next would step from there. The best of several is better because of what it changed.
            if len(tuned_losses) >= ENOUGH_TUNED:
                losses += tuned_losses
            return near.steps(_best(losses), self._step(trial), self._seed(trial))
        return self._place(trial)

    def _place(self, trial: FrozenTrial) -> Iterator[Values]:
        """The trial's place in the random sequence, if the space has so many configurations."""
        place = _slot(trial) + int(trial.user_attrs.get("attempt", 0)) * self.config.total
        yield from self._configurations(place + 1)[place:]

    def _untried(self, taken: Sequence[Values]) -> Iterator[Values]:
        """Different configurations, more than are taken: some of them are free, if the space has so many."""
        yield from self._configurations(len(taken) + FURTHER_PROPOSALS)

    def _configurations(self, count: int) -> tuple[Values, ...]:
        """The first ``count`` places of the random sequence, or as many as are found."""
        if len(self._sequence) < count:
            rounded = math.ceil(count / self.config.total) * self.config.total  # so that it is seldom made anew
            # One assignment: threads that do the same at the same time come to the same sequence.
            self._sequence = tuple(itertools.islice(self._different(self._points(rounded)), rounded))
        return self._sequence[:count]

    def _different(self, proposals: Iterator[Values]) -> Iterator[Values]:
        """The valid ones among the proposals, each once."""
        met = set()
        for proposal in proposals:
            values = self.space.repaired(proposal)
            key = tuple(values[dimension.name] for dimension in self.space.dimensions)
            if key not in met:
                met.add(key)
                if self.space.is_valid(values):
                    yield values

    def _points(self, count: int) -> Iterator[Values]:
        """The defaults, then points 1, 2, ... of a scrambled Sobol sequence or at random, many more than ``count``."""
        exponent = math.ceil(math.log2(POINTS_PER_CONFIGURATION * count))
        size = len(self.space.dimensions)
        yield self.space.defaults()
        if self.config.random_sampler == "random":
            points = np.stack([np.random.default_rng([self.seed, row]).random(size) for row in range(2**exponent)])
        else:
            from scipy.stats import qmc

            points = qmc.Sobol(size, scramble=True, rng=np.random.default_rng(self.seed)).random_base2(exponent)
        for point in points[1:]:
            yield {d.name: d.from_unit(float(place)) for d, place in zip(self.space.dimensions, point, strict=True)}

    def _learned(self, trial: FrozenTrial, seen: Sequence[Result], running: Sequence[Values]) -> Iterator[Values]:
        """From a study in memory with the losses seen. What it has proposed already it takes for running."""
        seed, space = self._seed(trial), _distributions(self.space)
        sampler: optuna.samplers.BaseSampler
        if self.config.bayesian_sampler == "gp":
            sampler = optuna.samplers.GPSampler(n_startup_trials=1, seed=seed)
        else:
            sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=1, seed=seed)
        with silence():
            memory = optuna.create_study(sampler=sampler, direction="minimize")
        for values, loss in seen:
            memory.add_trial(optuna.trial.create_trial(value=loss, params=values, distributions=space))
        for values in running:
            state = TrialState.RUNNING
            memory.add_trial(optuna.trial.create_trial(state=state, params=values, distributions=space))
        while True:
            with silence():
                values = dict(memory.ask(space).params)
            yield values

    def _step(self, trial: FrozenTrial) -> float:
        """The standard deviation of a fine-tuning step: from ``FIRST_STEP`` down to ``LAST_STEP`` over the phase."""
        random, bayesian, tuned = self.config.trials
        progress = (_slot(trial) - random - bayesian) / max(tuned - 1, 1)
        return float(FIRST_STEP * (LAST_STEP / FIRST_STEP) ** min(max(progress, 0.0), 1.0))


class Neighbourhood:
    """Configurations near one: its choices, and numbers at most ``NARROWED`` of their range's unit length away.

    On a logarithmic range over four decades that is a factor of 2.5 to either side: room for a better value, and too
    narrow to leave the basin that the best trial stands in. Where the range ends before, so does the neighbourhood.

    Args:
        space: what is searched.
        centre: the configuration.
        hold_shapes: leave whole numbers (widths, layers, look-back windows) as they are, if others can be varied.
    """

    def __init__(self, space: SearchSpace, centre: Values, *, hold_shapes: bool = False) -> None:
        self.centre = centre
        self.numbers = [dimension for dimension in space.dimensions if dimension.kind != "choice"]
        continuous = [dimension for dimension in self.numbers if dimension.kind == "float"]
        if hold_shapes and continuous:
            self.numbers = continuous
        position = self._position(centre)
        self.low, self.high = np.maximum(position - NARROWED, 0.0), np.minimum(position + NARROWED, 1.0)

    def steps(self, start: Values, deviation: float, seed: int) -> Iterator[Values]:
        """Gaussian steps from ``start`` with a standard deviation in unit length."""
        generator = np.random.default_rng(seed)
        position = self._position(start)
        while True:
            yield self._values(position + deviation * generator.standard_normal(len(position)))

    def evolution(self, results: Sequence[Result], seed: int) -> Iterator[Values]:
        """Samples of CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772).

        Its state is made anew from the results so far, a generation at a time. Optuna's ``CmaEsSampler`` keeps it,
        pickled, in the trials of the storage, where it would no longer fit once a late trial moves the centre.
        """
        from cmaes import CMA

        if not self.numbers:
            return
        centre = np.clip(self._position(self.centre), self.low, self.high)
        strategy = CMA(centre, FIRST_STEP, bounds=np.stack([self.low, self.high], axis=1), seed=seed)
        size = strategy.population_size
        for start in range(0, len(results) - size + 1, size):
            strategy.tell([(self._position(values), loss) for values, loss in results[start : start + size]])
        while True:
            yield self._values(strategy.ask())

    def _position(self, values: Values) -> np.ndarray:
        return np.array([number.to_unit(values[number.name]) for number in self.numbers])

    def _values(self, position: np.ndarray) -> Values:
        position = np.clip(position, self.low, np.minimum(self.high, np.nextafter(1.0, 0.0)))
        return {**self.centre, **{d.name: d.from_unit(float(p)) for d, p in zip(self.numbers, position, strict=True)}}


def comparable_losses(
    trials: Sequence[FrozenTrial], space: SearchSpace, config: HyperparameterConfig, sign: float
) -> list[Result]:
    """What the Bayesian phase learns from the ended trials of the first two phases; lower is better.

    The phases train for different numbers of epochs, and more epochs mostly give better values: taught with these,
    a model would hold each of the first Bayesian trials for better than all random ones, and stay near them. So every
    loss is one after the epochs of the Bayesian phase. What random trials did after that is left out; if they ended
    earlier, they are credited the median of what completed Bayesian trials gained after that epoch.

    Pruned trials count with their best value, but as no worse than the worst completed trial, so that losses of the
    first epochs do not stretch the scale; trials that failed by themselves count as that worst one.

    Args:
        sign: 1 if lower values are better, -1 if higher ones are.
    """
    epochs, shorter = config.epochs_of("bayesian"), config.epochs_of("random")
    completed = [trial for trial in trials if _is_completed(trial)]
    longer = [trial for trial in completed if _phase(trial) == "bayesian"]
    gains = [_loss_after(t, shorter, sign) - _loss_after(t, epochs, sign) for t in longer]
    gain = statistics.median(filter(math.isfinite, gains)) if any(map(math.isfinite, gains)) else 0.0

    def loss(trial: FrozenTrial) -> float:
        if _failed_by_itself(trial):
            return math.inf
        return _loss_after(trial, epochs, sign) - (gain if _phase(trial) == "random" else 0.0)

    worst = max((value for trial in completed if math.isfinite(value := loss(trial))), default=None)
    if worst is None:
        return []
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    ended = [trial for trial in trials if trial.state in states or _failed_by_itself(trial)]
    return [(values, min(loss(t), worst)) for t in ended if (values := _configuration(t, space))]


def _losses(
    trials: Sequence[FrozenTrial],
    space: SearchSpace,
    sign: float,
    states: Container[TrialState] = (TrialState.COMPLETE,),
) -> list[Result]:
    """Trials in the order in which they ended, so that those known keep their places."""
    ended = [trial for trial in trials if trial.state in states and math.isfinite(_loss_after(trial, math.inf, sign))]
    ended.sort(key=lambda trial: (trial.datetime_complete, trial.number))
    return [(values, _loss_after(t, math.inf, sign)) for t in ended if (values := _configuration(t, space))]


def _best(results: Sequence[Result]) -> Values:
    return min(results, key=lambda result: result[1])[0]


def _loss_after(trial: FrozenTrial, epochs: float, sign: float) -> float:
    """A trial's lowest loss in its first ``epochs`` epochs; infinite without one. Steps are epochs, from 0."""
    if _is_completed(trial) and (trial.last_step or 0) < epochs:
        return sign * _value(trial)
    values = (sign * value for step, value in trial.intermediate_values.items() if step < epochs)
    return min(filter(math.isfinite, values), default=math.inf)


def _is_completed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and math.isfinite(_value(trial))


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else trial.value


def _failed_by_itself(trial: FrozenTrial) -> bool:
    """Whether the configuration is to blame, and not someone who stopped the trial."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get("record", {}).get("status") == "failed"


def _phase(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("phase", "random"))


def _slot(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("slot", trial.number))


def _fixed(trial: FrozenTrial) -> Values:
    """Parameters a trial was enqueued with."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def _configuration(trial: FrozenTrial, space: SearchSpace) -> Values | None:
    """All parameters of a trial, also of one that waits with given ones; None as long as it lacks some."""
    values = {**_fixed(trial), **trial.params}
    names = [dimension.name for dimension in space.dimensions]
    return {name: values[name] for name in names} if values.keys() >= set(names) else None


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {dimension.name: dimension.distribution() for dimension in space.dimensions}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps from the user that a study in memory was made, and what the Gaussian process has to say of its package."""
    with _silencing:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(verbosity)
