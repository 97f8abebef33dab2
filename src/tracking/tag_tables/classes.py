"""What classifiers of texts say against the truth, and the scores of distributions, on the epoch axis."""

from __future__ import annotations

from typing import Literal

from .spec import Direction, MetricSpec

BALANCED_ACCURACY = "Classes/balanced_accuracy"
MACRO_F1 = "Classes/macro_f1"
MCC = "Classes/mcc"
MAJORITY_SHARE = "Classes/majority_share"
CONFUSION_IMAGE = "Classes/confusion_matrix"
CONFUSION_TEST_IMAGE = "Classes/confusion_matrix_test"
RELIABILITY_IMAGE = "Classes/reliability"
RELIABILITY_TEST_IMAGE = "Classes/reliability_test"
RISK_COVERAGE_IMAGE = "Classes/risk_coverage_test"
WRONG_PICTURES_IMAGE = "Classes/wrong_pictures_test"
PREDICTIONS = "Classes/predictions"
ERROR_ANALYSIS = "Classes/error_analysis"

_CATEGORY = "Decisions"
_EVERY_TENTH = "on the validation part, at epochs 0, 10, 20 and so on and the last."


def _validation(tag: str, direction: Direction, help: str) -> MetricSpec:
    return MetricSpec(tag, "fraction", direction, "epoch", "cheap", _CATEGORY, f"{help} {_EVERY_TENTH}")


def _drawn(tag: str, help: str, kind: Literal["image", "text"] = "image") -> MetricSpec:
    return MetricSpec(tag, "", "none", "epoch", "expensive", _CATEGORY, help, kind=kind)


def _test(tag: str, unit: str, direction: Direction, help: str) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "epoch", "cheap", "03 Epoch summary", help, chart=None)


SPECS: tuple[MetricSpec, ...] = (
    _validation(BALANCED_ACCURACY, "higher", "Mean over classes of the share recognised"),
    _validation(MACRO_F1, "higher", "Mean over classes of the harmonic mean of precision and recall"),
    _validation(MCC, "higher", "Matthews correlation of answers and truth, 0 by chance,"),
    _validation(MAJORITY_SHARE, "none", "What always giving the most frequent class would reach"),
    _drawn(CONFUSION_IMAGE, f"What texts were against what was said {_EVERY_TENTH}"),
    _drawn(CONFUSION_TEST_IMAGE, "What the test texts were against what was said, by the best weights."),
    _drawn(RELIABILITY_IMAGE, f"Accuracy against confidence in 15 bins {_EVERY_TENTH}"),
    _drawn(RELIABILITY_TEST_IMAGE, "Accuracy against confidence in 15 bins on the test part, by the best weights."),
    _drawn(RISK_COVERAGE_IMAGE, "Errors among the test texts that the model is surest of, against how many those are."),
    _drawn(WRONG_PICTURES_IMAGE, "The wrong test pictures that the model was surest of, by the best weights."),
    _drawn(PREDICTIONS, f"Texts with what the model says of them and how sure it is {_EVERY_TENTH}", "text"),
    _drawn(ERROR_ANALYSIS, f"The texts it is least sure of, and the wrong ones it is sure of, {_EVERY_TENTH}", "text"),
    _test("test/macro_f1", "", "higher", "Mean over classes of precision and recall's harmonic mean, test part."),
    _test("test/calibration_error", "", "lower", "Mean distance of confidence and accuracy in 15 bins, test part."),
    _test("test/adaptive_calibration_error", "", "lower", "The same in 15 bins of as many test texts each."),
    _test("test/confidence_gap", "fraction", "none", "Mean confidence minus accuracy on the test part."),
    _test("test/aurc", "", "lower", "Area under the risk-coverage curve of the test part."),
    _test("test/uncertainty_error_correlation", "", "higher", "Rank correlation of uncertainty and error, test part."),
    _test("test/epistemic_mean", "nats", "none", "Mean epistemic uncertainty (mutual information) of the test part."),
    _test("test/crps", "", "lower", "Continuous ranked probability score of scaled test values."),
    _test("test/nll", "nats", "lower", "Mean negative log-density of scaled test values."),
    _test("test/coverage_90", "fraction", "none", "Share of test values inside the 90 % intervals."),
    _test("test/width_90", "", "lower", "Mean width of the 90 % intervals of the test part, scaled."),
)  # fmt: skip
