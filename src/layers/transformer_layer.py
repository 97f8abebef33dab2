"""The layer that transformers are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .attention import MultiHeadAttention
from .stochastic import Dropout


class TransformerLayer(nn.Module):
    """One pre-norm layer: attention, then a two-layer perceptron.

    Args:
        size: width of the tokens.
        heads: number of attention heads.
        feed_forward: width of the perceptron's hidden layer.
        dropout: share of units dropped.
    """

    def __init__(self, size: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.drop = Dropout(dropout)
        self.attention_norm: nn.Module = nn.LayerNorm(size)
        self.attention = MultiHeadAttention(size, heads)
        self.mlp_norm: nn.Module = nn.LayerNorm(size)
        self.expand = nn.Linear(size, feed_forward)
        self.contract = nn.Linear(feed_forward, size)

    def forward(self, tokens: Tensor, last_only: bool = False, mask: Tensor | None = None) -> Tensor:
        """``[batch, tokens, size]`` -> the same shape, or ``[batch, 1, size]`` with ``last_only``.

        Tokens that ``mask``, bool ``[batch, tokens]``, holds False for are looked at by none.

        ``last_only`` computes the output of the last token alone: keys and values still come from all tokens, so
        the value is the one the full computation would give.
        """
        normalised = self.attention_norm(tokens)
        if last_only:
            tokens, queries = tokens[:, -1:], normalised[:, -1:]
        else:
            queries = normalised
        tokens = tokens + self.drop(self.attention(queries, normalised, mask))
        return tokens + self.drop(self.contract(self.drop(functional.gelu(self.expand(self.mlp_norm(tokens))))))
