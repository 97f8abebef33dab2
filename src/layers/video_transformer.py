"""A transformer over the patches of a clip, told of timestep and caption through its norms.

After Peebles and Xie 2023, "Scalable diffusion models with transformers", arXiv 2212.09748 (adaLN-Zero), with layers
that look within frames and along time in turn (Ma et al. 2024, "Latte", arXiv 2401.03048).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import MultiHeadAttention
from .conditioning import CaptionEmbedding, TimestepEmbedding


class VideoTransformer(nn.Module):
    """What noisy clips were, or what noise is in them.

    Args:
        clip_shape: ``(frames, channels, height, width)``; sides are multiples of ``patch``.
        patch: pixels on a side of a token.
        size: width of the tokens.
        layers: how many; those with even numbers look within frames, the others along time.
        heads: of the attention; must divide ``size``.
        feed_forward: width of the hidden layer between attentions.
        vocabulary: of the captions.
        timesteps: of the noise schedule.
    """

    def __init__(
        self,
        clip_shape: Sequence[int],
        *,
        patch: int,
        size: int,
        layers: int,
        heads: int,
        feed_forward: int,
        vocabulary: int,
        timesteps: int,
    ) -> None:
        super().__init__()
        frames, channels, height, width = clip_shape
        self.patch, self.grid = patch, (height // patch, width // patch)
        token = channels * patch**2
        self.timesteps = TimestepEmbedding(size, timesteps)
        self.captions = CaptionEmbedding(vocabulary, size)
        self.enter = nn.Linear(token, size)
        self.places = nn.Parameter(0.02 * torch.randn(frames, self.grid[0] * self.grid[1], size))
        self.layers = nn.ModuleList(ToldLayer(size, heads, feed_forward) for _ in range(layers))
        self.leave_norm = nn.LayerNorm(size, elementwise_affine=False)
        self.leave_told = nn.Linear(size, 2 * size)
        self.leave = nn.Linear(size, token)
        for layer in (self.leave_told, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, noisy: Tensor, timesteps: Tensor, captions: Tensor) -> Tensor:
        """``[batch, frames, channels, height, width]``, int64 ``[batch]`` and ``[batch, tokens]`` -> as the clips."""
        frames = noisy.shape[1]
        told = functional.silu(self.timesteps(timesteps) + self.captions(captions))
        patches = functional.pixel_unshuffle(noisy.flatten(0, 1), self.patch).flatten(2).transpose(1, 2)
        tokens = self.enter(patches).unflatten(0, (-1, frames)) + self.places  # [batch, frames, places, size]
        for number, layer in enumerate(self.layers):
            along_time = number % 2 == 1
            grouped = tokens.transpose(1, 2) if along_time else tokens
            looked = layer(grouped, told)
            tokens = looked.transpose(1, 2) if along_time else looked
        scale, shift = self.leave_told(told)[:, None, None].chunk(2, -1)
        patches = self.leave(self.leave_norm(tokens) * (1 + scale) + shift)
        maps = patches.flatten(0, 1).transpose(1, 2).unflatten(2, self.grid)
        return functional.pixel_shuffle(maps, self.patch).unflatten(0, (-1, frames))


class ToldLayer(nn.Module):
    """Attention and a small network, each scaled, shifted and weighted by what the layer is told; at first by 0.

    Args:
        size: width of the tokens.
        heads: must divide ``size``.
        feed_forward: width of the hidden layer.
    """

    def __init__(self, size: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(size, elementwise_affine=False)
        self.attention = MultiHeadAttention(size, heads)
        self.mlp_norm = nn.LayerNorm(size, elementwise_affine=False)
        self.expand, self.contract = nn.Linear(size, feed_forward), nn.Linear(feed_forward, size)
        self.told = nn.Linear(size, 6 * size)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, tokens: Tensor, told: Tensor) -> Tensor:
        """``[batch, groups, tokens, size]``, which look at others of their group; ``told [batch, size]``."""
        groups = tokens.shape[1]
        scale, shift, gate, mlp_scale, mlp_shift, mlp_gate = self.told(told)[:, None, None].chunk(6, -1)
        normalised = (self.attention_norm(tokens) * (1 + scale) + shift).flatten(0, 1)
        tokens = tokens + gate * self.attention(normalised, normalised).unflatten(0, (-1, groups))
        normalised = self.mlp_norm(tokens) * (1 + mlp_scale) + mlp_shift
        return tokens + mlp_gate * self.contract(functional.gelu(self.expand(normalised)))
