"""Attention whose weights can be asked for: fused when nobody looks, explicit when somebody does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


class AttentionLayer(nn.Module):
    """Base of layers that can keep the attention weights of their last call, in ``weights``."""

    def __init__(self) -> None:
        super().__init__()
        self.keep_weights = False
        self.weights: Tensor | None = None


class MultiHeadAttention(AttentionLayer):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017, arXiv 1706.03762).

    ``softmax(Q K^T / sqrt(size per head)) V`` per head; keys and values are computed for all tokens, queries only
    for those that are read later. No attention weights are dropped in training: that would rule out the fused kernel,
    and a training step of a transformer would take half as long again.

    Args:
        size: width of the tokens.
        heads: number of heads; must divide ``size``.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.output = nn.Linear(size, size)

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``queries [batch, queries, size]`` look at ``tokens [batch, keys, size]`` -> ``[batch, queries, size]``.

        What ``mask``, bool ``[batch, keys]``, holds False for is not looked at. With ``keep_weights`` set, ``weights
        [batch, heads, queries, keys]`` holds what each query looked at.
        """
        query = self._split(self.query(queries))
        key, value = (self._split(part) for part in self.key_value(tokens).chunk(2, -1))
        allowed = None if mask is None else mask[:, None, None]
        if self.keep_weights:
            scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
            weights = torch.softmax(scores if allowed is None else scores.masked_fill(~allowed, -math.inf), -1)
            self.weights = weights.detach()
            mixed = weights @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [batch, heads, tokens, size per head]


class AttentionPooling(AttentionLayer):
    """One learnt summary of a sequence: a weighted mean whose weights come from a small network (additive scores,
    Bahdanau et al. 2014, arXiv 1409.0473): ``score_t = v^T tanh(W h_t + U h_last)``.

    Args:
        size: width of the states.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.state = nn.Linear(size, size)
        self.last = nn.Linear(size, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, states: Tensor, last: Tensor, mask: Tensor | None = None) -> Tensor:
        """``states [batch, time, size]``, ``last [batch, size]`` -> ``[batch, size]``.

        Steps that ``mask``, bool ``[batch, time]``, holds False for have no share. With ``keep_weights`` set, ``weights
        [batch, 1 head, 1 query, time]`` holds the share of every step.
        """
        scores = self.score(torch.tanh(self.state(states) + self.last(last).unsqueeze(1)))  # [batch, time, 1]
        scores = scores.squeeze(-1)
        weights = torch.softmax(scores if mask is None else scores.masked_fill(~mask, -math.inf), -1)
        if self.keep_weights:
            self.weights = weights.detach()[:, None, None]
        return torch.bmm(weights.unsqueeze(1), states).squeeze(1)


@contextmanager
def attention_weights(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the attention weights of whatever the model computes inside the ``with`` block.

    Yields:
        a dictionary, filled when the block ends: layer name -> weights ``[batch, heads, queries, keys]`` of the last
        call. Empty for models without attention.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, AttentionLayer)}
    collected: dict[str, Tensor] = {}
    for layer in layers.values():
        layer.keep_weights = True
    try:
        yield collected
        collected.update({name: layer.weights for name, layer in layers.items() if layer.weights is not None})
    finally:
        for layer in layers.values():
            layer.keep_weights, layer.weights = False, None
