"""``SearchRequest``: what a search was asked to do. Free of torch and Optuna, so that ``--help`` is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..data.options import DataOptions
from ..tracking.options import LoggingOptions
from ..training.config import TrainingConfig
from .config import HyperparameterConfig


@dataclass(frozen=True)
class SearchRequest:
    """A search as typed by the user.

    Attributes:
        models: names and patterns; empty for all that run by default.
        config: phases, and who proposes.
        data, training, logging: as of ``train_models.py``; the search varies some of them.
        given: names of data and training options that the user gave: they are kept, not searched.
        settings: ``name=value`` or ``model.name=value``: kept, not searched.
        plugins: files of models.
        space: the user's space file.
        storage: where the studies are kept; None for a file in the search's folder.
        seeds: how many seeds the best configuration and the default one are trained with in the end.
        final: whether to do that at all.
        tensorboard: whether trials write events.
    """

    models: tuple[str, ...] = ()
    config: HyperparameterConfig = field(default_factory=HyperparameterConfig)
    data: DataOptions = field(default_factory=DataOptions)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    logging: LoggingOptions = field(default_factory=LoggingOptions)
    given: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    space: str | None = None
    storage: str | None = None
    seeds: int = 1
    final: bool = True
    tensorboard: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``search.json``."""
        lists = {name: list(getattr(self, name)) for name in ("models", "given", "settings", "plugins")}
        options = {name: getattr(self, name).to_dict() for name in _OPTIONS}
        others = {name: getattr(self, name) for name in ("space", "storage", "seeds", "final", "tensorboard")}
        return lists | options | others

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchRequest:
        """Read back what ``to_dict`` wrote."""
        options: dict[str, Any] = {name: kind.from_dict(values[name]) for name, kind in _OPTIONS.items()}
        others: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name not in options
        }
        return cls(**options, **others)


_OPTIONS: dict[str, Any] = {
    "config": HyperparameterConfig,
    "data": DataOptions,
    "training": TrainingConfig,
    "logging": LoggingOptions,
}
