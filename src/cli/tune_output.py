"""What ``tune_models.py`` prints before and after the trials."""

from __future__ import annotations

import importlib.util
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tuning.config import PHASE_TITLES, PHASES, HyperparameterConfig
from .common import python_command
from .train_output import account_lines, terminal_width

if TYPE_CHECKING:
    from ..tuning.space import SearchSpace


@dataclass(frozen=True)
class ModelOutcome:
    """What a search came to for one model.

    Attributes:
        model: its name.
        finished, asked: trials.
        pruned, failed: of them, and beside them.
        best: value, number and phase of the best trial; None without one.
        default: value of the default configuration; None if it did not end.
        changed: hyperparameter to (default, best) where they differ.
        config: the file of the best configuration.
        error: of the last failed trial.
    """

    model: str
    finished: int
    asked: int
    pruned: int
    failed: int
    best: tuple[float, int, str] | None
    default: float | None
    changed: Mapping[str, tuple[Any, Any]]
    config: Path
    error: str | None = None


def print_space(spaces: Sequence[SearchSpace], config: HyperparameterConfig, objective: str) -> None:
    """What is searched, model by model."""
    counts = [
        f"{n} {PHASE_TITLES[p]} ({config.epochs_of(p)} epochs)" for p, n in zip(PHASES, config.trials, strict=True) if n
    ]
    _wrapped(f"search by {objective}, each model: {', '.join(counts)}")
    for space in spaces:
        print(f"  {space.model}")
        entries = [
            (dimension.name, dimension.describe(), f"default {_value(dimension.default)}")
            for dimension in space.dimensions
        ]
        for line in account_lines(entries, terminal_width() - 2):
            print(f"  {line}")
        if space.fixed:
            _wrapped("fixed: " + ", ".join(f"{name}={_value(value)}" for name, value in space.fixed.items()), "    ")
        for note in space.notes:
            _wrapped(note, "    ")


def print_cost(costs: Mapping[str, float], config: HyperparameterConfig, jobs: int) -> None:
    """What the search would take at most, from the seconds an epoch takes each model with its defaults."""
    rows = [
        (PHASE_TITLES[phase], count, config.epochs_of(phase))
        for phase, count in zip(PHASES, config.trials, strict=True)
    ]
    epochs = sum(count * length for _, count, length in rows)
    width = max(map(len, costs))
    _wrapped(f"at most {epochs} epochs for each model, pruning and early stopping aside:")
    for model, seconds in costs.items():
        text = f"{_duration(seconds)} an epoch with the defaults, about {_duration(seconds * epochs)}"
        _wrapped(f"{model:<{width}}  {text}", "  ", " " * (width + 2))
    total = sum(costs.values()) * epochs / jobs
    _wrapped(
        f"together about {_duration(total)} with {jobs} {'job' if jobs == 1 else 'jobs'}; wider models take longer"
    )


def show_search_results(root: Path, outcomes: Sequence[ModelOutcome], storage: str, *, is_done: bool) -> None:
    """What came of it, and what can be done with it."""
    for outcome in outcomes:
        pruned = f", {outcome.pruned} of them pruned" if outcome.pruned else ""
        failed = f", {outcome.failed} failed beside them" if outcome.failed else ""
        print(f"\n{outcome.model}: {outcome.finished} of {outcome.asked} trials{pruned}{failed}")
        if outcome.best is None:
            _wrapped(f"no trial was completed{': ' + outcome.error if outcome.error else ''}", "  ")
            continue
        value, number, phase = outcome.best
        beside = "" if outcome.default is None else f"; the defaults {outcome.default:.4g}"
        print(f"  best {value:.4g} in trial {number} ({PHASE_TITLES[phase]}){beside}")
        if outcome.changed:
            changes = [
                f"{name} {_value(before)} -> {_value(after)}" for name, (before, after) in outcome.changed.items()
            ]
            _wrapped("changed: " + ", ".join(changes), "  ", "           ")
        print(f"  use it: {python_command()} train_models.py --config {shlex.quote(str(outcome.config))}")
    print(f"\nEvery trial: {root}/<model>/trials.csv")
    if not is_done:
        print(f"Trials are missing; go on with: {python_command()} tune_models.py --resume {shlex.quote(str(root))}")
    hint = "" if importlib.util.find_spec("optuna_dashboard") else "pip install optuna-dashboard; "
    print(f"The studies: {hint}optuna-dashboard {shlex.quote(storage)}")


def _wrapped(text: str, indent: str = "", further: str = "  ") -> None:
    width = terminal_width()
    print(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent + further, break_on_hyphens=False))


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
