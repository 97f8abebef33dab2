"""What monitors write while a model trains, on the global-step axis."""

from __future__ import annotations

from .spec import Direction, MetricSpec

GRADIENT_NORM_TOTAL = "gradient_norm/total"
GRADIENT_NORM_LAYER = "gradient_norm/layer/{layer}"
GRADIENT_NORM_GROUP = "gradient_norm/group/{group}"
GRADIENT_NORM_VARIATION = "gradient_norm/layer_variation"
CLIPPING_PERCENTAGE = "clipping/percentage"
CLIPPING_NORM_AFTER = "clipping/norm_after"

UPDATE_RATIO = "update_ratio/{layer}"
WEIGHT_MEAN = "weight/mean/{layer}"
WEIGHT_STD = "weight/std/{layer}"
WEIGHT_NORM = "weight/norm/{layer}"

ACTIVATION_MEAN = "activation/mean/{layer}"
ACTIVATION_STD = "activation/std/{layer}"
ACTIVATION_DEAD = "activation/dead_units_percent/{layer}"
ACTIVATION_SATURATED = "activation/saturated_percent/{layer}"
ACTIVATIONS = "Activations/{layer}"

ATTENTION_ENTROPY = "attention/entropy/{layer}"
ATTENTION_ENTROPY_NORMALISED = "attention/entropy_normalised/{layer}"
ATTENTION_IMAGE = "Attention/{layer}"

LEARNING_RATE = "learning_rate/current"
LEARNING_RATE_AHEAD = "learning_rate/schedule_ahead"

STABILITY_SMOOTHNESS = "stability/loss_smoothness"
STABILITY_SLOPE = "stability/loss_trend_slope"
STABILITY_SPIKE = "stability/loss_spike_ratio"

FORWARD_MS = "performance/forward_time_ms"
BACKWARD_MS = "performance/backward_time_ms"
OPTIMIZER_MS = "performance/optimizer_time_ms"
DATA_MS = "performance/data_time_ms"
STEP_MS = "performance/step_time_ms"
SAMPLES_PER_SECOND = "performance/samples_per_second"
STEPS_PER_SECOND = "performance/steps_per_second"
GPU_MEMORY = "performance/gpu_memory_allocated_gb"
PEAK_MEMORY = "performance/peak_memory_gb"

REPRESENTATION_STD = "representation/mean_std_per_dim"
REPRESENTATION_RANK = "representation/effective_rank"
REPRESENTATION_SIMILARITY = "representation/mean_similarity"
REPRESENTATION_DEAD = "representation/dead_dimensions_percent"

EMA_MOMENTUM = "ema/momentum_current"
EMA_DIVERGENCE = "ema/avg_parameter_divergence"
EMA_RATIO = "ema/weight_magnitude_ratio"

CALIBRATION_ERROR = "calibration/expected_calibration_error"
CALIBRATION_CORRELATION = "calibration/uncertainty_error_correlation"
CALIBRATION_COVERAGE = "calibration/coverage_90_percent"

INPUT_CONSTANT = "input/constant_features"
INPUT_NONFINITE = "input/nonfinite_values"

ECHO_CORRELATION = "forecast/echo_correlation"
SKILL_VS_LAST = "forecast/skill_vs_last_value"

_GRADIENTS = "11 Gradient statistics"
_WEIGHTS = "09 Parameter statistics"
_STABILITY = "Learning dynamics"
_CALIBRATION = "Uncertainty and calibration"


def _gradient(tag: str, unit: str, help: str, chart: str | None = "") -> MetricSpec:
    return MetricSpec(tag, unit, "none", "step", "moderate", _GRADIENTS, help, chart=chart)


def _weight(tag: str, unit: str, help: str, chart: str) -> MetricSpec:
    return MetricSpec(tag, unit, "none", "step", "moderate", _WEIGHTS, help, chart=chart)


def _layer(tag: str, unit: str, direction: Direction, category: str, help: str, chart: str) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "step", "moderate", category, help, chart=chart)


def _time(tag: str, help: str) -> MetricSpec:
    chart = "Time of a step"
    return MetricSpec(tag, "milliseconds", "lower", "step", "cheap", "05 Performance", help, chart=chart, timed=True)


def _performance(tag: str, unit: str, direction: Direction, help: str, chart: str = "") -> MetricSpec:
    return MetricSpec(tag, unit, direction, "step", "cheap", "05 Performance", help, chart=chart, timed=True)


def _moderate(tag: str, unit: str, direction: Direction, category: str, help: str) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "step", "moderate", category, help)


SPECS: tuple[MetricSpec, ...] = (
    _gradient(
        GRADIENT_NORM_TOTAL, "loss per weight", "Euclidean norm of all gradients together, before clipping.",
    ),
    _gradient(
        GRADIENT_NORM_LAYER, "loss per weight", "Euclidean norm of one layer's gradients, before clipping.",
        "Gradient norm of layers",
    ),
    _gradient(
        GRADIENT_NORM_GROUP, "loss per weight",
        "Euclidean norm of the gradients of one part of the model, before clipping.", "Gradient norm of parts",
    ),
    _gradient(
        GRADIENT_NORM_VARIATION, "",
        "Deviation of the layers' gradient norms divided by their mean; near 0: all layers learn alike.",
    ),
    _gradient(CLIPPING_PERCENTAGE, "percent", "Share of the last 100 steps whose gradients were clipped."),
    _gradient(CLIPPING_NORM_AFTER, "loss per weight", "Euclidean norm of all gradients together, after clipping."),
    _weight(
        UPDATE_RATIO, "",
        "Norm of a layer's change in one step divided by the norm of its weights; about 0.001 is usual, 0: frozen.",
        "Update ratio of layers",
    ),
    _weight(WEIGHT_MEAN, "weight", "Mean of a layer's weights.", "Mean of weights"),
    _weight(WEIGHT_STD, "weight", "Standard deviation of a layer's weights.", "Deviation of weights"),
    _weight(WEIGHT_NORM, "weight", "Euclidean norm of a layer's weights.", "Norm of weights"),
    _layer(
        ACTIVATION_MEAN, "activation", "none", "Activations",
        "Mean of what a layer reads (of what a recurrent layer gives), on a few samples.", "Mean of activations",
    ),
    _layer(
        ACTIVATION_STD, "activation", "none", "Activations",
        "Standard deviation of what a layer reads (of what a recurrent layer gives).", "Deviation of activations",
    ),
    _layer(
        ACTIVATION_DEAD, "percent", "lower", "Activations",
        "Share of the units a layer reads (a recurrent layer gives) that are the same for all samples and times.",
        "Dead units",
    ),
    _layer(
        ACTIVATION_SATURATED, "percent", "lower", "Activations",
        "Share of bounded activations beyond 0.99 of their bound; for LSTM and GRU, of gates beyond +-4, if greater.",
        "Saturated units",
    ),
    MetricSpec(
        ACTIVATIONS, "activation", "none", "step", "expensive", "Activations",
        "Distribution of what a layer reads (of what a recurrent layer gives).", kind="histogram",
    ),
    _layer(
        ATTENTION_ENTROPY, "nats", "none", "Attention",
        "Entropy of a layer's attention, mean over samples, heads and queries; ln(keys) at most.", "Attention entropy",
    ),
    _layer(
        ATTENTION_ENTROPY_NORMALISED, "", "none", "Attention",
        "The same divided by ln(keys): 0 where each query looks at one key, 1 where all keys are alike.",
        "Attention entropy, normalised",
    ),
    MetricSpec(
        ATTENTION_IMAGE, "", "none", "step", "expensive", "Attention",
        "What each query looks at, for every head, mean over samples.", kind="image",
    ),
    MetricSpec(
        LEARNING_RATE, "per step", "none", "step", "cheap", "04 Learning rate",
        "Learning rate of the first parameter group.", chart="Learning rate and schedule ahead",
    ),
    MetricSpec(
        LEARNING_RATE_AHEAD, "per step", "none", "step", "cheap", "04 Learning rate",
        "Learning rate of the steps to come as the schedule plans it, written when training starts.",
        chart="Learning rate and schedule ahead",
    ),
    _moderate(
        STABILITY_SMOOTHNESS, "", "higher", _STABILITY,
        "How evenly the loss of the last 100 steps moves: 1 for a straight line, near 0 for noise.",
    ),
    _moderate(
        STABILITY_SLOPE, "loss per step", "lower", _STABILITY,
        "Slope of the straight line through the losses of the last 100 steps; negative while the loss falls.",
    ),
    _moderate(
        STABILITY_SPIKE, "", "none", _STABILITY, "Newest loss divided by the median loss of the last 100 steps.",
    ),
    _time(FORWARD_MS, "Mean time of the forward pass."),
    _time(BACKWARD_MS, "Mean time of the backward pass."),
    _time(OPTIMIZER_MS, "Mean time of clipping and the optimiser's step."),
    _time(DATA_MS, "Mean time a step waits for its batch."),
    _time(STEP_MS, "Mean time from one step to the next, validation left out."),
    _performance(SAMPLES_PER_SECOND, "per second", "higher", "Samples trained on in a second."),
    _performance(STEPS_PER_SECOND, "per second", "higher", "Optimiser steps in a second."),
    _performance(
        GPU_MEMORY, "GiB", "lower", "Memory that tensors take on the GPU after the step.", "Memory of the training",
    ),
    _performance(
        PEAK_MEMORY, "GiB", "lower",
        "Most memory that tensors have taken on the GPU so far; without a GPU, that the process has taken.",
        "Memory of the training",
    ),
    _moderate(
        REPRESENTATION_STD, "", "none", "Representation",
        "Deviation over samples of each dimension, all samples scaled to one length; mean over dimensions, 1 at most.",
    ),
    _moderate(
        REPRESENTATION_RANK, "", "higher", "Representation",
        "How many directions the representation uses: exponential of the entropy of its singular values.",
    ),
    _moderate(
        REPRESENTATION_SIMILARITY, "", "none", "Representation",
        "Mean cosine similarity of the representations of different samples.",
    ),
    _moderate(
        REPRESENTATION_DEAD, "percent", "lower", "Representation",
        "Share of the representation's dimensions that hardly vary from sample to sample.",
    ),
    _moderate(
        EMA_MOMENTUM, "", "none", "EMA dynamics",
        "Share of the target network that the last update kept, measured at its weights.",
    ),
    _moderate(
        EMA_DIVERGENCE, "", "none", "EMA dynamics",
        "Norm of the difference between target and online network divided by the norm of the online network.",
    ),
    _moderate(
        EMA_RATIO, "", "none", "EMA dynamics",
        "Norm of the target network's weights divided by that of the online network's; healthy near 1.",
    ),
    _moderate(
        CALIBRATION_ERROR, "", "lower", _CALIBRATION,
        "Mean distance between probability and frequency (15 bins) on validation samples.",
    ),
    _moderate(
        CALIBRATION_CORRELATION, "", "higher", _CALIBRATION,
        "Rank correlation of uncertainty and size of the error on validation samples.",
    ),
    _moderate(
        CALIBRATION_COVERAGE, "percent", "none", _CALIBRATION,
        "Share of validation values inside the 90 % interval.",
    ),
    _moderate(
        INPUT_CONSTANT, "features", "lower", "Training batches",
        "How many input features did not vary at all in the latest sampled batches.",
    ),
    _moderate(
        INPUT_NONFINITE, "values", "lower", "Training batches", "How many values of the batch are NaN or infinite.",
    ),
    _moderate(
        ECHO_CORRELATION, "", "lower", "Prediction quality",
        "Correlation of a forecast's change from one validation window to the next with the last known change.",
    ),
    _moderate(
        SKILL_VS_LAST, "", "higher", "Prediction quality",
        "1 minus squared error / squared error of repeating the last value, on validation windows; 0: no better.",
    ),
)  # fmt: skip
