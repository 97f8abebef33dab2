"""The variance and covariance terms of VICReg (Bardes, Ponce and LeCun 2022, arXiv 2105.04906).

They keep features from collapsing: every dimension shall vary, and none shall repeat another.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-4


def variance_loss(features: Tensor) -> Tensor:
    """``mean over dimensions of relu(1 - sqrt(variance + 1e-4))``: 0 where every dimension deviates by 1 or more.

    Args:
        features: ``[samples, dimensions]``; the variance is over samples, n - 1 in the denominator.
    """
    if len(features) < 2:
        return features.sum() * 0.0
    return torch.relu(1 - (features.var(0) + EPSILON).sqrt()).mean()


def covariance_loss(features: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions / number of dimensions, of ``[samples, dimensions]``."""
    if len(features) < 2:
        return features.sum() * 0.0
    centred = features - features.mean(0)
    covariance = centred.T @ centred / (len(features) - 1)
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    return off_diagonal / features.shape[1]
