"""Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), forecasting from the last hidden state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..data.base import DataSpec
from ..layers.recurrent import last_states, run_over_tokens
from ..registry import register_model
from .bayesian_model import BayesianModel, BayesianOptions
from .sequence_model import SequenceModel


@register_model("gru:basic")
class GRU(SequenceModel):
    """Stacked GRU; the forecast is read from the last step's hidden state."""

    kinds = ("series", "text")
    tasks = ("forecast", "direction", "classify")

    def __init__(self, spec: DataSpec, config: SequenceModel.Config) -> None:
        super().__init__(spec, config)
        self.gru = nn.GRU(
            self.token_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
        )
        self.encoded_size = config.hidden_size
        self.build_head()

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> the top layer's last state ``[batch, hidden_size]``."""
        _, hidden = run_over_tokens(self.gru, tokens, mask)
        return hidden[-1]


@register_model("gru:residual")
class ResidualGRU(SequenceModel):
    """GRU layers with residual connections and layer normalisation, so that gradients reach the first layer.

    Every layer computes ``x + dropout(GRU(norm(x)))``, with each token first mapped linearly to the hidden size.
    """

    kinds = ("series", "text")
    tasks = ("forecast", "direction", "classify")

    def __init__(self, spec: DataSpec, config: SequenceModel.Config) -> None:
        super().__init__(spec, config)
        size = config.hidden_size
        self.embedding = nn.Linear(self.token_size, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(config.num_layers))
        self.layers = nn.ModuleList(nn.GRU(size, size, batch_first=True) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(size)
        self.encoded_size = size
        self.build_head()

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> the last step's state ``[batch, hidden_size]``."""
        states = self.embedding(tokens)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            update, _ = run_over_tokens(layer, norm(states), mask)
            states = states + self.drop(update)
        return self.final_norm(last_states(states, mask))


@register_model("gru:bayesian", by_default=False)
class BayesianGRU(BayesianModel):
    """The residual GRU with calibrated uncertainty, from drawn networks."""

    network_class = ResidualGRU

    @dataclass(frozen=True)
    class Config(BayesianOptions, ResidualGRU.Config):
        """Options of the network and of how it is made Bayesian."""
