"""How a run stands in TensorBoard's HPARAMS tab: its hyperparameters, and the columns that all runs share."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import registry
from .comparison.leaderboard import ranking
from .data.loading import Data
from .data.options import DataOptions
from .models import load_all
from .plan import RunPlan
from .tracking import tags
from .tracking.event_writer import EventWriter, SilentWriter
from .training.config import TrainingConfig

_SHOWN_TRAINING = ("batch_size", "lr", "weight_decay", "schedule", "epochs", "clip", "epoch_fraction")
_SHOWN_DATA = ("window", "horizon", "transform")
_MAIN_HPARAMS = ("model", "hidden_size", "num_layers", "dropout", "lr")


def start_session(writer: EventWriter | SilentWriter, plan: RunPlan, data: Data, group_name: str) -> None:
    """Enter a run in the HPARAMS tab. The seed is left out: TensorBoard averages the seeds of a group.

    TensorBoard draws a run in its parallel coordinates only if it has a value on every axis. So runs of a search have
    no columns of the test part, which no trial knows.

    Args:
        group_name: runs of the same name form one line.
    """
    training = {key: value for key, value in plan.training.to_dict().items() if key in _SHOWN_TRAINING}
    shown = {key: value for key, value in plan.data.to_dict().items() if key in _SHOWN_DATA}
    columns = () if plan.shown else ranking(data.spec.task, len(data.spec.target_names)).columns
    writer.start_session(
        {"model": plan.model, **plan.options, **training, **shown},
        group_name=group_name,
        metrics=[tags.BEST_OBJECTIVE, tags.BEST_VALUE, *(tags.TEST_PREFIX + name for name in columns)],
        known_hparams=known_hparams(),
        main_hparams=plan.shown or _MAIN_HPARAMS,
    )


def known_hparams() -> dict[str, Any]:
    """All hyperparameters that any registered model may show, with a default of each.

    TensorBoard takes the columns of all runs from whichever run it finds first, so every run names them all.
    """
    load_all()
    known: dict[str, Any] = {"model": ""}
    for entry in registry.entries():
        for field in dataclasses.fields(entry.model_class.Config):
            known.setdefault(field.name, field.default)
    training, data = TrainingConfig().to_dict(), DataOptions().to_dict()
    known |= {name: training[name] for name in _SHOWN_TRAINING} | {name: data[name] for name in _SHOWN_DATA}
    return known
