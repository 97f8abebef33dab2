"""What ``TrainingLogger``'s own methods write, on the global-step axis."""

from __future__ import annotations

from .spec import MetricSpec

METRIC_TRAIN = "train/{name}"
METRIC_VALIDATION = "val/{name}"
METRIC_TEST = "test/{name}"
LEARNING_RATE_GROUP = "learning_rate/group_{number}"
GRADIENT_NORM_PARAMETER = "gradient_norm/parameter/{parameter}"
GRADIENT_NORM_LAYER_MEAN = "gradient_norm/layer_mean/{layer}"
ATTENTION_ENTROPY_MEAN = "attention/mean_entropy"
ATTENTION_WEIGHT_MEAN = "attention/weight_mean"
ATTENTION_WEIGHT_STD = "attention/weight_std"
ATTENTION_WEIGHT_STD_LAYER = "attention/weight_std/{layer}"
UNCERTAINTY_EPISTEMIC_MEAN = "uncertainty/epistemic_mean"
UNCERTAINTY_ALEATORIC_MEAN = "uncertainty/aleatoric_mean"
UNCERTAINTY_EPISTEMIC = "uncertainty/epistemic"
UNCERTAINTY_ALEATORIC = "uncertainty/aleatoric"
PARAMETERS = "parameters/{parameter}"
PARAMETER_GRADIENTS = "parameter_gradients/{parameter}"

SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        METRIC_TRAIN, "", "none", "step", "cheap", "01 Training",
        "What a training loop gives to log_metrics, by default under train/.", chart=None,
    ),
    MetricSpec(
        METRIC_VALIDATION, "", "none", "step", "cheap", "01 Training",
        "What a training loop gives to log_metrics with prefix val.", chart=None,
    ),
    MetricSpec(
        METRIC_TEST, "", "none", "step", "cheap", "03 Epoch summary",
        "What a training loop gives to log_metrics with prefix test.", chart=None,
    ),
    MetricSpec(
        LEARNING_RATE_GROUP, "per step", "none", "step", "cheap", "04 Learning rate",
        "Learning rate of one parameter group, where an optimiser has several.", chart="Learning rate of groups",
    ),
    MetricSpec(
        GRADIENT_NORM_PARAMETER, "loss per weight", "none", "step", "moderate", "11 Gradient statistics",
        "Euclidean norm of one parameter's gradient.", chart="Gradient norm of parameters",
    ),
    MetricSpec(
        GRADIENT_NORM_LAYER_MEAN, "loss per weight", "none", "step", "moderate", "11 Gradient statistics",
        "Mean of the gradient norms of a layer's parameters.", chart="Mean gradient norm of layers",
    ),
    MetricSpec(
        ATTENTION_ENTROPY_MEAN, "nats", "none", "step", "moderate", "Attention",
        "Entropy of the attention, mean over samples, heads and queries; ln(keys) at most.",
    ),
    MetricSpec(ATTENTION_WEIGHT_MEAN, "", "none", "step", "moderate", "Attention", "Mean of the attention weights."),
    MetricSpec(
        ATTENTION_WEIGHT_STD, "", "none", "step", "moderate", "Attention",
        "Standard deviation of the attention weights: 0 where all keys are alike.",
    ),
    MetricSpec(
        ATTENTION_WEIGHT_STD_LAYER, "", "none", "step", "moderate", "Attention",
        "Standard deviation of one layer's attention weights.", chart="Deviation of attention weights",
    ),
    MetricSpec(
        UNCERTAINTY_EPISTEMIC_MEAN, "", "none", "step", "cheap", "Uncertainty and calibration",
        "Mean of what the model does not know for want of data.", chart="Uncertainty",
    ),
    MetricSpec(
        UNCERTAINTY_ALEATORIC_MEAN, "", "none", "step", "cheap", "Uncertainty and calibration",
        "Mean of what nobody could know: the noise in the data.", chart="Uncertainty",
    ),
    MetricSpec(
        UNCERTAINTY_EPISTEMIC, "", "none", "step", "moderate", "Uncertainty and calibration",
        "Distribution of the epistemic uncertainty over samples.", kind="histogram",
    ),
    MetricSpec(
        UNCERTAINTY_ALEATORIC, "", "none", "step", "moderate", "Uncertainty and calibration",
        "Distribution of the aleatoric uncertainty over samples.", kind="histogram",
    ),
    MetricSpec(
        PARAMETERS, "weight", "none", "step", "expensive", "10 Parameter histograms",
        "Distribution of a parameter's values.", kind="histogram",
    ),
    MetricSpec(
        PARAMETER_GRADIENTS, "loss per weight", "none", "step", "expensive", "10 Parameter histograms",
        "Distribution of a parameter's gradient.", kind="histogram",
    ),
)  # fmt: skip
