"""``HyperparameterConfig``: how a search is split into phases. No torch, no Optuna: ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError
from ..options import Options, option
from ..tracking.tag_tables.trials import PHASES

PHASE_TITLES = {"random": "random", "bayesian": "Bayesian", "fine_tune": "fine-tuning"}
OBJECTIVES = {
    "mse": "minimize",
    "brier": "minimize",
    "loss": "minimize",
    "accuracy": "maximize",
    "caption_gain": "maximize",
    "caption_accuracy": "maximize",
    "denoised_mse": "minimize",
}
"""Validation values a search can go by, and which way is better."""


@dataclass(frozen=True)
class HyperparameterConfig(Options):
    """How many trials each phase has, how long they train, and who proposes them.

    With Sobol points or at random over the whole space, then by a model of what was seen so far, then close to the
    best trial of the first two phases.
    """

    n_random_trials: int = option(15, minimum=0, help="trials of the random phase")
    n_bayesian_trials: int = option(35, minimum=0, help="trials of the Bayesian phase")
    n_fine_tune_trials: int = option(10, minimum=0, help="trials of the fine-tuning phase")
    epochs_per_trial_random: int = option(
        10, minimum=1, help="epochs of a trial of the random phase", flags=("--epochs-random", "--epochs_random")
    )
    epochs_per_trial_bayesian: int = option(
        20, minimum=1, help="epochs of a trial of the Bayesian phase", flags=("--epochs-bayesian", "--epochs_bayesian")
    )
    epochs_per_trial_fine_tune: int = option(
        30,
        minimum=1,
        help="epochs of a trial of the fine-tuning phase",
        flags=("--epochs-fine-tune", "--epochs_fine_tune"),
    )
    random_sampler: str = option("qmc", choices=("qmc", "random"), help="random phase: Sobol points, or at random")
    bayesian_sampler: str = option(
        "tpe", choices=("tpe", "gp"), help="Bayesian phase: tree-structured Parzen estimator, or Gaussian process"
    )
    fine_tune_sampler: str = option(
        "local", choices=("local", "cmaes"), help="fine-tuning phase: steps around the best trial, or CMA-ES"
    )
    pruner: str = option(
        "median", choices=("median", "hyperband", "none"), help="what ends trials that will not become the best"
    )
    objective: str = option(
        "auto",
        choices=("auto", *OBJECTIVES),
        help="validation value the search goes by: auto = mse (scaled), brier for directions and classes, or "
        "caption_gain for clips",
    )
    warm_start: bool = option(True, help="fine-tuning goes on from the best trial's weights where their shapes fit")

    def check(self) -> None:
        """A search without trials, or one that has nothing to fine-tune."""
        if not self.total:
            raise OptionError("a search needs at least one trial, but all three phases have 0; raise --trials")
        if self.n_fine_tune_trials == self.total:
            raise OptionError(
                "fine-tuning starts from the best trial of the phases before, but they have no trials; "
                "raise --n-random-trials"
            )

    @property
    def total(self) -> int:
        """Trials of all phases."""
        return sum(self.trials)

    @property
    def trials(self) -> tuple[int, int, int]:
        """Trials of each phase, in the order of ``PHASES``."""
        return self.n_random_trials, self.n_bayesian_trials, self.n_fine_tune_trials

    def phase_of(self, slot: int) -> str:
        """The phase of the trial with place ``slot`` (from 0) in the search."""
        for phase, count in zip(PHASES, self.trials, strict=True):
            if slot < count:
                return phase
            slot -= count
        raise ValueError(f"a search of {self.total} trials has no place {slot + self.total}")

    def epochs_of(self, phase: str) -> int:
        """Epochs of a trial of a phase."""
        return int(getattr(self, f"epochs_per_trial_{phase}"))

    def with_total(self, total: int) -> HyperparameterConfig:
        """The same phases for ``total`` trials, split in their proportion (largest remainders), at least one random.

        Raises:
            OptionError: if there would be no trial.
        """
        if total < 1:
            raise OptionError(f"--trials must be at least 1, but got {total}")
        shares = [count * total / self.total for count in self.trials]
        counts = [int(share) for share in shares]
        order = sorted(range(len(PHASES)), key=lambda place: counts[place] - shares[place])
        for place in order[: total - sum(counts)]:
            counts[place] += 1
        if self.n_random_trials and not counts[0]:
            largest = counts.index(max(counts))
            counts[largest], counts[0] = counts[largest] - 1, 1
        names = (f"n_{phase}_trials" for phase in PHASES)
        return HyperparameterConfig.from_dict({**self.to_dict(), **dict(zip(names, counts, strict=True))})
