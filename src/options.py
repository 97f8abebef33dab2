"""Options as frozen dataclasses: default, help, allowed values and search range of each stand in one place.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Example(Options):
...     hidden_size: int = tunable(64, low=16, high=512, log=True, minimum=1, help="width of the hidden state")
>>> Example.from_strings({"hidden_size": "128"})
Example(hidden_size=128)
>>> Example(hidden_size=0)
Traceback (most recent call last):
...
src.errors.OptionError: hidden_size must be at least 1, but got 0; the default is 64
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from .errors import OptionError, did_you_mean


@dataclass(frozen=True)
class SearchRange:
    """Where a hyperparameter search may look: an interval (``low`` to ``high``) or a list of ``choices``."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None


def option(
    default: Any,
    *,
    help: str,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] | None = None,
    **more: Any,
) -> Any:
    """A field of an ``Options`` class.

    Args:
        default: the value used when none is given.
        help: one line for the user.
        minimum, above, maximum: the least value, a bound the value must exceed, and the greatest value.
        choices: the only values allowed.
        **more: further metadata of the field, read by whoever put it there (the command line's names, for one).
    """
    metadata = {"help": help, "minimum": minimum, "above": above, "maximum": maximum, "choices": choices, **more}
    return dataclasses.field(default=default, metadata=metadata)


def tunable(
    default: Any,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    search: Sequence[Any] | None = None,
    **checks: Any,
) -> Any:
    """An ``option`` that a hyperparameter search may vary between ``low`` and ``high`` or over the list ``search``.

    Args:
        default, help: as of ``option``.
        low, high, log: the range, both ends included, and whether to search it on a logarithmic scale.
        search: the list; it need not hold the default.
        **checks: as of ``option``, and what a search has to know: ``multiple_of`` and ``at_most`` (the name of an
            option whose value must divide this one, or bounds it: ``window`` for the look-back), ``tasks`` and
            ``needs`` (where the option has an effect: names of tasks; ``returns``, ``target_history`` or
            ``several_channels``), ``automatic`` (what the default "auto" means: called with the ``DataSpec``).
    """
    search_range = SearchRange(low, high, log, None if search is None else tuple(search))
    return option(default, help=help, search_range=search_range, **checks)


@dataclass(frozen=True)
class Options:
    """Base of all option classes. Values are checked when an instance is built.

    Raises:
        OptionError: if a value has the wrong type or lies outside what its field allows.
    """

    def __post_init__(self) -> None:
        types_by_name = field_types(type(self))
        for field in dataclasses.fields(self):
            value = _checked(field, getattr(self, field.name), types_by_name[field.name])
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Override to check what concerns several fields at once; raise ``OptionError``."""

    @classmethod
    def checked_value(cls, name: str, value: Any) -> Any:
        """A value of one option as an instance would hold it; ``check``, which concerns several, is not asked.

        Raises:
            OptionError: if it is not allowed.
        """
        return _checked(cls.__dataclass_fields__[name], value, field_types(cls)[name])

    @classmethod
    def names(cls) -> list[str]:
        """The names of all options, in order of definition."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain JSON values.

        Raises:
            OptionError: for an unknown name or a value that is not allowed.
        """
        for name in values:
            if name not in cls.names():
                raise OptionError(
                    f"'{name}' is not an option here.{did_you_mean(name, cls.names())} Known: {', '.join(cls.names())}"
                )
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    @classmethod
    def from_strings(cls, texts: Mapping[str, str]) -> Self:
        """Build from ``{"name": "text"}`` as typed on a command line."""
        return cls.from_dict(cls.parse_strings(texts))

    @classmethod
    def parse_strings(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        """Turn typed texts into values of each field's type, unknown names left to ``from_dict`` to refuse."""
        types_by_name = field_types(cls)
        return {
            name: parse_value(name, text, types_by_name[name]) if name in types_by_name else text
            for name, text in texts.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values that ``json`` can write and ``from_dict`` can read back."""
        return dataclasses.asdict(self)


def field_types(cls: type) -> dict[str, Any]:
    """The resolved type of every field, e.g. ``{"patch": int, "period": int | None}``."""
    return typing.get_type_hints(cls)


def optional_type(annotation: Any) -> tuple[Any, bool]:
    """Split ``T | None`` into ``(T, True)``; any other annotation into ``(annotation, False)``."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        return parts[0], True
    return annotation, False


def parse_value(name: str, text: str, annotation: Any) -> Any:
    """Turn a typed text into a value of a field's type.

    Args:
        name: of the option, for the message.
        text: as typed.
        annotation: the type, e.g. ``int | None`` or ``tuple[int, ...]``.

    Raises:
        OptionError: if it cannot be read as such.
    """
    kind, may_be_none = optional_type(annotation)
    if may_be_none and text.lower() in ("none", "null", ""):
        return None
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return tuple(parse_value(name, part, item) for part in text.split(",") if part)
    if kind is bool:
        if text.lower() in ("true", "yes", "1", "on"):
            return True
        if text.lower() in ("false", "no", "0", "off"):
            return False
        raise OptionError(f"{name} must be true or false, but got '{text}'")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            word = "a whole number" if kind is int else "a number"
            raise OptionError(f"{name} must be {word}, but got '{text}'") from None
    return text


def _checked(field: dataclasses.Field[Any], value: Any, annotation: Any) -> Any:
    value = _coerce(field.name, value, annotation)
    if value is not None:
        _check_bounds(field, value)
    return value


def _coerce(name: str, value: Any, annotation: Any) -> Any:
    """Accept what is the same value in another dress (1 for 1.0, a list for a tuple); refuse other types."""
    kind, may_be_none = optional_type(annotation)
    if value is None and may_be_none:
        return None
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise OptionError(f"{name} must be a list of values, but got {value!r}")
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, str, bool) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise OptionError(f"{name} must be of type {kind.__name__}, but got {value!r}")
    return value


def _check_bounds(field: dataclasses.Field[Any], value: Any) -> None:
    choices = field.metadata.get("choices")
    if choices is not None and value not in choices:
        allowed = ", ".join(map(str, choices))
        hint = did_you_mean(str(value), map(str, choices))
        raise OptionError(f"{field.name} must be one of {allowed}, but got '{value}'.{hint}".rstrip("."))
    rule = _broken_rule(field.metadata, value)
    if rule:
        hint = "" if field.default in (None, dataclasses.MISSING) else f"; the default is {field.default}"
        raise OptionError(f"{field.name} must be {rule}, but got {value}{hint}")


def _broken_rule(rules: Mapping[str, Any], value: Any) -> str | None:
    """What the value ought to be, if it is not."""
    minimum, above, maximum = rules.get("minimum"), rules.get("above"), rules.get("maximum")
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if minimum is not None and maximum is not None and not minimum <= value <= maximum:
        return f"between {minimum} and {maximum}"
    if minimum is not None and value < minimum:
        return f"at least {minimum}"
    if above is not None and not value > above:
        return f"greater than {above}"
    return f"at most {maximum}" if maximum is not None and value > maximum else None
