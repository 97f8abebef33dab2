"""``Dimension``: one hyperparameter that is searched, as a range or a list of choices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options import parse_value

if TYPE_CHECKING:
    import optuna

_ITEMS: Mapping[str, Any] = {"int": tuple[int, ...], "float": tuple[float, ...], "str": tuple[str, ...]}


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter that is searched.

    Attributes:
        name: of the option.
        part: whose option it is: ``model``, ``training`` or ``data``.
        kind: ``int`` or ``float`` for a range, ``choice`` for a list.
        default: the value without a search, or what comes closest to it.
        low, high: ends of a range, both included; None for choices.
        log: whether the range is searched on a logarithmic scale.
        choices: the list; None for a range.
        multiple_of: another option whose value must divide this one.
        at_most: another option whose value this one must not exceed.
        items: type of the items where the option's values are lists. The search knows a list by its text, "64,32",
            since Optuna keeps plain values only.
    """

    name: str
    part: str
    kind: str
    default: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None
    multiple_of: str | None = None
    at_most: str | None = None
    items: str | None = None

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The whole range, as Optuna knows it."""
        from optuna import distributions

        if self.choices is not None:
            return distributions.CategoricalDistribution(self.choices)
        low, high = self._range
        if self.kind == "int":
            return distributions.IntDistribution(int(low), int(high), log=self.log)
        return distributions.FloatDistribution(low, high, log=self.log)

    def suggest(self, trial: optuna.Trial) -> Any:
        """The trial's value of this hyperparameter."""
        if self.choices is not None:
            return trial.suggest_categorical(self.name, self.choices)
        low, high = self._range
        if self.kind == "int":
            return trial.suggest_int(self.name, int(low), int(high), log=self.log)
        return trial.suggest_float(self.name, low, high, log=self.log)

    def from_unit(self, position: float) -> Any:
        """The value at a position in [0, 1): choices and whole numbers have a part of the way each.

        On a linear scale and among choices the parts are equally long.
        """
        position = min(max(position, 0.0), 1.0)
        if self.choices is not None:
            return self.choices[min(int(position * len(self.choices)), len(self.choices) - 1)]
        low, high = self._scaled_ends
        value = self._unscaled(low + position * (high - low))
        return self.nearest(value)

    def to_unit(self, value: Any) -> float:
        """The position of a value: the middle of its part where it has one."""
        if self.choices is not None:
            return (self.choices.index(as_plain(value)) + 0.5) / len(self.choices)
        low, high = self._scaled_ends
        if self.kind == "int":
            place = (self._scaled(value - 0.5) + self._scaled(value + 0.5)) / 2
        else:
            place = self._scaled(value)
        return (place - low) / (high - low) if high > low else 0.5

    def nearest(self, value: Any) -> Any:
        """The value itself if it may be proposed, else the closest end of the range; the default for a wrong choice."""
        if self.choices is not None:
            return value if value in self.choices else self.default
        low, high = self._range
        value = min(max(value, low), high)
        return math.floor(value + 0.5) if self.kind == "int" else float(value)

    def option_value(self, value: Any) -> Any:
        """A value of the search as the option takes it: lists are lists again."""
        return value if self.items is None or value is None else parse_value(self.name, value, _ITEMS[self.items])

    def describe(self) -> str:
        """``1e-05 to 0.1, logarithmic`` or ``16, 32, 64``."""
        if self.choices is not None:
            return ", ".join(_short(choice) for choice in self.choices)
        return f"{_short(self.low)} to {_short(self.high)}{', logarithmic' if self.log else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values that ``json`` can write."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Dimension:
        """Read back what ``to_dict`` wrote."""
        choices = values["choices"]
        return cls(**{**values, "choices": None if choices is None else tuple(choices)})

    @property
    def _range(self) -> tuple[float, float]:
        if self.low is None or self.high is None:
            raise ValueError(f"{self.name} has choices, not a range")
        return self.low, self.high

    @property
    def _scaled_ends(self) -> tuple[float, float]:
        """Where the range begins and ends on its scale; whole numbers reach half a unit further to either side."""
        low, high = self._range
        margin = 0.5 if self.kind == "int" else 0.0
        return self._scaled(low - margin), self._scaled(high + margin)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _unscaled(self, place: float) -> float:
        return math.exp(place) if self.log else place


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def as_plain(value: Any) -> Any:
    """An option's value as the search knows it: lists as text."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def closest(value: Any, choices: tuple[Any, ...] | None, low: Any, high: Any) -> Any:
    """What comes closest to a value among choices or in a range; the first or the lowest if nothing is close."""
    if choices is not None:
        if value in choices:
            return value
        numbers = [choice for choice in choices if _is_number(choice)]
        return min(numbers, key=lambda choice: abs(choice - value)) if numbers and _is_number(value) else choices[0]
    return min(max(value, low), high) if _is_number(value) else low


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
