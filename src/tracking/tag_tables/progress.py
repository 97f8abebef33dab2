"""What ``--log-batches`` and every trial of a search write batch by batch, and how far a run has come.

Steps are optimiser steps. The batches of an evaluation are drawn over the steps of the epoch that they evaluate.
"""

from __future__ import annotations

from .spec import Direction, MetricSpec

BATCH_LOSS = "train/batch_loss"
BATCH_SECONDS = "train/batch_time_seconds"
BATCH_INDEX = "train/batch_idx"
BATCHES_PER_EPOCH = "train/batches_per_epoch"
EPOCH_LOSS = "train/epoch_loss"
EPOCH_SECONDS = "train/epoch_time_seconds"
BATCHES_PROCESSED = "train/batches_processed"

EVALUATION_LOSS = "eval/batch_loss"
EVALUATION_ACCURACY = "eval/batch_accuracy"
EVALUATION_SECONDS = "eval/batch_time_seconds"
EVALUATION_INDEX = "eval/batch_idx"
EVALUATION_BATCHES = "eval/batches_total"
EVALUATION_CORRECT = "eval/batch_correct_predictions"
EVALUATION_SAMPLES = "eval/batch_samples"
EVALUATION_RETURN = "eval/batch_simulated_return"
EVALUATION_CALL_RETURNS = "eval/batch_actual_call_returns"
EVALUATION_CALLS = "eval/batch_actual_calls"
EVALUATION_PROGRESS = "eval/progress_percent"
EVALUATION_PROCESSED = "eval/batches_processed"

VALIDATION_LOSS = "val/loss"
VALIDATION_ACCURACY = "val/accuracy"
VALIDATION_SECONDS = "val/time_seconds"
VALIDATION_BEST_ACCURACY = "val/best_accuracy"
VALIDATION_EPOCHS_SINCE_BEST = "val/epochs_since_best"
VALIDATION_RETURN = "val/simulated_return"
VALIDATION_CALL_RETURNS = "val/actual_call_returns"

EPOCH = "progress/epoch"
BATCH_IN_EPOCH = "progress/batch_in_epoch"
GLOBAL_STEP = "progress/global_step"
COMPLETION = "progress/completion_percent"
OVERHEAD_PERCENT = "progress/logging_overhead_percent"


def _train(tag: str, unit: str, direction: Direction, help: str, *, timed: bool = False) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "step", "cheap", "Training batches", help, timed=timed)


def _evaluation(
    tag: str, unit: str, direction: Direction, help: str, *, chart: str | None = "", timed: bool = False
) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "step", "cheap", "Evaluation batches", help, chart=chart, timed=timed)


def _progress(tag: str, unit: str, help: str, *, timed: bool = False) -> MetricSpec:
    return MetricSpec(tag, unit, "none", "step", "cheap", "Progress", help, timed=timed)


SPECS: tuple[MetricSpec, ...] = (
    _train(BATCH_LOSS, "loss", "lower", "Loss of the batch."),
    _train(BATCH_SECONDS, "seconds", "lower", "Time the batch took, data and optimiser included.", timed=True),
    _train(BATCH_INDEX, "batches", "none", "Number of the batch in its epoch, from 0."),
    _train(BATCHES_PER_EPOCH, "batches", "none", "Batches in an epoch."),
    _train(EPOCH_LOSS, "loss", "lower", "Mean loss over the batches of the epoch, at its last step."),
    _train(EPOCH_SECONDS, "seconds", "lower", "Time the epoch took, validation included.", timed=True),
    _train(BATCHES_PROCESSED, "batches", "none", "Batches trained on so far."),
    _evaluation(EVALUATION_LOSS, "loss", "lower", "Validation loss of the batch."),
    _evaluation(EVALUATION_ACCURACY, "fraction", "higher", "Share of the batch's samples classified rightly."),
    _evaluation(EVALUATION_SECONDS, "seconds", "lower", "Time the validation batch took.", timed=True),
    _evaluation(EVALUATION_INDEX, "batches", "none", "Number of the batch in its evaluation, from 0."),
    _evaluation(EVALUATION_BATCHES, "batches", "none", "Batches in an evaluation."),
    _evaluation(
        EVALUATION_CORRECT, "answers", "higher", "Right answers in the batch (every step ahead and target counts)."
    ),
    _evaluation(EVALUATION_SAMPLES, "samples", "none", "Samples in the batch."),
    _evaluation(
        EVALUATION_RETURN, "return", "higher", "Mean of position x realised return after costs over the batch."
    ),
    _evaluation(EVALUATION_CALL_RETURNS, "return", "higher", "Sum of the realised returns of the batch's calls."),
    _evaluation(EVALUATION_CALLS, "calls", "none", "Answers in the batch that call up (probability above one half)."),
    _evaluation(EVALUATION_PROGRESS, "percent", "none", "How much of the evaluation is done after the batch."),
    _evaluation(EVALUATION_PROCESSED, "batches", "none", "Batches evaluated so far in this evaluation."),
    _evaluation(VALIDATION_LOSS, "loss", "lower", "Loss over all validation samples, at the epoch's last step."),
    _evaluation(VALIDATION_ACCURACY, "fraction", "higher", "Share of all validation samples classified rightly."),
    _evaluation(VALIDATION_SECONDS, "seconds", "lower", "Time the validation took.", timed=True),
    _evaluation(VALIDATION_BEST_ACCURACY, "fraction", "higher", "The best validation accuracy so far."),
    _evaluation(VALIDATION_EPOCHS_SINCE_BEST, "epochs", "lower", "Epochs since the best one."),
    _evaluation(
        VALIDATION_RETURN, "return", "higher", "Mean of position x realised return after costs, whole validation part."
    ),
    _evaluation(
        VALIDATION_CALL_RETURNS, "return", "higher", "Sum of the realised returns of all calls of the validation part."
    ),
    _progress(EPOCH, "epochs", "Number of the epoch, from 0: converts steps to epochs."),
    _progress(BATCH_IN_EPOCH, "batches", "Number of the batch in its epoch, from 0."),
    _progress(GLOBAL_STEP, "steps", "Number of the optimiser step, from 0."),
    _progress(COMPLETION, "percent", "Steps done, of all there would be without early stopping."),
    _progress(OVERHEAD_PERCENT, "percent", "Share of the training time that logging has taken so far.", timed=True),
)
