"""Words as vectors: what text enters every sequence family through."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .stochastic import StochasticLayer

PADDING, UNKNOWN = 0, 1
"""Numbers of what is no token, and of tokens that are not in the vocabulary."""


START_DEVIATION = 0.1
"""Of the vectors before training. With 1, as PyTorch begins, a transformer learns next to nothing from SST-2."""


class TokenEmbedding(StochasticLayer):
    """Token -> vector: that of the token, plus those of its character n-grams if it comes with any.

    (Bojanowski et al. 2017, arXiv 1607.04606.) The sum over n-grams is divided by the root of their number, so that it
    is as long as the token's own vector; with their mean, an LSTM on SST-2 was right in one text of a hundred less. In
    training a share of the tokens is taken for unknown ones, so that those of new texts find a trained vector.

    Args:
        vocabulary: how many tokens are known, padding and the unknown one included.
        ngrams: how many character n-grams are known, padding included; 0 for none.
        size: of the vectors.
        word_dropout: share of tokens that training takes for unknown, their n-grams included.
    """

    def __init__(self, vocabulary: int, ngrams: int, size: int, word_dropout: float) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.words = nn.Embedding(vocabulary, size, padding_idx=PADDING)
        self.ngrams = nn.EmbeddingBag(ngrams, size, mode="sum", padding_idx=PADDING) if ngrams else None
        for table in (self.words, self.ngrams):
            if table is not None:
                nn.init.normal_(table.weight, std=START_DEVIATION)
                with torch.no_grad():
                    table.weight[PADDING] = 0.0

    def forward(self, inputs: Tensor) -> Tensor:
        """int64 ``[batch, tokens, 1 + n-grams]``, the token's number first -> ``[batch, tokens, size]``."""
        words = inputs[..., 0]
        if self.word_dropout and (self.training or self.draws):
            dropped = self._dropped(words) & (words != PADDING)
            words = torch.where(dropped, UNKNOWN, words)
            inputs = torch.where(dropped[..., None], PADDING, inputs)
        vectors = self.words(words)
        if self.ngrams is None:
            return vectors
        ngrams = inputs[..., 1:]
        length = (ngrams != PADDING).sum(-1, keepdim=True).clamp(min=1).sqrt()
        return vectors + self.ngrams(ngrams.flatten(0, 1)).view_as(vectors) / length

    def _dropped(self, words: Tensor) -> Tensor:
        """Which words are taken for unknown: any in training; a drawn network does not know some words at all."""
        if not self.draws:
            return torch.rand(words.shape, device=words.device) < self.word_dropout
        unknown = torch.rand(self.draws, self.words.num_embeddings, generator=self.generator) < self.word_dropout
        blocks = words.view(self.draws, -1)
        return unknown.to(words.device).gather(1, blocks).view(words.shape)


def token_mask(inputs: Tensor) -> Tensor:
    """Where tokens are and no padding: ``[batch, tokens, 1 + n-grams]`` -> bool ``[batch, tokens]``."""
    return inputs[..., 0] != PADDING


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over tokens: states ``[batch, tokens, size]``, mask bool ``[batch, tokens]`` -> ``[batch, size]``."""
    weights = mask.to(states.dtype)
    return torch.einsum("bts,bt->bs", states, weights) / weights.sum(1, keepdim=True).clamp(min=1)
