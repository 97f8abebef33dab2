"""A boosted ensemble of decision trees as plain tensors, so that it is saved and loaded like any network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROWS_AT_ONCE = 8192


class TreeEnsemble(nn.Module):
    """Sum of trees; every tree is a row of node tables.

    Args:
        trees: room for so many trees.
        nodes: room for so many nodes a tree.
        depth: greatest depth of a tree.
    """

    start: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor

    def __init__(self, trees: int, nodes: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("start", torch.zeros((), dtype=torch.float64))
        self.register_buffer("feature", torch.zeros(trees, nodes, dtype=torch.long))
        self.register_buffer("threshold", torch.full((trees, nodes), torch.inf, dtype=torch.float64))
        # Leaves point to themselves, so that every row can take the same number of steps.
        self.register_buffer("left", torch.arange(nodes).repeat(trees, 1))
        self.register_buffer("right", torch.arange(nodes).repeat(trees, 1))
        self.register_buffer("value", torch.zeros(trees, nodes, dtype=torch.float64))

    def reset(self, start: float) -> None:
        """Forget all trees: every row gets ``start``."""
        nodes = torch.arange(self.left.shape[1], device=self.left.device)
        self.start.fill_(start)
        self.feature.zero_()
        self.threshold.fill_(torch.inf)
        self.left.copy_(nodes)
        self.right.copy_(nodes)
        self.value.zero_()

    def copy_from(self, booster: Any) -> None:
        """Take over the trees of a fitted scikit-learn histogram booster (one output, no missing values)."""
        self.reset(float(np.asarray(booster._baseline_prediction).ravel()[0]))
        for number, (predictor,) in enumerate(booster._predictors):
            nodes = predictor.nodes
            inner = torch.from_numpy(~nodes["is_leaf"].astype(bool))
            room = slice(0, len(nodes))
            own = torch.arange(len(nodes))
            for name, column in (("left", "left"), ("right", "right")):
                child = torch.from_numpy(nodes[column].astype(np.int64))
                getattr(self, name)[number, room] = torch.where(inner, child, own)
            self.feature[number, room] = torch.from_numpy(nodes["feature_idx"].astype(np.int64))
            self.threshold[number, room] = torch.from_numpy(nodes["num_threshold"].astype(np.float64))
            self.value[number, room] = torch.from_numpy(nodes["value"].astype(np.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """``[rows, columns]`` in double precision -> ``[rows]``."""
        return torch.cat([self._sum(part) for part in rows.split(ROWS_AT_ONCE)])

    def _sum(self, rows: Tensor) -> Tensor:
        trees = torch.arange(len(self.feature), device=rows.device)
        node = torch.zeros(len(rows), len(trees), dtype=torch.long, device=rows.device)
        for _ in range(self.depth):
            goes_left = rows.gather(1, self.feature[trees, node]) <= self.threshold[trees, node]
            node = torch.where(goes_left, self.left[trees, node], self.right[trees, node])
        return self.start + self.value[trees, node].sum(1)
