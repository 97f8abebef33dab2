"""What a denoising network is told beside the noisy sample: how noisy it is, and the caption."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LONGEST_PERIOD = 10_000.0


class TimestepEmbedding(nn.Module):
    """How far the noise has gone, as a vector: sines and cosines of it (Vaswani et al. 2017), and a small network.

    Args:
        size: of the vector, even.
        timesteps: of the noise schedule; what is embedded is the share of them, so that their number does not matter.
    """

    frequencies: Tensor

    def __init__(self, size: int, timesteps: int) -> None:
        super().__init__()
        exponents = torch.arange(size // 2) / (size // 2)
        frequencies = torch.exp(-math.log(_LONGEST_PERIOD) * exponents) * (1000 / timesteps)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.network = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, timesteps: Tensor) -> Tensor:
        """int64 ``[batch]`` -> ``[batch, size]``."""
        angles = timesteps.float()[:, None] * self.frequencies
        return self.network(torch.cat([angles.sin(), angles.cos()], -1))


class CaptionEmbedding(nn.Module):
    """A caption as a vector: the sum of its words' vectors, learnt along with the network, and a small network.

    The order of words is not seen. A caption without any token stands for no caption at all, which has a vector too.

    Args:
        vocabulary: how many token numbers there are; 0 is padding.
        size: of the vectors.
    """

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, size, padding_idx=0)
        self.nothing = nn.Parameter(torch.zeros(size))
        self.network = nn.Sequential(nn.SiLU(), nn.Linear(size, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, captions: Tensor) -> Tensor:
        """int64 ``[batch, tokens]``, 0 being padding -> ``[batch, size]``."""
        said = (captions > 0).any(1, keepdim=True)
        return self.network(torch.where(said, self.words(captions).sum(1), self.nothing))


def drop_captions(captions: Tensor, share: float) -> Tensor:
    """The captions with a random share of them taken away, so that a network learns to do without as well."""
    if not share:
        return captions
    return captions * (torch.rand(len(captions), 1, device=captions.device) >= share)
