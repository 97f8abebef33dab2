"""Every tag that a run can hold, once: name, unit, direction, step axis, cost, category and help.

Rules that hold for all of them:

- Epochs and steps count from 0. A tag lives on one axis, the epoch or the global step (optimiser steps), and never on
  both; ``progress/epoch`` converts.
- ``Loss/train``, ``Gradient/norm`` and ``Custom/*`` are means over the steps of the epoch.
- ``Gradient/norm`` is taken before clipping.
- Memory is in GiB (1024 ** 3 bytes), times are in the unit that the tag names, percentages go from 0 to 100.
- ``Weights/*`` and ``Gradients/*`` are written at epochs 0, 10, 20 and so on.
- ``Best_Val_Loss`` is written only at epochs that improve on all before.
- Values that are not finite are written as they are.
- ``study/*`` counts the trials of a search that have ended, in the order in which they ended: the first stands at 1.

``python -m src.tracking.tags > docs/metrics.md`` writes the page of metrics.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from .tag_tables import (
    calibration,
    classes,
    decisions,
    diffusion,
    epochs,
    findings,
    jepa,
    logger,
    monitors,
    probes,
    progress,
    studies,
    system,
    trials,
)
from .tag_tables.epochs import (
    BEST_OBJECTIVE,
    BEST_VALIDATION_LOSS,
    BEST_VALUE,
    CUSTOM,
    FORECAST_IMAGE,
    FORECAST_TEST_IMAGE,
    GLOSSARY,
    GRADIENT_NORM,
    GRADIENTS,
    HISTOGRAM_INTERVAL,
    LEARNING_RATE,
    LOSS_TRAIN,
    LOSS_TRAIN_PART,
    LOSS_VALIDATION,
    LOSS_VALIDATION_PART,
    MODEL_SUMMARY,
    NONFINITE_COUNT,
    TEST_ACCURACY,
    TEST_DIRECTION_ACCURACY,
    TEST_MAE,
    TEST_MAE_SCALED,
    TEST_MSE_SCALED,
    TEST_PREFIX,
    TEST_RMSE,
    TEST_SKILL,
    WEIGHTS,
)
from .tag_tables.spec import CATEGORIES, MarginChart, MetricSpec

__all__ = [
    "BEST_OBJECTIVE",
    "BEST_VALIDATION_LOSS",
    "BEST_VALUE",
    "CUSTOM",
    "FORECAST_IMAGE",
    "FORECAST_TEST_IMAGE",
    "GLOSSARY",
    "GRADIENTS",
    "GRADIENT_NORM",
    "HISTOGRAM_INTERVAL",
    "LEARNING_RATE",
    "LOSS_TRAIN",
    "LOSS_TRAIN_PART",
    "LOSS_VALIDATION",
    "LOSS_VALIDATION_PART",
    "MARGIN_CHARTS",
    "MODEL_SUMMARY",
    "NONFINITE_COUNT",
    "SPECS",
    "TEST_ACCURACY",
    "TEST_DIRECTION_ACCURACY",
    "TEST_MAE",
    "TEST_MAE_SCALED",
    "TEST_MSE_SCALED",
    "TEST_PREFIX",
    "TEST_RMSE",
    "TEST_SKILL",
    "WEIGHTS",
    "glossary",
    "markdown",
    "spec_of",
]

_TABLES = (
    epochs, logger, progress, decisions, classes, monitors, probes, system, calibration, findings, studies, trials,
    jepa, diffusion,
)  # fmt: skip

SPECS: tuple[MetricSpec, ...] = tuple(
    # Stable: within a category, the tables' own order stays.
    sorted(
        (spec for table in _TABLES for spec in table.SPECS),
        key=lambda spec: CATEGORIES.index(spec.category),
    )
)

MARGIN_CHARTS: tuple[MarginChart, ...] = tuple(
    chart for table in _TABLES for chart in getattr(table, "MARGIN_CHARTS", ())
)

_BY_TAG = {spec.tag: spec for spec in SPECS}
# Where several patterns fit, the one that says most counts: ``train/loss/h{level}`` before ``train/{name}``.
_WITH_BRACES = sorted(
    ((re.compile(spec.pattern), spec) for spec in SPECS if "{" in spec.tag),
    key=lambda entry: -len(re.sub(r"\{\w+\}", "", entry[1].tag)),
)


@functools.lru_cache(maxsize=4096)
def spec_of(tag: str) -> MetricSpec | None:
    """What is known of ``tag``; ``Weights/lstm.bias`` finds ``Weights/{layer}``. None for a stranger's tag."""
    if tag in _BY_TAG:
        return _BY_TAG[tag]
    return next((spec for pattern, spec in _WITH_BRACES if pattern.fullmatch(tag)), None)


def glossary(tags: Iterable[str]) -> str:
    """What the tags of a run mean, as a Markdown table for the TEXT tab; tags alike but for a layer share a row."""
    known = dict.fromkeys(spec for tag in tags if (spec := spec_of(tag)) is not None)
    lines = ["| tag | unit | better | meaning |", "|:--|:--|:--|:--|"]
    lines += [
        f"| `{spec.tag}` | {spec.unit} | {spec.direction} | {spec.help} |" for spec in sorted(known, key=SPECS.index)
    ]
    return "\n".join(lines)


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
