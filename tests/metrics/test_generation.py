"""Metrics of diffusion models against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.metrics.generation import (
    NoiseSchedule,
    bucket_of,
    mse_per_sample,
    noise_prediction_metrics,
    schedule_snr,
    snr_of_buckets,
    video_quality,
    video_statistics,
)


def test_noise_prediction_against_numpy() -> None:
    torch.manual_seed(0)
    actual = torch.randn(4, 3, 5)
    predicted = 0.5 * actual + torch.randn(4, 3, 5) + 1
    found = {name: float(value) for name, value in noise_prediction_metrics(predicted, actual).items()}
    one, other = predicted.numpy().ravel(), actual.numpy().ravel()
    assert found["mse"] == pytest.approx(((one - other) ** 2).mean(), rel=1e-5)
    assert found["correlation"] == pytest.approx(np.corrcoef(one, other)[0, 1], rel=1e-4)
    assert (found["predicted_mean"], found["actual_std"]) == pytest.approx((one.mean(), other.std()), rel=1e-4)
    assert mse_per_sample(predicted, actual).mean().item() == pytest.approx(found["mse"], rel=1e-5)


def test_signal_to_noise_ratio_of_a_schedule_in_decibels() -> None:
    assert schedule_snr(torch.tensor([0.9, 0.5, 0.1])).tolist() == pytest.approx(
        [10 * math.log10(9), 0, -10 * math.log10(9)], abs=1e-4
    )
    assert schedule_snr(torch.tensor([1.0, 0.0])).tolist() == pytest.approx([70, -70], rel=0.02)


def test_timesteps_fall_into_four_equal_parts() -> None:
    assert bucket_of(torch.tensor([0, 249, 250, 999]), 1000).tolist() == [0, 0, 1, 3]
    left = torch.linspace(0.99, 0.01, 8)
    expected = schedule_snr(left).reshape(4, 2).mean(1).tolist()
    assert snr_of_buckets(left).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_schedule_gathers_errors_by_part_until_asked() -> None:
    betas = torch.full((8,), 0.1)
    schedule = NoiseSchedule((1 - betas).cumprod(0))
    timesteps = torch.tensor([0, 1, 7])
    assert float(schedule.at(timesteps)["beta"]) == pytest.approx(0.1, rel=1e-4)
    expected = [10 * math.log10(0.9 ** (t + 1) / (1 - 0.9 ** (t + 1))) for t in (0, 1, 7)]
    assert float(schedule.at(timesteps)["snr"]) == pytest.approx(sum(expected) / 3, rel=1e-4)
    schedule.add(torch.tensor([1.0, 2.0, 5.0]), timesteps)
    schedule.add(torch.tensor([3.0]), torch.tensor([1]))
    found = schedule.by_bucket()
    assert found["mse"].tolist() == pytest.approx([2.0, math.nan, math.nan, 5.0], nan_ok=True)
    assert found["share"].tolist() == [0.75, 0, 0, 0.25]
    assert schedule.by_bucket()["mse"].isnan().all()


@pytest.mark.parametrize("wrong", [torch.ones(2, 2), torch.tensor([1.5]), torch.tensor([])])
def test_a_wrong_schedule_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"alphas_cumprod must be one number from 0 to 1 .*cumprod"):
        NoiseSchedule(wrong)


def test_quality_and_statistics_of_videos() -> None:
    reference = torch.zeros(2, 3, 1, 4, 4)
    found = video_quality(reference + 0.1, reference)
    assert float(found["mse"]) == pytest.approx(0.01) and float(found["psnr"]) == pytest.approx(20, rel=1e-4)
    assert float(video_quality(reference + 2, reference, peak=2.0)["psnr"]) == pytest.approx(0, abs=1e-5)
    video = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    numbers = {name: float(value) for name, value in video_statistics(video).items()}
    assert numbers == pytest.approx(
        {"mean": 1, "std": math.sqrt(2 / 3), "min": 0, "max": 2, "frame_difference": 1}, rel=1e-5
    )
