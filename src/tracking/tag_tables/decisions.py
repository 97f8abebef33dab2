"""What comes of the task ``direction``: answers, calls and simulated returns, on the epoch axis."""

from __future__ import annotations

from .spec import Direction, MetricSpec

DECISION_ACCURACY = "Decisions/accuracy"
DECISION_BRIER = "Decisions/brier"
DECISION_BALANCED_ACCURACY = "Decisions/balanced_accuracy"
DECISION_MAJORITY_SHARE = "Decisions/majority_share"
DECISION_F1 = "Decisions/f1"
DECISION_MCC = "Decisions/mcc"
DECISION_SIMULATED_RETURN = "Decisions/simulated_return"
DECISION_BUY_AND_HOLD = "Decisions/buy_and_hold_return"
DECISION_CALLS = "Decisions/actual_calls"
DECISION_CALL_RETURNS = "Decisions/actual_call_returns"
CONFUSION_IMAGE = "Decisions/confusion_matrix"
CONFUSION_TEST_IMAGE = "Decisions/confusion_matrix_test"
PRECISION_RECALL = "Decisions/precision_recall"
TEST_BALANCED_ACCURACY = "test/balanced_accuracy"
TEST_MAJORITY_SHARE = "test/majority_share"
TEST_F1 = "test/f1"
TEST_MCC = "test/mcc"
TEST_LOG_LOSS = "test/log_loss"
TEST_BRIER = "test/brier"
TEST_SIMULATED_RETURN = "test/simulated_return"
TEST_BUY_AND_HOLD = "test/buy_and_hold_return"
TEST_CALLS = "test/calls"
TEST_CALL_RETURNS = "test/call_returns"

EVALUATION_TAGS = {
    "accuracy": DECISION_ACCURACY,
    "brier": DECISION_BRIER,
    "simulated_return": DECISION_SIMULATED_RETURN,
    "actual_calls": DECISION_CALLS,
    "actual_call_returns": DECISION_CALL_RETURNS,
}
"""Where the values of ``evaluation_metrics`` go that are no parts of the loss."""

_RIGHT = "Share of right answers on the validation part"
_RETURN = "Simulated return per forecast"


def _validation(tag: str, unit: str, direction: Direction, help: str, chart: str = "") -> MetricSpec:
    return MetricSpec(tag, unit, direction, "epoch", "cheap", "Decisions", help, chart=chart)


def _test(tag: str, unit: str, direction: Direction, help: str) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "epoch", "cheap", "03 Epoch summary", help, chart=None)


SPECS: tuple[MetricSpec, ...] = (
    _validation(
        DECISION_ACCURACY, "fraction", "higher",
        "Share of validation answers that are right: up (p > 0.5) or not, or the class of a text; to be held against "
        "the majority share.",
        _RIGHT,
    ),
    _validation(
        DECISION_BRIER, "", "lower",
        "Mean squared error of the validation probabilities (Brier score), of texts summed over classes; always saying "
        "0.5 gets 0.25, of two classes 0.5.",
    ),
    _validation(
        DECISION_MAJORITY_SHARE, "fraction", "none",
        "What always giving the more frequent answer would reach on the validation part; epochs 0, 10, ... and last.",
        _RIGHT,
    ),
    _validation(
        DECISION_BALANCED_ACCURACY, "fraction", "higher",
        "Mean over up and not up of the share recognised on the validation part, 0.5 by chance; epochs 0, 10, ... and "
        "last.",
        _RIGHT,
    ),
    _validation(
        DECISION_F1, "", "higher",
        "Harmonic mean of precision and recall of up on the validation part, at epochs 0, 10, ... and the last.",
    ),
    _validation(
        DECISION_MCC, "", "higher",
        "Matthews correlation of answers and truth on the validation part, 0 by chance; epochs 0, 10, ... and last.",
    ),
    _validation(
        DECISION_SIMULATED_RETURN, "fraction per forecast", "higher",
        "Position 2p - 1 times the realised return after costs, mean over all validation forecasts.", _RETURN,
    ),
    _validation(
        DECISION_BUY_AND_HOLD, "fraction per forecast", "none",
        "Mean realised return of the validation part: always long, without trading; epochs 0, 10, ... and last.",
        _RETURN,
    ),
    _validation(
        DECISION_CALLS, "fraction", "none", "Share of validation forecasts that call a rise (p > 0.5).",
    ),
    _validation(
        DECISION_CALL_RETURNS, "fraction per forecast", "higher",
        "Realised return where a rise was called, else 0, mean over all validation forecasts, before costs.",
    ),
    MetricSpec(
        CONFUSION_IMAGE, "", "none", "epoch", "expensive", "Decisions",
        "What happened against what was said on the validation part, at epochs 0, 10, 20 and so on and the last.",
        kind="image",
    ),
    MetricSpec(
        CONFUSION_TEST_IMAGE, "", "none", "epoch", "expensive", "Decisions",
        "What happened against what was said on the test part, by the best weights.", kind="image",
    ),
    MetricSpec(
        PRECISION_RECALL, "", "none", "epoch", "expensive", "Decisions",
        "Precision against recall of up on the validation part at 127 thresholds, at epochs 0, 10, 20 and so on and "
        "the last.",
        kind="pr_curve",
    ),
    _test(TEST_BALANCED_ACCURACY, "fraction", "higher", "Mean over up and not up of the share recognised on the test "
          "part; 0.5 by chance."),
    _test(TEST_MAJORITY_SHARE, "fraction", "none", "What always giving the more frequent answer would reach on the "
          "test part."),
    _test(TEST_F1, "", "higher", "Harmonic mean of precision and recall of up on the test part."),
    _test(TEST_MCC, "", "higher", "Matthews correlation of answers and truth on the test part; 0 by chance."),
    _test(TEST_BRIER, "", "lower", "Mean squared error of the probabilities on the test part (Brier score)."),
    _test(TEST_LOG_LOSS, "nats", "lower", "Mean cross-entropy of the probabilities on the test part."),
    _test(TEST_SIMULATED_RETURN, "fraction per forecast", "higher", "Position 2p - 1 times the realised return after "
          "costs, mean over all test forecasts."),
    _test(TEST_BUY_AND_HOLD, "fraction per forecast", "none", "Mean realised return of the test part: always long, "
          "without trading."),
    _test(TEST_CALLS, "forecasts", "none", "How many test forecasts call a rise (p > 0.5)."),
    _test(TEST_CALL_RETURNS, "fraction", "higher", "Sum of the realised returns of the test part's calls, before "
          "costs."),
)  # fmt: skip
