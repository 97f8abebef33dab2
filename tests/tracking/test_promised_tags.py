"""Every tag that is promised by name stands in a real event file, written by what will write it for users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import (
    BayesianTransformerLogger,
    DataOptions,
    TrainingConfig,
    TrainingLogger,
    create_model,
    load_data,
)
from src.tracking.options import LoggingOptions
from src.tracking.system_sampler import SystemSampler
from src.tracking.tag_tables import system
from src.tracking.tags import spec_of
from src.tracking.trial_logger import TrialLogger


def words(text: str) -> list[str]:
    return text.split()


TRAINING_BATCHES = words(
    """
train/batch_loss train/batch_time_seconds train/batch_idx train/batches_per_epoch train/epoch_loss
eval/batch_loss eval/batch_accuracy eval/batch_time_seconds eval/batch_idx eval/batches_total
eval/batch_correct_predictions eval/batch_samples eval/batch_simulated_return eval/batch_actual_call_returns
eval/batch_actual_calls eval/progress_percent eval/batches_processed val/accuracy
system/cpu_utilization_percent system/ram_usage_gb system/process_ram_gb
progress/epoch progress/batch_in_epoch progress/global_step progress/completion_percent
Loss/train Loss/validation Learning_Rate Gradient/norm Best_Val_Loss
train/epoch_time_seconds train/batches_processed val/loss val/time_seconds val/best_accuracy val/epochs_since_best
val/simulated_return val/actual_call_returns progress/logging_overhead_percent
"""
)
TRIALS = words(
    """
trial/phase trial/number trial/current_epoch trial/current_batch trial/epoch trial/best_epoch
trial/best_accuracy trial/final_accuracy trial/final_epoch trial/total_steps trial/completed
hyperparam/learning_rate hyperparam/dropout_rate hyperparam/weight_alpha hyperparam/weight_beta hyperparam/time_window
hyperparam/seq_length hyperparam/num_layers hyperparam/d_model hyperparam/num_heads hyperparam/d_ff
hyperparam/batch_size
"""
)
BAYESIAN = ["train/loss", "train/accuracy", "train/f1_score", "val/accuracy", "test/accuracy"]
DIFFUSION = words(
    """
01_Training/Loss 05_Performance/Samples_Per_Second 06_Diffusion/Noise_Prediction_MSE
06_Diffusion/Signal_to_Noise_Ratio 11_Gradient_Stats/Total_Gradient_Norm 14_System/GPU_Memory_Allocated_GB
"""
)
HJEPA = words(
    """
train/loss/total train/loss/h0 train/loss/h1 train/loss/h2 train/loss/unweighted
train/loss/contribution_h0 train/loss/contribution_h1 train/loss/contribution_h2
train/ema/momentum_current train/ema/momentum_target train/ema/avg_parameter_divergence
train/ema/weight_magnitude_ratio
train/collapse/level0_mean_std_per_dim train/collapse/level0_effective_rank train/collapse/level0_mean_similarity
train/collapse/level1_mean_std_per_dim train/collapse/level1_effective_rank train/collapse/level1_mean_similarity
train/collapse/level2_mean_std_per_dim train/collapse/level2_effective_rank train/collapse/level2_mean_similarity
train/collapse/level0_min_std_per_dim train/collapse/level1_min_std_per_dim train/collapse/level2_min_std_per_dim
val/collapse/level0_mean_std_per_dim val/collapse/level1_effective_rank val/collapse/level2_mean_similarity
train/prediction/level0_cosine_sim_mean train/prediction/level0_cosine_sim_std
train/prediction/level0_cosine_sim_min train/prediction/level0_cosine_sim_max
train/prediction/level1_cosine_sim_mean train/prediction/level1_cosine_sim_std
train/prediction/level2_cosine_sim_mean train/prediction/level2_cosine_sim_std
train/prediction/level0_normalized_mse train/prediction/level1_normalized_mse train/prediction/level2_normalized_mse
train/gradient_flow/global_norm train/gradient_flow/context_encoder_mean train/gradient_flow/predictor_mean
train/gradient/global_norm_before_clip train/gradient/global_norm_after_clip train/gradient/clipping_percentage
train/learning_rate/base_lr train/stability/loss_smoothness train/stability/loss_trend_slope
train/stability/loss_spike_ratio
train/performance/forward_time_ms train/performance/backward_time_ms train/performance/samples_per_second
train/hierarchy/level0_feat_mean train/hierarchy/level0_feat_std train/hierarchy/level0_num_patches
train/hierarchy/level1_feat_mean train/hierarchy/level1_num_patches train/hierarchy/level2_feat_mean
train/hierarchy/level2_num_patches train/hierarchy/level2_feat_std
train/masking/mask_ratio train/masking/num_masked_patches train/masking/num_unmasked_patches
"""
)


def scalars(folder: Path) -> set[str]:
    return set(EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload().Tags()["scalars"])


def texts(folder: Path) -> set[str]:
    tags = EventAccumulator(str(folder)).Reload().Tags()["tensors"]
    return {tag.removesuffix("/text_summary") for tag in tags}


@pytest.fixture(scope="module")
def direction_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of the task that has accuracy, calls and returns, every batch logged, long enough for the sampler."""
    folder = tmp_path_factory.mktemp("direction")
    data = load_data(DataOptions(data="sample:goog", task="direction", window=32))
    model = create_model("gru:residual", data.spec)

    class Custom(type(model)):  # type: ignore[misc]
        """Logs a value of its own, as the guide shows."""

        def losses(self, batch: Any) -> dict[str, torch.Tensor]:
            self.log("Custom/metric_name", batch.targets.mean())
            return super().losses(batch)

    model.__class__ = Custom
    config = TrainingConfig(epochs=12, device="cpu", patience=12)
    model.fit(data, config, tensorboard_log_dir=folder, logging=LoggingOptions(log_batches=True))
    return folder


@pytest.mark.slow
def test_training_writes_what_the_batch_level_and_the_epoch_level_promise(direction_run: Path) -> None:
    found = scalars(direction_run)
    assert set(TRAINING_BATCHES) - found == set()
    assert "Custom/metric_name" in found
    histograms = EventAccumulator(str(direction_run)).Reload().Tags()["histograms"]
    assert any(tag.startswith("Weights/") for tag in histograms)
    assert any(tag.startswith("Gradients/") for tag in histograms)


def test_a_gpu_shows_beside_the_processor_where_there_is_one(tmp_path: Path) -> None:
    gpu = {
        system.GPU_UTILIZATION: 93.0,
        system.GPU_MEMORY: 1.5,
        system.GPU_TEMPERATURE: 61.0,
        system.GPU_POWER: 250.0,
    }
    with SystemSampler(0.05, lambda: gpu) as sampler, TrainingLogger(tmp_path, "run") as logger:
        while not sampler.latest():
            pass
        logger.log_values(sampler.latest())
    assert {"system/gpu_utilization_percent", *gpu, "system/ram_usage_gb"} <= scalars(tmp_path / "run")


def test_a_trial_writes_its_start_progress_and_end(tmp_path: Path) -> None:
    names = [tag.removeprefix("hyperparam/") for tag in TRIALS if tag.startswith("hyperparam/")]
    with TrialLogger(tmp_path, "trial_3") as logger:
        logger.start_trial(3, "bayesian", dict.fromkeys(names, 2), {"study": "mine"})
        for step in range(4):
            logger.trial_batch(step // 2, step % 2)
            logger.increment_step()
        logger.trial_epoch(1, 0, 0.6, 3)
        logger.end_trial(1, 0.55, completed=True, step=3)
    assert set(TRIALS) - scalars(tmp_path / "trial_3") == set()
    assert "trial/metadata" in texts(tmp_path / "trial_3")
    steps = EventAccumulator(str(tmp_path / "trial_3")).Reload()
    assert [event.step for event in steps.Scalars("trial/final_accuracy")] == [3]
    assert [event.value for event in steps.Scalars("trial/phase")] == [1.0]


def test_the_bayesian_logger_writes_its_prefixes_and_texts(tmp_path: Path) -> None:
    with BayesianTransformerLogger(tmp_path, "run") as logger:
        logger.log_metrics({"loss": 0.3, "accuracy": 0.9, "f1_score": 0.8})
        logger.log_metrics({"accuracy": 0.9}, prefix="val")
        logger.log_metrics({"accuracy": 0.9}, prefix="test")
        logger.log_text("predictions", "Sample: This movie was great! -> Positive (0.95 confidence)", step=100)
    assert set(BAYESIAN) - scalars(tmp_path / "run") == set()
    assert "predictions" in texts(tmp_path / "run")


def test_every_promised_tag_is_in_the_registry() -> None:
    promised = [*TRAINING_BATCHES, *TRIALS, *BAYESIAN, *DIFFUSION, *HJEPA]
    assert [tag for tag in promised if spec_of(tag) is None] == []
    assert len(promised) > 130
