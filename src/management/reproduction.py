"""A finished run trained again from its configuration, and whether the same comes out."""

from __future__ import annotations

import csv
import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from ..tracking.run_folder import (
    CHECKPOINT_FOLDER,
    PREDICTIONS_FILE,
    RESULTS_FILE,
    create_root,
    only_command_on,
    read_json,
)
from .differences import metric_values, read_config

if TYPE_CHECKING:
    from ..plan import RunPlan

TOLERANCE = 1e-6
BEST_CHECKPOINT = "best.pt"
_MEASURED_IN_TIME = ("seconds",)
_MUST_AGREE = ("sha256", "test_hash", "rows", "columns", "windows")

Verdict = Literal["identical", "equal", "different"]


@dataclass(frozen=True)
class Preparation:
    """A run that can be trained again.

    Attributes:
        folder: the original.
        plan: what to train.
        versions: what has changed since, by name: then and now.
    """

    folder: Path
    plan: RunPlan
    versions: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Reproduction:
    """Original and repetition compared.

    Attributes:
        metrics: by name: the original's value, the new one.
        differences: the largest difference of ``metrics``, ``predictions`` and ``weights``, each relative to the
            larger of 1 and the values; 0.0 only if they are the same to the last bit, None if a file to compare with
            is missing.
        verdict: ``identical`` to the last bit, ``equal`` within ``TOLERANCE``, or ``different``.
    """

    folder: Path
    again: Path
    metrics: Mapping[str, tuple[float | None, float | None]]
    differences: Mapping[str, float | None]
    verdict: Verdict


def prepare_reproduction(folder: Path, data: str | None = None) -> Preparation:
    """Check that a run can be repeated: it was completed, and its data are the same.

    Args:
        folder: the run.
        data: where the data are now, if they were moved.

    Raises:
        UserError: if it was not completed, or the data cannot be read or differ.
    """
    from ..experiment import git_commit, load_data, versions
    from ..plan import RunPlan

    config = read_config(folder)
    _completed_results(folder)
    plan = RunPlan.from_dict(config)
    if data is not None:
        plan = dataclasses.replace(plan, data=dataclasses.replace(plan.data, data=data))
    if plan.data.data == "-":
        raise UserError(f"{folder} was trained on standard input, which is gone; give the same data with --data FILE")
    try:
        now_read = load_data(plan.data)
    except UserError as error:
        raise UserError(f"{error}; if the data were moved, say where they are with --data FILE") from None
    _check_data(folder, config["fingerprint"], now_read.fingerprint())
    now = versions() | {"git_commit": git_commit()}
    then = config["versions"] | {"git_commit": config.get("git_commit")}
    changed = {name: (then.get(name), now.get(name)) for name in {**then, **now} if then.get(name) != now.get(name)}
    return Preparation(folder, plan, changed)


def train_again(preparation: Preparation, output: Path, report: Callable[[Any], None] = lambda value: None) -> Path:
    """Train into a new command folder below ``output``. Returns the new run's folder.

    Raises:
        UserError: if the folder cannot be made.
        TrainingError: if the run cannot go on.
    """
    from ..experiment import run, write_leaderboard
    from ..plan import write_plan

    plan = preparation.plan
    root = create_root(output, None)
    with only_command_on(root):
        write_plan(root, [plan], sys.argv)
        run({"root": str(root), "plan": plan.to_dict(), "resume": False}, report)
        write_leaderboard(root, [plan])
    return root / plan.folder


def compare_reproduction(folder: Path, again: Path) -> Reproduction:
    """Compare what two runs of the same plan left: metrics, predictions and the weights of the best epoch.

    Raises:
        UserError: if one was not completed or a file is damaged.
    """
    one, other = (metric_values(_completed_results(place)) for place in (folder, again))
    metrics = {
        name: (one.get(name), other.get(name))
        for name in dict.fromkeys([*one, *other])
        if name not in _MEASURED_IN_TIME
    }
    differences = {
        "metrics": max((_relative(*pair) for pair in metrics.values()), default=0.0),
        "predictions": _predictions_difference(folder / PREDICTIONS_FILE, again / PREDICTIONS_FILE),
        "weights": _weights_difference(*(place / CHECKPOINT_FOLDER / BEST_CHECKPOINT for place in (folder, again))),
    }
    largest = max(value for value in differences.values() if value is not None)
    verdict: Verdict = "identical" if largest == 0.0 else "equal" if largest <= TOLERANCE else "different"
    return Reproduction(folder, again, metrics, differences, verdict)


def reproduce(folder: Path, output: Path, data: str | None = None) -> Reproduction:
    """``prepare_reproduction``, ``train_again`` and ``compare_reproduction`` in one.

    Raises:
        UserError: if the run cannot be repeated.
        TrainingError: if the repetition cannot go on where the original could.
    """
    return compare_reproduction(folder, train_again(prepare_reproduction(folder, data), output))


def _completed_results(folder: Path) -> dict[str, Any]:
    results = read_json(folder / RESULTS_FILE) if (folder / RESULTS_FILE).is_file() else {}
    if not isinstance(results, dict) or results.get("status") != "completed":
        raise UserError(f"only a completed run can be reproduced, but {folder} is not; finish it with --resume first")
    return results


def _check_data(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differing = [name for name in _MUST_AGREE if then.get(name) != now.get(name)]
    if not differing:
        return
    rows = f"{then.get('rows')} rows then, {now.get('rows')} now"
    if differing == ["windows"] or (differing == ["test_hash"]):
        rows = "the same rows, cut in another way"
    elif then.get("rows") == now.get("rows"):
        rows = f"{now.get('rows')} rows as before, other columns or values"
    raise UserError(
        f"a run can be reproduced on the same data only, but '{now.get('source')}' has changed since {folder} was "
        f"trained ({rows}); give the file as it was with --data FILE"
    )


def _relative(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one == other else math.inf
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    difference = abs(one - other) / max(1.0, abs(one), abs(other))
    return math.inf if math.isnan(difference) else difference


def _predictions_difference(one: Path, other: Path) -> float | None:
    """0.0 for the same bytes; None if a file is missing."""
    if not (one.is_file() and other.is_file()):
        return None
    texts = [file.read_bytes() for file in (one, other)]
    if texts[0] == texts[1]:
        return 0.0
    tables = [list(csv.reader(text.decode(errors="replace").splitlines())) for text in texts]
    if [len(row) for row in tables[0]] != [len(row) for row in tables[1]]:
        return math.inf
    cells = zip((cell for row in tables[0] for cell in row), (cell for row in tables[1] for cell in row), strict=True)
    largest = max((_cell_difference(*pair) for pair in cells), default=0.0)
    return max(largest, sys.float_info.min)  # other bytes are never the same


def _cell_difference(one: str, other: str) -> float:
    if one == other:
        return 0.0
    try:
        return _relative(float(one), float(other))
    except ValueError:
        return math.inf


def _weights_difference(one: Path, other: Path) -> float | None:
    """0.0 if all tensors are the same bit for bit; None if a checkpoint is missing."""
    if not (one.is_file() and other.is_file()):
        return None
    from ..training.checkpoint import read_checkpoint

    weights = [read_checkpoint(file)["model"] for file in (one, other)]
    if weights[0].keys() != weights[1].keys():
        return math.inf
    return functools.reduce(max, (_tensor_difference(weights[0][key], weights[1][key]) for key in weights[0]), 0.0)


def _tensor_difference(one: Any, other: Any) -> float:
    import torch

    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return 0.0 if one == other else math.inf
    if one.shape != other.shape or one.dtype != other.dtype:
        return math.inf
    flat = [tensor.contiguous().reshape(-1) for tensor in (one, other)]
    if not one.numel() or torch.equal(*(tensor.view(torch.uint8) for tensor in flat)):
        return 0.0
    first, second = (tensor.double() for tensor in flat)
    scale = torch.maximum(first.abs(), second.abs()).clamp(min=1.0)
    largest = ((first - second).abs() / scale).nan_to_num(nan=math.inf, posinf=math.inf).max().item()
    return max(float(largest), sys.float_info.min)
