"""A whole search: what is to be searched for which models, and the file that remembers it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..data.loading import Data
from ..data.reading.sources import hide_password
from ..errors import OptionError, UserError
from ..plan import Selection, parse_settings, plan_runs
from ..tracking.run_folder import SEARCH_FILE, read_json, write_json
from .objective import LOSS_OPTIONS, resolve_objective
from .request import SearchRequest
from .space import NothingToSearch, SearchSpace, build_space
from .space_file import load_space_file
from .studies import ModelSearch

SEARCH_VERSION = 1
SHOWN_COLUMNS = 5
_SHOWN_FIRST = ("lr", "hidden_size", "num_layers", "dropout", "batch_size", "window", "weight_decay")
"""What most searches turn on."""
_SHOWN_ANYWAY = ("lr", "batch_size", "window", "weight_decay", "epochs")
"""What every run has, whatever its model."""


def plan_search(request: SearchRequest, data: Data) -> tuple[list[ModelSearch], list[str]]:
    """Resolve and check everything before the first trial.

    Returns:
        one search per model, their names and roots still empty, and sentences about models that were left out.

    Raises:
        OptionError: for what cannot be searched.
    """
    selection = Selection(
        request.models,
        request.settings,
        plugins=request.plugins,
        tensorboard=request.tensorboard,
        logging=request.logging,
    )
    plans, left_out = plan_runs(selection, data, request.training)
    objective = resolve_objective(request.config.objective, data.spec.task)
    file = load_space_file(Path(request.space)) if request.space else None
    config = dataclasses.replace(request.config, objective=objective)
    searches = []
    for plan in plans:
        basis = plan.model, data.spec, plan.data, plan.training, plan.options
        try:
            space = build_space(*basis, file, given=_given(request, plan.model), models=[p.model for p in plans])
        except NothingToSearch as error:
            if len(plans) == 1 or plan.model in request.models:
                raise
            left_out.append(f"{plan.model} is left out: {error}")
            continue
        if objective == "loss":
            space = _with_one_loss(space, plan.options)
        uses_gradients = registry.entry(plan.model).model_class.uses_gradients
        searches.append(ModelSearch("", "", plan, space, config, objective, uses_gradients, data.fingerprint()))
    if not searches:
        raise OptionError("none of the models has anything to search; " + "; ".join(left_out))
    _check_horizons(searches)
    shown = _shown(searches)
    for place, search in enumerate(searches):
        searches[place] = dataclasses.replace(search, plan=dataclasses.replace(search.plan, shown=shown))
    return searches, left_out


def _shown(searches: Sequence[ModelSearch]) -> tuple[str, ...]:
    """What the HPARAMS tab shows unasked: hyperparameters that are searched, and that every model has.

    TensorBoard shows five columns, and takes others if these are fewer; its parallel coordinates then leave out all
    runs that lack one of them.
    """
    varied = {dimension.name for search in searches for dimension in search.space.dimensions}
    everywhere = set.intersection(*({*search.plan.options, *_SHOWN_ANYWAY} for search in searches))
    shown = ["model", *(name for name in _SHOWN_FIRST if name in varied & everywhere)]
    further = (name for name in _SHOWN_ANYWAY if name not in shown)
    return (*shown, *itertools.islice(further, max(0, SHOWN_COLUMNS - len(shown))))


def _check_horizons(searches: Sequence[ModelSearch]) -> None:
    """Models that forecast differently far ahead cannot be compared in the end.

    Raises:
        OptionError: if they would.
    """
    fixed = {search.space.fixed.get("horizon", search.plan.data.horizon) for search in searches}
    searched = [search.model for search in searches if search.is_relative]
    if len(searches) > 1 and (searched or len(fixed) > 1):
        raise OptionError(
            "models are compared at one horizon, but the space file searches it or sets several, for "
            f"{', '.join(search.model for search in searches)}; search such models one by one"
        )


def _given(request: SearchRequest, model: str) -> set[str]:
    """Names of the options that the user has set, which are kept."""
    given = set(request.given)
    for key in parse_settings(request.settings):
        target, _, name = key.rpartition(".")
        if not target or registry.entry(target).name == model:
            given.add(name)
    return given


def _with_one_loss(space: SearchSpace, options: Mapping[str, Any]) -> SearchSpace:
    """The space without what would change the objective itself."""
    kept = tuple(dimension for dimension in space.dimensions if dimension.name not in LOSS_OPTIONS)
    if not kept:
        raise OptionError("with --objective loss there is nothing left to search; use --objective auto")
    fixed = {d.name: options[d.name] for d in space.dimensions if d.name in LOSS_OPTIONS}
    return dataclasses.replace(space, dimensions=kept, fixed={**space.fixed, **fixed})


@dataclass(frozen=True)
class SearchFile:
    """What ``search.json`` holds.

    Attributes:
        name: of the search.
        request: what was asked for.
        models: in the order of the search.
        storage: where the studies are, without a password.
        status: ``running``, ``completed`` or ``stopped``.
    """

    name: str
    request: SearchRequest
    models: tuple[str, ...]
    storage: str
    status: str


def write_search(
    root: Path, request: SearchRequest, searches: Sequence[ModelSearch], storage: str, command: Sequence[str]
) -> None:
    """Write ``search.json``."""
    kept = dataclasses.replace(request, storage=hide_password(storage) if request.storage else None)
    write_json(
        root / SEARCH_FILE,
        {
            "version": SEARCH_VERSION,
            "name": root.name,
            "command": [hide_password(word) for word in command],
            "storage": hide_password(storage),
            "models": [search.model for search in searches],
            "objective": searches[0].objective,
            "config": searches[0].config.to_dict(),
            "request": kept.to_dict(),
            "spaces": {search.model: search.space.to_dict() for search in searches},
            "status": "running",
        },
    )


def set_status(root: Path, status: str) -> None:
    """Note in ``search.json`` how the search stands."""
    write_json(root / SEARCH_FILE, {**read_json(root / SEARCH_FILE), "status": status})


def read_search(root: Path) -> SearchFile:
    """Read ``search.json``.

    Raises:
        UserError: if there is none or it cannot be used.
    """
    file = root / SEARCH_FILE
    if not file.is_file():
        raise UserError(f"--resume needs the folder of a search with a {SEARCH_FILE}, but {root} has none")
    content = read_json(file)
    if not isinstance(content, dict) or content.get("version") != SEARCH_VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise UserError(f"searches of version {SEARCH_VERSION} can be read, but {file} has version {version}")
    try:
        return SearchFile(
            content["name"],
            SearchRequest.from_dict(content["request"]),
            tuple(content["models"]),
            content["storage"],
            content["status"],
        )
    except (KeyError, TypeError, OptionError) as error:
        raise UserError(f"{file} cannot be used ({type(error).__name__}: {error}); begin a new search") from None
