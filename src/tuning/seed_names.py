"""What S0's hyperparameters are called here. Free of torch and Optuna."""

from __future__ import annotations

SEED_NAMES = {
    "window": "seq_length",
    "horizon": "time_window",
    "hidden_size": "d_model",
    "num_heads": "num_heads",
    "num_layers": "num_layers",
    "feed_forward": "d_ff",
    "dropout": "dropout_rate",
    "lr": "learning_rate",
    "batch_size": "batch_size",
    "weight_alpha": "weight_alpha",
    "weight_beta": "weight_beta",
}
"""Option -> name in S0, for its eleven hyperparameters."""


def seed_name(option: str) -> str:
    """S0's name of an option; the option's own name if S0 had none for it."""
    return SEED_NAMES.get(option, option)
