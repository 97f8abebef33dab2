"""The predictor of a joint-embedding model: from what is seen to the features of what is hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .hierarchy import Grid
from .transformer_layer import TransformerLayer


class LevelPredictor(nn.Module):
    """A narrow transformer that is asked for the features of every place at every level.

    It reads the context's features (of the coarser levels where there are several, else of the visible patches) and a
    token for every place that it is asked for, which says level and position and nothing else (mask tokens, Assran et
    al. 2023, arXiv 2301.08243).

    Args:
        size: numbers per patch and level.
        width: of the predictor's tokens.
        grids: rows and columns of patches at each level.
        layers, heads: of the transformer.
    """

    def __init__(self, size: int, width: int, grids: Sequence[Grid], *, layers: int, heads: int) -> None:
        super().__init__()
        self.grids = list(grids)
        self.first_read = min(1, len(self.grids) - 1)
        places = [math.prod(grid) for grid in self.grids]
        self.read = nn.ModuleList(nn.Linear(size, width) for _ in places[self.first_read :])
        self.positions = nn.ParameterList(torch.randn(count, width) * 0.02 for count in places)
        self.asked = nn.Parameter(torch.randn(len(places), width) * 0.02)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, 2 * width, 0.0) for _ in range(layers))
        self.final_norm = nn.LayerNorm(width)
        self.write = nn.ModuleList(nn.Linear(width, size) for _ in places)

    def forward(self, context: Sequence[Tensor], hidden: Tensor) -> list[Tensor]:
        """Predictions for all places.

        Args:
            context: features of the context encoder, ``[batch, patches, size]`` a level.
            hidden: bool ``[batch, patches]``, the finest level's mask.

        Returns:
            one tensor ``[batch, patches, size]`` a level.
        """
        batch = len(hidden)
        known = [
            layer(features) + positions
            for layer, features, positions in zip(
                self.read, context[self.first_read :], self.positions[self.first_read :], strict=True
            )
        ]
        asked = [
            (positions + level).expand(batch, -1, -1)
            for positions, level in zip(self.positions, self.asked, strict=True)
        ]
        counts = [part.shape[1] for part in asked]
        tokens = torch.cat([*known, *asked], 1)
        mask = None
        if self.first_read == 0:  # patches that are hidden have no features to be read
            mask = torch.cat([~hidden, torch.ones_like(hidden)], 1)
        for layer in self.layers:
            tokens = layer(tokens, mask=mask)
        answers = self.final_norm(tokens[:, -sum(counts) :]).split(counts, 1)
        return [layer(answer) for layer, answer in zip(self.write, answers, strict=True)]
