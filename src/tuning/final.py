"""The end of a search: the best configuration as a run of its own, beside the default one and the naive forecast."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from .. import registry
from ..comparison.leaderboard import NAIVE
from ..data.loading import Data
from ..models import create_model, load_all
from ..plan import RunPlan
from ..tracking.run_folder import folder_name, read_json, write_json
from . import slots
from .reports import TrialRecord
from .studies import ModelSearch

BEST_FILE = "best_config.json"
TUNED, DEFAULT = "tuned", "default"


@dataclass(frozen=True)
class Winner:
    """The best trial of a model.

    Attributes:
        search: of the model.
        record: how the trial went.
        plan: its configuration as an ordinary run, with the epochs of ``train_models.py``.
    """

    search: ModelSearch
    record: TrialRecord
    plan: RunPlan


def find_winner(study: optuna.Study, search: ModelSearch) -> Winner | None:
    """The best completed trial of a study; None as long as there is none."""
    best = slots.best_trial(study)
    if best is None:
        return None
    spent = sum(record.epochs for record in slots.records(study))
    plan = search.configured(best.params, f"{search.plan.folder}/{TUNED}")
    plan = dataclasses.replace(plan, label=f"{search.model} tuned", search_epochs=spent)
    return Winner(search, TrialRecord(**best.user_attrs[slots.RECORD]), plan)


def write_best(root: Path, winner: Winner) -> Path:
    """Write ``best_config.json``, which ``train_models.py --config`` reads, and return its path.

    Final runs of another configuration, which was the best before, go.
    """
    folder = root / winner.search.plan.folder
    file = folder / BEST_FILE
    content = winner.plan.to_dict()
    if file.is_file() and _configuration(read_json(file)) != _configuration(content):
        shutil.rmtree(folder / TUNED, ignore_errors=True)
    write_json(file, content)
    return file


def _configuration(content: dict[str, object]) -> dict[str, object]:
    return {name: content.get(name) for name in ("model", "options", "data", "training")}


def final_plans(winners: Sequence[Winner], seeds: int, data: Data) -> list[RunPlan]:
    """The final runs: each winner and its model's defaults with every seed, and the naive forecast once.

    The defaults forecast as far ahead as the winner does, where that was searched.
    """
    plans = []
    for winner in winners:
        search = winner.search
        default = dataclasses.replace(
            search.plan,
            data=dataclasses.replace(search.plan.data, horizon=winner.plan.data.horizon),
            folder=f"{search.plan.folder}/{DEFAULT}",
            label=f"{search.model} default",
        )
        for plan in (winner.plan, default):
            plans += _with_seeds(plan, seeds if search.uses_gradients else 1)
    horizons = {plan.data.horizon for plan in plans}
    first = winners[0].search.plan
    load_all()
    naive = registry.entry(NAIVE).model_class
    if len(horizons) == 1 and naive.unsupported(data.spec) is None:
        options = create_model(NAIVE, data.spec, {}).config.to_dict()
        measure = dataclasses.replace(first.data, horizon=plans[0].data.horizon)
        kept = {"options": options, "data": measure, "folder": folder_name(NAIVE)}
        plans.append(dataclasses.replace(first, model=NAIVE, **kept))
    return plans


def _with_seeds(plan: RunPlan, seeds: int) -> list[RunPlan]:
    first = plan.training.seed
    return [
        dataclasses.replace(
            plan,
            training=dataclasses.replace(plan.training, seed=seed),
            folder=f"{plan.folder}/seed_{seed}" if seeds > 1 else plan.folder,
        )
        for seed in range(first, first + seeds)
    ]
