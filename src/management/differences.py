"""What differs between two runs: configuration, data, versions, and how well they did."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..tracking.run_folder import CONFIG_FILE, RESULTS_FILE, read_json

SECTIONS = ("model", "data options", "training", "data", "versions")
_TRAINING_RESULTS = ("best_validation_loss", "best_epoch", "epochs", "seconds")


@dataclass(frozen=True)
class Difference:
    """One value that is not the same; None where a run has no such value."""

    section: str
    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class MetricPair:
    """A metric of both runs; None where a run has it not."""

    name: str
    first: float | None
    second: float | None

    @property
    def change(self) -> float | None:
        """The second less the first."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        differences: what is not the same, section by section.
        identical: the sections without a difference.
        metrics: validation and test metrics and how training went, of the runs that are complete.
        same_test: whether both were tested on the same windows; None if that cannot be told.
    """

    first: Path
    second: Path
    differences: tuple[Difference, ...]
    identical: tuple[str, ...]
    metrics: tuple[MetricPair, ...]
    same_test: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self) | {"first": str(self.first), "second": str(self.second)}
        return values | {"metrics": [dataclasses.asdict(pair) | {"change": pair.change} for pair in self.metrics]}


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare two run folders by their ``config.json`` and, where they are complete, ``results.json``.

    Raises:
        UserError: if one has no readable configuration.
    """
    configs = [read_config(folder) for folder in (first, second)]
    one, other = (_sections(config) for config in configs)
    differences = tuple(
        Difference(section, name, one[section].get(name), other[section].get(name))
        for section in SECTIONS
        for name in dict.fromkeys([*one[section], *other[section]])
        if one[section].get(name) != other[section].get(name)
    )
    differing = {difference.section for difference in differences}
    hashes = [config["fingerprint"].get("test_hash") for config in configs]
    return Comparison(
        first,
        second,
        differences,
        tuple(section for section in SECTIONS if section not in differing),
        tuple(_metric_pairs(_results(first), _results(second))),
        None if None in hashes else hashes[0] == hashes[1],
    )


def read_config(folder: Path) -> dict[str, Any]:
    """A run's ``config.json``.

    Raises:
        UserError: if it is missing, damaged or of something else.
    """
    config = read_json(folder / CONFIG_FILE)
    kinds = {"model": str, "options": dict, "data": dict, "training": dict, "fingerprint": dict, "versions": dict}
    for key, kind in kinds.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise UserError(f"{folder / CONFIG_FILE} is damaged: its {key} is missing or no {kind.__name__}")
    return config


def metric_values(results: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a ``results.json`` by name, such as ``test rmse``; those per step are left out."""
    values = {}
    for part in ("validation", "test"):
        for name, value in _mapping(results.get(part)).items():
            if _is_number(value):
                values[f"{part} {name}"] = float(value)
    for name, value in _mapping(results.get("training")).items():
        if name in _TRAINING_RESULTS and _is_number(value):
            values[name.replace("_", " ")] = float(value)
    return values


def _metric_pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[MetricPair]:
    one, other = metric_values(first), metric_values(second)
    for name in dict.fromkeys([*one, *other]):
        yield MetricPair(name, one.get(name), other.get(name))


def _sections(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    fingerprint = dict(config["fingerprint"])
    windows = {f"{part} windows": count for part, count in _mapping(fingerprint.pop("windows", None)).items()}
    return {
        "model": {"model": config["model"], **config["options"], "parameters": config.get("parameters")},
        "data options": dict(config["data"]),
        "training": dict(config["training"]),
        "data": {name: value for name, value in (fingerprint | windows).items() if name != "source"},
        "versions": {**config["versions"], "git_commit": config.get("git_commit")},
    }


def _results(folder: Path) -> dict[str, Any]:
    """Empty for a run that is not complete."""
    try:
        results = read_json(folder / RESULTS_FILE)
    except UserError:
        return {}
    return results if isinstance(results, dict) and results.get("status") == "completed" else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
