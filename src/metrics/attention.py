"""What attention weights show: how sharp they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention_entropy(weights: Tensor) -> Tensor:
    """Entropy of every query's attention in nats: 0 for one key, ln(keys) for all keys alike (Shannon 1948).

    Args:
        weights: ``[..., queries, keys]``, each row a distribution over keys.

    Returns:
        ``[..., queries]``.
    """
    return torch.special.entr(weights.float()).sum(-1)


def normalised_entropy(entropy: Tensor, keys: int | Tensor) -> Tensor:
    """Entropy as a share of the greatest possible, ln(keys), so that sequences of any length compare; 1 for one key."""
    if isinstance(keys, Tensor):
        return torch.where(keys > 1, entropy / keys.clamp(min=2).log(), 1.0)
    return entropy / math.log(keys) if keys > 1 else torch.ones_like(entropy)
