"""What a study has come to: counts, best trial, importances; as JSON, as a table and in words."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna

from .config import PHASE_TITLES, PHASES, HyperparameterConfig
from .dimension import as_plain
from .objective import direction_of, is_better
from .reports import STATUSES, TrialRecord
from .samplers import comparable_losses, silence

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from .space import SearchSpace

FEWEST_TRIALS = 10  # that importances are worked out from; and
TRIALS_PER_DIMENSION = 2  # so many for each hyperparameter
TOP_SHARE = 1 / 3  # of the trials, whose hyperparameters are compared with those of all
COLUMNS = (
    "number", "slot", "phase", "status", "value", "epochs", "best_epoch", "steps", "seconds", "parameters", "folder",
    "host", "started_from", "error",
)  # fmt: skip


@dataclass(frozen=True)
class StudySummary:
    """What is known of a study at one moment.

    Attributes:
        model: its registered name.
        objective: what the search goes by.
        space, config: what is searched, and the phases.
        records: trials in the order in which they ended.
        best: number of the best completed trial; None without one.
        importances: option name to its share, the greatest first; empty while trials are too few.
    """

    model: str
    objective: str
    space: SearchSpace
    config: HyperparameterConfig
    records: tuple[TrialRecord, ...]
    best: int | None = None
    importances: Mapping[str, float] = field(default_factory=dict)

    @property
    def maximize(self) -> bool:
        """Whether higher values are better."""
        return direction_of(self.objective) == "maximize"

    @property
    def unit(self) -> str:
        """What the values of the objective are; at different horizons, errors are measured by the naive forecast's."""
        is_relative = any(dimension.name == "horizon" for dimension in self.space.dimensions)
        return f"{self.objective} relative to the naive forecast" if is_relative else self.objective

    @property
    def best_record(self) -> TrialRecord | None:
        """The best completed trial."""
        return next((record for record in self.records if record.number == self.best), None)

    @property
    def default_record(self) -> TrialRecord | None:
        """The completed trial that had the model's defaults, if there is one."""
        defaults = self.space.repaired(self.space.defaults())
        for record in self.records:
            values = record.hyperparameters
            if record.status == "completed" and all(as_plain(values.get(n)) == v for n, v in defaults.items()):
                return record
        return None

    def counts(self) -> dict[str, int]:
        """Trials planned, and ended by status."""
        ended = {status: sum(record.status == status for record in self.records) for status in STATUSES}
        return {"planned": self.config.total, **ended}

    def phases(self) -> dict[str, dict[str, Any]]:
        """Trials and epochs of each phase, planned and so far; finished are the completed and the pruned."""
        phases = {}
        for phase, planned in zip(PHASES, self.config.trials, strict=True):
            own = [record for record in self.records if record.phase == phase]
            phases[phase] = {
                "trials_planned": planned,
                "trials_finished": sum(record.status in ("completed", "pruned") for record in own),
                "epochs_planned": planned * self.config.epochs_of(phase),
                "epochs_spent": sum(record.epochs for record in own),
                "seconds": round(sum(record.seconds for record in own), 3),
            }
        return phases

    def content(self) -> dict[str, Any]:
        """What ``study.json`` holds."""
        return {
            "version": 1,
            "model": self.model,
            "objective": self.objective,
            "unit": self.unit,
            "direction": direction_of(self.objective),
            "counts": self.counts(),
            "best": _brief(self.best_record),
            "default": _brief(self.default_record),
            "importances": dict(self.importances),
            "phases": self.phases(),
            "epochs": sum(record.epochs for record in self.records),
            "seconds": round(sum(record.seconds for record in self.records), 3),
            "trials": [record.to_dict() for record in sorted(self.records, key=lambda record: record.number)],
        }

    def as_csv(self) -> str:
        """What ``trials.csv`` holds: a row a trial by number, a column for each hyperparameter, searched ones first."""
        searched = [dimension.name for dimension in self.space.dimensions]
        names = dict.fromkeys([*searched, *(name for record in self.records for name in record.hyperparameters)])
        headings = {name: f"hyperparameter_{name}" if name in COLUMNS else name for name in names}
        text = io.StringIO()
        table = csv.DictWriter(text, [*COLUMNS, *headings.values()], lineterminator="\n")
        table.writeheader()
        for record in sorted(self.records, key=lambda record: record.number):
            row = {column: getattr(record, column) for column in COLUMNS}
            values = {heading: record.hyperparameters.get(name) for name, heading in headings.items()}
            table.writerow(row | values)
        return text.getvalue()

    def table(self) -> str:
        """All trials as Markdown, best first, those without a value last."""
        names = [dimension.name for dimension in self.space.dimensions]
        rows = [("", "trial", "phase", "status", self.objective, "epochs", "seconds", *names)]
        rows += [tuple(":--" if heading in ("phase", "status") else "--:" for heading in rows[0])]
        for record in sorted(self.records, key=self._rank):
            rows.append(
                (
                    "**best**" if record.number == self.best else "",
                    str(record.number),
                    PHASE_TITLES.get(record.phase, record.phase),
                    record.status,
                    shown(record.value),
                    str(record.epochs),
                    f"{record.seconds:.1f}",
                    *(shown(record.hyperparameters.get(name)) for name in names),
                )
            )
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _rank(self, record: TrialRecord) -> tuple[bool, bool, float, int]:
        """The best first, then by value."""
        value = record.value if record.value is not None and math.isfinite(record.value) else math.inf
        sign = -1.0 if self.maximize and math.isfinite(value) else 1.0
        return record.number != self.best, not math.isfinite(value), sign * value, record.number

    def text(self) -> str:
        """In words: who won, what it changes against the defaults, and which hyperparameters mattered."""
        return "\n\n".join([self._standing(), *self._winner(), self._what_mattered()])

    def _standing(self) -> str:
        counts = self.counts()
        ended = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]) or "none has ended"
        epochs, seconds = (sum(getattr(record, name) for record in self.records) for name in ("epochs", "seconds"))
        better = "higher is better" if self.maximize else "lower is better"
        return (
            f"**{self.model}**, by {self.unit} ({better}). Trials: {counts['planned']} planned, {ended}; "
            f"{epochs} epochs in {seconds:.0f} seconds of training."
        )

    def _winner(self) -> list[str]:
        best, default = self.best_record, self.default_record
        if best is None:
            return ["No trial has completed yet."]
        sentences = [f"Best: {shown(best.value)} in trial {best.number} ({_where(best)}), folder `{best.folder}`."]
        if default is None:
            sentences.append("No completed trial had the defaults.")
        elif default.number == best.number:
            sentences.append("These are the defaults: no other trial was better.")
        else:
            sentences.append(f"The defaults: {shown(default.value)} in trial {default.number} ({_where(default)}).")
        rows = ["| hyperparameter | best | default | searched |", "|:--|--:|--:|:--|"]
        for dimension in self.space.dimensions:
            value = as_plain(best.hyperparameters.get(dimension.name))
            strong = "**" if value != dimension.default else ""
            cells = (f"{strong}{shown(value)}{strong}", shown(dimension.default), dimension.describe())
            rows.append(f"| `{dimension.name}` | {' | '.join(cells)} |")
        return [" ".join(sentences), "\n".join(rows)]

    def _what_mattered(self) -> str:
        if len(self.space.dimensions) < 2:
            return "A single hyperparameter is searched, so none mattered more than another."
        if not self.importances:
            return (
                f"Which hyperparameters mattered cannot be said from so few trials: {self.fewest_trials} of the first "
                "two phases are needed, with different values of the objective."
            )
        first = [f"`{name}` ({100 * share:.0f} %)" for name, share in list(self.importances.items())[:3]]
        return (
            f"What mattered most, as shares of all importances (PED-ANOVA): {', '.join(first)}. A rough guide: with "
            "some dozens of trials, the first named is the right one about every second time."
        )

    @property
    def fewest_trials(self) -> int:
        """Trials that importances need."""
        return max(FEWEST_TRIALS, TRIALS_PER_DIMENSION * len(self.space.dimensions))


def importances(
    trials: Sequence[FrozenTrial], space: SearchSpace, config: HyperparameterConfig, objective: str
) -> dict[str, float]:
    """How much each hyperparameter mattered for belonging to the best third: shares by PED-ANOVA, the greatest first.

    Counted are ended trials of the first two phases, pruned ones too, with ``comparable_losses``: phases train for
    different numbers of epochs, and fine-tuning looks at a small part of the space. On a made-up objective over eleven
    hyperparameters, of which four matter, the one that matters most was named in 28 of 60 searches of 50 trials; with
    Optuna's usual tenth in place of the third it was in 10.

    The method is that of Watanabe et al., "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces", IJCAI 2023, arXiv:2304.10255.

    Returns:
        nothing while trials are too few, or their losses all equal.
    """
    first = [trial for trial in trials if trial.state.is_finished() and trial.user_attrs.get("phase") != "fine_tune"]
    seen = comparable_losses(first, space, config, -1.0 if direction_of(objective) == "maximize" else 1.0)
    names = [dimension.name for dimension in space.dimensions]
    fewest = max(FEWEST_TRIALS, TRIALS_PER_DIMENSION * len(names))
    if len(names) < 2 or len(seen) < fewest or len({loss for _, loss in seen}) < 2:
        return {}
    distributions = {dimension.name: dimension.distribution() for dimension in space.dimensions}
    with silence():
        memory = optuna.create_study(direction="minimize")
    memory.add_trials(
        [optuna.trial.create_trial(value=loss, params=values, distributions=distributions) for values, loss in seen]
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(optuna.importance.get_param_importances(memory, evaluator=evaluator, params=names))


def best_so_far(values: Iterable[float | None], objective: str) -> list[float]:
    """The best of the first one, two, three ... values; not a number before the first."""
    best, line = math.nan, []
    for value in values:
        if value is not None and is_better(value, best, objective):
            best = value
        line.append(best)
    return line


def shown(value: Any) -> str:
    """A value for a table: numbers with four digits."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(as_plain(value)).replace("|", "\\|")


def _brief(record: TrialRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    names = ("number", "phase", "value", "epochs", "hyperparameters", "folder")
    return {name: getattr(record, name) for name in names}


def _where(record: TrialRecord) -> str:
    return f"{PHASE_TITLES.get(record.phase, record.phase)} phase, {record.epochs} epochs"
