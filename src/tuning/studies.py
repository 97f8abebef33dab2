"""The studies of a search, one a model, and what every worker reads from them, on whatever machine it is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from ..data.reading.sources import hide_password
from ..errors import UserError
from ..models import load_plugin
from ..plan import RunPlan
from . import slots
from .config import HyperparameterConfig
from .objective import direction_of
from .pruning import build_pruner
from .samplers import PhaseSampler
from .space import SearchSpace
from .storage import open_storage

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

MODEL, CONFIG, SPACE, OBJECTIVE, SEARCH = "model", "config", "space", "objective", "search"

HOPELESS = 5


@dataclass(frozen=True)
class ModelSearch:
    """What the trials of one model share.

    Attributes:
        search: name of the whole search; the study is ``<search>/<model>``.
        root: the search's folder on the machine that began it.
        plan: the default configuration; its folder is the model's.
        space: what is searched.
        config: the phases.
        objective: what it goes by.
        uses_gradients: whether the model trains epoch by epoch.
        fingerprint: of the data.
    """

    search: str
    root: str
    plan: RunPlan
    space: SearchSpace
    config: HyperparameterConfig
    objective: str
    uses_gradients: bool = True
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Its registered name."""
        return self.plan.model

    @property
    def study_name(self) -> str:
        """Its study's name in the storage."""
        return f"{self.search}/{self.model}"

    @property
    def is_relative(self) -> bool:
        """Whether values are relative to the naive forecast: errors at different horizons cannot be compared."""
        return any(dimension.name == "horizon" for dimension in self.space.dimensions)

    def configured(self, values: Mapping[str, Any], folder: str, **training: Any) -> RunPlan:
        """The run of a configuration.

        Args:
            values: of the space's dimensions, by name.
            folder: the run's, below the search's.
            **training: training options that differ from the plan's (the epochs).
        """
        parts = self.space.split(values)
        return dataclasses.replace(
            self.plan,
            options={**self.plan.options, **parts["model"]},
            data=dataclasses.replace(self.plan.data, **parts["data"]),
            training=dataclasses.replace(self.plan.training, **parts["training"], **training),
            folder=folder,
        )

    def moved_to(self, root: Path) -> ModelSearch:
        """The same search where its folder is now: data that were copied into it are found there."""
        data, before = Path(self.plan.data.data), Path(self.root)
        if "://" in self.plan.data.data or not data.is_relative_to(before):
            return self
        options = dataclasses.replace(self.plan.data, data=str(root.absolute() / data.relative_to(before)))
        return dataclasses.replace(self, plan=dataclasses.replace(self.plan, data=options))

    def attributes(self) -> dict[str, Any]:
        """The study's user attributes."""
        search: dict[str, Any] = {"name": self.search, "root": self.root, "plan": self.plan.to_dict()}
        search |= {
            "uses_gradients": self.uses_gradients,
            "fingerprint": dict(self.fingerprint),
        }
        return {
            MODEL: self.model,
            CONFIG: self.config.to_dict(),
            SPACE: self.space.to_dict(),
            OBJECTIVE: self.objective,
            SEARCH: search,
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> ModelSearch:
        """Read back what ``attributes`` gave.

        Raises:
            UserError: if the study is not one of a search.
        """
        if missing := [name for name in (MODEL, CONFIG, SPACE, OBJECTIVE, SEARCH) if name not in attributes]:
            raise UserError(
                f"a study of a search has its {', '.join(missing)}, but this one has not; was it made otherwise?"
            )
        search = attributes[SEARCH]
        return cls(
            search["name"],
            search["root"],
            RunPlan.from_dict(search["plan"]),
            SearchSpace.from_dict(attributes[SPACE]),
            HyperparameterConfig.from_dict(attributes[CONFIG]),
            attributes[OBJECTIVE],
            search["uses_gradients"],
            search["fingerprint"],
        )


def create_study(storage: BaseStorage, search: ModelSearch) -> optuna.Study:
    """Make a model's study, all its trials waiting.

    Raises:
        UserError: if the storage has a study of that name.
    """
    try:
        study = optuna.create_study(
            storage=storage, study_name=search.study_name, direction=direction_of(search.objective)
        )
    except optuna.exceptions.DuplicatedStudyError:
        raise UserError(
            f"a search needs a name of its own in its storage, but there is a study {search.study_name}; "
            "use another --name, or go on with --resume"
        ) from None
    for name, value in search.attributes().items():
        study.set_user_attr(name, value)
    slots.enqueue_slots(study, search.config)
    return _equipped(study, search)


def load_study(storage: BaseStorage, name: str) -> tuple[optuna.Study, ModelSearch]:
    """A study that exists, with its sampler and pruner, and what its trials share.

    Raises:
        UserError: if there is none of that name.
    """
    try:
        study = optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        raise UserError(f"the storage must hold the study {name}, but it does not; is it the right one?") from None
    search = ModelSearch.from_attributes(study.user_attrs)
    for plugin in search.plan.plugins:  # the sampler asks the model what can be built
        load_plugin(plugin)
    return _equipped(study, search), search


def _equipped(study: optuna.Study, search: ModelSearch) -> optuna.Study:
    study.sampler = PhaseSampler(
        search.space,
        search.config,
        search.plan.training.seed,
        hold_shapes=search.config.warm_start and search.uses_gradients,
    )
    study.pruner = build_pruner(search.config)
    return study


@functools.lru_cache(maxsize=1)
def shared_storage(place: str) -> BaseStorage:
    """The storage, opened once a process."""
    return open_storage(place)


@functools.lru_cache(maxsize=32)
def opened_study(place: str, name: str) -> tuple[optuna.Study, ModelSearch]:
    """A study, opened once a process: sampler and pruner keep what they have worked out."""
    return load_study(shared_storage(place), name)


def find_search(place: str, name: str | None) -> list[tuple[optuna.Study, ModelSearch]]:
    """The studies of a search in a storage, in the order of its models.

    Args:
        place: the storage.
        name: of the search; None for the only one that is not finished, or the only one there is.

    Raises:
        UserError: if there is none, or several to choose from.
    """
    storage = shared_storage(place)
    names = [study.study_name for study in storage.get_all_studies() if SEARCH in study.user_attrs]
    searches = list(dict.fromkeys(known.rpartition("/")[0] for known in names))
    if name is None and len(searches) > 1:
        unfinished = [
            known for known in searches if any(_is_open(place, n) for n in names if n.startswith(f"{known}/"))
        ]
        searches = unfinished or searches
    chosen = [known for known in searches if known == name] if name is not None else searches
    if not chosen:
        known = f"it holds {', '.join(searches)}" if searches else "it holds none"
        wanted = f"the search {name}" if name else "a search"
        raise UserError(
            f"the storage {hide_password(place)} must hold {wanted}, but {known}; was it begun with this storage?"
        )
    if len(chosen) > 1:
        raise UserError(
            f"a worker takes part in one search, but {hide_password(place)} holds {', '.join(chosen)}; "
            "name one with --name"
        )
    return [opened_study(place, known) for known in names if known.rpartition("/")[0] == chosen[0]]


def is_hopeless(study: optuna.Study) -> bool:
    """Whether the first ``HOPELESS`` trials failed by themselves and none went well: more would do no better."""
    trials = study.get_trials(deepcopy=False)
    if any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials):
        return False
    failed = [trial for trial in trials if trial.user_attrs.get(slots.RECORD, {}).get("status") == "failed"]
    return len(failed) >= HOPELESS


def _is_open(place: str, name: str) -> bool:
    study, search = opened_study(place, name)
    return slots.slot_counts(study, search.config).left > 0
