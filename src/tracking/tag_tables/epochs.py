"""What every model of every family logs, on the epoch axis."""

from __future__ import annotations

from .spec import Direction, MetricSpec

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
BEST_OBJECTIVE = "best/objective"
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
GLOSSARY = "Model/glossary"
NONFINITE_COUNT = "health/nonfinite_count"

TEST_PREFIX = "test/"
HISTOGRAM_INTERVAL = 10
"""Epochs from one histogram, and one figure of forecasts, to the next."""


def _test(tag: str, unit: str, direction: Direction, help: str) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "epoch", "cheap", "03 Epoch summary", help, chart=None)


SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        LOSS_TRAIN, "loss", "lower", "epoch", "cheap", "01 Training",
        "Mean of the training loss over the steps of the epoch, dropout and the like included.",
        chart="Training and validation loss",
    ),
    MetricSpec(
        LOSS_VALIDATION, "loss", "lower", "epoch", "cheap", "01 Training",
        "Loss over all validation windows after the epoch, in evaluation mode.",
        chart="Training and validation loss",
    ),
    MetricSpec(
        LOSS_TRAIN_PART, "loss", "lower", "epoch", "cheap", "02 Loss components",
        "A named part of the training loss, where a model's loss has parts.", chart=None,
    ),
    MetricSpec(
        LOSS_VALIDATION_PART, "loss", "lower", "epoch", "cheap", "02 Loss components",
        "A named part of the validation loss, where a model's loss has parts.", chart=None,
    ),
    MetricSpec(
        BEST_VALIDATION_LOSS, "loss", "lower", "epoch", "cheap", "01 Training",
        "The best validation value so far, written only at epochs that improve it: these are the saved models.",
    ),
    MetricSpec(
        BEST_VALUE, "loss", "lower", "epoch", "cheap", "01 Training",
        "The best validation value of the whole run, for the HPARAMS tab, which shows the last point of a tag.",
        chart=None,
    ),
    MetricSpec(
        BEST_OBJECTIVE, "", "none", "epoch", "cheap", "01 Training",
        "What runs and trials can be compared by, whatever their loss: at the best epoch, squared error of scaled "
        "values on the validation part (Brier score for directions), or what a search goes by.",
        chart=None,
    ),
    MetricSpec(
        LEARNING_RATE, "per step", "none", "epoch", "cheap", "04 Learning rate",
        "Learning rate of the first parameter group during the epoch.",
    ),
    MetricSpec(
        GRADIENT_NORM, "loss per weight", "none", "epoch", "cheap", "11 Gradient statistics",
        "Euclidean norm of all gradients together before clipping, mean over the steps of the epoch.",
    ),
    MetricSpec(
        WEIGHTS, "weight", "none", "epoch", "expensive", "10 Parameter histograms",
        "Distribution of the layer's weights at epochs 0, 10, 20 and so on.", kind="histogram",
    ),
    MetricSpec(
        GRADIENTS, "loss per weight", "none", "epoch", "expensive", "10 Parameter histograms",
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
    _test(TEST_ACCURACY, "fraction", "higher", "Share of test windows or texts classified rightly."),
    MetricSpec(
        FORECAST_IMAGE, "", "none", "epoch", "expensive", "03 Epoch summary",
        "Forecast against truth on validation windows, at epochs 0, 10, 20 and so on and at the last one.",
        kind="image",
    ),
    MetricSpec(
        FORECAST_TEST_IMAGE, "", "none", "epoch", "expensive", "03 Epoch summary",
        "Forecast against truth on test windows, by the best weights.", kind="image",
    ),
    MetricSpec(
        MODEL_SUMMARY, "", "none", "epoch", "expensive", "08 Model architecture",
        "Table of all layers with the shapes and numbers of their parameters.", kind="text",
    ),
    MetricSpec(
        GLOSSARY, "", "none", "epoch", "expensive", "08 Model architecture",
        "What every tag of the run means.", kind="text",
    ),
    MetricSpec(
        NONFINITE_COUNT, "values", "lower", "epoch", "expensive", "11 Gradient statistics",
        "How many values of the tensors drawn as histograms are NaN or infinite; written only if there are any.",
    ),
)  # fmt: skip
