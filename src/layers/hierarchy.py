"""Encoders that describe a picture, or a series, at several levels: its patches, ever larger parts, and the whole.

Every encoder has ``grids``, the rows and columns of patches at each level, and returns a list of features
``[batch, patches, size]``, the finest level first; the last of several levels is the whole, a single patch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .stochastic import Dropout
from .transformer_layer import TransformerLayer

Grid = tuple[int, int]
_GROUPS = 8


def level_grids(rows: int, columns: int, levels: int) -> list[Grid]:
    """Rows and columns of every level: each has half as many as the one before (rounded up), the last is the whole."""
    grids = [(rows, columns)]
    while len(grids) < levels:
        rows, columns = (1, 1) if len(grids) == levels - 1 else (-(-rows // 2), -(-columns // 2))
        grids.append((rows, columns))
    return grids


def pool_patches(values: Tensor, grid: Grid, coarser: Grid) -> Tensor:
    """Means over the patches of each coarser patch: ``[batch, patches, size]`` -> ``[batch, coarser patches, size]``.

    Two by two patches become one; at an odd border fewer. Where the coarser grid is a single patch, all become one.
    """
    if coarser == (1, 1):
        return values.mean(1, keepdim=True)
    maps = values.transpose(1, 2).unflatten(2, grid)
    size = tuple(-(-fine // coarse) for fine, coarse in zip(grid, coarser, strict=True))
    return functional.avg_pool2d(maps, size, size, ceil_mode=True, count_include_pad=False).flatten(2).transpose(1, 2)


def coarser_masks(hidden: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """The mask of every level, bool ``[batch, patches]``: a coarser patch counts as hidden where half of it is.

    The whole is always hidden in part, and predicted.
    """
    masks = [hidden]
    for finer, coarser in itertools.pairwise(grids):
        share = pool_patches(masks[-1].unsqueeze(2).float(), finer, coarser).squeeze(2)
        masks.append(torch.ones_like(share, dtype=torch.bool) if coarser == (1, 1) else share >= 0.5)
    return masks


class ConvolutionHierarchy(nn.Module):
    """A convolutional encoder of pictures.

    Convolutions of stride 2 lead to the grid of patches, one more of stride 2 to each coarser level. Hidden patches are
    filled with the background before the first one, so that nothing of them is seen.

    Args:
        channels: of a picture.
        patch: pixels on a side of a patch, a power of two.
        size: numbers per patch and level.
        grids: of the levels, see ``level_grids``.
        background: value of every channel where there is nothing.
    """

    background: Tensor

    def __init__(
        self, channels: int, patch: int, size: int, grids: Sequence[Grid], background: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.patch, self.grids = patch, list(grids)
        self.register_buffer("background", torch.tensor(tuple(background) or (0.0,) * channels).view(1, -1, 1, 1))
        halvings = int(math.log2(patch))
        widths = [max(16, size >> (halvings - number)) for number in range(halvings)]
        steps = [(narrow, wide, 2) for narrow, wide in zip([channels, *widths[:-1]], widths, strict=True)]
        steps.append((steps[-1][1] if steps else channels, size, 1))
        self.stem = nn.Sequential(*(_block(*step) for step in steps))
        self.coarser = nn.ModuleList(
            nn.Linear(size, size) if grid == (1, 1) else _block(size, size, 2) for grid in self.grids[1:]
        )

    def forward(self, pictures: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """``pictures [batch, channels, rows, columns]``, ``hidden`` bool ``[batch, patches]`` -> the levels."""
        missing_rows, missing_columns = -pictures.shape[2] % self.patch, -pictures.shape[3] % self.patch
        if missing_rows or missing_columns:
            shifted = functional.pad(pictures - self.background, (0, missing_columns, 0, missing_rows))
            pictures = shifted + self.background
        if hidden is not None:
            covered = hidden.unflatten(1, self.grids[0]).unsqueeze(1)
            covered = covered.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)
            pictures = torch.where(covered, self.background, pictures)
        maps = self.stem(pictures)
        levels = [maps.flatten(2).transpose(1, 2)]
        for layer in self.coarser:
            if isinstance(layer, nn.Linear):
                levels.append(layer(levels[-1].mean(1, keepdim=True)))
            else:
                maps = layer(maps)
                levels.append(maps.flatten(2).transpose(1, 2))
        return levels


def _block(narrow: int, wide: int, stride: int) -> nn.Sequential:
    groups = math.gcd(_GROUPS, wide)
    return nn.Sequential(
        nn.Conv2d(narrow, wide, 3, stride, padding=1, bias=False), nn.GroupNorm(groups, wide), nn.GELU()
    )


class TokenHierarchy(nn.Module):
    """A transformer over patches, whose tokens are pooled from level to level.

    Hidden patches are looked at by none. Its first parts are named and shaped as those of ``transformer:basic``, which
    can go on from its weights.

    Args:
        token_size: numbers in a patch.
        size: width of the tokens.
        layers, heads, feed_forward, dropout: of the transformer.
        grids: of the levels, see ``level_grids``.
    """

    def __init__(
        self,
        token_size: int,
        size: int,
        grids: Sequence[Grid],
        *,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.grids = list(grids)
        self.drop = Dropout(dropout)
        self.embedding = nn.Linear(token_size, size)
        self.positions = nn.Parameter(torch.randn(math.prod(self.grids[0]), size) * 0.02)
        self.layers = nn.ModuleList(TransformerLayer(size, heads, feed_forward, dropout) for _ in range(layers))
        self.final_norm = nn.LayerNorm(size)
        self.coarser = nn.ModuleList(
            nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, size)) for _ in self.grids[1:]
        )

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """``tokens [batch, patches, token_size]``, ``hidden`` bool ``[batch, patches]`` -> the levels.

        Features of hidden patches, and of coarser ones that are hidden as a whole, are 0.
        """
        states = self.drop(self.embedding(tokens) + self.positions)
        seen = None if hidden is None else ~hidden
        for layer in self.layers:
            states = layer(states, mask=seen)
        states = self.final_norm(states)
        weights = torch.ones_like(states[..., :1]) if seen is None else seen.unsqueeze(2).to(states.dtype)
        levels = [states * weights]
        for layer, finer, coarser in zip(self.coarser, self.grids[:-1], self.grids[1:], strict=True):
            share = pool_patches(weights, finer, coarser)
            states = pool_patches(states * weights, finer, coarser) / share.clamp(min=1e-6)
            weights = (share > 0).to(states.dtype)
            states = layer(states)
            levels.append(states * weights)
        return levels


def cut_patches(samples: Tensor, patch: int, background: Tensor | None = None) -> Tensor:
    """Samples in patches, ``[batch, patches, numbers]``.

    Args:
        samples: pictures ``[batch, channels, rows, columns]``, cut in squares, row by row; or windows
            ``[batch, time, channels]``, cut in pieces of ``patch`` steps.
        patch: length of a side.
        background: pictures: ``[1, channels, 1, 1]``, what is added at the right and below where a side is no multiple
            of ``patch``. To windows the first value is added in front, so that the newest are never cut off.
    """
    if samples.ndim == 3:
        missing = -samples.shape[1] % patch
        if missing:
            samples = torch.cat([samples[:, :1].expand(-1, missing, -1), samples], 1)
        return samples.reshape(samples.shape[0], -1, patch * samples.shape[2])
    missing_rows, missing_columns = -samples.shape[2] % patch, -samples.shape[3] % patch
    if missing_rows or missing_columns:
        shift = torch.zeros(1, samples.shape[1], 1, 1, device=samples.device) if background is None else background
        samples = functional.pad(samples - shift, (0, missing_columns, 0, missing_rows)) + shift
    return functional.unfold(samples, patch, stride=patch).transpose(1, 2)
