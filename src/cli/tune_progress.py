"""Progress of a search in a terminal, or in a log file where there is no terminal."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from tqdm import tqdm

from ..tuning.config import HyperparameterConfig
from ..tuning.objective import is_better
from ..tuning.reports import TrialEpoch, TrialRecord, TrialStarted
from .progress import SECONDS_BETWEEN_LINES

COUNTED = ("completed", "pruned")


class SearchPrinter:
    """One bar for all trials, with the time left, and a line for each new best and each failure.

    In a log file there is a line for each new best and failure, and at most every 30 seconds how far the search is.

    Args:
        models: all that are searched.
        config: the phases.
        objective: what the search goes by.
        ended: trials of an earlier command.
        jobs: trials at the same time.
        stream: where to print.
    """

    def __init__(
        self,
        models: Sequence[str],
        config: HyperparameterConfig,
        objective: str,
        *,
        ended: Mapping[str, Sequence[TrialRecord]] | None = None,
        jobs: int = 1,
        stream: TextIO | None = None,
    ) -> None:
        self.config, self.objective, self.jobs = config, objective, jobs
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.width = max(map(len, models))
        self.total = config.total * len(models)
        self.best: dict[str, float] = {}
        self.defaults: dict[str, dict[str, Any]] = {}
        self.done: dict[str, set[int]] = {model: set() for model in models}
        self.epochs: dict[str, list[tuple[int, int]]] = {model: [] for model in models}
        self.seconds: dict[str, list[float]] = {model: [] for model in models}
        self.running: dict[tuple[str, int], tuple[str, int, int]] = {}
        self.last_line = time.monotonic()
        for model, records in (ended or {}).items():
            for record in records:
                self._count(model, record)
        self.bar: Any = None
        if self.live:
            self.bar = tqdm(
                total=self.total,
                initial=self._finished(),
                file=self.stream,
                leave=False,
                dynamic_ncols=True,
                bar_format="{desc}{bar:12} {n_fmt}/{total_fmt} trials [{elapsed}{postfix}]",
            )

    def report(self, key: str, value: Any) -> None:
        """Whatever a trial reports."""
        if isinstance(value, TrialStarted):
            self.running[value.model, value.number] = (value.phase, 0, value.epochs)
        elif isinstance(value, TrialEpoch):
            phase = self.running.get((value.model, value.number), ("", 0, 0))[0]
            self.running[value.model, value.number] = (phase, value.epoch + 1, value.epochs)
            self.seconds.setdefault(value.model, []).append(value.seconds)
        elif isinstance(value, TrialRecord):
            self.running.pop((value.model, value.number), None)
            self._ended(value)
        self._refresh()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def time_left(self) -> float | None:
        """Seconds that the trials not yet done will take, from the epochs so far; None before there are any."""
        left = 0.0
        for model, done in self.done.items():
            times = self.seconds[model] or [second for known in self.seconds.values() for second in known]
            if not times:
                return None
            share = statistics.fmean(e / planned for e, planned in self.epochs[model]) if self.epochs[model] else 1.0
            slots = [slot for slot in range(self.config.total) if slot not in done]
            epochs = sum(self.config.epochs_of(self.config.phase_of(slot)) for slot in slots) * share
            epochs -= sum(reached for (name, _), (_, reached, _) in self.running.items() if name == model)
            left += max(0.0, epochs) * statistics.fmean(times)
        return left / self.jobs

    def _ended(self, record: TrialRecord) -> None:
        is_best = self._count(record.model, record)
        if is_best:
            self._line(
                f"{record.model:<{self.width}}  trial {record.number:>3}  {record.phase.replace('_', '-'):<9}  "
                f"best {self.objective} {record.value:.4g}  {self._changes(record)}"
            )
        elif record.status == "failed":
            self._line(f"{record.model:<{self.width}}  trial {record.number:>3}  failed: {record.error}")

    def _changes(self, record: TrialRecord) -> str:
        """What differs from the defaults, once these are known: they are the first place of a search."""
        if record.slot == 0:
            return "the defaults"
        default, values = self.defaults.get(record.model, {}), record.hyperparameters
        return ", ".join(f"{name}={_short(value)}" for name, value in values.items() if value != default.get(name))

    def _count(self, model: str, record: TrialRecord) -> bool:
        """Take a trial into account; whether it is the best of its model so far."""
        if record.status not in COUNTED:
            return False
        self.done.setdefault(model, set()).add(record.slot)
        if record.slot == 0:
            self.defaults[model] = record.hyperparameters
        self.epochs.setdefault(model, []).append((record.epochs, record.planned_epochs))
        self.seconds.setdefault(model, [])
        if record.status != "completed" or record.value is None:
            return False
        if not is_better(record.value, self.best.get(model, float("nan")), self.objective):
            return False
        self.best[model] = record.value
        return True

    def _finished(self) -> int:
        return sum(map(len, self.done.values()))

    def _refresh(self) -> None:
        left = self.time_left()
        remaining = "" if left is None else f"about {tqdm.format_interval(left)} left"
        if self.bar is not None:
            best = ", ".join(f"{model} {value:.4g}" for model, value in self.best.items())
            self.bar.n = self._finished()
            self.bar.set_postfix_str(f"{remaining}  best: {best}" if best else remaining, refresh=False)
            self.bar.refresh()
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self._line(f"{self._finished()} of {self.total} trials, {remaining}")

    def _line(self, text: str) -> None:
        if self.bar is not None:
            tqdm.write(_cut(text, self.bar.ncols or 120), file=self.stream)
        else:
            print(text, file=self.stream, flush=True)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
