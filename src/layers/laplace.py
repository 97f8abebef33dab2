"""Last-layer Laplace approximation: how sure a trained network may be of its last linear map.

The posterior of the head's weights is taken for normal, its precision being the generalised Gauss-Newton matrix of the
training loss plus a prior (MacKay 1992, A practical Bayesian framework for backpropagation networks; Daxberger et al.
2021, Laplace redux, arXiv 2106.14806). The prior's precision is the one with the largest marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import OptionError

MOST_WEIGHTS = 4096
"""Rows of the largest matrix that is inverted."""
PRECISIONS = torch.logspace(-4, 4, 33, dtype=torch.float64)


class LaplaceHead(nn.Module):
    """The posterior of a linear head ``[features] -> [outputs]`` with bias.

    Args:
        features: numbers the head reads.
        outputs: numbers it makes.
        joint: whether outputs share a likelihood (a softmax), so that their weights are correlated; otherwise every
            output has a matrix of its own.

    Raises:
        OptionError: if the matrix would be too large.
    """

    covariance: Tensor

    def __init__(self, features: int, outputs: int, joint: bool) -> None:
        super().__init__()
        self.features, self.outputs, self.joint = features + 1, outputs, joint
        side = self.features * (outputs if joint else 1)
        if side > MOST_WEIGHTS:
            raise OptionError(
                f"method=laplace inverts a matrix of the head's weights, at most {MOST_WEIGHTS} of them, but got "
                f"{side}; use a smaller hidden_size or another method"
            )
        self.register_buffer("covariance", torch.zeros(1 if joint else outputs, side, side))

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]], weight: Tensor, bias: Tensor) -> float:
        """Fit the posterior.

        Args:
            batches: encodings ``[rows, features]`` with the curvature of the loss in the outputs: ``[rows, outputs,
                outputs]`` if ``joint``, else its diagonal ``[rows, outputs]``.
            weight, bias: the trained head.

        Returns:
            the precision of the prior.
        """
        side = self.covariance.shape[-1]
        curvature = torch.zeros(self.covariance.shape, dtype=torch.float64)
        for encoded, hessian in batches:
            states = with_bias(encoded.detach().cpu().double())
            hessian = hessian.detach().cpu().double()
            if self.joint:
                products = torch.einsum("nab,ni,nj->aibj", hessian, states, states)
                curvature[0] += products.reshape(side, side)
            else:
                curvature += torch.einsum("na,ni,nj->aij", hessian, states, states)
        values, vectors = torch.linalg.eigh(curvature)
        values = values.clamp(min=0)
        squares = float(weight.detach().double().square().sum() + bias.detach().double().square().sum())
        evidence = torch.stack(
            [
                0.5 * (values.numel() * p.log() - (values + p).log().sum() - p * squares)  # the loss itself is constant
                for p in PRECISIONS
            ]
        )
        precision = PRECISIONS[int(evidence.argmax())]
        covariance = (vectors / (values + precision)[:, None, :]) @ vectors.transpose(1, 2)
        self.covariance.copy_(covariance.to(self.covariance))
        return float(precision)

    def variance(self, encoded: Tensor) -> Tensor:
        """Of the outputs: ``[rows, features]`` -> ``[rows, outputs]``, or ``[rows, outputs, outputs]`` if ``joint``."""
        states = with_bias(encoded)
        if not self.joint:
            return torch.einsum("ni,aij,nj->na", states, self.covariance, states)
        blocks = self.covariance[0].view(self.outputs, self.features, self.outputs, self.features)
        return torch.einsum("ni,aibj,nj->nab", states, blocks, states)

    def draw(self, encoded: Tensor, draws: int, generator: torch.Generator) -> Tensor:
        """What ``draws`` networks add to the outputs, ``[draws, rows, outputs]``; the same noise in all rows."""
        noise = torch.randn(draws, self.outputs, generator=generator)
        # Few draws have neither a mean of 0 nor a deviation of 1, and the same ones are used in every row.
        noise = ((noise - noise.mean(0)) / noise.std(0, correction=0)).to(encoded)
        variance = self.variance(encoded)
        if not self.joint:
            return noise[:, None] * variance.clamp(min=0).sqrt()
        root = torch.linalg.cholesky(variance + 1e-8 * torch.eye(self.outputs, device=encoded.device))
        return torch.einsum("nab,db->dna", root, noise)


def with_bias(encoded: Tensor) -> Tensor:
    """A one behind every row."""
    return torch.cat([encoded, encoded.new_ones(encoded.shape[0], 1)], 1)
