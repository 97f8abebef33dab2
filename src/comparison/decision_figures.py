"""What a model of directions says against what happens, drawn and counted while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..data.series import SeriesData
from ..metrics.classification import PrecisionRecall
from ..tracking import tags
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.figures import confusion_figure
from ..tracking.tag_tables import decisions
from ..training.loop import EpochReport, Observer, TrainingState
from .evaluate import score_directions

CLASSES = ("not up", "up")
_TAGS = {
    "balanced_accuracy": decisions.DECISION_BALANCED_ACCURACY,
    "majority_share": decisions.DECISION_MAJORITY_SHARE,
    "f1": decisions.DECISION_F1,
    "mcc": decisions.DECISION_MCC,
    "buy_and_hold_return": decisions.DECISION_BUY_AND_HOLD,
}


class DecisionFigures(Observer):
    """Counts right and wrong answers on the validation part, every tenth epoch and at the last one.

    Written are the confusion matrix as an image, the precision-recall curve, and values that only the whole part has.

    Args:
        data: the series, of task ``direction``.
        writer: where it goes.
    """

    is_logging = True

    def __init__(self, data: SeriesData, writer: EventWriter | SilentWriter) -> None:
        self.data, self.writer = data, writer
        self.model: Any = None

    def on_start(self, state: TrainingState) -> None:
        """Remember the model."""
        self.model = state.model

    def on_epoch_end(self, report: EpochReport) -> None:
        """Count and draw, if it is time to."""
        if report.epoch % tags.HISTOGRAM_INTERVAL and report.epoch != report.epochs - 1:
            return
        scores = score_directions(self.model, self.data, "validation")
        results = scores.results()
        title = f"{self.model.name}, validation part, epoch {report.epoch}"
        figure = draw_confusion(scores.confusion, title)
        self.writer.add_figure(decisions.CONFUSION_IMAGE, figure, report.epoch, close=False)
        write_precision_recall(self.writer, scores.precision_recall, report.epoch)
        values = {tag: results.get(name) for name, tag in _TAGS.items()}
        self.writer.add_values({tag: value for tag, value in values.items() if value is not None}, report.epoch)


def write_precision_recall(writer: EventWriter | SilentWriter, counts: PrecisionRecall, epoch: int) -> None:
    """Write the curve for the PR CURVES tab."""
    curve = counts.curve()
    writer.add_pr_curve_raw(
        decisions.PRECISION_RECALL,
        curve["true_positive"],
        curve["false_positive"],
        curve["true_negative"],
        curve["false_negative"],
        curve["precision"],
        curve["recall"],
        epoch,
        num_thresholds=len(curve["recall"]),
    )


def draw_confusion(confusion: Sequence[Sequence[int]] | np.ndarray, title: str) -> Figure:
    """The confusion matrix of "not up" and "up", as ``evaluate`` gives it."""
    return confusion_figure(np.asarray(confusion), CLASSES, title)
