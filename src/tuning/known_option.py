"""``KnownOption``: an option that a search may vary, and its range by its field or by the space file."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..options import Options, SearchRange, field_types, optional_type
from .dimension import Dimension, as_plain, closest
from .space_file import Entry

if TYPE_CHECKING:
    from ..data.base import DataSpec

_NEEDS: Mapping[str, tuple[Callable[[DataSpec], bool], str]] = {
    "returns": (lambda spec: spec.cost_bps is not None, "returns"),
    "target_history": (lambda spec: spec.target_channels is not None, "the targets' own history among the inputs"),
    "several_channels": (
        lambda spec: spec.target_channels is not None and spec.input_shape[1] > 1,
        "other channels beside the target's own",
    ),
}
"""What ``needs`` of a ``tunable`` may say: without it, the option has no effect or allows one value only."""


@dataclass(frozen=True)
class KnownOption:
    """An option that a search may vary.

    Attributes:
        name, part: of the option, and whose it is: ``model``, ``training`` or ``data``.
        owner: the class it is a field of.
        value: without a search.
        spec: the data.
    """

    name: str
    part: str
    owner: type[Options]
    value: Any
    spec: DataSpec

    @functools.cached_property
    def metadata(self) -> Mapping[str, Any]:
        """What its field says of it."""
        return self.owner.__dataclass_fields__[self.name].metadata

    @functools.cached_property
    def type(self) -> Any:
        """Of its values, None aside."""
        return optional_type(field_types(self.owner)[self.name])[0]

    @property
    def items(self) -> str | None:
        """The type of its values' items, if they are lists."""
        arguments = getattr(self.type, "__args__", ())
        return arguments[0].__name__ if arguments else None

    @property
    def is_tunable(self) -> bool:
        """Whether it is searched unasked."""
        return self.metadata.get("search_range") is not None

    @property
    def default(self) -> Any:
        """Its value without a search, as the search knows it, or what "auto" means for the data."""
        automatic = self.metadata.get("automatic")
        return automatic(self.spec) if automatic and self.value == "auto" else as_plain(self.value)

    @property
    def without_effect(self) -> str | None:
        """Why it makes no difference on such data, or None if it does."""
        tasks, needs = self.metadata.get("tasks"), self.metadata.get("needs")
        if tasks and self.spec.task not in tasks:
            return f"it has no effect on the task {self.spec.task}"
        if needs:
            is_there, what = _NEEDS[needs]
            return None if is_there(self.spec) else f"it has no effect on data without {what}"
        return None

    @property
    def own_range(self) -> SearchRange:
        """The range that its field gives, as the search knows it, with the value without a search in it."""
        own: SearchRange = self.metadata.get("search_range") or SearchRange()
        value = self.default
        if own.choices is not None:
            choices = dict.fromkeys([*map(as_plain, own.choices), value])
            return SearchRange(choices=tuple(choices))
        if value is None or own.low is None or own.high is None:
            return own
        return dataclasses.replace(own, low=min(own.low, value), high=max(own.high, value))

    def has_choices(self, entry: Entry) -> bool:
        """Whether the space file lists choices, and not one value, which may be a list itself."""
        if not isinstance(entry.content, list):
            return False
        return self.items is None or all(isinstance(item, list) or item is None for item in entry.content)

    def checked(self, value: Any) -> Any:
        """A value as the option holds it.

        Raises:
            OptionError: if it is not allowed.
        """
        return self.owner.checked_value(self.name, value)

    def range_by(self, entry: Entry) -> SearchRange:
        """The range or the choices that the space file gives; an end left open is that of the option's own range.

        Raises:
            OptionError: if a value is not allowed, or it is no range.
        """
        if not entry.is_range:
            return SearchRange(choices=tuple(dict.fromkeys(as_plain(self.checked(value)) for value in entry.content)))
        if self.type not in (int, float):
            raise OptionError("only numbers have a range; give a list of choices")
        low, high = self._ends
        low, high = low if entry.low is None else entry.low, high if entry.high is None else entry.high
        if low is None or high is None:
            raise OptionError("it has no range of its own, so both low and high are needed; give both")
        low, high = self.checked(self._whole(low)), self.checked(self._whole(high))
        if low > high:
            raise OptionError(f"low must be at most high, but it would go from {low} to {high}; give both ends")
        log = self.own_range.log if entry.log is None else entry.log
        if log and low <= 0:
            raise OptionError(f"a logarithmic range begins above 0, but got low={low}; raise it, or say log = false")
        return SearchRange(low, high, log)

    def dimension(self, found: SearchRange) -> Dimension:
        """The option as something to search."""
        return Dimension(
            self.name,
            self.part,
            self.type.__name__ if found.choices is None else "choice",
            closest(self.default, found.choices, found.low, found.high),
            found.low,
            found.high,
            found.log,
            found.choices,
            self.metadata.get("multiple_of"),
            self.metadata.get("at_most"),
            self.items,
        )

    @property
    def _ends(self) -> tuple[Any, Any]:
        """The ends of its own range, or of what is allowed; None where there is none."""
        own = self.own_range
        if own.choices is not None:
            return min(own.choices), max(own.choices)
        if own.low is not None and own.high is not None:
            return own.low, own.high
        return self.metadata["minimum"], self.metadata["maximum"]

    def _whole(self, value: Any) -> Any:
        return int(value) if self.type is int and value == int(value) else value
