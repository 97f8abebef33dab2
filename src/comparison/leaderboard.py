"""All runs of one command side by side, best first, and one honest sentence about them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UserError

NAIVE = "baseline:naive"
_DIRECTION_COLUMNS = (
    "accuracy",
    "majority_share",
    "balanced_accuracy",
    "mcc",
    "simulated_return",
    "skill_vs_naive",
    "log_loss",
)
_CLASS_COLUMNS = ("accuracy", "log_loss", "calibration_error", "skill_vs_naive", "brier", "macro_f1", "majority_share")
_REPRESENT_COLUMNS = ("pixel_r2", "knn_pixel_r2", "effective_rank")
_GENERATE_COLUMNS = (
    "caption_accuracy",
    "frechet_distance",
    "frame_accuracy",
    "all_frames_accuracy",
    "diversity_ratio",
    "nearest_ratio",
    "real_caption_accuracy",
)
_MORE_COLUMNS = ("crps", "nll", "coverage_90", "knn_accuracy")
"""Of forecasts that say how sure they are, and of representations; left out where no run has them."""


@dataclass(frozen=True)
class Ranking:
    """What a leaderboard is sorted by: a test metric, whether less of it is better, and one whose lower values come
    first among equals."""

    metric: str
    lower_is_better: bool
    columns: tuple[str, ...]
    then_lower: str | None = None


def ranking(task: str, targets: int) -> Ranking:
    """How runs are ranked.

    One target: by the error in original units (the same order as the skill against persistence). Several targets have
    several units, which cannot be averaged: by the scaled squared error. Directions and classes: by the Brier skill.
    Pictures without labels: by how much of a small picture a linear reader finds in the representation. Generated
    clips: by how often their captions can be read, and among those that are alike in that, by the Frechet distance.
    """
    if task == "generate":
        return Ranking("caption_accuracy", False, _GENERATE_COLUMNS, then_lower="frechet_distance")
    if task == "represent":
        return Ranking("pixel_r2", False, _REPRESENT_COLUMNS)
    if task == "classify":
        return Ranking("skill_vs_naive", False, _CLASS_COLUMNS)
    if task == "direction":
        return Ranking("skill_vs_naive", False, _DIRECTION_COLUMNS)
    if targets > 1:
        return Ranking("mse_scaled", True, ("mse_scaled", "mae_scaled", "skill_vs_naive", "direction_accuracy"))
    return Ranking("rmse", True, ("rmse", "mae", "mse_scaled", "skill_vs_naive", "direction_accuracy"))


def leaderboard(results: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table with a row per model (or label, where runs have one), best first; runs of several seeds are averaged.

    Args:
        results: the ``results.json`` of every completed run.

    Returns:
        columns ``rank``, ``model``, ``seeds``, the test metrics, ``<metric>_std`` (spread over seeds, where there are
        several), ``best_validation_loss`` (missing where another value decides what is best), ``parameters``,
        ``seconds`` (training time, mean). Where there was a search, ``search_epochs`` (what it trained to find these
        options) follows ``seeds``. ``attrs`` has ``ranked_by``, the metric that decides, and ``task``.

    Raises:
        UserError: if runs were tested on different windows, which cannot be compared.
    """
    hashes = {result["windows"]["test_hash"] for result in results}
    if len(hashes) > 1:
        raise UserError("runs can be compared only on the same test windows, but these were tested on different ones")
    if not results:
        return pd.DataFrame()
    first = results[0]
    order = ranking(first["task"], len(first["targets"]))
    models: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        models.setdefault(result.get("label") or result["model"], []).append(result)
    searched = any(result.get("search_epochs") for result in results)
    several = any(len(runs) > 1 for runs in models.values())
    extra = [name for name in _MORE_COLUMNS if any(name in result["test"] for result in results)]
    columns = (*order.columns, *extra)
    rows = [_row(name, runs, columns, several, searched) for name, runs in models.items()]
    by = [order.metric] if order.then_lower is None else [order.metric, order.then_lower]
    table = pd.DataFrame(rows).sort_values(by, ascending=[order.lower_is_better, True][: len(by)], kind="stable")
    table.insert(0, "rank", range(1, len(table) + 1))
    table = table.reset_index(drop=True)
    table.attrs |= {"ranked_by": _HEADINGS.get(order.metric, order.metric), "task": first["task"]}
    return table


def _row(
    name: str, runs: Sequence[Mapping[str, Any]], columns: Sequence[str], several: bool, searched: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "seeds": len(runs)}
    if searched:
        row["search_epochs"] = int(runs[0].get("search_epochs", 0))
    for metric in columns:
        values = np.array([run["test"].get(metric) for run in runs], dtype=float)
        row[metric] = values.mean()
        if several:
            row[f"{metric}_std"] = values.std(ddof=1) if len(values) > 1 else np.nan
    losses = [np.nan if "selected_by" in run["training"] else run["training"]["best_validation_loss"] for run in runs]
    row["best_validation_loss"] = float(np.mean(losses))
    row["parameters"] = runs[0]["parameters"]
    row["seconds"] = float(np.mean([run["training"]["seconds"] for run in runs]))
    return row


def leaderboard_csv(table: pd.DataFrame) -> str:
    """The table for ``leaderboard.csv``."""
    text = io.StringIO()
    table.to_csv(text, index=False, float_format="%.8g", lineterminator="\n")
    return text.getvalue()


def leaderboard_text(table: pd.DataFrame, width: int) -> str:
    """The table for a terminal of ``width`` columns; columns that do not fit are left out from the right."""
    shown = pd.DataFrame({"#": table["rank"].astype(str), "model": table["model"]})
    if (table["seeds"] > 1).any():
        shown["seeds"] = table["seeds"].astype(str)
    for name in table.columns:
        if name in ("rank", "model", "seeds") or name.endswith("_std"):
            continue
        if name == "best_validation_loss" and "search_epochs" in table:  # a search varies what the loss is
            continue
        spread = table.get(f"{name}_std")
        shown[_HEADINGS.get(name, name.replace("_", " "))] = [
            _cell(name, value) + ("" if spread is None else _spread(name, spread[row]))
            for row, value in enumerate(table[name])
        ]
    while len(shown.columns) > 3:
        lines = _aligned(shown)
        if len(lines[0]) <= width:
            return "\n".join(lines)
        shown = shown.iloc[:, :-1]
    return "\n".join(_aligned(shown))


_HEADINGS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "mse_scaled": "MSE scaled",
    "mae_scaled": "MAE scaled",
    "skill_vs_naive": "skill vs naive",
    "direction_accuracy": "direction",
    "majority_share": "majority",
    "balanced_accuracy": "balanced",
    "mcc": "MCC",
    "macro_f1": "F1",
    "calibration_error": "ECE",
    "knn_accuracy": "5-NN",
    "pixel_r2": "pixel R2",
    "knn_pixel_r2": "5-NN pixel R2",
    "effective_rank": "rank",
    "caption_accuracy": "captions",
    "frame_accuracy": "frames",
    "all_frames_accuracy": "all frames",
    "frechet_distance": "Frechet",
    "diversity_ratio": "diversity",
    "nearest_ratio": "nearest",
    "real_caption_accuracy": "real clips",
    "crps": "CRPS",
    "nll": "NLL",
    "coverage_90": "in 90 %",
    "simulated_return": "return",
    "best_validation_loss": "val loss",
    "seconds": "train s",
}
_PERCENT = (
    "skill_vs_naive",
    "direction_accuracy",
    "accuracy",
    "balanced_accuracy",
    "majority_share",
    "coverage_90",
    "knn_accuracy",
    "caption_accuracy",
    "frame_accuracy",
    "all_frames_accuracy",
    "real_caption_accuracy",
)
_SMALL_PERCENT = ("simulated_return",)


def _cell(name: str, value: float) -> str:
    if value != value:
        return "-"
    if name in _PERCENT:
        return f"{100 * value:.2f} %"
    if name in _SMALL_PERCENT:
        return f"{100 * value:.4f} %"
    if name in ("parameters", "search_epochs"):
        return f"{int(value):,}"
    return f"{value:.1f}" if name == "seconds" else f"{value:#.4g}"


def _spread(name: str, value: float) -> str:
    """The spread in the unit of the cell before it; nothing for a single seed."""
    if value != value:
        return ""
    return f" ±{100 * value if name in (*_PERCENT, *_SMALL_PERCENT) else value:.2g}"


def _aligned(table: pd.DataFrame) -> list[str]:
    """Lines of equal length: the first two columns to the left, numbers to the right."""
    columns = []
    for place, name in enumerate(table.columns):
        cells = [str(name), *table[name]]
        size = max(map(len, cells))
        columns.append([cell.ljust(size) if place == 1 else cell.rjust(size) for cell in cells])
    return ["  ".join(row) for row in zip(*columns, strict=True)]


def verdict(table: pd.DataFrame) -> str:
    """One or two sentences: which models beat the naive forecast, if any does; of representations, the best one."""
    if table.empty:
        return "No run was completed, so there is nothing to compare."
    if table.attrs["task"] == "represent":
        best = table.iloc[0]
        share = f"{100 * best['pixel_r2']:.1f} % of what differs in small pictures can be read from its features"
        return f"Best: {best['model']}; {share}. Labels would say more."
    if table.attrs["task"] == "generate":
        best = table.iloc[0]
        return (
            f"Best: {best['model']}; {100 * best['caption_accuracy']:.1f} % of its clips show what their caption says, "
            f"to a reader who finds that in {100 * best['real_caption_accuracy']:.1f} % of real ones."
        )
    rivals = table[table["model"] != NAIVE]
    if rivals.empty:
        return f"There is nothing to compare {NAIVE} with; train a model beside it."
    if rivals["skill_vs_naive"].isna().all():
        return f"Best: {table['model'][0]}. There is no persistence forecast to compare with on this data."
    direction = table.attrs["task"] != "forecast"
    naive = _NAIVE_WORDS[table.attrs["task"]]
    better = rivals[rivals["skill_vs_naive"] > 1e-6]  # a rounding error above zero is not skill
    if better.empty:
        usual = "" if table.attrs["task"] == "classify" else " On prices, that is the usual outcome."
        return f"No model beats {naive} on the test part.{usual}{_rightness(rivals)}"
    best = better.iloc[0]
    verb = "beats" if len(better) == 1 else "beat"
    score = "Brier score" if direction else "squared error"
    sentence = (
        f"{len(better)} of {len(rivals)} models {verb} {naive} on the test part; the best of them is {best['model']}, "
        f"with a {score} {100 * best['skill_vs_naive']:.2f} % smaller."
    )
    if best.get("skill_vs_naive_std", 0.0) >= best["skill_vs_naive"]:
        sentence += " That is no more than the spread between its seeds."
    return sentence + _rightness(rivals)


_NAIVE_WORDS = {
    "forecast": "naive persistence",
    "direction": "the share of ups in the training part",
    "classify": "the classes' shares in the training part",
}


def _rightness(rivals: pd.DataFrame) -> str:
    """A sentence where no model of directions is right more often than always giving the more frequent answer."""
    if "majority_share" not in rivals or not (rivals["accuracy"] <= rivals["majority_share"]).all():
        return ""
    share = 100 * rivals["majority_share"].iloc[0]
    return f" None is right more often than always giving the more frequent answer ({share:.1f} %)."
