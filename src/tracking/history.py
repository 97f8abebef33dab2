"""What the diagnosis remembers of a metric: how it began, and its latest values. Bounded, and plain enough to save."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

START_LENGTH = 10
RECENT_LENGTH = 50


@dataclass
class Series:
    """The finite values of one metric.

    Attributes:
        start: its first values.
        positions, values: its latest ones, oldest first; a position is a step, or an epoch for values of epochs.
        lowest, lowest_position: the least value so far and where it stood.
        highest: the greatest value so far.
        count: how many values there were in all.
    """

    start: list[float] = field(default_factory=list)
    positions: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT_LENGTH))
    values: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_LENGTH))
    lowest: float = math.inf
    lowest_position: int = -1
    highest: float = -math.inf
    count: int = 0

    def add(self, position: int, value: float) -> None:
        """Append a value."""
        self.count += 1
        if len(self.start) < START_LENGTH:
            self.start.append(value)
        if value < self.lowest:
            self.lowest, self.lowest_position = value, position
        self.highest = max(self.highest, value)
        self.positions.append(position)
        self.values.append(value)

    def last(self, number: int) -> list[float]:
        """The latest values, ``number`` at most."""
        return list(self.values)[-number:]

    def before_last(self, number: int) -> list[float]:
        """What is remembered, without the latest ``number`` values."""
        return list(self.values)[:-number] if number else list(self.values)

    def start_median(self, number: int = START_LENGTH) -> float:
        """Median of the first ``number`` values."""
        return median(self.start[:number])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return vars(self) | {"start": list(self.start), "positions": list(self.positions), "values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        for name, value in state.items():
            setattr(self, name, deque(value, RECENT_LENGTH) if name in ("positions", "values") else value)
        self.start = list(self.start)


class History:
    """The series of all metrics that some rule reads."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}

    def __getitem__(self, tag: str) -> Series:
        """The metric's series, empty if it was never seen."""
        return self._series.get(tag, _EMPTY)

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def add(self, tag: str, position: int, value: float, spacing: int) -> bool:
        """Remember a finite value, unless the one before is less than ``spacing`` away; say whether it was."""
        series = self._series.get(tag)
        if series is None:
            series = self._series[tag] = Series()
        if not math.isfinite(value) or (series.positions and position - series.positions[-1] < spacing):
            return False
        series.add(position, value)
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {tag: series.state_dict() for tag, series in self._series.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._series = {tag: Series() for tag in state}
        for tag, series in self._series.items():
            series.load_state_dict(state[tag])


_EMPTY = Series()


def slope_per_value(values: list[float]) -> float:
    """Slope of the least-squares line through values that are evenly spaced, per step from one to the next."""
    count = len(values)
    if count < 2:
        return 0.0
    centre, mean = (count - 1) / 2, sum(values) / count
    return sum((place - centre) * (value - mean) for place, value in enumerate(values)) * 12 / (count**3 - count)
