"""``ValueScale``: which part of a study's objective its figures show, and on what kind of axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from .reports import TrialRecord

if TYPE_CHECKING:
    from .study_summary import StudySummary

TICKS = 5


@dataclass(frozen=True)
class ValueScale:
    """Which part of the objective is shown, from the best trial to an edge beyond which values are far worse than most.

    Attributes:
        sign: 1 if lower values are better, -1 if higher ones are.
        log: whether the axis is logarithmic, as for values of one sign that span a factor of ten.
        best, edge: ends of what is shown as losses: times ``sign``, and after the logarithm.
    """

    sign: float
    log: bool
    best: float
    edge: float

    @classmethod
    def of(cls, summary: StudySummary) -> ValueScale:
        """That fits all trials of a study."""
        values = np.array([value_of(record) for record in valued(summary.records)])
        sign = -1.0 if summary.maximize else 1.0
        if values.size and values.min() > 0:
            best, edge = _ends(sign * np.log10(values))
            if edge - best >= 1:
                return cls(sign, True, best, edge)
        return cls(sign, False, *_ends(sign * values))

    def losses(self, values: Sequence[float]) -> np.ndarray:
        """Lower is better, the logarithm where the axis has it."""
        numbers = np.asarray(values, dtype=float)
        return self.sign * (np.log10(numbers) if self.log else numbers)

    def shares(self, values: Sequence[float]) -> np.ndarray:
        """Values as 0 for the best to 1 for the edge and all beyond."""
        return np.clip((self.losses(values) - self.best) / (self.edge - self.best), 0, 1)

    def value(self, share: float) -> float:
        """The value at a share of the way from the best to the edge."""
        loss = self.best + share * (self.edge - self.best)
        return float(10 ** (self.sign * loss)) if self.log else float(self.sign * loss)

    def label(self, share: float) -> str:
        """The same as text."""
        return f"{self.value(share):.3g}"

    def is_beyond(self, value: float) -> bool:
        """Whether a value is worse than the edge."""
        return bool(self.losses([value])[0] > self.edge)

    def set_axis(self, axes: Any) -> None:
        """Make this the vertical axis, with room for what stands at the edge."""
        if self.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if self.edge - self.best < 3 else (1,)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(TICKS))
            axes.yaxis.get_major_formatter().set_useOffset(False)
        axes.set_ylim(sorted((self.value(-0.06), self.value(1.14))))


def _ends(losses: np.ndarray) -> tuple[float, float]:
    """The best loss and the worst that is shown: at most four times as far from the best as three quarters of all."""
    if not losses.size:
        return 0.0, 1.0
    best, quartile = float(losses.min()), float(np.quantile(losses, 0.75, method="lower"))
    edge = float(losses[losses <= best + 4 * (quartile - best)].max() if quartile > best else losses.max())
    return best, edge if edge > best else best + max(abs(best), 1e-12) * 0.1


def value_of(record: TrialRecord) -> float:
    """A trial's value; not a number without one."""
    return math.nan if record.value is None else record.value


def valued(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Those that completed or were pruned, with a finite value."""
    return [r for r in records if r.status in ("completed", "pruned") and math.isfinite(value_of(r))]
