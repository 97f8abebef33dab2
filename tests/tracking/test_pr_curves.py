"""TensorBoard's own plugin serves the precision-recall curve that running counts give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from src.comparison.decision_figures import write_precision_recall
from src.metrics.classification import THRESHOLDS, PrecisionRecall
from src.tracking.event_writer import EventWriter
from src.tracking.tag_tables.decisions import PRECISION_RECALL


def test_precision_recall_curves_are_served(tmp_path: Path, tensorboard: Callable[[Path], Any]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (500, 2, 1))
    probability = np.clip(0.5 + 0.1 * (2 * truth - 1) + rng.normal(0, 0.15, truth.shape), 0, 1)
    counts = PrecisionRecall()
    for part in np.array_split(np.arange(500), 7):
        counts.add(truth[part], probability[part])
    with EventWriter(tmp_path / "run") as writer:
        writer.add_values({"Loss/train": 1.0}, 0)
        for step in (0, 10):
            write_precision_recall(writer, counts, step)
    client = tensorboard(tmp_path)
    assert list(client.get("pr_curves/tags")["run"]) == [PRECISION_RECALL]
    curves = client.get("pr_curves/pr_curves", run="run", tag=PRECISION_RECALL)["run"]
    assert [curve["step"] for curve in curves] == [0, 10]
    shown = curves[-1]
    assert len(shown["thresholds"]) == THRESHOLDS
    for place in (0, 30, 63, 100):
        called = np.floor(probability.ravel() * (THRESHOLDS - 1)) >= place
        assert shown["precision"][place] == pytest.approx(metrics.precision_score(truth.ravel(), called), rel=1e-5)
        assert shown["recall"][place] == pytest.approx(metrics.recall_score(truth.ravel(), called), rel=1e-5)
        expected = metrics.confusion_matrix(truth.ravel(), called, labels=[0, 1]).ravel()
        names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
        assert [shown[name][place] for name in names] == expected.tolist()
