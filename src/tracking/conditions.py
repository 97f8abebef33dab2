"""What conditions of rules see and say, and the general ones, which any metric can be held against.

A condition looks at one metric's history and says what it sees, or nothing. Reference values (a median, a start) are
kept while a condition holds, so that an illness does not become its own yardstick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from .history import History, Series

if TYPE_CHECKING:
    from .rules import Rule

NONE = math.nan
"""Default of a number that need not be given."""


@dataclass(frozen=True)
class Look:
    """What a condition sees.

    Attributes:
        rule: whose condition it is, with its parameters.
        tag: the metric; ``value`` is its newest value, the last one of ``series`` if it is finite.
        position: step, or epoch, of the value.
        history: the series of the other metrics.
        streak: for how many observations in a row the condition has held already.
        memory: numbers that the condition keeps for this metric from one look to the next.
    """

    rule: Rule
    tag: str
    value: float
    position: int
    series: Series
    history: History
    streak: int
    memory: dict[str, float]

    def __getitem__(self, parameter: str) -> Any:
        return self.rule.parameters[parameter]

    def remembered(self, name: str, compute: Callable[[], float]) -> float:
        """The number from before the condition began to hold."""
        if not self.streak or name not in self.memory:
            self.memory[name] = compute()
        return self.memory[name]


@dataclass(frozen=True)
class Sighting:
    """What a condition saw.

    Attributes:
        evidence: a clause with numbers that follows the metric's name: "was 3.1, above 2".
        badness: the greater, the worse, among the metrics of one rule.
        severity: instead of the rule's own.
        is_sure: whether this one observation is enough, whatever ``checks`` says.
    """

    evidence: str
    badness: float
    severity: str | None = None
    is_sure: bool = False


Condition = Callable[[Look], Sighting | None]


@dataclass(frozen=True)
class Kind:
    """A kind of rule.

    Attributes:
        name: as in ``rules.toml``.
        condition: what is looked at.
        parameters: its keys with their defaults.
        required: keys that a rule must give.
        also_reads: those of its keys that name further metrics.
    """

    name: str
    condition: Condition
    parameters: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    also_reads: tuple[str, ...] = ()


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


# --- one value against a limit ----------------------------------------------------------------------------------------


def nonfinite(look: Look) -> Sighting | None:
    """The value is NaN or infinite."""
    if math.isfinite(look.value):
        return None
    return Sighting(
        f"became {look.value}" + (f" after {number(look.series.values[-1])}" if look.series.count else ""), 1.0
    )


def above(look: Look) -> Sighting | None:
    """The median of the last ``window`` values is above ``limit``; above ``info_limit`` it is worth an info."""
    return _beyond(look, 1)


def below(look: Look) -> Sighting | None:
    """The same for values below."""
    return _beyond(look, -1)


def _beyond(look: Look, sign: int) -> Sighting | None:
    window, value = look["window"], look.value
    if window > 1:
        if look.series.count < window:
            return None
        value = median(look.series.last(window))
    is_ill = sign * (value - look["limit"]) > 0
    if not is_ill and not sign * (value - look["info_limit"]) > 0:  # a comparison with NONE is never true
        return None
    limit = look["limit"] if is_ill else look["info_limit"]
    said = f"was {number(value)}" if window == 1 else f"had a median of {number(value)} in {window} observations"
    evidence = f"{said}, {'above' if sign > 0 else 'below'} {number(limit)}"
    return Sighting(evidence, sign * value, None if is_ill else "info")


def outside(look: Look) -> Sighting | None:
    """The value is outside its metric's range in ``ranges``."""
    low, high = look.rule.range_of(look.tag)
    if low <= look.value <= high:
        return None
    distance = (low - look.value if look.value < low else look.value - high) / (high - low)
    return Sighting(f"was {number(look.value)}, outside {number(low)} to {number(high)}", distance)


def share(look: Look) -> Sighting | None:
    """The metric's median over ``window`` values is above ``limit`` of that of the metric ``of``, and ``least``."""
    window, whole = look["window"], look.history[look["of"]]
    if min(look.series.count, whole.count) < window:
        return None
    part, total = median(look.series.last(window)), median(whole.last(window))
    if part < look["least"] or part <= look["limit"] * total:
        return None
    return Sighting(f"had a median of {number(part)}, {part / total:.0%} of {look['of']} ({number(total)})", part)


# --- a value against those before it ----------------------------------------------------------------------------------


def above_median(look: Look) -> Sighting | None:
    """The value is above ``factor`` times the median of those before, and far outside their usual scatter.

    The scatter is the median absolute deviation times 1.4826, which is the standard deviation of normal values. What
    is below ``start_share`` of the start does no harm: small numbers jump easily once a training has all but ended.
    """
    if not look.streak and look.series.count <= look["min_samples"]:
        return None
    before = look.series.before_last(look.streak + 1)[-look["window"] :]
    centre = look.remembered("median", lambda: median(before))
    scatter = look.remembered("scatter", lambda: 1.4826 * median(abs(value - centre) for value in before))
    limit = max(look["factor"] * centre, centre + look["deviations"] * scatter, harmless(look))
    if look.value <= limit or centre <= 0:
        return None
    return Sighting(f"was {number(look.value)}, {look.value / centre:.3g} times its median before", look.value / centre)


def harmless(look: Look) -> float:
    """The value below which a jump does no harm."""
    return look["start_share"] * look.series.start_median(3)


def below_start(look: Look) -> Sighting | None:
    """The value is below ``factor`` times the median of the first ``min_samples`` values."""
    if look.series.count <= look["min_samples"]:
        return None
    start = look.series.start_median(look["min_samples"])
    if start <= 0 or look.value >= look["factor"] * start:
        return None
    return Sighting(f"was {number(look.value)}, {look.value / start:.2g} of its start ({number(start)})", -look.value)
