"""What ``BayesianTransformerLogger`` writes of calibration beside the tags of the calibration monitor, on the
global-step axis."""

from __future__ import annotations

from .spec import MetricSpec

CONFIDENCE_GAP = "calibration/confidence_gap"
VERDICT = "calibration/verdict"
PREDICTIONS = "predictions"

_CATEGORY = "Uncertainty and calibration"

SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        CONFIDENCE_GAP, "fraction", "none", "step", "moderate", _CATEGORY,
        "Mean confidence minus accuracy: above 0 the model is too sure.",
    ),
    MetricSpec(
        VERDICT, "", "none", "step", "moderate", _CATEGORY,
        "Well-calibrated, over-confident, under-confident or uninformative, with the numbers.", kind="text",
    ),
    MetricSpec(
        PREDICTIONS, "", "none", "step", "moderate", _CATEGORY,
        "Samples with what the model said of them and how sure it was.", kind="text",
    ),
)  # fmt: skip
