"""``HJEPATensorBoardLogger``: the tags of the H-JEPA guide, any number of levels, and metrics over whole sets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from src import HJEPATensorBoardLogger, TrainingLogger
from src.errors import UserError
from src.metrics.representation import collapse_metrics, prediction_quality
from src.tracking.event_reader import event_folders, read_events
from src.tracking.tag_tables import jepa


def last_values(log_dir: Path) -> dict[str, float]:
    accumulator = EventAccumulator(str(log_dir), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: accumulator.Scalars(tag)[-1].value for tag in accumulator.Tags()["scalars"]}


def curve(log_dir: Path, tag: str) -> list[float]:
    accumulator = EventAccumulator(str(log_dir), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [event.value for event in accumulator.Scalars(tag)]


def levels(count: int, batch: int = 2) -> list[torch.Tensor]:
    """One tensor a level, of 16, 4, 1 patches and so on."""
    return [torch.randn(batch, max(1, 16 // 4**level), 8) for level in range(count)]


class Model(nn.Module):
    """An encoder and a predictor with known gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.context_encoder, self.predictor = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
        for parameter, value in zip(self.parameters(), (3.0, 4.0), strict=True):
            parameter.grad = torch.full_like(parameter, value / parameter.numel() ** 0.5)


# ---- where it writes


def test_it_joins_a_training_logger_and_what_both_log_of_a_step_is_one_event(tmp_path: Path) -> None:
    with TrainingLogger(tmp_path, "a") as logger:
        hierarchical = HJEPATensorBoardLogger(metrics_logger=logger, num_hierarchies=3)
        logger.log_metrics({"loss": 1.0}, step=5)
        hierarchical.log_hierarchical_losses({"loss": 1.0}, global_step=5)
        assert hierarchical.log_dir == logger.log_dir
    (files,) = event_folders(tmp_path).values()
    found = [
        [value.tag for value in event.summary.value if value.HasField("simple_value")]
        for path in files
        for event in read_events(path)
    ]
    assert [tags for tags in found if tags] == [["train/loss", "train/loss/total"]]


@pytest.mark.parametrize("wrapped", [False, True])
def test_it_writes_into_a_summary_writer_and_leaves_it_open(tmp_path: Path, wrapped: bool) -> None:
    writer = SummaryWriter(str(tmp_path))

    class MetricsLogger:
        def __init__(self) -> None:
            self.writer = writer

    with HJEPATensorBoardLogger(metrics_logger=MetricsLogger() if wrapped else writer) as logger:  # type: ignore[arg-type]
        logger.log_hierarchical_losses({"loss": 0.5}, global_step=1)
        logger.log_histogram("feature_distributions/level0", torch.randn(9), 1)
        logger.log_video("video", torch.zeros(2, 1, 4, 4), 1)
    writer.add_scalar("after", 2.0, 2)
    writer.close()
    assert last_values(tmp_path) == {"train/loss/total": 0.5, "after": 2.0}
    assert len(list(tmp_path.iterdir())) == 1


def test_by_itself_it_opens_a_run(tmp_path: Path) -> None:
    with HJEPATensorBoardLogger(num_hierarchies=1, log_dir=tmp_path, experiment_name="own") as logger:
        logger.log_hierarchical_losses({"total": 0.25}, global_step=3)
    assert last_values(tmp_path / "own") == {"train/loss/total": 0.25}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics_logger": object()}, "metrics_logger must be a TrainingLogger, a SummaryWriter, .* is a object"),
        ({"num_hierarchies": 0}, "num_hierarchies must be at least 1, but got 0"),
        ({"hierarchy_weights": [1.0]}, "must be one for each of 3 levels, but got 1"),
    ],
)
def test_wrong_use_is_explained(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HJEPATensorBoardLogger(log_dir=tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


# ---- what it writes


@pytest.mark.parametrize("names", [("h{}", "loss"), ("level{}", "total"), ("loss_h{}", "loss"), ("h{}_loss", "loss")])
def test_losses_and_contributions_in_percent(tmp_path: Path, names: tuple[str, str]) -> None:
    losses = {names[0].format(level): torch.tensor(value) for level, value in enumerate((2.0, 1.0, 4.0))}
    with HJEPATensorBoardLogger(hierarchy_weights=[1.0, 0.5, 0.25], log_dir=tmp_path, experiment_name="a") as logger:
        logger.log_hierarchical_losses({names[1]: torch.tensor(3.5), **losses, "other": 9.0}, global_step=0)
    found = last_values(tmp_path / "a")
    assert found.pop("train/loss/contribution_h0") == pytest.approx(100 * 2 / 3.5, rel=1e-5)
    assert found.pop("train/loss/contribution_h1") == found.pop("train/loss/contribution_h2") / 2
    assert found == {
        "train/loss/total": 3.5, "train/loss/unweighted": 7, "train/loss/h0": 2, "train/loss/h1": 1, "train/loss/h2": 4,
    }  # fmt: skip


def test_losses_without_any_known_name_are_refused(tmp_path: Path) -> None:
    with (
        HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger,
        pytest.raises(UserError, match=r"must have 'loss' or the levels' losses .* but has 'mse'"),
    ):
        logger.log_hierarchical_losses({"mse": 1.0}, global_step=0)


def test_masks(tmp_path: Path) -> None:
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2], mask[1, 0] = True, True
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger:
        logger.log_masking_statistics(mask=mask, num_patches=16, global_step=0)
        logger.log_masking_statistics(mask=mask.flatten(1).float(), num_patches=16, global_step=1)
    for tag, value in (("mask_ratio", 6 / 16), ("num_masked_patches", 6), ("num_unmasked_patches", 10)):
        assert curve(tmp_path / "a", f"train/masking/{tag}") == [value, value]


def test_gradients_before_and_after_clipping(tmp_path: Path) -> None:
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger:
        logger.log_gradient_flow(Model(), global_step=0)
        logger.log_gradient_flow(nn.Linear(1, 1), global_step=1)  # nothing to log
        for step in range(104):
            logger.log_gradient_clipping(torch.tensor(5.0 if step < 30 else 0.5), clip_threshold=1.0, global_step=step)
        logger.log_gradient_clipping(8.0, 7.0, float("inf"), global_step=200)
    found = last_values(tmp_path / "a")
    assert found["train/gradient_flow/global_norm"] == pytest.approx(5)
    assert found["train/gradient_flow/context_encoder_mean"] == pytest.approx(3)
    assert found["train/gradient_flow/predictor_mean"] == pytest.approx(4)
    folder = tmp_path / "a"
    assert curve(folder, "train/gradient/clipping_percentage")[-2:] == pytest.approx([26.0, 25.0])  # of the last 100
    assert curve(folder, "train/gradient/global_norm_after_clip")[29:31] == [1.0, 0.5]
    assert (found["train/gradient/global_norm_before_clip"], found["train/gradient/global_norm_after_clip"]) == (8, 7)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_every_level_has_its_tags(tmp_path: Path, count: int) -> None:
    torch.manual_seed(0)
    predictions, targets = levels(count), levels(count)
    with HJEPATensorBoardLogger(num_hierarchies=count, log_dir=tmp_path, experiment_name="a") as logger:
        logger.log_prediction_quality(predictions=predictions, targets=targets, global_step=0)
        logger.log_hierarchy_feature_stats(predictions, targets, global_step=0)
        for level, features in enumerate(targets):
            logger.log_collapse_metrics(features, level=level, global_step=0, prefix="val/")
    found = last_values(tmp_path / "a")
    for level in range(count):
        for name, value in prediction_quality(predictions[level], targets[level]).items():
            assert found[f"train/prediction/level{level}_{name}"] == pytest.approx(float(value), rel=1e-5), name
        for name, value in collapse_metrics(targets[level]).items():
            assert found[f"val/collapse/level{level}_{name}"] == pytest.approx(float(value), rel=1e-5, nan_ok=True)
        assert found[f"train/hierarchy/level{level}_num_patches"] == targets[level].shape[1]
        assert found[f"train/hierarchy/level{level}_feat_std"] == pytest.approx(
            float(targets[level].std(correction=0)), rel=1e-5
        )


def test_lists_of_several_batches_count_as_the_whole_set(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batches = [(levels(3, batch), levels(3, batch)) for batch in (4, 2)]
    all_predictions = [tensor for predictions, _ in batches for tensor in predictions]
    all_targets = [tensor for _, targets in batches for tensor in targets]
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger:
        logger.log_prediction_quality(predictions=all_predictions, targets=all_targets, global_step=0)
        with pytest.raises(UserError, match="one tensor for each of 3 levels, or so many for each batch, but has 4"):
            logger.log_prediction_quality(all_predictions[:4], all_targets[:4], global_step=0)
        with pytest.raises(UserError, match="predictions and targets of level 0 must have the same shapes"):
            logger.log_prediction_quality(all_predictions[:3], all_targets[3:], global_step=0)
    for level in range(3):
        flat = [torch.cat([b[side][level].reshape(-1, 8) for b in batches]) for side in (0, 1)]
        expected = float(prediction_quality(*flat)["cosine_sim_std"])
        assert last_values(tmp_path / "a")[f"train/prediction/level{level}_cosine_sim_std"] == pytest.approx(
            expected, rel=1e-5
        )


def test_a_validation_is_over_all_of_its_batches_not_the_last(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batches = [(levels(3, batch), levels(3, batch)) for batch in (4, 3, 1)]
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger:
        validation = logger.validation()
        for predictions, targets in batches:
            validation.add(predictions, targets)
        validation.log(global_step=9)
    found = last_values(tmp_path / "a")
    for level in range(3):
        flat = [torch.cat([b[side][level].reshape(-1, 8) for b in batches]) for side in (0, 1)]
        for name, value in prediction_quality(*flat).items():
            assert found[f"val/prediction/level{level}_{name}"] == pytest.approx(float(value), rel=1e-4), name
        for name, value in collapse_metrics(flat[1]).items():
            assert found[f"val/collapse/level{level}_{name}"] == pytest.approx(float(value), rel=1e-4), name


def test_stability_from_a_history_and_from_earlier_calls(tmp_path: Path) -> None:
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger:
        for step in range(3):
            logger.log_training_stability(torch.tensor(3.0 - step), global_step=step)
        logger.log_training_stability(4.0, loss_history=[2.0, 2.0, 2.0, 4.0], global_step=3)
    assert curve(tmp_path / "a", "train/stability/loss_trend_slope")[0] == pytest.approx(-1)
    assert curve(tmp_path / "a", "train/stability/loss_smoothness")[0] == pytest.approx(1)
    assert last_values(tmp_path / "a")["train/stability/loss_spike_ratio"] == 2


def test_performance_with_and_without_a_gpu(tmp_path: Path) -> None:
    memory = {"gpu_memory_allocated_gb": 1.5, "peak_memory_gb": 2.5}
    for name, reader in (("with", lambda: memory), ("without", dict)):
        with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name=name, memory_reader=reader) as logger:
            logger.log_performance_metrics(batch_size=32, forward_time=0.25, backward_time=0.75, global_step=0)
    speed = {"forward_time_ms": 250, "backward_time_ms": 750, "samples_per_second": 32}
    assert last_values(tmp_path / "without") == {f"train/performance/{n}": v for n, v in speed.items()}
    assert last_values(tmp_path / "with") == {f"train/performance/{n}": v for n, v in {**speed, **memory}.items()}


def test_ema_and_learning_rates(tmp_path: Path) -> None:
    encoder = nn.Linear(3, 3)
    with HJEPATensorBoardLogger(log_dir=tmp_path, experiment_name="a") as logger:
        logger.log_ema_dynamics(encoder, copy.deepcopy(encoder), 0.996, 1.0, global_step=0)
        groups = [{"params": [encoder.weight], "lr": 0.5}, {"params": [encoder.bias], "lr": 0.25}]
        logger.log_learning_rate(torch.optim.SGD(groups), global_step=0)
    assert last_values(tmp_path / "a") == pytest.approx(
        {
            "train/ema/momentum_current": 0.996, "train/ema/momentum_target": 1.0,
            "train/ema/avg_parameter_divergence": 0.0, "train/ema/weight_magnitude_ratio": 1.0,
            "train/learning_rate/base_lr": 0.5, "train/learning_rate/group0_lr": 0.5,
            "train/learning_rate/group1_lr": 0.25,
        }
    )  # fmt: skip


def test_everything_it_writes_is_in_its_table() -> None:
    tags = [spec.tag for spec in jepa.SPECS]
    assert len(set(tags)) == len(tags)
    for tag in ("train/collapse/level2_mean_similarity", "val/collapse/level{level}_min_std_per_dim",
                "train/prediction/level0_cosine_sim_max", "train/prediction/level{level}_normalized_mse",
                "train/hierarchy/level2_feat_std", "train/performance/peak_memory_gb"):  # fmt: skip
        assert tag in tags
    assert len({spec.category for spec in jepa.SPECS}) == 9
