"""Gated recurrent units (Cho et al. 2014, arXiv 1406.1078), forecasting from the last hidden state."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..data.base import DataSpec
from ..registry import register_model
from .sequence_model import SequenceModel


@register_model("gru:basic")
class GRU(SequenceModel):
    """Stacked GRU; the forecast is read from the last step's hidden state."""

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

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> the top layer's last state ``[batch, hidden_size]``."""
        _, hidden = self.gru(tokens)
        return hidden[-1]


@register_model("gru:residual")
class ResidualGRU(SequenceModel):
    """GRU layers with residual connections and layer normalisation, so that gradients reach the first layer.

    Every layer computes ``x + dropout(GRU(norm(x)))``, with each token first mapped linearly to the hidden size.
    """

    def __init__(self, spec: DataSpec, config: SequenceModel.Config) -> None:
        super().__init__(spec, config)
        size = config.hidden_size
        self.embedding = nn.Linear(self.token_size, size)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(config.num_layers))
        self.layers = nn.ModuleList(nn.GRU(size, size, batch_first=True) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(size)
        self.encoded_size = size
        self.build_head()

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> the last step's state ``[batch, hidden_size]``."""
        states = self.embedding(tokens)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            update, _ = layer(norm(states))
            states = states + functional.dropout(update, self.config.dropout, self.training)
        return self.final_norm(states[:, -1])
