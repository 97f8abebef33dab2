"""Transformers over a look-back window: time steps, patches or whole channels as tokens.

Layers are pre-norm (Xiong et al. 2020, arXiv 2002.04745): ``x + attention(norm(x))``, then ``x + mlp(norm(x))``;
PatchTST's are post-norm with batch normalisation, as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.base import DataSpec
from ..errors import OptionError
from ..layers.embedding import masked_mean
from ..layers.transformer_layer import TransformerLayer
from ..options import option, tunable
from ..registry import register_model
from .bayesian_model import BayesianModel, BayesianOptions
from .sequence_model import SequenceModel


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of tokens: every feature over all tokens of the batch (a single token stays as it is)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, size]`` -> the same shape."""
        if self.training and tokens.shape[0] * tokens.shape[1] == 1:
            return tokens
        return super().forward(tokens.flatten(0, 1)).view_as(tokens)


class PatchLayer(TransformerLayer):
    """PatchTST's layer: the norms come after the sums, and are batch norms (Nie et al. 2023, appendix A.1.4).

    On ETTh1-96 it ended at an MSE of .38 where the pre-norm layer ended at .40.
    """

    def __init__(self, size: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__(size, heads, feed_forward, dropout)
        self.attention_norm, self.mlp_norm = TokenBatchNorm(size), TokenBatchNorm(size)

    def forward(self, tokens: Tensor, last_only: bool = False, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, size]`` -> the same shape; all tokens are read, the other arguments have no meaning."""
        tokens = self.attention_norm(tokens + self.drop(self.attention(tokens, tokens)))
        return self.mlp_norm(tokens + self.drop(self.contract(self.drop(functional.gelu(self.expand(tokens))))))


class TransformerModel(SequenceModel):
    """What the variants share: linear embedding, learnt positions, pre-norm layers, a final norm."""

    @dataclass(frozen=True)
    class Config(SequenceModel.Config):
        """Options of the transformers."""

        hidden_size: int = tunable(
            64, low=16, high=512, log=True, minimum=1, multiple_of="num_heads", help="width of the tokens"
        )
        num_heads: int = tunable(4, search=(1, 2, 4, 8), minimum=1, help="attention heads; must divide hidden_size")
        feed_forward: int = tunable(
            128, low=32, high=1024, log=True, minimum=1, help="width of the hidden layer between attentions"
        )

        def check(self) -> None:
            """Raise ``OptionError`` where the heads do not divide the width."""
            if self.hidden_size % self.num_heads:
                raise OptionError(
                    f"num_heads must divide hidden_size, but got {self.num_heads} heads for {self.hidden_size}"
                )

    config: Config
    layer_class: ClassVar[type[TransformerLayer]] = TransformerLayer

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.embedding = nn.Identity() if self.is_text else nn.Linear(self.embedded_size, config.hidden_size)
        self.layers = nn.ModuleList(
            self.layer_class(config.hidden_size, config.num_heads, config.feed_forward, config.dropout)
            for _ in range(config.num_layers)
        )
        self.final_norm: nn.Module = nn.LayerNorm(config.hidden_size)
        if self.position_count:
            self.positions = nn.Parameter(torch.randn(self.position_count, config.hidden_size) * 0.02)
        self.encoded_size = config.hidden_size * self.tokens_read
        self.build_head()

    @property
    def embedded_size(self) -> int:
        """Numbers per token before the embedding."""
        return self.token_size

    @property
    def position_count(self) -> int:
        """Number of learnt positions; 0 where tokens have no order."""
        return self.token_count

    @property
    def tokens_read(self) -> int:
        """How many tokens the head reads."""
        return 1

    def embed(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> ``[batch, tokens, hidden_size]``, positions added."""
        embedded = self.embedding(tokens)
        if self.position_count:
            embedded = embedded + self.positions[: embedded.shape[1]]
        return embedded if self.is_text else self.drop(embedded)  # those of words have been through it


@register_model("transformer:basic")
class Transformer(TransformerModel):
    """Transformer over time steps; the forecast is read from the newest step's token.

    Only that one token is computed in the last layer. Of a text the mean over its tokens is read.
    """

    kinds = ("series", "text")
    tasks = ("forecast", "direction", "classify")

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, token_size]`` -> the last token, or with a mask the tokens' mean:
        ``[batch, hidden_size]``."""
        states = self.embed(tokens)
        if mask is not None:
            for layer in self.layers:
                states = layer(states, mask=mask)
            return masked_mean(self.final_norm(states), mask)
        for layer in self.layers[:-1]:
            states = layer(states)
        return self.final_norm(self.layers[-1](states, last_only=True)).squeeze(1)


@register_model("transformer:bayesian", by_default=False)
class BayesianTransformer(BayesianModel):
    """The transformer over time steps or words with calibrated uncertainty, from drawn networks."""

    network_class = Transformer

    @dataclass(frozen=True)
    class Config(BayesianOptions, Transformer.Config):
        """Options of the network and of how it is made Bayesian."""


@register_model("transformer:patch")
class PatchTransformer(TransformerModel):
    """PatchTST: overlapping patches of each channel as tokens, all tokens read (Nie et al. 2023, arXiv 2211.14730)."""

    @dataclass(frozen=True)
    class Config(TransformerModel.Config):
        """PatchTST's own defaults: channels independent, patches of 16 steps that overlap by half."""

        hidden_size: int = tunable(
            16, low=8, high=256, log=True, minimum=1, multiple_of="num_heads", help="width of the tokens"
        )
        num_layers: int = tunable(3, low=1, high=6, minimum=1, help="number of layers")
        channels: str = tunable(
            "independent",
            search=("mixed", "independent"),
            choices=("mixed", "independent"),
            needs="several_channels",
            help="read all channels together, or forecast each target channel from its own history",
        )
        patch: int = tunable(16, search=(8, 16, 24, 32), minimum=1, at_most="window", help="time steps per token")

    layer_class = PatchLayer

    def __init__(self, spec: DataSpec, config: TransformerModel.Config) -> None:
        super().__init__(spec, config)
        self.final_norm = nn.Identity()  # the last layer ends with a norm

    @property
    def stride(self) -> int:
        """Half a patch, so that neighbouring patches overlap."""
        return max(1, self.config.patch // 2)

    @property
    def tokens_read(self) -> int:
        """The head reads all tokens."""
        return self.token_count

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> all tokens side by side ``[batch, tokens * hidden_size]``."""
        states = self.embed(tokens)
        for layer in self.layers:
            states = layer(states)
        return self.final_norm(states).flatten(1)


@register_model("transformer:inverted")
class InvertedTransformer(TransformerModel):
    """iTransformer: every channel's whole window is one token (Liu et al. 2024, arXiv 2310.06625).

    Attention runs over channels; the forecast of a target is read from its own channel's token. ``channels`` must
    stay ``mixed`` (attention over one channel would do nothing) and ``patch`` has no meaning here.
    """

    @dataclass(frozen=True)
    class Config(TransformerModel.Config):
        """Options of the inverted transformer; nothing to search in how a window becomes tokens."""

        channels: str = option("mixed", help="always mixed: each whole channel is a token")
        patch: int = option(1, help="always 1: each whole channel is a token")

        def check(self) -> None:
            """Raise ``OptionError`` for other tokens than whole channels."""
            super().check()
            if self.channels != "mixed" or self.patch != 1:
                raise OptionError(
                    "transformer:inverted takes each whole channel as a token: channels must be mixed and patch 1, "
                    f"but got channels={self.channels} and patch={self.patch}"
                )

    config: Config

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        """Besides the usual reasons: the targets must be among the inputs, since their tokens are read."""
        reason = super().unsupported(spec)
        if reason is None and spec.target_channels is None:
            reason = "it reads a target's forecast from the target's own history, which is not among the inputs"
        return reason

    @property
    def embedded_size(self) -> int:
        """A token is a whole window of one channel."""
        return self.spec.input_shape[0]

    @property
    def position_count(self) -> int:
        """Channels have no order."""
        return 0

    def build_head(self) -> None:
        """One map for all channels: token -> horizon."""
        self.head = nn.Linear(self.encoded_size, self.spec.target_shape[0])

    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, time, channels]`` -> the targets' tokens ``[batch, targets, hidden_size]``."""
        states = self.embed(tokens.transpose(1, 2))
        for layer in self.layers:
            states = layer(states)
        return self.final_norm(states[:, self.read_channels])

    def read_out(self, encoded: Tensor) -> Tensor:
        """``[batch, targets, hidden_size]`` -> ``[batch, horizon, targets]``."""
        return self.head(self.drop(encoded)).transpose(1, 2)
