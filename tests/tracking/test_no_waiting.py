"""Metrics and loggers never read a value in a step: shown on the meta device, whose tensors have no values to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src import BayesianTransformerLogger, DiffusionLogger, HJEPATensorBoardLogger
from src.metrics import calibration, ema, generation, representation, stability
from src.tracking.event_writer import SilentWriter


def unread(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def unread_model() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)).to("meta")
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    return model


def test_a_value_that_is_read_is_noticed() -> None:
    with pytest.raises(RuntimeError):
        float(unread())


@pytest.mark.parametrize(
    "compute",
    [
        lambda: representation.collapse_metrics(unread(20, 50, 8)),
        lambda: representation.prediction_quality(unread(4, 5, 8), unread(4, 5, 8)),
        lambda: stability.loss_stability([unread() for _ in range(9)]),
        lambda: stability.RunningMean(5).add(unread()),
        lambda: ema.ema_metrics(unread_model(), unread_model()),
        lambda: generation.noise_prediction_metrics(unread(4, 3), unread(4, 3)),
        lambda: generation.video_statistics(unread(2, 3, 1, 4, 4)),
        lambda: generation.video_quality(unread(2, 3, 1, 4, 4), unread(2, 3, 1, 4, 4)),
        lambda: generation.bucket_sums(unread(4), generation.bucket_of(unread(4, dtype=torch.long), 100)),
        lambda: calibration.expected_calibration_error(unread(9), unread(9)),
        lambda: calibration.uncertainty_error_correlation(unread(9), unread(9)),
        lambda: calibration.interval_coverage(unread(9), unread(9), unread(9)),
    ],
)  # fmt: skip
def test_metrics_read_nothing(compute: Callable[[], Any]) -> None:
    compute()


def test_the_hierarchical_logger_reads_nothing() -> None:
    logger = HJEPATensorBoardLogger(metrics_logger=SilentWriter())
    levels = [unread(2, 16 // 4**level, 8) for level in range(3)]
    for step in range(3):
        logger.log_hierarchical_losses({"loss": unread(), **{f"h{n}": unread() for n in range(3)}}, step)
        logger.log_masking_statistics(unread(2, 16, dtype=torch.bool), 16, step)
        logger.log_prediction_quality(levels, levels, step)
        logger.log_collapse_metrics(levels[0], 0, step)
        logger.log_gradient_flow(unread_model(), step)
        logger.log_gradient_clipping(unread(), clip_threshold=1.0, global_step=step)
        logger.log_hierarchy_feature_stats(levels, levels, step)
        logger.log_training_stability(unread(), global_step=step)
        logger.log_ema_dynamics(unread_model(), unread_model(), 0.99, 1.0, step)
        validation = logger.validation()
        validation.add(levels, levels)
        validation.log(step)
    assert len(logger._pending._written) == 3
    logger._pending._written.clear()


def test_the_diffusion_logger_reads_nothing() -> None:
    logger = DiffusionLogger(writer=SilentWriter(), alphas_cumprod=torch.linspace(0.99, 0.01, 10))
    noise = unread(4, 2, 1, 4, 4)
    for step in range(2):
        logger.log_training(unread(), {"part": unread()}, unread(), step)
        logger.log_noise_prediction(noise, noise, unread(4, dtype=torch.long), step)
        logger.log_video_data(noise, step)
        logger.log_model(unread_model(), step)
        logger.log_parameters(unread_model(), step)
        logger.log_gradients(unread_model(), step)
    assert len(logger._pending._written) == 2
    logger._pending._written.clear()


def test_the_general_logger_reads_nothing() -> None:
    logger = BayesianTransformerLogger(writer=SilentWriter())  # which takes no histograms: they are read at once
    weights = unread(3).requires_grad_()
    logger.log_metrics({"loss": weights.sum(), "many": weights * 2, "weights": weights})
    waiting = logger._pending._written[0].values()
    assert all(isinstance(value, Tensor) and not value.requires_grad for value in waiting)  # no graph is kept
    logger.log_gradients(unread_model())
    logger.log_attention_stats([unread(2, 2, 4, 4), unread(2, 2, 4, 4)], unread(2, 2, 4))
    logger.log_uncertainty_metrics(unread(5), unread(5))
    logger.log_learning_rate(torch.optim.SGD(unread_model().parameters(), lr=0.1))
    assert len(logger._pending._written) == 1
    logger._pending._written.clear()
