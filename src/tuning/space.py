"""``build_space`` gathers what is searched for one model from its options, the data, and the user's space file."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..data.options import DataOptions
from ..errors import DataError, OptionError
from ..training.config import TrainingConfig
from .dimension import Dimension, closest
from .known_option import KnownOption
from .search_space import DATA_OPTIONS, TRAINING_OPTIONS, SearchSpace, Values
from .space_file import Entry, check_names, entries_of

if TYPE_CHECKING:
    from ..data.base import DataSpec

__all__ = ["Dimension", "NothingToSearch", "SearchSpace", "build_space"]

ATTEMPTS = 100
"""Random configurations of which one has to be possible."""


class NothingToSearch(OptionError):
    """A model has no option that can be searched."""


def build_space(
    model: str,
    spec: DataSpec,
    data: DataOptions,
    training: TrainingConfig,
    options: Mapping[str, Any],
    file: Mapping[str, Any] | None = None,
    *,
    given: Collection[str] = (),
    models: Collection[str] | None = None,
) -> SearchSpace:
    """What to search for a model.

    By default that is every option made with ``tunable`` that matters for the data: the model's, the training's if it
    trains by gradients, and then also the look-back window, as far as the data allow. The file narrows, fixes, or adds
    options that are not searched by default; what the user gave stays.

    Args:
        model: its registered name; plugins are loaded.
        spec: of the data, in the windows of ``data``.
        data: with nothing left open.
        training: of a run without a search.
        options: the model's, all of them.
        file: of ``load_space_file``.
        given: names of the options that the user gave.
        models: all models searched, so that a name in the file that none of them has is refused; by default every
            registered one.

    Raises:
        NothingToSearch: if no option can be searched.
        OptionError: if the file says what cannot be, or contradicts what was given.
    """
    gathering = _Gathering(model, spec, data, training, options)
    entries: dict[str, Entry] = {}
    if file:
        check_names(file, _searchable_names(models))
        entries = entries_of(file, gathering.model, gathering.known)
    for name, known in gathering.known.items():
        if name in entries:
            if name in given:
                raise OptionError(
                    f"an option is set in one place, but {name} is given on the command line and "
                    f"{entries[name].written} stands in the space file; leave it out of one"
                )
            gathering.take(known, entries[name])
        elif known.is_tunable:
            gathering.add(known, is_given=name in given)
    return gathering.space()


def _searchable_names(models: Collection[str] | None) -> dict[str, list[str]]:
    """Model -> the options of it, of training and of data that may be searched."""
    from .. import registry
    from ..models import find, load_all

    if models is None:
        load_all()
        models = [known.name for known in registry.entries()]
    names = {}
    for model in models:
        known = find(model)
        training = TRAINING_OPTIONS if known.model_class.uses_gradients else ()
        names[known.name] = [*known.model_class.Config.names(), *training, *DATA_OPTIONS]
    return names


class _Gathering:
    """The options of a model on their way into its search space."""

    def __init__(
        self,
        model: str,
        spec: DataSpec,
        data: DataOptions,
        training: TrainingConfig,
        options: Mapping[str, Any],
    ) -> None:
        from ..models import find

        entry = find(model)
        self.model, self.spec, self.data = entry.name, spec, data
        self.uses_gradients = entry.model_class.uses_gradients
        config_class = entry.model_class.Config
        self.options = config_class.from_dict({**entry.presets, **options}).to_dict()
        self.dimensions: dict[str, Dimension] = {}
        self.fixed: Values = {}
        self.notes: list[str] = []
        self.from_file: list[str] = []
        self._variant = _variant_options(entry)
        shared = (("training", training, TRAINING_OPTIONS if self.uses_gradients else ()), ("data", data, DATA_OPTIONS))
        # A model's own option that is called like one of the command's cannot be told from it in a configuration.
        taken = {*TrainingConfig.names(), *DataOptions.names()}
        self.known = {
            name: KnownOption(name, "model", config_class, self.options[name], spec)
            for name in config_class.names()
            if name not in taken
        }
        for part, owner, names in shared:
            self.known |= {name: KnownOption(name, part, type(owner), getattr(owner, name), spec) for name in names}

    def add(self, known: KnownOption, *, is_given: bool) -> None:
        """Search an option in its own range, if it matters and nobody has decided it."""
        if known.without_effect or (known.part == "data" and not self.uses_gradients):
            return
        if is_given or known.name in self._variant:
            self.fixed[known.name] = known.value
        elif known.name == "window":
            self._add_window(known)
        else:
            self._search(known.dimension(known.own_range))

    def take(self, known: KnownOption, entry: Entry) -> None:
        """Search or fix an option as the file says."""
        reason = known.without_effect
        if reason:
            self.notes.append(f"{entry.written} of the space file is left out: {reason}")
            return
        self.from_file.append(known.name)
        try:
            if not entry.is_range and not known.has_choices(entry):
                self.fixed[known.name] = known.checked(entry.content)
                return
            found = known.range_by(entry)
        except OptionError as error:
            raise OptionError(f"{entry.written} in the space file is not allowed: {error}") from None
        self._search(known.dimension(found))
        if known.name == "window" and entry.high is None and entry.is_range:
            self._narrow("window", high=self._longest_window(int(self.dimensions["window"].high or 0)))

    def space(self) -> SearchSpace:
        """Everything gathered, once it agrees with itself and the data."""
        self._check_windows()
        for known in self.known.values():
            self._agree(known)
        for dimension in list(self.dimensions.values()):
            self._search(dimension)
        if not self.dimensions:
            why = "all its options are set" if self.fixed else "it has no options that could be better or worse"
            raise NothingToSearch(f"{self.model} has nothing to search: {why}; leave it out, or set less")
        own = {name: value for name, value in self.fixed.items() if self.known[name].part == "model"}
        dimensions = tuple(self.dimensions[name] for name in self.known if name in self.dimensions)
        space = SearchSpace(self.model, dimensions, self.fixed, {**self.options, **own}, self.spec, tuple(self.notes))
        _check_possible(space, self.from_file)
        return space

    def _search(self, dimension: Dimension) -> None:
        """Keep a dimension; one with a single value is fixed."""
        values = set(dimension.choices) if dimension.choices is not None else {dimension.low, dimension.high}
        if len(values) > 1:
            self.dimensions[dimension.name] = dimension
            return
        self.dimensions.pop(dimension.name, None)
        self.fixed[dimension.name] = dimension.option_value(dimension.default)

    # --- windows ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _series(self) -> Any:
        from ..experiment import cached_data

        return cached_data(self.data)

    @functools.cached_property
    def _all_windows(self) -> tuple[int, int, int]:
        """Training, validation and test windows with a look-back of one row: as many as can be."""
        return self._window_counts(1)

    def _window_counts(self, window: int) -> tuple[int, int, int]:
        try:
            cut = self._series.recut(window, self.data.horizon)
        except DataError:
            return 0, 0, 0
        return len(cut.train), len(cut.validation), len(cut.test)

    def _keeps_targets(self, window: int) -> bool:
        """Whether validation and test forecast the same rows as with any other window that does.

        Values of trials, and of final runs, could not be compared otherwise. It is so unless the look-back of their
        first rows would begin before the series does. In series that belong to one part as a whole it never is: those
        of --test-data, and of sample:adding, which is drawn anew for another window and would be another task. The
        other samples are loaded anew too, but have the same rows whatever the window.
        """
        return self._window_counts(window)[1:] == self._all_windows[1:]

    def _longest_window(self, most: int) -> int:
        """The longest look-back, from the default to ``most``, that leaves half of the training windows."""
        return _last(
            self.data.window,
            most,
            lambda window: self._keeps_targets(window) and 2 * self._window_counts(window)[0] >= self._all_windows[0],
        )

    def _add_window(self, known: KnownOption) -> None:
        if not self._keeps_targets(known.value):
            self.fixed["window"] = known.value
            self.notes.append("window is not searched: on such data it decides which rows are forecast")
            return
        own = known.own_range
        self._search(known.dimension(dataclasses.replace(own, high=self._longest_window(int(own.high or 0)))))

    def _check_windows(self) -> None:
        """Refuse windows and horizons of the file that the data do not allow."""
        window, horizon = (self._ends(name)[1] for name in DATA_OPTIONS)
        if "window" in self.from_file and not self._keeps_targets(window):
            if not self._keeps_targets(self.data.window):
                raise OptionError(
                    "window can be searched where all windows are measured on the same rows, but on such data it "
                    "decides which; take it out of the space file and use --window"
                )
            most = _last(self.data.window, window, self._keeps_targets)
            raise OptionError(
                f"every trial must be measured on the same rows, for which window may be at most {most} here, but the "
                f"space file says {window}; use a smaller one"
            )
        if {"window", "horizon"} & set(self.from_file):
            try:
                self._series.recut(window, horizon)
            except DataError as error:
                raise OptionError(f"the space file asks for too much: {error}") from None

    # --- what has to agree ------------------------------------------------------------------------------------------

    def _ends(self, name: str) -> tuple[Any, Any]:
        """The least and the greatest value of an option in the search."""
        if name in self.dimensions:
            dimension = self.dimensions[name]
            choices = dimension.choices
            return (dimension.low, dimension.high) if choices is None else (min(choices), max(choices))
        value = self.fixed.get(name, self.known[name].value)
        return value, value

    def _agree(self, known: KnownOption) -> None:
        """Leave out values that none of the other option's would go with, so that few have to be put right."""
        at_most, multiple_of = known.metadata.get("at_most"), known.metadata.get("multiple_of")
        if at_most:
            self._narrow(known.name, high=self._ends(at_most)[1])
            self._narrow(at_most, low=self._ends(known.name)[0])
        if multiple_of in self.dimensions and known.name not in self.dimensions:
            value = self._ends(known.name)[0]
            self._keep_choices(multiple_of, lambda choice: value % choice == 0)

    def _narrow(self, name: str, low: Any = None, high: Any = None) -> None:
        """Take what lies outside off a dimension, unless nothing would be left, which is refused later."""
        dimension = self.dimensions.get(name)
        if dimension is None:
            return
        if dimension.choices is not None:
            self._keep_choices(name, lambda value: (low is None or value >= low) and (high is None or value <= high))
            return
        first = dimension.low if low is None else max(dimension.low or 0, low)
        last = dimension.high if high is None else min(dimension.high or 0, high)
        if first <= last:  # type: ignore[operator]
            self._replace(dataclasses.replace(dimension, low=first, high=last))

    def _keep_choices(self, name: str, is_kept: Callable[[Any], bool]) -> None:
        dimension = self.dimensions[name]
        choices = tuple(filter(is_kept, dimension.choices or ()))
        if choices and name not in self.from_file:  # what a user listed is refused later, not left out
            self._replace(dataclasses.replace(dimension, choices=choices))

    def _replace(self, dimension: Dimension) -> None:
        default = closest(dimension.default, dimension.choices, dimension.low, dimension.high)
        self.dimensions[dimension.name] = dataclasses.replace(dimension, default=default)


def _variant_options(entry: Any) -> set[str]:
    """Options that tell names of one class apart: searching ``residual`` would make tcn:basic a tcn:residual."""
    from .. import registry

    siblings = [known for known in registry.entries() if known.model_class is entry.model_class]
    return {name for known in siblings for name in known.presets} if len(siblings) > 1 else set()


def _last(first: int, most: int, is_good: Callable[[int], bool]) -> int:
    """The greatest number from ``first`` to ``most`` that is good, ``first`` if none is; up to it, all are."""
    good, bad = first, max(first, most) + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_good(middle) else (good, middle)
    return good


def _check_possible(space: SearchSpace, from_file: Collection[str]) -> None:
    """Refuse a space of which nothing can be built, and values of the file that no configuration can have."""
    asked: list[Values] = [{}]
    for dimension in space.dimensions:
        if dimension.name in from_file:
            asked += [{dimension.name: value} for value in dimension.choices or (dimension.low, dimension.high)]
    for values in asked:
        problems = list(_problems(space, values))
        if problems[-1] is not None:
            what = ", ".join(f"{name}={value}" for name, value in values.items()) or "these options"
            raise OptionError(f"{space.model} cannot be built with {what}: {problems[0]}")


def _problems(space: SearchSpace, asked: Values) -> Iterator[str | None]:
    """Why the default configuration with the values asked for cannot be built, then random ones, until one can."""
    choices = [dimension.name for dimension in space.dimensions if dimension.choices is not None]
    generator = random.Random(0)
    proposal = space.defaults()
    for _ in range(ATTEMPTS):
        values = space.repaired({**proposal, **asked})
        changed = [name for name, value in asked.items() if name in choices and values[name] != value]
        problem = "it goes with none of the other options" if changed else space.problem(values)
        yield problem
        if problem is None:
            return
        proposal = {dimension.name: dimension.from_unit(generator.random()) for dimension in space.dimensions}
