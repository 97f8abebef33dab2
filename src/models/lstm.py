"""Long short-term memory networks (Hochreiter and Schmidhuber 1997), forecasting from the last hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.base import DataSpec
from ..layers.attention import AttentionPooling
from ..registry import register_model
from .sequence_model import SequenceModel


@register_model("lstm:basic")
class LSTM(SequenceModel):
    """Stacked LSTM; the forecast is read from the last step's hidden state."""

    bidirectional = False

    def __init__(self, spec: DataSpec, config: SequenceModel.Config) -> None:
        super().__init__(spec, config)
        self.lstm = nn.LSTM(
            self.token_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
            bidirectional=self.bidirectional,
        )
        self.encoded_size = config.hidden_size * (2 if self.bidirectional else 1)
        self.build_head()

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> the top layer's last state ``[batch, hidden_size]``."""
        _, (hidden, _) = self.lstm(tokens)
        return hidden[-1]


@register_model("lstm:attention")
class AttentionLSTM(LSTM):
    """Stacked LSTM with attention pooling over all steps, beside the last hidden state."""

    def __init__(self, spec: DataSpec, config: SequenceModel.Config) -> None:
        super().__init__(spec, config)
        self.attention = AttentionPooling(config.hidden_size)
        self.merge = nn.Linear(2 * config.hidden_size, config.hidden_size)

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> last state and attended summary, merged: ``[batch, hidden_size]``."""
        states, (hidden, _) = self.lstm(tokens)
        context = self.attention(states, hidden[-1])
        return self.merge(torch.cat([hidden[-1], context], -1)).tanh()


@register_model("lstm:bidirectional")
class BidirectionalLSTM(LSTM):
    """Two LSTMs reading the look-back window forwards and backwards (Schuster and Paliwal 1997)."""

    bidirectional = True

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> both directions' final states ``[batch, 2 * hidden_size]``."""
        _, (hidden, _) = self.lstm(tokens)
        return torch.cat([hidden[-2], hidden[-1]], -1)
