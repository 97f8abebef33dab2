"""``SearchSpace``: what is searched for one model, and which configurations are possible."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .dimension import Dimension

if TYPE_CHECKING:
    from ..data.base import DataSpec

DATA_OPTIONS = ("window", "horizon")
"""The data options that may be searched. Any other would change the values that are forecast, and so what an error of
one trial means beside that of another."""

TRAINING_OPTIONS = ("batch_size", "lr", "weight_decay", "schedule", "warmup", "clip", "epoch_fraction", "patience")
"""The training options that may be searched. Epochs are the phases' own; the others change no model."""

Values = dict[str, Any]


@dataclass(frozen=True)
class SearchSpace:
    """What is searched for one model.

    Attributes:
        model: its registered name.
        dimensions: what is searched.
        fixed: further options that could be searched, or that the space file sets: name -> value.
        options: all of the model's options without a search.
        spec: the data, as the model sees them without a search. Without one, ``is_valid`` looks at options alone.
        notes: sentences about what is not searched, and why.
    """

    model: str
    dimensions: tuple[Dimension, ...]
    fixed: Values = field(default_factory=dict)
    options: Values = field(default_factory=dict)
    spec: DataSpec | None = None
    notes: tuple[str, ...] = ()
    _problems: dict[tuple[Any, ...], str | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def defaults(self) -> Values:
        """The default of every dimension."""
        return {dimension.name: dimension.default for dimension in self.dimensions}

    def repaired(self, values: Mapping[str, Any]) -> Values:
        """Values of all dimensions that lie in their ranges and agree with each other, as close as may be.

        Missing ones get their defaults. What cannot be put right stays as it is: see ``is_valid``.
        """
        found = {d.name: d.nearest(values.get(d.name, d.default)) for d in self.dimensions}
        for dimension in self.dimensions:
            if dimension.at_most is not None or dimension.multiple_of is not None:
                found[dimension.name] = self._agreeing(dimension, found)
        return found

    def is_valid(self, values: Mapping[str, Any]) -> bool:
        """Whether the model can be built so. Remembered: asking again is free."""
        return self.problem(values) is None

    def problem(self, values: Mapping[str, Any]) -> str | None:
        """Why the model cannot be built so, or None if it can."""
        key = tuple(values[dimension.name] for dimension in self.dimensions)
        if key not in self._problems:
            self._problems[key] = self._built(self.split(values))
        return self._problems[key]

    def split(self, values: Mapping[str, Any]) -> dict[str, Values]:
        """The options of a configuration, fixed ones included, by whose they are: ``model``, ``training``, ``data``.

        Args:
            values: of all dimensions; others are passed over.
        """
        parts: dict[str, Values] = {"model": {}, "training": {}, "data": {}}
        for name, value in self.fixed.items():
            parts[self._part_of(name)][name] = value
        for dimension in self.dimensions:
            parts[dimension.part][dimension.name] = dimension.option_value(values[dimension.name])
        return parts

    def to_dict(self) -> dict[str, Any]:
        """Plain values that ``json`` can write."""
        return {
            "model": self.model,
            "dimensions": [dimension.to_dict() for dimension in self.dimensions],
            "fixed": _listed(self.fixed),
            "options": _listed(self.options),
            "spec": None if self.spec is None else self.spec.to_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchSpace:
        """Read back what ``to_dict`` wrote; the model's class is not needed for that."""
        from ..data.base import DataSpec

        spec = values.get("spec")
        return cls(
            values["model"],
            tuple(map(Dimension.from_dict, values["dimensions"])),
            _unlisted(values["fixed"]),
            _unlisted(values.get("options", {})),
            None if spec is None else DataSpec.from_dict(spec),
            tuple(values.get("notes", ())),
        )

    @staticmethod
    def _part_of(name: str) -> str:
        if name in TRAINING_OPTIONS:
            return "training"
        return "data" if name in DATA_OPTIONS else "model"

    def _agreeing(self, dimension: Dimension, values: Mapping[str, Any]) -> Any:
        """The closest value of a dimension that its constraints allow."""
        value = values[dimension.name]
        divisor = 1 if dimension.multiple_of is None else self._other(dimension.multiple_of, values)
        bound = math.inf if dimension.at_most is None else self._other(dimension.at_most, values)
        if dimension.choices is not None:
            allowed = [choice for choice in dimension.choices if choice <= bound and choice % divisor == 0]
            return min(allowed, key=lambda choice: abs(choice - value), default=value)
        low, high = dimension.low or 0, min(dimension.high or 0, bound)
        first, last = math.ceil(low / divisor), math.floor(high / divisor)
        if dimension.kind != "int" or first > last:
            return min(value, high)
        return min(max(round(value / divisor), first), last) * divisor

    def _other(self, name: str, values: Mapping[str, Any]) -> Any:
        """The value of any option in a configuration."""
        known = {**self.options, **({} if self.spec is None else _shape(self.spec)), **self.fixed, **values}
        return known[name]

    def _built(self, parts: Mapping[str, Values]) -> str | None:
        """Build the model; the reason why that fails."""
        from ..models import find

        model_class = find(self.model).model_class
        try:
            config = model_class.Config.from_dict({**self.options, **parts["model"]})
        except OptionError as error:
            return str(error)
        if self.spec is None:
            return None
        shape = {**_shape(self.spec), **parts["data"]}
        spec = dataclasses.replace(
            self.spec,
            input_shape=(shape["window"], *self.spec.input_shape[1:]),
            target_shape=(shape["horizon"], *self.spec.target_shape[1:]),
        )
        return _construction_error(lambda: model_class(spec, config))


def _construction_error(construct: Callable[[], Any]) -> str | None:
    """Why a model cannot be made, or None. Weights keep whatever their memory holds, which makes it a matter of
    milliseconds, and no random number is drawn that anybody would miss.

    The device "meta" would do the same, but torch takes a second to load what it needs for the first random tensor.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class NoRandomWeights(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            place, name = (getattr(function, attribute, "") for attribute in ("__module__", "__name__"))
            if place == "torch.nn.init" or name in ("uniform_", "normal_"):
                return kwargs["tensor"] if "tensor" in kwargs else args[0]
            return function(*args, **kwargs)

    for quick in (True, False):  # a user's model may do with its weights what only proper ones allow
        try:
            with torch.random.fork_rng(devices=[]), NoRandomWeights() if quick else contextlib.nullcontext():
                construct()
            return None
        except OptionError as error:
            return str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    return problem


def _shape(spec: DataSpec) -> Values:
    return {"window": spec.input_shape[0], "horizon": spec.target_shape[0]}


def _listed(values: Mapping[str, Any]) -> Values:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _unlisted(values: Mapping[str, Any]) -> Values:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
