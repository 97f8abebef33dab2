"""What a training of ``jepa:hierarchical`` writes: every tag of the guide at every level, figures, and embeddings."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.data.loading import load_data
from src.data.options import DataOptions
from src.models import create_model
from src.tracking.patch_figure import draw_patches
from src.tracking.pictures import png_of
from src.training.config import TrainingConfig
from src.training.device import seed_everything

LEVELS = (0, 1, 2)
PROMISED = {
    "train/loss/total", "train/loss/h0", "train/loss/h1", "train/loss/h2", "train/loss/unweighted",
    "train/loss/contribution_h0", "train/loss/contribution_h1", "train/loss/contribution_h2",
    "train/ema/momentum_current", "train/ema/momentum_target", "train/ema/avg_parameter_divergence",
    "train/ema/weight_magnitude_ratio", "train/gradient_flow/global_norm",
    "train/gradient_flow/context_encoder_mean", "train/gradient_flow/predictor_mean",
    "train/gradient/global_norm_before_clip", "train/gradient/global_norm_after_clip",
    "train/gradient/clipping_percentage", "train/learning_rate/base_lr", "train/stability/loss_smoothness",
    "train/stability/loss_trend_slope", "train/stability/loss_spike_ratio", "train/performance/forward_time_ms",
    "train/performance/backward_time_ms", "train/performance/samples_per_second", "train/masking/mask_ratio",
    "train/masking/num_masked_patches", "train/masking/num_unmasked_patches", "probe/linear",
    "probe/nearest_neighbours", "probe/gain_over_untrained",
}  # fmt: skip
PER_LEVEL = {
    f"{prefix}/{kind}/level{level}_{name}"
    for prefix in ("train", "val")
    for level in LEVELS
    for kind, names in {
        "collapse": (
            "mean_std_per_dim",
            "min_std_per_dim",
            "effective_rank",
            "mean_similarity",
            "centred_effective_rank",
        ),
        "prediction": ("cosine_sim_mean", "cosine_sim_std", "cosine_sim_min", "cosine_sim_max", "normalized_mse"),
    }.items()
    for name in names
} | {f"train/hierarchy/level{level}_{name}" for level in LEVELS for name in ("feat_mean", "feat_std", "num_patches")}


@functools.cache
def trained(folder: Path, data: str) -> Path:
    seed_everything(0)
    options = {"hidden_size": 16, "num_heads": 2, "feed_forward": 16, "predictor_size": 16}
    loaded = load_data(DataOptions(data=data))
    model: Any = create_model("jepa:hierarchical", loaded.spec, options)
    model.fit(loaded, TrainingConfig(epochs=2, batch_size=32, device="cpu"), tensorboard_log_dir=folder)
    return folder


@pytest.fixture(scope="module", params=["sample:digits", "sample:goog"])
def events(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    folder = trained(tmp_path_factory.getbasetemp() / request.param.replace(":", "_"), request.param)
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_every_tag_of_the_guide_is_written_at_every_level(events: EventAccumulator) -> None:
    tags = events.Tags()
    assert set(tags["scalars"]) >= PROMISED | PER_LEVEL
    assert {f"feature_distributions/level{level}" for level in LEVELS} <= set(tags["histograms"])
    assert "patches/detailed_analysis" in tags["images"]
    for tag in ("train/collapse/level2_effective_rank", "val/prediction/level1_cosine_sim_mean"):
        assert all(np.isfinite(event.value) for event in events.Scalars(tag))


def test_what_is_hidden_and_what_is_seen_add_up(events: EventAccumulator) -> None:
    hidden, seen, share, patches = (
        events.Scalars(tag)[0].value
        for tag in (
            "train/masking/num_masked_patches",
            "train/masking/num_unmasked_patches",
            "train/masking/mask_ratio",
            "train/hierarchy/level0_num_patches",
        )
    )
    assert hidden + seen == patches
    assert share == pytest.approx(hidden / patches)
    assert 0.2 < share < 0.6


def test_the_figure_of_patches_is_a_picture(events: EventAccumulator) -> None:
    image = events.Images("patches/detailed_analysis")[0]
    assert image.width > 400
    assert image.height > 400


def test_embeddings_come_with_labels_and_sprites(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = trained(tmp_path_factory.getbasetemp() / "sample_digits", "sample:digits")
    config = (folder / "projector_config.pbtxt").read_text()
    assert "sprite" in config
    (place,) = folder.glob("*/embeddings")
    rows = (place / "tensors.tsv").read_text().splitlines()
    labels = (place / "metadata.tsv").read_text().splitlines()
    assert len(rows) == len(labels) == 238
    assert set(labels) == set("0123456789")
    with Image.open(place / "sprite.png") as sprite:
        assert sprite.width >= 8 * 15
    assert json.loads((folder / "findings.json").read_text())["findings"] == []


@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (3, 9, 12, 3), (2, 40)])
def test_figures_of_pictures_and_windows(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    grid = (3, 4) if len(shape) == 4 else (1, 8)
    similarities = random.uniform(-1, 1, (shape[0], *grid))
    figure = draw_patches(random.random(shape), similarities, random.random((shape[0], *grid)) < 0.4, "title")
    assert len(figure.axes) == 3 * shape[0] + 1
    encoded, height, width, _ = png_of(figure)
    assert encoded.startswith(b"\x89PNG")
    assert height > 300
    assert width > 500
