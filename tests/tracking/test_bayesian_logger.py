"""``BayesianTransformerLogger``: the guide's interface, calibration in numbers and words, predictions as text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import BayesianTransformerLogger, TrainingLogger
from src.tracking.event_reader import event_folders, read_run


def values_and_texts(log_dir: Path) -> tuple[dict[str, float], dict[str, str]]:
    (files,) = event_folders(log_dir).values()
    run = read_run(files)
    return (
        {tag: curve.values[-1] for tag, curve in run.scalars.items()},
        {tag.removesuffix("/text_summary"): texts[-1][1] for tag, texts in run.texts.items()},
    )


def classifier(confidence: float, accuracy: float, samples: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of a classifier that is always about so sure of class 0, and labels that it so often gets right."""
    torch.manual_seed(0)
    sure = confidence + 0.02 * torch.rand(samples).sub(0.5)
    labels = (torch.arange(samples) >= accuracy * samples).long()
    return torch.stack([sure, 1 - sure], 1), labels


def test_it_is_a_training_logger_with_the_guides_arguments(tmp_path: Path) -> None:
    with BayesianTransformerLogger(
        log_dir=str(tmp_path), experiment_name="experiment_1", log_gradients_every=100, log_histograms_every=500
    ) as logger:
        assert isinstance(logger, TrainingLogger) and logger.log_dir == tmp_path / "experiment_1"
        logger.log_metrics({"loss": 0.345, "accuracy": 0.912, "f1_score": 0.895}, prefix="train", step=100)
        logger.writer.add_scalar("own", 1.0, 0)
    accumulator = EventAccumulator(str(tmp_path / "experiment_1")).Reload()
    assert set(accumulator.Tags()["scalars"]) == {"train/loss", "train/accuracy", "train/f1_score", "own"}


@pytest.mark.parametrize(
    ("confidence", "accuracy", "verdict"), [(0.95, 0.6, "over-confident"), (0.6, 0.95, "under-confident")]
)
def test_a_classifier_that_is_too_sure_or_not_sure_enough(
    tmp_path: Path, confidence: float, accuracy: float, verdict: str
) -> None:
    probabilities, labels = classifier(confidence, accuracy)
    with BayesianTransformerLogger(tmp_path, "a") as logger:
        assert logger.log_calibration(probabilities, labels, step=3) == verdict
    values, texts = values_and_texts(tmp_path)
    assert values["calibration/confidence_gap"] == pytest.approx(confidence - accuracy, abs=0.01)
    assert values["calibration/expected_calibration_error"] == pytest.approx(abs(confidence - accuracy), abs=0.02)
    assert texts["calibration/verdict"].startswith(f"**{verdict}**: confidence 0.")


def test_uncertainty_that_rises_with_errors_is_well_calibrated_and_constant_one_says_nothing(tmp_path: Path) -> None:
    probabilities, labels = classifier(0.8, 0.8)
    uncertainty = (labels == 1).float() + 0.1 * torch.rand(len(labels))
    with BayesianTransformerLogger(tmp_path, "a") as logger:
        assert logger.log_calibration(probabilities, labels, uncertainty) == "well-calibrated"
        assert values_of(logger, "calibration/uncertainty_error_correlation") > 0.5
        assert logger.log_calibration(probabilities, labels, torch.ones(len(labels)), step=1) == "uninformative"
    assert math.isnan(values_and_texts(tmp_path)[0]["calibration/uncertainty_error_correlation"])


def values_of(logger: BayesianTransformerLogger, tag: str) -> float:
    logger.flush()
    (files,) = event_folders(logger.log_dir).values()
    return read_run(files).scalars[tag].values[-1]


def test_intervals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    width = torch.rand(4000) + 0.1
    actual = torch.randn(4000) * width
    with BayesianTransformerLogger(tmp_path, "a") as logger:
        for scale, verdict in ((0.5, "over-confident"), (4.0, "under-confident"), (1.645, "well-calibrated")):
            assert logger.log_interval_calibration(actual, -scale * width, scale * width) == verdict
    values, texts = values_and_texts(tmp_path)
    assert values["calibration/coverage_90_percent"] == pytest.approx(90, abs=1.5)
    assert "90 % intervals hold" in texts["calibration/verdict"]


def test_predictions_in_words(tmp_path: Path) -> None:
    with BayesianTransformerLogger(tmp_path, "a") as logger:
        logger.log_predictions(["This movie was great!", "Dull."], ["Positive", "Negative"], torch.tensor([0.95, 0.7]))
    assert values_and_texts(tmp_path)[1]["predictions"] == (
        "- Sample: This movie was great! -> Positive (0.95 confidence)\n- Sample: Dull. -> Negative (0.70 confidence)"
    )
