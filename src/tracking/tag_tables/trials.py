"""What a trial of a hyperparameter search writes about itself."""

from __future__ import annotations

from .spec import MetricSpec

PHASES = ("random", "bayesian", "fine_tune")
"""Of a search; ``trial/phase`` is the place in here."""

METADATA = "trial/metadata"
PHASE = "trial/phase"
NUMBER = "trial/number"
CURRENT_EPOCH = "trial/current_epoch"
CURRENT_BATCH = "trial/current_batch"
EPOCH = "trial/epoch"
BEST_EPOCH = "trial/best_epoch"
BEST_ACCURACY = "trial/best_accuracy"
FINAL_ACCURACY = "trial/final_accuracy"
FINAL_EPOCH = "trial/final_epoch"
TOTAL_STEPS = "trial/total_steps"
COMPLETED = "trial/completed"
HYPERPARAMETER = "hyperparam/{name}"


def _trial(tag: str, unit: str, help: str, *, chart: str | None = None) -> MetricSpec:
    return MetricSpec(tag, unit, "none", "step", "cheap", "Trial", help, chart=chart)


SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(METADATA, "", "none", "step", "cheap", "Trial", "What the trial is, as a table.", kind="text"),
    _trial(PHASE, "", "Phase of the search, at step 0: 0 random, 1 Bayesian, 2 fine-tuning."),
    _trial(NUMBER, "", "Number of the trial, at step 0."),
    _trial(CURRENT_EPOCH, "epochs", "Number of the epoch under way, at every step.", chart=""),
    _trial(CURRENT_BATCH, "batches", "Number of the batch in its epoch, at every step.", chart=""),
    _trial(EPOCH, "epochs", "Number of the epoch that has ended, at its last step.", chart="Epochs"),
    _trial(BEST_EPOCH, "epochs", "The best epoch so far.", chart="Epochs"),
    _trial(BEST_ACCURACY, "fraction", "The best accuracy so far (the best selected value for other tasks).", chart=""),
    _trial(FINAL_ACCURACY, "fraction", "Accuracy (or selected value) of the last epoch, at the last step."),
    _trial(FINAL_EPOCH, "epochs", "Number of the last epoch, at the last step."),
    _trial(TOTAL_STEPS, "steps", "Optimiser steps of the trial, at the last step."),
    _trial(COMPLETED, "", "1 if the trial ran to its end, 0 if it was pruned or failed, at the last step."),
    MetricSpec(
        HYPERPARAMETER, "", "none", "step", "cheap", "Hyperparameters",
        "A hyperparameter of the trial, at step 0; the HPARAMS tab has them all in one table.", chart=None,
    ),
)  # fmt: skip
