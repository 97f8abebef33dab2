"""What a hyperparameter search writes about itself, in a run of its own beside its trials."""

from __future__ import annotations

from .spec import Direction, MetricSpec

VALUE = "study/value"
BEST_VALUE = "study/best_value"
PHASE = "study/phase"
EPOCHS = "study/epochs"
COMPLETED = "study/completed"
PRUNED = "study/pruned"
FAILED = "study/failed"
TRIAL_SECONDS = "study/trial_seconds"
TRIALS_PER_MINUTE = "study/trials_per_minute"
SUMMARY = "study/summary"
TRIALS = "study/trials"
HISTORY_IMAGE = "study/history"
IMPORTANCE_IMAGE = "study/importances"
SLICE_IMAGE = "study/slices"
CONTOUR_IMAGE = "study/contour"
PARALLEL_IMAGE = "study/parallel_coordinates"


def _scalar(
    tag: str, unit: str, direction: Direction, help: str, *, chart: str = "", timed: bool = False
) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "trial", "cheap", "Search", help, chart=chart, timed=timed)


def _text(tag: str, help: str) -> MetricSpec:
    return MetricSpec(tag, "", "none", "trial", "moderate", "Search", help, kind="text")


def _image(tag: str, help: str) -> MetricSpec:
    return MetricSpec(tag, "", "none", "trial", "expensive", "Search", help, kind="image")


SPECS: tuple[MetricSpec, ...] = (
    _scalar(
        VALUE, "objective", "none",
        "The objective at the best epoch of the trial that ended; its direction is in the summary.", chart="Objective",
    ),
    _scalar(BEST_VALUE, "objective", "none", "The best objective of the trials completed so far.", chart="Objective"),
    _scalar(PHASE, "", "none", "Phase of the trial that ended: 0 random, 1 Bayesian, 2 fine-tuning."),
    _scalar(EPOCHS, "epochs", "none", "Epochs that all trials together have trained so far."),
    _scalar(COMPLETED, "trials", "none", "Trials that ran to their end so far.", chart="Trials by how they ended"),
    _scalar(PRUNED, "trials", "none", "Trials ended early as hopeless so far.", chart="Trials by how they ended"),
    _scalar(
        FAILED, "trials", "lower", "Trials that failed, were interrupted or killed so far.",
        chart="Trials by how they ended",
    ),
    _scalar(TRIAL_SECONDS, "seconds", "lower", "Time in epochs of the trial that ended.", timed=True),
    _scalar(
        TRIALS_PER_MINUTE, "trials per minute", "higher", "How fast trials end, over the last ten of all workers.",
        timed=True,
    ),
    _text(SUMMARY, "The best trial, what it changes against the defaults, and which hyperparameters mattered."),
    _text(TRIALS, "Table of all trials that have ended, best first."),
    _image(HISTORY_IMAGE, "The objective of every trial by phase and by how it ended, and the best so far."),
    _image(IMPORTANCE_IMAGE, "How much each hyperparameter mattered, by PED-ANOVA; a rough guide."),
    _image(SLICE_IMAGE, "The objective against each hyperparameter."),
    _image(CONTOUR_IMAGE, "The objective over the two numeric hyperparameters that mattered most."),
    _image(PARALLEL_IMAGE, "All hyperparameters of every trial as a line, coloured by the objective, best thick."),
)  # fmt: skip
