"""A small U-Net over clips: convolutions within frames and between them, attention over space and time.

After Ho et al. 2022, "Video diffusion models", arXiv 2204.03458, in miniature: two resolutions, and attention at the
coarser one only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .attention import MultiHeadAttention
from .conditioning import CaptionEmbedding, TimestepEmbedding

GROUPS = 8


class VideoUNet(nn.Module):
    """What noisy clips were, or what noise is in them, by two resolutions of residual blocks.

    Args:
        clip_shape: ``(frames, channels, height, width)``; sides are multiples of twice ``patch``.
        patch: pixels on a side that become one place of the finer resolution.
        size: channels at the finer resolution, twice as many at the coarser; a multiple of 8.
        blocks: residual blocks at each resolution, on the way down and on the way up.
        attention: how many times the coarser resolution is looked over; 0 for never.
        heads: of the attention.
        factorised: whether attention is within frames and then along time, which costs less on large clips, or between
            all places of all frames at once.
        vocabulary: of the captions.
        timesteps: of the noise schedule.
    """

    def __init__(
        self,
        clip_shape: Sequence[int],
        *,
        patch: int,
        size: int,
        blocks: int,
        attention: int,
        heads: int,
        factorised: bool,
        vocabulary: int,
        timesteps: int,
    ) -> None:
        super().__init__()
        frames, channels, height, width = clip_shape
        rows, columns = height // patch, width // patch
        self.patch, wide, told = patch, 2 * size, 4 * size
        self.timesteps = TimestepEmbedding(told, timesteps)
        self.captions = CaptionEmbedding(vocabulary, told)
        self.enter = nn.Conv2d(channels * patch**2, size, 3, padding=1)
        self.fine_places = places(frames, size, rows, columns)
        self.down = nn.ModuleList(ResidualBlock(size, told) for _ in range(blocks))
        self.coarsen = nn.Conv2d(size, wide, 4, 2, 1)
        self.coarse_places = places(frames, wide, rows // 2, columns // 2)
        self.middle = nn.ModuleList(ResidualBlock(wide, told) for _ in range(2 * blocks))
        self.looks = nn.ModuleList(SpaceTimeAttention(wide, heads, factorised) for _ in range(attention))
        self.refine = nn.Conv2d(wide, size, 3, padding=1)
        self.join = nn.Conv2d(2 * size, size, 1)
        self.up = nn.ModuleList(ResidualBlock(size, told) for _ in range(blocks))
        self.leave_norm = nn.GroupNorm(GROUPS, size)
        self.leave = nn.Conv2d(size, channels * patch**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, noisy: Tensor, timesteps: Tensor, captions: Tensor) -> Tensor:
        """``[batch, frames, channels, height, width]``, int64 ``[batch]`` and ``[batch, tokens]`` -> as the clips."""
        frames = noisy.shape[1]
        told = functional.silu(self.timesteps(timesteps) + self.captions(captions))
        fine = self.enter(functional.pixel_unshuffle(noisy.flatten(0, 1), self.patch))
        fine = (fine.unflatten(0, (-1, frames)) + self.fine_places).flatten(0, 1)
        for block in self.down:
            fine = block(fine, told, frames)
        coarse = (self.coarsen(fine).unflatten(0, (-1, frames)) + self.coarse_places).flatten(0, 1)
        for number, block in enumerate(self.middle):
            coarse = block(coarse, told, frames)
            if number < len(self.looks):
                coarse = self.looks[number](coarse, frames)
        for look in self.looks[len(self.middle) :]:
            coarse = look(coarse, frames)
        joined = torch.cat([fine, functional.interpolate(self.refine(coarse), scale_factor=2.0)], 1)
        fine = self.join(joined)
        for block in self.up:
            fine = block(fine, told, frames)
        out = self.leave(functional.silu(self.leave_norm(fine)))
        return functional.pixel_shuffle(out, self.patch).unflatten(0, (-1, frames))


class ResidualBlock(nn.Module):
    """Two convolutions within frames, told of timestep and caption in between, and one along time.

    Args:
        size: channels.
        told_size: numbers in what the block is told.
    """

    def __init__(self, size: int, told_size: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.GroupNorm(GROUPS, size), nn.GroupNorm(GROUPS, size)
        self.first = nn.Conv2d(size, size, 3, padding=1)
        self.second = nn.Conv2d(size, size, 3, padding=1)
        self.told = nn.Linear(told_size, 2 * size)
        self.along_time = TimeConvolution(size)

    def forward(self, states: Tensor, told: Tensor, frames: int) -> Tensor:
        """``states [batch * frames, size, rows, columns]``, ``told [batch, told_size]`` -> as the states."""
        inner = self.second_norm(self.first(functional.silu(self.first_norm(states))))
        scale, shift = self.told(told).repeat_interleave(frames, 0)[:, :, None, None].chunk(2, 1)
        inner = self.second(functional.silu(inner * (1 + scale) + shift))
        return states + self.along_time(inner, frames)


class TimeConvolution(nn.Module):
    """A residual convolution over three frames at each place, which does nothing in the beginning.

    Args:
        size: channels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        # Three frames side by side and a product: several times as fast as a three-dimensional convolution on a CPU.
        self.mix = nn.Conv2d(3 * size, size, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, states: Tensor, frames: int) -> Tensor:
        """``[batch * frames, size, rows, columns]`` -> the same."""
        clips = states.unflatten(0, (-1, frames))
        padded = functional.pad(clips, (0, 0, 0, 0, 0, 0, 1, 1))
        neighbours = torch.cat([padded[:, :-2], clips, padded[:, 2:]], 2)
        return states + self.mix(neighbours.flatten(0, 1))


class SpaceTimeAttention(nn.Module):
    """Residual attention between places of all frames, at once or within frames and then along time.

    Args:
        size: channels.
        heads: must divide ``size``.
        factorised: see above.
    """

    def __init__(self, size: int, heads: int, factorised: bool) -> None:
        super().__init__()
        count = 2 if factorised else 1
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(count))
        self.attentions = nn.ModuleList(MultiHeadAttention(size, heads) for _ in range(count))
        self.factorised = factorised

    def forward(self, states: Tensor, frames: int) -> Tensor:
        """``[batch * frames, size, rows, columns]`` -> the same."""
        rows, columns = states.shape[2:]
        tokens = states.flatten(2).transpose(1, 2).unflatten(0, (-1, frames))  # [batch, frames, places, size]
        if self.factorised:
            tokens = self._look(0, tokens.flatten(0, 1)).view_as(tokens).transpose(1, 2)
            tokens = self._look(1, tokens.flatten(0, 1)).view_as(tokens).transpose(1, 2)
        else:
            tokens = self._look(0, tokens.flatten(1, 2)).view_as(tokens)
        return tokens.flatten(0, 1).transpose(1, 2).unflatten(2, (rows, columns))

    def _look(self, number: int, tokens: Tensor) -> Tensor:
        normalised = self.norms[number](tokens)
        return tokens + self.attentions[number](normalised, normalised)


def places(frames: int, size: int, rows: int, columns: int) -> nn.Parameter:
    """A learnt vector for every place of every frame, ``[frames, size, rows, columns]``.

    Without them a caption, which reaches all places alike, cannot say where something is to go.
    """
    return nn.Parameter(0.02 * torch.randn(frames, size, rows, columns))
