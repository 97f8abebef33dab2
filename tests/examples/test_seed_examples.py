"""The guides' own training loops run as scripts and write every tag that the guides name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[2]
BAYESIAN_SCALARS = [
    "train/loss", "train/accuracy", "train/f1_score", "val/accuracy", "test/accuracy", "learning_rate/current",
    "gradient_norm/total", "attention/mean_entropy", "uncertainty/epistemic_mean", "uncertainty/aleatoric_mean",
    "final_accuracy", "final_loss",
]  # fmt: skip
LEVELS = range(3)
HJEPA_SCALARS = [
    "train/loss/total", "train/loss/h0", "train/loss/h1", "train/loss/h2", "train/loss/unweighted",
    "train/loss/contribution_h0", "train/loss/contribution_h1", "train/loss/contribution_h2",
    "train/ema/momentum_current", "train/ema/momentum_target", "train/ema/avg_parameter_divergence",
    "train/ema/weight_magnitude_ratio",
    *(
        f"{split}/collapse/level{level}_{name}"
        for split in ("train", "val") for level in LEVELS
        for name in ("mean_std_per_dim", "min_std_per_dim", "effective_rank", "mean_similarity")
    ),
    *(
        f"{split}/prediction/level{level}_{name}"
        for split in ("train", "val") for level in LEVELS
        for name in ("cosine_sim_mean", "cosine_sim_std", "cosine_sim_min", "cosine_sim_max", "normalized_mse")
    ),
    "train/gradient_flow/global_norm", "train/gradient_flow/context_encoder_mean", "train/gradient_flow/predictor_mean",
    "train/gradient/global_norm_before_clip", "train/gradient/global_norm_after_clip",
    "train/gradient/clipping_percentage", "train/learning_rate/base_lr", "train/stability/loss_smoothness",
    "train/stability/loss_trend_slope", "train/stability/loss_spike_ratio", "train/performance/forward_time_ms",
    "train/performance/backward_time_ms", "train/performance/samples_per_second",
    *(f"train/hierarchy/level{level}_{name}" for level in LEVELS for name in ("feat_mean", "feat_std", "num_patches")),
    "train/masking/mask_ratio", "train/masking/num_masked_patches", "train/masking/num_unmasked_patches",
]  # fmt: skip


def run_example(name: str, folder: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), "--output", str(folder), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def tags(log_dir: Path) -> dict[str, list[str]]:
    accumulator = EventAccumulator(str(log_dir), size_guidance={"scalars": 1, "histograms": 1, "images": 1})
    return accumulator.Reload().Tags()


@pytest.mark.slow
def test_the_bayesian_transformer_writes_all_that_its_guide_names(tmp_path: Path) -> None:
    printed = run_example("bayesian_transformer_logger.py", tmp_path, "--steps", "12", "--epochs", "2")
    run = tmp_path / "bayesian_transformer_synthetic"
    found = tags(run)
    assert "synthetic" in printed and f"tensorboard --logdir={run}" in printed
    assert set(BAYESIAN_SCALARS) - set(found["scalars"]) == set()
    assert {"predictions/text_summary", "_hparams_/experiment"} <= set(found["tensors"])
    assert {"uncertainty/epistemic", "parameters/head.weight", "parameter_gradients/head.weight"} <= set(
        found["histograms"]
    )
    assert list((run / "checkpoints").glob("*.pt")) and [path.name for path in tmp_path.iterdir()] == [run.name]


@pytest.mark.slow
def test_the_librarys_own_bayesian_model_is_logged_in_a_strangers_loop(tmp_path: Path) -> None:
    printed = run_example("real_data_demo.py", tmp_path, "--epochs", "1")
    found = tags(tmp_path / "real_data_demo")
    assert "epoch 0: validation accuracy" in printed
    wanted = {"train/loss", "val/accuracy", "uncertainty/epistemic_mean", "calibration/confidence_gap"}
    assert wanted | {"attention/mean_entropy", "gradient_norm/total", "learning_rate/current"} <= set(found["scalars"])
    assert {"predictions/text_summary", "calibration/verdict/text_summary"} <= set(found["tensors"])
    assert list((tmp_path / "real_data_demo" / "checkpoints").glob("*.pt"))


@pytest.mark.slow
def test_the_hierarchical_model_writes_all_that_its_guide_names(tmp_path: Path) -> None:
    run_example("hjepa_logger.py", tmp_path, "--steps", "12")
    found = tags(tmp_path / "hjepa_random_images")
    assert set(HJEPA_SCALARS) - set(found["scalars"]) == set()
    assert found["images"] == ["patches/detailed_analysis"]
    assert found["histograms"] == [f"feature_distributions/level{level}" for level in LEVELS]
