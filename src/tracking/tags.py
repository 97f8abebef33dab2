"""Every tag that a run can hold, once: name, unit, direction, step axis, cost, category and help.

Rules that hold for all of them:

- Epochs count from 0. A tag lives on one axis, the epoch or the global step, and never on both.
- ``Loss/train``, ``Gradient/norm`` and ``Custom/*`` are means over the steps of the epoch.
- ``Gradient/norm`` is taken before clipping.
- Histograms are written at epochs 0, 10, 20 and so on.
- ``Best_Val_Loss`` is written only at epochs that improve on all before.
- Values that are not finite are written as they are.

``python -m src.tracking.tags > docs/metrics.md`` writes the page of metrics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

LOSS_TRAIN = "Loss/train"
LOSS_VALIDATION = "Loss/validation"
LOSS_TRAIN_PART = "Loss/train_{part}"
LOSS_VALIDATION_PART = "Loss/validation_{part}"
LEARNING_RATE = "Learning_Rate"
GRADIENT_NORM = "Gradient/norm"
BEST_VALIDATION_LOSS = "Best_Val_Loss"
WEIGHTS = "Weights/{layer}"
GRADIENTS = "Gradients/{layer}"
CUSTOM = "Custom/{name}"
BEST_VALUE = "best/val_loss"
TEST_MSE_SCALED = "test/mse_scaled"
TEST_MAE_SCALED = "test/mae_scaled"
TEST_MAE = "test/mae"
TEST_RMSE = "test/rmse"
TEST_R2 = "test/r2"
TEST_SKILL = "test/skill_vs_naive"
TEST_DIRECTION_ACCURACY = "test/direction_accuracy"
TEST_ACCURACY = "test/accuracy"
FORECAST_IMAGE = "Forecast/validation"
FORECAST_TEST_IMAGE = "Forecast/test"
MODEL_SUMMARY = "Model/summary"
NONFINITE_COUNT = "health/nonfinite_count"

TEST_PREFIX = "test/"
HISTOGRAM_INTERVAL = 10
"""Epochs from one histogram, and one figure of forecasts, to the next."""

Direction = Literal["lower", "higher", "none"]
Axis = Literal["epoch", "step"]
Cost = Literal["cheap", "moderate", "expensive"]
Kind = Literal["scalar", "histogram", "image", "text"]


@dataclass(frozen=True)
class MetricSpec:
    """What is known of one tag.

    Attributes:
        tag: the tag; a part in braces stands for any text, e.g. a layer's name.
        unit: unit of the values; empty where they have none.
        direction: which values are better; "none" where neither is.
        axis: what a step of the tag is.
        cost: how often it may be written: at every step, at every hundredth, at every tenth epoch.
        category: the heading under which documents and dashboards show it.
        help: one line that says what it is.
        kind: the tab of TensorBoard it belongs to.
        chart: title of the chart in CUSTOM SCALARS that it shares with other tags; empty for a chart of its own; None
            for no chart there, where a run has one point of it or none.
    """

    tag: str
    unit: str
    direction: Direction
    axis: Axis
    cost: Cost
    category: str
    help: str
    kind: Kind = "scalar"
    chart: str | None = ""

    @property
    def pattern(self) -> str:
        """A regular expression that fits exactly this tag, any text in place of its braces."""
        return "".join(".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", self.tag))


def _test(tag: str, unit: str, direction: Direction, help: str) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "epoch", "cheap", "Test", help, chart=None)


SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        LOSS_TRAIN, "loss", "lower", "epoch", "cheap", "Loss",
        "Mean of the training loss over the steps of the epoch, dropout and the like included.",
        chart="Training and validation loss",
    ),
    MetricSpec(
        LOSS_VALIDATION, "loss", "lower", "epoch", "cheap", "Loss",
        "Loss over all validation windows after the epoch, in evaluation mode.",
        chart="Training and validation loss",
    ),
    MetricSpec(
        LOSS_TRAIN_PART, "loss", "lower", "epoch", "cheap", "Loss",
        "A named part of the training loss, where a model's loss has parts.", chart=None,
    ),
    MetricSpec(
        LOSS_VALIDATION_PART, "loss", "lower", "epoch", "cheap", "Loss",
        "A named part of the validation loss, where a model's loss has parts.", chart=None,
    ),
    MetricSpec(
        BEST_VALIDATION_LOSS, "loss", "lower", "epoch", "cheap", "Loss",
        "The best validation value so far, written only at epochs that improve it: these are the saved models.",
    ),
    MetricSpec(
        BEST_VALUE, "loss", "lower", "epoch", "cheap", "Loss",
        "The best validation value of the whole run, for the HPARAMS tab, which shows the last point of a tag.",
        chart=None,
    ),
    MetricSpec(
        LEARNING_RATE, "per step", "none", "epoch", "cheap", "Optimisation",
        "Learning rate of the first parameter group during the epoch.",
    ),
    MetricSpec(
        GRADIENT_NORM, "loss per weight", "none", "epoch", "cheap", "Optimisation",
        "Euclidean norm of all gradients together before clipping, mean over the steps of the epoch.",
    ),
    MetricSpec(
        WEIGHTS, "weight", "none", "epoch", "expensive", "Weights and gradients",
        "Distribution of the layer's weights at epochs 0, 10, 20 and so on.", kind="histogram",
    ),
    MetricSpec(
        GRADIENTS, "loss per weight", "none", "epoch", "expensive", "Weights and gradients",
        "Distribution of the layer's gradients in the last step of epochs 0, 10, 20 and so on.", kind="histogram",
    ),
    MetricSpec(
        CUSTOM, "", "none", "epoch", "cheap", "Custom",
        "What a model logs with self.log: mean over the training steps of the epoch.", chart="Custom metrics",
    ),
    _test(TEST_MSE_SCALED, "scaled target squared", "lower", "Mean squared error on the test windows, scaled targets."),
    _test(TEST_MAE_SCALED, "scaled target", "lower", "Mean absolute error on the test windows, scaled targets."),
    _test(TEST_MAE, "target", "lower", "Mean absolute error on the test windows, in the units of the data."),
    _test(TEST_RMSE, "target", "lower", "Root mean squared error on the test windows, in the units of the data."),
    _test(TEST_R2, "", "higher", "Share of the test targets' variance that the forecast explains; below 0: none."),
    _test(TEST_SKILL, "", "higher", "1 minus the error divided by the naive forecast's error; 0 or below: not better."),
    _test(TEST_DIRECTION_ACCURACY, "fraction", "higher", "Share of test windows whose direction is forecast rightly."),
    _test(TEST_ACCURACY, "fraction", "higher", "Share of test windows classified rightly (task direction)."),
    MetricSpec(
        FORECAST_IMAGE, "", "none", "epoch", "expensive", "Forecast",
        "Forecast against truth on validation windows, at epochs 0, 10, 20 and so on and at the last one.",
        kind="image",
    ),
    MetricSpec(
        FORECAST_TEST_IMAGE, "", "none", "epoch", "expensive", "Forecast",
        "Forecast against truth on test windows, by the best weights.", kind="image",
    ),
    MetricSpec(
        MODEL_SUMMARY, "", "none", "epoch", "expensive", "Model",
        "Table of all layers with the shapes and numbers of their parameters.", kind="text",
    ),
    MetricSpec(
        NONFINITE_COUNT, "values", "lower", "epoch", "expensive", "Health",
        "How many values of the tensors drawn as histograms are NaN or infinite; written only if there are any.",
    ),
)  # fmt: skip

_BY_TAG = {spec.tag: spec for spec in SPECS}
_WITH_BRACES = [(re.compile(spec.pattern), spec) for spec in SPECS if "{" in spec.tag]


def spec_of(tag: str) -> MetricSpec | None:
    """What is known of ``tag``; ``Weights/lstm.bias`` finds ``Weights/{layer}``. None for a stranger's tag."""
    if tag in _BY_TAG:
        return _BY_TAG[tag]
    return next((spec for pattern, spec in _WITH_BRACES if pattern.fullmatch(tag)), None)


def markdown() -> str:
    """The page of metrics."""
    rules = (__doc__ or "").split("\n\n")[2]
    lines = ["# Metrics", "", "What a run writes to TensorBoard. This page is generated:", ""]
    lines += ["    python -m src.tracking.tags > docs/metrics.md", "", rules.replace("``", "`")]
    for category in dict.fromkeys(spec.category for spec in SPECS):
        lines += ["", f"## {category}", "", "| tag | kind | unit | better | axis | cost | meaning |"]
        lines += ["|:--|:--|:--|:--|:--|:--|:--|"]
        for spec in SPECS:
            if spec.category == category:
                cells = (f"`{spec.tag}`", spec.kind, spec.unit, spec.direction, spec.axis, spec.cost, spec.help)
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
