"""``DiffusionLogger``: all fifteen categories, thinned out as configured, and learning rates to come."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim import lr_scheduler

from src import DiffusionLogger
from src.errors import UserError
from src.tracking.clip_figure import draw_clips
from src.tracking.diffusion_logger import DiffusionLoggingConfig
from src.tracking.schedules import future_learning_rates, scheduler_state
from src.tracking.tag_tables import diffusion

EVERYTHING = {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0}
TIMESTEPS = 40
ALPHAS = (1 - torch.linspace(1e-4, 0.1, TIMESTEPS)).cumprod(0)


def read(log_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(log_dir), size_guidance=EVERYTHING).Reload()


def train(logger: DiffusionLogger, steps: int) -> None:
    """A loop over everything that can be logged, on a model that predicts noise badly."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 1 * 4 * 4, 32))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2000)
    logger.log_configuration({"learning_rate": 1e-2, "timesteps": TIMESTEPS})
    for _ in range(steps):
        videos = torch.rand(8, 2, 1, 4, 4)
        noise, timesteps = torch.randn_like(videos), torch.randint(TIMESTEPS, (8,))
        predicted = model(videos + noise).reshape_as(noise)
        loss = (predicted - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if logger.global_step == 0:
            logger.log_model(model)
        logger.log_training(loss, {"noise": loss}, gradient_norm=None)
        logger.log_gradients(model)
        logger.log_parameters(model)
        logger.log_noise_prediction(predicted, noise, timesteps, denoised=videos * 0.9, samples=videos)
        logger.log_video_data(videos)
        logger.log_noise_videos(predicted, noise)
        logger.log_learning_rate(optimizer, scheduler=scheduler)
        logger.log_performance(samples=8, seconds=0.5)
        logger.log_system()
        optimizer.step()
        scheduler.step()
        logger.increment_step()
    logger.log_generated(torch.rand(2, 3, 1, 4, 4) * 2 - 1, torch.rand(2, 3, 1, 4, 4) * 2 - 1, value_range=(-1, 1))
    logger.log_epoch_summary(0, {"Loss": 0.5})


GPU = {"gpu_memory_allocated_gb": 1.5, "peak_memory_gb": 2.5, "gpu_utilization_percent": 90.0}


def test_all_fifteen_categories_have_their_metrics(tmp_path: Path) -> None:
    config = DiffusionLoggingConfig(diagnostic_log_every_steps=2, flush_every_steps=2)
    with DiffusionLogger(tmp_path, "a", config, alphas_cumprod=ALPHAS, memory_reader=lambda: GPU) as logger:
        train(logger, 3)
        logger.log_quality(dict.fromkeys(diffusion.QUALITY_TAGS, 0.5))
        figure = draw_clips(torch.rand(2, 3, 1, 4, 4), ["a one", "a two"], "Clips", [True, None])
        for tag in (diffusion.GENERATED_FRAMES, diffusion.GENERATED_TEST_FRAMES):
            logger.log_figure(tag, figure)
    accumulator = read(tmp_path / "a")
    tags = accumulator.Tags()
    texts = [tag.removesuffix("/text_summary") for tag in tags["tensors"]]
    found = [tag for tag in (*tags["scalars"], *tags["histograms"], *tags["images"], *texts) if tag[0] in "01"]
    assert {tag[:2] for tag in found} == {f"{number:02}" for number in range(1, 16)}
    assert {
        "01_Training/Loss", "05_Performance/Samples_Per_Second", "06_Diffusion/Noise_Prediction_MSE",
        "06_Diffusion/Signal_to_Noise_Ratio", "11_Gradient_Stats/Total_Gradient_Norm",
        "14_System/GPU_Memory_Allocated_GB",
    } <= set(found)  # fmt: skip
    known = [re.compile(spec.pattern) for spec in diffusion.SPECS]
    assert [tag for tag in found if sum(bool(pattern.fullmatch(tag)) for pattern in known) != 1] == []
    written = {spec.tag for spec in diffusion.SPECS if any(re.fullmatch(spec.pattern, tag) for tag in found)}
    assert {spec.tag for spec in diffusion.SPECS} == written
    assert "_hparams_/session_start_info" in texts


def test_what_is_switched_off_or_not_due_is_not_written(tmp_path: Path) -> None:
    config = DiffusionLoggingConfig(
        diagnostic_log_every_steps=3, enable_gradient_histograms=False, enable_parameter_tracking=False,
        enable_video_logging=False, enable_noise_visualization=False, enable_performance_profiling=False,
        log_every_epochs=2,
    )  # fmt: skip
    with DiffusionLogger(tmp_path, "a", config, alphas_cumprod=ALPHAS, memory_reader=dict) as logger:
        train(logger, 5)
        logger.log_epoch_summary(1, {"Late": 0.5})
    accumulator = read(tmp_path / "a")
    tags = accumulator.Tags()
    written = {tag.split("/")[0][:2] for kind in ("scalars", "histograms", "images") for tag in tags[kind]}
    assert written.isdisjoint({"05", "09", "10", "12", "13", "14"})
    assert tags["histograms"] == ["07_Noise_Analysis/Timesteps"] and "03_Epoch_Summary/Late" not in tags["scalars"]
    assert [event.step for event in accumulator.Scalars("07_Noise_Analysis/Correlation")] == [0, 3]
    assert [event.step for event in accumulator.Scalars("06_Diffusion/Noise_Prediction_MSE")] == list(range(5))


def test_the_loss_is_a_running_mean(tmp_path: Path) -> None:
    with DiffusionLogger(tmp_path, "a") as logger:
        for step in range(150):
            logger.log_training(torch.tensor(float(step)), gradient_norm=torch.tensor(2.0))
            logger.increment_step()
    losses = [event.value for event in read(tmp_path / "a").Scalars("01_Training/Loss")]
    assert losses[:3] == [0, 0.5, 1] and losses[149] == pytest.approx(sum(range(50, 150)) / 100)
    norms = [event.value for event in read(tmp_path / "a").Scalars("11_Gradient_Stats/Total_Gradient_Norm")]
    assert norms == [2.0] * 150


def test_errors_and_ratios_by_timestep(tmp_path: Path) -> None:
    config = DiffusionLoggingConfig(diagnostic_log_every_steps=2)
    noise = torch.ones(2, 1, 1, 2, 2)
    with DiffusionLogger(tmp_path, "a", config, alphas_cumprod=ALPHAS) as logger:
        for step, timesteps in enumerate(([0, 1], [0, 39], [20, 39])):
            logger.log_noise_prediction(noise * (1 + step), noise, torch.tensor(timesteps), step)
    accumulator = read(tmp_path / "a")

    def values(tag: str) -> list[float]:
        return [event.value for event in accumulator.Scalars(f"06_Diffusion/{tag}")]

    assert values("Noise_Prediction_MSE") == [0, 1, 4]
    assert values("Noise_Prediction_MSE_Bucket_0") == [0, 1]
    assert values("Noise_Prediction_MSE_Bucket_3")[1] == pytest.approx((1 + 4) / 2)
    assert math.isnan(values("Noise_Prediction_MSE_Bucket_3")[0])
    ratios = 10 * np.log10(ALPHAS.double() / (1 - ALPHAS.double())).numpy()
    assert values("Signal_to_Noise_Ratio")[2] == pytest.approx(ratios[[20, 39]].mean(), rel=1e-4)
    assert values("Signal_to_Noise_Ratio_Bucket_1")[0] == pytest.approx(ratios[10:20].mean(), rel=1e-4)
    assert values("Beta")[1] == pytest.approx((1e-4 + 0.1) / 2, rel=1e-2)
    assert accumulator.Scalars("07_Noise_Analysis/Timestep_Share_Bucket_3")[1].value == 0.5


def test_generated_videos_and_noise_are_shown_side_by_side_and_scored(tmp_path: Path) -> None:
    video = torch.full((2, 3, 1, 4, 4), -1.0)
    video[1] = 1.0
    with DiffusionLogger(tmp_path, "a") as logger:
        logger.log_generated(video, reference=video + 0.2, value_range=(-1, 1))
        logger.log_noise_videos(torch.zeros(3, 1, 4, 4), torch.full((3, 1, 4, 4), 3.0))
        with pytest.raises(UserError, match="a video must be"):
            logger.log_generated(torch.zeros(2, 4, 4))
    accumulator = read(tmp_path / "a")
    assert accumulator.Scalars("12_Generated_Samples/MSE")[0].value == pytest.approx(0.01, rel=1e-4)
    assert accumulator.Scalars("12_Generated_Samples/PSNR")[0].value == pytest.approx(20, rel=1e-4)

    def frame(tag: str) -> np.ndarray:
        gif = Image.open(io.BytesIO(accumulator.Images(tag)[0].encoded_image_string))
        return np.asarray(gif.convert("L"))

    shown = frame("12_Generated_Samples/Videos")
    assert shown.shape == (128, 258)  # enlarged until it can be looked at, with a line in between
    assert shown[:, :128].max() == 0 and shown[:, 130:].min() == 255
    noise = frame("13_Noise_Visualization/Predicted_and_Actual")
    assert (noise[0, 0], noise[0, -1]) == (128, 255)


def test_an_interval_below_1_is_refused() -> None:
    with pytest.raises(UserError, match="diagnostic_log_every_steps must be at least 1, but got 0"):
        DiffusionLoggingConfig(diagnostic_log_every_steps=0)
    assert DiffusionLoggingConfig() == DiffusionLoggingConfig(1, 500, 500, True, True, True, True, True)


# ---- learning rates to come


def stepped(make: Any, steps: int) -> list[float]:
    """What really happens: the rates after each step of a scheduler of its own."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def sequential(optimizer: torch.optim.Optimizer) -> lr_scheduler.SequentialLR:
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(optimizer, 20)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[5])


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lr_scheduler.StepLR(optimizer, 7, 0.5),
        lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1)),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 6),
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.2, 4, cycle_momentum=False),
        sequential,
    ],
)
def test_the_future_is_what_happens_and_nothing_is_advanced(make: Any) -> None:
    expected = stepped(make, 24)
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    scheduler = make(optimizer)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    before = repr(scheduler.state_dict()), repr(optimizer.state_dict()), optimizer.param_groups[0]["lr"]
    assert future_learning_rates(scheduler, 20) == pytest.approx(expected[4:], rel=1e-9)
    assert before == (repr(scheduler.state_dict()), repr(optimizer.state_dict()), optimizer.param_groups[0]["lr"])
    assert scheduler.optimizer is optimizer and optimizer.param_groups[0]["params"][0] is weight


def test_a_schedule_that_ends_and_one_that_waits_for_results() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    ends = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    assert len(future_learning_rates(ends, 50)) == 10
    adaptive = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    for loss in (1.0, 2.0, 2.0):
        adaptive.step(loss)
    assert future_learning_rates(adaptive, 50) == [] == future_learning_rates(None, 50)
    assert scheduler_state(adaptive) == {"Step": 3, "Checks_Without_Improvement": 2, "Cooldown": 0, "Best": 1}


def test_rates_ahead_are_logged_at_diagnostic_steps(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = lr_scheduler.StepLR(optimizer, 50, 0.5)
    with DiffusionLogger(tmp_path, "a") as logger:
        for _ in range(2):
            logger.log_learning_rate(optimizer, scheduler=scheduler)
            logger.increment_step()
    accumulator = read(tmp_path / "a")
    ahead = {n: [(e.step, e.value) for e in accumulator.Scalars(f"04_Learning_Rate/In_{n}_Steps")] for n in (10, 100)}
    assert ahead == {10: [(0, 1.0)], 100: [(0, 0.25)]}
    assert len(accumulator.Scalars("04_Learning_Rate/Current")) == 2
    assert accumulator.Tags()["images"] == ["04_Learning_Rate/Schedule"]
