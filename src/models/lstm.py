"""Long short-term memory networks (Hochreiter and Schmidhuber 1997), forecasting from the last hidden state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.base import DataSpec
from ..layers.attention import AttentionPooling
from ..layers.recurrent import run_over_tokens
from ..options import tunable
from ..registry import register_model
from .bayesian_model import BayesianModel, BayesianOptions
from .sequence_model import SequenceModel


@register_model("lstm:basic")
class LSTM(SequenceModel):
    """Stacked LSTM; the forecast is read from the last step's hidden state."""

    kinds = ("series", "text")
    tasks = ("forecast", "direction", "classify")

    def __init__(self, spec: DataSpec, config: SequenceModel.Config) -> None:
        super().__init__(spec, config)
        self.lstm = nn.LSTM(
            self.token_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout if config.num_layers > 1 else 0.0,
            bidirectional=self.is_bidirectional,
        )
        self.encoded_size = config.hidden_size * (2 if self.is_bidirectional else 1)
        self.build_head()

    @property
    def is_bidirectional(self) -> bool:
        """Whether a second LSTM reads the sequence backwards."""
        return False

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> the top layer's last state ``[batch, hidden_size]``."""
        _, hidden = run_over_tokens(self.lstm, tokens, mask)
        return hidden[-1]


@register_model("lstm:attention")
class AttentionLSTM(LSTM):
    """Stacked LSTM with attention pooling over all steps, beside the last hidden state."""

    @dataclass(frozen=True)
    class Config(LSTM.Config):
        """Options of the LSTM with attention."""

        bidirectional: bool = tunable(False, search=(True, False), help="read the sequence backwards as well")

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.attention = AttentionPooling(self.encoded_size)
        self.merge = nn.Linear(2 * self.encoded_size, self.encoded_size)

    @property
    def is_bidirectional(self) -> bool:
        """As the option says."""
        return self.config.bidirectional

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> last state and attended summary, merged: ``[batch, encoded_size]``."""
        states, hidden = run_over_tokens(self.lstm, tokens, mask)
        last = torch.cat([hidden[-2], hidden[-1]], -1) if self.is_bidirectional else hidden[-1]
        context = self.attention(states, last, mask)
        return self.merge(torch.cat([last, context], -1)).tanh()


@register_model("lstm:bidirectional")
class BidirectionalLSTM(LSTM):
    """Two LSTMs reading the look-back window forwards and backwards (Schuster and Paliwal 1997)."""

    @property
    def is_bidirectional(self) -> bool:
        """Always."""
        return True

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> both directions' final states ``[batch, 2 * hidden_size]``."""
        _, hidden = run_over_tokens(self.lstm, tokens, mask)
        return torch.cat([hidden[-2], hidden[-1]], -1)


@register_model("lstm:bayesian", by_default=False)
class BayesianLSTM(BayesianModel):
    """The LSTM with attention with calibrated uncertainty, from drawn networks."""

    network_class = AttentionLSTM

    @dataclass(frozen=True)
    class Config(BayesianOptions, AttentionLSTM.Config):
        """Options of the network and of how it is made Bayesian."""
