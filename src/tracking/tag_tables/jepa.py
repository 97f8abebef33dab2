"""What ``HJEPATensorBoardLogger`` writes: the tags of hierarchical joint-embedding models, on the global-step axis.

Levels 0 to 2 have the charts of the H-JEPA guide's layout; any further level has the same tags without a chart.
"""

from __future__ import annotations

from .spec import Direction, MarginChart, MetricSpec

LOSS_TOTAL = "train/loss/total"
LOSS_LEVEL = "train/loss/h{level}"
LOSS_UNWEIGHTED = "train/loss/unweighted"
LOSS_CONTRIBUTION = "train/loss/contribution_h{level}"
MOMENTUM_CURRENT = "train/ema/momentum_current"
MOMENTUM_TARGET = "train/ema/momentum_target"
PARAMETER_DIVERGENCE = "train/ema/avg_parameter_divergence"
WEIGHT_MAGNITUDE_RATIO = "train/ema/weight_magnitude_ratio"
COLLAPSE = "{prefix}collapse/level{level}_{name}"
PREDICTION = "{prefix}prediction/level{level}_{name}"
GRADIENT_FLOW_NORM = "train/gradient_flow/global_norm"
GRADIENT_FLOW_GROUP = "train/gradient_flow/{group}_mean"
NORM_BEFORE_CLIP = "train/gradient/global_norm_before_clip"
NORM_AFTER_CLIP = "train/gradient/global_norm_after_clip"
CLIPPING_PERCENTAGE = "train/gradient/clipping_percentage"
BASE_LEARNING_RATE = "train/learning_rate/base_lr"
GROUP_LEARNING_RATE = "train/learning_rate/group{number}_lr"
STABILITY = "train/stability/{name}"
PERFORMANCE = "train/performance/{name}"
FEATURES = "train/hierarchy/level{level}_{name}"
MASK_RATIO = "train/masking/mask_ratio"
MASKED_PATCHES = "train/masking/num_masked_patches"
UNMASKED_PATCHES = "train/masking/num_unmasked_patches"
PATCHES_IMAGE = "patches/detailed_analysis"
FEATURE_DISTRIBUTION = "feature_distributions/level{level}"

LEVEL_NAMES = ("Level 0 (finest)", "Level 1 (medium)", "Level 2 (coarse)")

_Row = tuple[str, str, Direction, str]
_COLLAPSE: tuple[_Row, ...] = (
    (
        "mean_std_per_dim", "", "higher",
        "Mean deviation of the dimensions of features scaled to length sqrt(dimensions); below 0.01 is collapse.",
    ),
    ("effective_rank", "dimensions", "higher", "Exponential of the entropy of the normalised singular values."),
    ("mean_similarity", "", "lower", "Mean cosine similarity of different samples; above 0.7 they are too alike."),
)  # fmt: skip
_COLLAPSE_MORE: tuple[_Row, ...] = (
    ("min_std_per_dim", "", "higher", "The least of the deviations whose mean is mean_std_per_dim."),
    (
        "centred_effective_rank",
        "dimensions",
        "none",
        "The effective rank without the features' mean; it does not see a collapse.",
    ),
    ("raw_std_per_dim", "", "none", "Mean deviation of the dimensions without scaling the features."),
    ("dead_dimensions_percent", "%", "lower", "Share of dimensions with a scaled deviation below 0.001."),
)
_SIMILARITY: tuple[_Row, ...] = (
    ("cosine_sim_mean", "", "higher", "Mean cosine similarity of predictions and targets."),
    ("cosine_sim_std", "", "none", "Deviation of the cosine similarity over samples."),
    ("cosine_sim_min", "", "higher", "The least cosine similarity of a prediction and its target."),
    ("cosine_sim_max", "", "none", "The greatest cosine similarity of a prediction and its target."),
)
_NORMALIZED_MSE: _Row = (
    "normalized_mse", "", "lower", "Mean squared error after scaling both to length sqrt(dimensions): 2 - 2 x cosine.",
)  # fmt: skip
_FEATURES: tuple[_Row, ...] = (
    ("feat_mean", "", "none", "Mean of all target features of the level."),
    ("num_patches", "patches", "none", "How many patches the level has; about a quarter of the level below."),
)
_FEAT_STD: _Row = ("feat_std", "", "none", "Deviation of all target features of the level.")


def _spec(
    tag: str, unit: str, direction: Direction, category: str, help: str, chart: str | None, *, timed: bool = False
) -> MetricSpec:
    return MetricSpec(tag, unit, direction, "step", "cheap", category, help, chart=chart, timed=timed)


def _per_level(template: str, rows: tuple[_Row, ...], category: str, prefix: str, chart: str) -> list[MetricSpec]:
    """The tags of levels 0 to 2 with a chart for each level, and those of further levels."""
    specs = []
    for name, unit, direction, help in rows:
        tag = template.replace("{prefix}", prefix).replace("{name}", name)
        for level, level_name in enumerate(LEVEL_NAMES):
            title = chart.format(level=level, name=level_name)
            specs.append(_spec(tag.replace("{level}", str(level)), unit, direction, category, help, title))
        specs.append(_spec(tag, unit, direction, category, help, None))
    return specs


def _over_levels(template: str, rows: tuple[_Row, ...], category: str, prefix: str) -> list[MetricSpec]:
    """Tags with one chart for all levels."""
    return [
        _spec(
            template.replace("{prefix}", prefix).replace("{name}", name), unit, direction, category, help,
            f"{prefix.removesuffix('/')} {name} of all levels",
        )
        for name, unit, direction, help in rows
    ]  # fmt: skip


def _split_specs(prefix: str) -> list[MetricSpec]:
    """Collapse and prediction quality of training ("train/") or validation ("val/")."""
    where = "" if prefix == "train/" else ", validation"
    collapse, quality = "Collapse monitoring", "Prediction quality"
    return [
        *_per_level(COLLAPSE, _COLLAPSE, collapse, prefix, f"{{name}}{where}"),
        *_over_levels(COLLAPSE, _COLLAPSE_MORE, collapse, prefix),
        *_per_level(PREDICTION, _SIMILARITY, quality, prefix, f"Level {{level}} similarity{where}"),
        *_over_levels(PREDICTION, (_NORMALIZED_MSE,), quality, prefix),
    ]  # fmt: skip


_LOSSES, _SHARES = "Hierarchical losses", "Loss contributions"
_MOMENTUM, _NORMS = "Momentum", "Gradient norm"
_TIMES, _MEMORY = "Time of a step", "GPU memory"

SPECS: tuple[MetricSpec, ...] = (
    _spec(LOSS_TOTAL, "loss", "lower", "Loss metrics", "Weighted sum of the losses of all levels.", _LOSSES),
    _spec(LOSS_LEVEL, "loss", "lower", "Loss metrics", "Prediction loss of a level; 0 is the finest.", _LOSSES),
    _spec(LOSS_UNWEIGHTED, "loss", "lower", "Loss metrics", "Sum of the levels' losses without weights.", _LOSSES),
    _spec(
        LOSS_CONTRIBUTION, "%", "none", "Loss metrics",
        "Share of the weighted loss; from the finest level on 50 to 70, 25 to 40 and 5 to 15 are usual.", _SHARES,
    ),
    _spec(MOMENTUM_CURRENT, "", "none", "EMA dynamics", "Momentum of the target encoder in this step.", _MOMENTUM),
    _spec(MOMENTUM_TARGET, "", "none", "EMA dynamics", "Momentum that the schedule leads to.", _MOMENTUM),
    _spec(
        PARAMETER_DIVERGENCE, "", "none", "EMA dynamics",
        "Norm of the difference of both encoders' parameters / norm of the trained one's; rises at first.", "",
    ),
    _spec(
        WEIGHT_MAGNITUDE_RATIO, "", "none", "EMA dynamics",
        "Norm of the target encoder's parameters / norm of the trained one's; 0.95 to 1.05 is usual.", "",
    ),
    *_split_specs("train/"),
    *_split_specs("val/"),
    _spec(
        GRADIENT_FLOW_NORM, "loss per weight", "none", "Gradient flow",
        "Euclidean norm of all gradients at the time of the call; call it before clipping.", _NORMS,
    ),
    _spec(
        GRADIENT_FLOW_GROUP, "loss per weight", "none", "Gradient flow",
        "Mean norm of the gradients of the parameters of one part of the model.", "Mean gradient norm of parts",
    ),
    _spec(NORM_BEFORE_CLIP, "loss per weight", "none", "Gradient flow", "Gradient norm before clipping.", _NORMS),
    _spec(NORM_AFTER_CLIP, "loss per weight", "none", "Gradient flow", "Gradient norm after clipping.", _NORMS),
    _spec(
        CLIPPING_PERCENTAGE, "%", "lower", "Gradient flow",
        "Share of the last 100 logged steps that were clipped; above 50 the learning rate is too high.", "",
    ),
    _spec(BASE_LEARNING_RATE, "per step", "none", "Learning dynamics", "Rate of the first parameter group.", ""),
    _spec(
        GROUP_LEARNING_RATE, "per step", "none", "Learning dynamics",
        "Rate of a parameter group where there are several.", "Learning rate of parameter groups",
    ),
    _spec(
        "train/stability/loss_smoothness", "", "higher", "Learning dynamics",
        "1 / (1 + deviation of successive losses' differences / mean loss) over the last 100 steps; 1 is a line.", "",
    ),
    _spec(
        "train/stability/loss_trend_slope", "loss per step", "lower", "Learning dynamics",
        "Slope of the line fitted to the last 100 losses.", "",
    ),
    _spec(
        "train/stability/loss_spike_ratio", "", "none", "Learning dynamics",
        "Newest loss / median of the last 100; above 3 is a spike.", "",
    ),
    _spec(
        "train/performance/forward_time_ms", "ms", "lower", "Step performance",
        "Time of the forward pass as the training loop measured it.", _TIMES, timed=True,
    ),
    _spec(
        "train/performance/backward_time_ms", "ms", "lower", "Step performance",
        "Time of the backward pass as the training loop measured it.", _TIMES, timed=True,
    ),
    _spec(
        "train/performance/samples_per_second", "samples/s", "higher", "Step performance",
        "Batch size / (forward time + backward time).", "", timed=True,
    ),
    _spec(
        "train/performance/gpu_memory_allocated_gb", "GiB", "none", "Step performance",
        "Memory of the GPU that tensors take now; only on a GPU.", _MEMORY, timed=True,
    ),
    _spec(
        "train/performance/peak_memory_gb", "GiB", "none", "Step performance",
        "The most that tensors took since the last reset; only on a GPU.", _MEMORY, timed=True,
    ),
    *_per_level(FEATURES, (*_FEATURES, _FEAT_STD), "Hierarchy structure", "", "Level {level} features"),
    _spec(MASK_RATIO, "fraction", "none", "Masking", "Share of patches that are hidden, mean over the batch.", ""),
    _spec(MASKED_PATCHES, "patches", "none", "Masking", "Hidden patches of a sample, mean over the batch.", "Patches"),
    _spec(UNMASKED_PATCHES, "patches", "none", "Masking", "Visible patches of a sample, mean.", "Patches"),
    MetricSpec(
        PATCHES_IMAGE, "", "none", "step", "expensive", "Masking",
        "Images, where predictions agree with their targets, and masks.", kind="image",
    ),
    MetricSpec(
        FEATURE_DISTRIBUTION, "", "none", "step", "expensive", "Hierarchy structure",
        "Distribution of a level's features.", kind="histogram",
    ),
)  # fmt: skip

MARGIN_CHARTS = tuple(
    MarginChart(
        "Prediction quality",
        f"Level {level} similarity: mean, least and greatest",
        (
            f"train/prediction/level{level}_cosine_sim_mean",
            f"train/prediction/level{level}_cosine_sim_min",
            f"train/prediction/level{level}_cosine_sim_max",
        ),
    )
    for level in range(3)
)
"""The similarities of a batch lie between the least and the greatest."""
