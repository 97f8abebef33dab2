"""The kinds of rules: a condition each, with the keys it has in ``rules.toml`` and their defaults."""

from __future__ import annotations

from . import conditions as general
from . import training_conditions as training
from .conditions import NONE, Kind

_LIMIT = {"limit": 0.0, "info_limit": NONE, "window": 1}
_SHARE = {"of": "", "limit": 0.5, "least": 0.0, "window": 10}
_ABOVE_MEDIAN = {"factor": 10.0, "deviations": 0.0, "min_samples": 20, "window": 50, "start_share": 0.0}
_VANISHING = {"absolute": 1e-7, "factor": 1e-3, "min_samples": 5}
_OVERFITTING = {
    "patience": 5,
    "rise": 1.05,
    "fall": 0.05,
    "gap": 3.0,
    "growth": 2.0,
    "huge_gap": 10.0,
    "rise_of_huge_gap": 1.01,
}
_UNDERFITTING = {"window": 10, "fall": 0.1, "flat": 0.01}
_ECHO = {"correlation": 0.98, "skill_limit": 0.0, "least_skill": -0.1}
_CALIBRATION = {"coverage_low": 85.0, "coverage_high": 95.0, "correlation": 0.1, "error": 0.1, "gap": 0.05}

_ALL = (
    Kind("nonfinite", general.nonfinite),
    Kind("above", general.above, _LIMIT, required=("limit",)),
    Kind("below", general.below, _LIMIT, required=("limit",)),
    Kind("outside", general.outside, {"ranges": {}}, required=("ranges",)),
    Kind("share", general.share, _SHARE, required=("of", "limit"), also_reads=("of",)),
    Kind("above_median", general.above_median, _ABOVE_MEDIAN, required=("factor",)),
    Kind("below_start", general.below_start, {"factor": 0.1, "min_samples": 5}, required=("factor",)),
    Kind(
        "vanishing",
        training.vanishing,
        _VANISHING | {"total": "gradient_norm/total", "loss": "train/batch_loss"},
        also_reads=("total", "loss"),
    ),
    Kind("uniform", training.uniform, {"limit": 0.01, "layers": "gradient_norm/layer/"}),
    Kind("large_steps", training.large_steps, {"limit": 0.3, "sure_limit": 1.0, "layers": "update_ratio/"}),
    Kind(
        "unchanged",
        training.unchanged,
        {"limit": 1e-8, "learning_rate": "learning_rate/current"},
        also_reads=("learning_rate",),
    ),
    Kind("diverging", training.diverging, {"factor": 5.0, "start_factor": 20.0, "start_share": 0.3, "min_samples": 10}),
    Kind("overfitting", training.overfitting, _OVERFITTING | {"of": "Loss/train"}, also_reads=("of",)),
    Kind("underfitting", training.underfitting, _UNDERFITTING | {"of": "train/batch_loss"}, also_reads=("of",)),
    Kind("plateau", training.plateau, {"window": 10, "flat": 0.01}),
    Kind("collapse", training.collapse, {"limit": 5.0, "factor": 0.25, "min_samples": 3}),
    Kind("alike", training.alike, {"limit": 0.7, "factor": 0.5, "min_samples": 3}),
    Kind("stuck_low", training.stuck_low, {"limit": 0.7, "rise": 0.01, "few": 5}),
    Kind("narrow", training.narrow, {"limit": 0.1}),
    Kind("echo", training.echo, _ECHO | {"skill": "forecast/skill_vs_last_value"}, also_reads=("skill",)),
    Kind("calibration", training.calibration, _CALIBRATION),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
"""Every kind by its name."""
