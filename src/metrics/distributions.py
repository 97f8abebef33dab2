"""What a model says with how sure it is: probabilities of classes, or distributions of values.

Variances are told apart by their cause (Kendall and Gal 2017, arXiv 1703.04977): ``epistemic``, what the model does not
know and more data would teach it; ``aleatoric``, noise in the data that nothing can take away. They add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .proper_scores import normal_crps, normal_nll, student_crps, student_nll

LEVEL = 0.9
"""Share of values that intervals are to hold."""


@dataclass(frozen=True)
class ClassDistribution:
    """Probabilities of classes.

    Attributes:
        probabilities: ``[..., classes]``.
        epistemic: mutual information of answer and weights in nats, ``[...]``; None where one network answers.
        aleatoric: expected entropy in nats, ``[...]``; the whole entropy where one network answers.
    """

    probabilities: Tensor
    epistemic: Tensor | None
    aleatoric: Tensor

    @property
    def total(self) -> Tensor:
        """Entropy of the probabilities in nats, ``[...]``: what both add up to."""
        return self.aleatoric if self.epistemic is None else self.aleatoric + self.epistemic


@dataclass(frozen=True)
class ForecastDistribution:
    """Distributions of scaled values, normal ones unless more is said; shapes are ``[batch, horizon, targets]``.

    Attributes:
        mean: of the values.
        epistemic, aleatoric: variances by their cause.
        degrees: of freedom of Student's t where tails are heavier, above 2; broadcasts.
        quantiles: ``[..., levels]`` where a model learns quantiles, of the shares ``levels``, ascending.
        levels: see there.
    """

    mean: Tensor
    epistemic: Tensor
    aleatoric: Tensor
    degrees: Tensor | None = None
    quantiles: Tensor | None = None
    levels: tuple[float, ...] = ()

    @property
    def variance(self) -> Tensor:
        """The whole variance."""
        return self.epistemic + self.aleatoric

    @property
    def deviation(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    @property
    def scale(self) -> Tensor:
        """Of Student's t with the same variance: deviation x sqrt((degrees - 2) / degrees)."""
        if self.degrees is None:
            return self.deviation
        return self.deviation * ((self.degrees - 2) / self.degrees).sqrt()

    def quantile(self, share: float) -> Tensor:
        """The value that this share of outcomes lies below."""
        if self.quantiles is not None:
            return _interpolated(self.quantiles, self.levels, share)
        if self.degrees is None:
            return self.mean + self.deviation * normal_quantile(share)
        return self.mean + self.scale * student_quantile(share, self.degrees)

    def interval(self, level: float = LEVEL) -> tuple[Tensor, Tensor]:
        """Bounds that hold a share ``level`` of the outcomes, as much being left out below as above."""
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def crps(self, actual: Tensor) -> Tensor:
        """Continuous ranked probability score of every value, in scaled units."""
        if self.quantiles is not None:
            errors = actual.unsqueeze(-1) - self.quantiles
            shares = errors.new_tensor(self.levels)
            return 2 * torch.maximum(shares * errors, (shares - 1) * errors).mean(-1)
        if self.degrees is None:
            return normal_crps(actual, self.mean, self.deviation)
        return student_crps(actual, self.mean, self.scale, self.degrees.expand_as(self.mean))

    def nll(self, actual: Tensor) -> Tensor | None:
        """Negative log-density of every value in nats; None for quantiles, which have none."""
        if self.quantiles is not None:
            return None
        if self.degrees is None:
            return normal_nll(actual, self.mean, self.deviation)
        return student_nll(actual, self.mean, self.scale, self.degrees.expand_as(self.mean))


def normal_quantile(share: float) -> float:
    """Of the standard normal distribution."""
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))


def student_quantile(share: float, degrees: Tensor) -> Tensor:
    """Of the standard Student's t distribution, in the shape of ``degrees``."""
    from scipy.special import stdtrit

    return torch.as_tensor(stdtrit(degrees.detach().cpu().double().numpy(), share)).to(degrees)


def _interpolated(quantiles: Tensor, levels: tuple[float, ...], share: float) -> Tensor:
    """Between the two known levels around a share; the outermost beyond them."""
    if share <= levels[0]:
        return quantiles[..., 0]
    for place in range(1, len(levels)):
        if share <= levels[place]:
            part = (share - levels[place - 1]) / (levels[place] - levels[place - 1])
            return torch.lerp(quantiles[..., place - 1], quantiles[..., place], part)
    return quantiles[..., -1]
