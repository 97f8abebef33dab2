"""Proper scores of probabilistic forecasts: lowest in expectation for who says what he believes.

Inputs are tensors or arrays on any device; all is computed in double precision, without gradients, and nothing waits
for the device. Scores of classes, ``pinball_loss`` and ``interval_score`` are 0-dimensional means; the likelihoods of
values (nats) and the continuous ranked probability scores (CRPS, in units of the data) are one for each element.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST_PROBABILITY = 1e-7
"""What a probability counts as at least, lest a single 0 make a mean infinite; as in ``DirectionScores``."""

_ASYMPTOTIC_DEGREES = 100.0
_FRACTION_STEPS = 60
_SERIES_FROM = 30.0


def negative_log_likelihood(probabilities: Any, labels: Any) -> Tensor:
    """Mean of -log of the probability of what happened, in nats.

    Args:
        probabilities: ``[samples, classes]``, of sum 1; those below 1e-7 count as that.
        labels: the class that happened, ``[samples]``, integers from 0.
    """
    likely = as_double(probabilities)
    happened = likely.gather(-1, as_labels(labels, likely))
    return -happened.clamp_min(LEAST_PROBABILITY).log().mean()


def brier_score(probabilities: Any, labels: Any) -> Tensor:
    """Mean over samples of the squared distance, summed over classes, to certainty of what happened: from 0 to 2.

    Brier 1950, Verification of forecasts expressed in terms of probability. Of two classes it is twice the ``brier`` of
    ``DirectionScores``, which looks at one of them.

    Args:
        probabilities: ``[samples, classes]``, of sum 1.
        labels: the class that happened, ``[samples]``, integers from 0.
    """
    likely = as_double(probabilities)
    truth = torch.zeros_like(likely).scatter(-1, as_labels(labels, likely), 1.0)
    return (likely - truth).square().sum(-1).mean()


def pinball_loss(actual: Any, quantiles: Any, levels: Any) -> Tensor:
    """Mean over values and levels of the loss that the quantile of a level minimises (Koenker and Bassett 1978).

    ``level * (actual - quantile)`` where the value is above its quantile, ``(1 - level) * (quantile - actual)`` below:
    in units of the data. Of the median it is half the absolute error.

    Args:
        actual: ``[...]``.
        quantiles: ``[..., levels]``.
        levels: of the quantiles, ``[levels]``, between 0 and 1.
    """
    return _pinball(actual, quantiles, levels).mean()


def quantile_crps(actual: Any, quantiles: Any, levels: Any) -> Tensor:
    """CRPS seen through some quantiles: twice the mean over levels of ``pinball_loss``.

    The CRPS is twice the integral of the pinball loss over all levels (Laio and Tamea 2007; Gneiting and Ranjan 2011),
    so this comes near it for levels that are midpoints of equal parts, 1/2n, 3/2n, ... Other levels measure their part
    of the distribution.

    Args:
        actual: ``[...]``.
        quantiles: ``[..., levels]``.
        levels: of the quantiles, ``[levels]``, between 0 and 1.

    Returns:
        ``[...]``.
    """
    return 2 * _pinball(actual, quantiles, levels).mean(-1)


def normal_nll(actual: Any, mean: Any, deviation: Any) -> Tensor:
    """-log of the normal density at ``actual``, elementwise; any shapes that broadcast, ``deviation`` above 0."""
    spread = as_double(deviation)
    distance = (as_double(actual) - as_double(mean)) / spread
    return distance.square() / 2 + spread.log() + math.log(2 * math.pi) / 2


def normal_crps(actual: Any, mean: Any, deviation: Any) -> Tensor:
    """CRPS of a normal distribution, elementwise, in closed form; any shapes that broadcast.

    Gneiting and Raftery 2007, Strictly proper scoring rules, prediction, and estimation, 4.2 (eq. 21 for the normal
    distribution), negated: lower is better. With a ``deviation`` of 0 it is the absolute error.
    """
    spread = as_double(deviation)
    error = as_double(actual) - as_double(mean)
    distance = torch.where(error == 0, 0.0, error / spread)
    density = (-distance.square() / 2).exp() / math.sqrt(2 * math.pi)
    return error * torch.erf(distance / math.sqrt(2)) + spread * (2 * density - 1 / math.sqrt(math.pi))


def student_nll(actual: Any, location: Any, scale: Any, degrees: Any) -> Tensor:
    """-log of Student's t density at ``actual``, elementwise; any shapes that broadcast.

    Args:
        actual, location: in units of the data.
        scale: above 0; not the standard deviation, which is ``scale * sqrt(degrees / (degrees - 2))``.
        degrees: of freedom, above 0 and finite.
    """
    width, freedom = as_double(scale), as_double(degrees)
    distance = (as_double(actual) - as_double(location)) / width
    return width.log() - _student_log_density(distance, freedom)


def student_crps(actual: Any, location: Any, scale: Any, degrees: Any) -> Tensor:
    """CRPS of Student's t distribution, elementwise, in closed form; any shapes that broadcast.

    Jordan, Krüger and Lerch 2019, Evaluating probabilistic forecasts with scoringRules, appendix A.

    Args:
        actual, location: in units of the data.
        scale: above 0; not the standard deviation.
        degrees: of freedom, finite; the result is NaN where they are not above 1, as there is no mean then.
    """
    width, freedom = as_double(scale), as_double(degrees)
    distance = (as_double(actual) - as_double(location)) / width + torch.zeros_like(freedom)
    freedom = torch.where(freedom > 1, freedom, torch.nan) + torch.zeros_like(distance)
    density = _student_log_density(distance, freedom).exp()
    # 2 sqrt(v) B(1/2, v - 1/2) / ((v - 1) B(1/2, v/2)^2), the mean distance of two draws halved
    beta_ratio = (2 * _log_gamma_step(freedom / 2) - _log_gamma_step(freedom - 0.5)).exp() / math.sqrt(math.pi)
    own_spread = 2 * freedom.sqrt() / (freedom - 1) * beta_ratio
    return width * (
        distance * _student_central_probability(distance, freedom)
        + 2 * density * (freedom + distance.square()) / (freedom - 1)
        - own_spread
    )


def sample_crps(actual: Any, samples: Any) -> Tensor:
    """CRPS of the distribution that samples were drawn from, estimated fairly: without bias for any number of them.

    Mean distance to the truth minus half the mean distance of two different samples (Ferro 2014, Fair scores for
    ensemble forecasts; the plain estimator, which divides by the square of their number, favours fewer samples). Can be
    below 0 by chance; of a single sample it is the absolute error.

    Args:
        actual: ``[...]``.
        samples: ``[samples, ...]``.

    Returns:
        ``[...]``.
    """
    errors = (as_double(samples) - as_double(actual)).sort(0).values
    count = errors.shape[0]
    ranks = torch.arange(1 - count, count, 2, dtype=errors.dtype, device=errors.device)
    # the sum of distances over pairs, from the sorted samples
    pairs = (ranks.reshape(-1, *[1] * (errors.dim() - 1)) * errors).sum(0)
    return errors.abs().mean(0) - pairs / (count * max(count - 1, 1))


def interval_score(actual: Any, lower: Any, upper: Any, level: float) -> Tensor:
    """Mean width of central intervals, plus ``2 / (1 - level)`` times how far the truth is outside.

    Gneiting and Raftery 2007, eq. 43, with alpha = 1 - level; in units of the data, lower is better.

    Args:
        actual, lower, upper: of shapes that broadcast.
        level: the share of values that the intervals promise to hold, between 0 and 1.
    """
    values, low, high = as_double(actual), as_double(lower), as_double(upper)
    outside = (low - values).clamp_min(0) + (values - high).clamp_min(0)
    return (high - low + 2 / (1 - level) * outside).mean()


def as_double(values: Any) -> Tensor:
    """A tensor, array, list or number in double precision where the device has it, detached, on its device."""
    tensor = values.detach() if isinstance(values, Tensor) else torch.tensor(np.asarray(values, dtype=np.float64))
    return tensor.float() if tensor.device.type == "mps" else tensor.double()  # which has no 64 bits


def as_labels(labels: Any, scores: Tensor) -> Tensor:
    """Labels ``[samples]`` as an index ``[samples, 1]`` into the classes of ``scores``, on its device."""
    return torch.as_tensor(labels, device=scores.device).long().unsqueeze(-1)


def _pinball(actual: Any, quantiles: Any, levels: Any) -> Tensor:
    guesses = as_double(quantiles)
    above = as_double(actual).unsqueeze(-1) - guesses
    shares = as_double(levels).to(above)
    return torch.maximum(shares * above, (shares - 1) * above)


def _student_log_density(distance: Tensor, degrees: Tensor) -> Tensor:
    """Log density of the standard t distribution; both broadcast."""
    top = _log_gamma_step(degrees / 2) - (degrees * math.pi).log() / 2
    return top - (degrees + 1) / 2 * (distance.square() / degrees).log1p()


def _log_gamma_step(values: Tensor) -> Tensor:
    """``lgamma(x + 1/2) - lgamma(x)`` for x above 0, without the cancellation for large x."""
    inverse = 1 / values.clamp_min(_SERIES_FROM)
    series = inverse * (-1 / 8 + inverse**2 * (1 / 192 + inverse**2 * (-1 / 640 + inverse**2 * 17 / 14336)))
    exact = torch.lgamma(values + 0.5) - torch.lgamma(values)
    return torch.where(values >= _SERIES_FROM, series - inverse.log() / 2, exact)


def _student_central_probability(distance: Tensor, degrees: Tensor) -> Tensor:
    """``2 F(z) - 1`` of the standard t distribution, with the sign of z; equal shapes.

    The regularised incomplete beta function by its continued fraction (Press et al., Numerical Recipes, 6.4), which
    takes about the root of ``degrees`` steps; for many degrees Hill's normal deviate instead (1970, Algorithm 395).
    """
    square = distance.square()
    few = degrees.clamp_max(_ASYMPTOTIC_DEGREES)
    inner, outer = square / (few + square), few / (few + square)
    is_inner = inner < 1.5 / (few / 2 + 2.5)  # the side on which the fraction converges fast
    half = torch.full_like(few, 0.5)
    first, second = torch.where(is_inner, half, few / 2), torch.where(is_inner, few / 2, half)
    share = torch.where(is_inner, inner, outer)
    log_front = (few * outer.log() + inner.log()) / 2 + _log_gamma_step(few / 2) - math.log(math.pi) / 2
    tail = log_front.exp() * _beta_fraction(share, first, second) / first
    beta = torch.where(is_inner, tail, 1 - tail)

    many = degrees.clamp_min(_ASYMPTOTIC_DEGREES)
    shifted = many - 0.5
    scale = 48 * shifted.square()
    root = (shifted * (square / many).log1p()).sqrt()
    power = root.square()
    correction = root * (855 + power * (240 + power * (33 + 4 * power))) / (10 * scale * (scale + 0.8 * power**2 + 100))
    hill = torch.erf((root + root * (power + 3) / scale - correction) / math.sqrt(2))
    return torch.where(degrees > _ASYMPTOTIC_DEGREES, hill, beta) * distance.sign()


def _beta_fraction(share: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The continued fraction of the incomplete beta function by Lentz's method, a fixed number of steps."""
    total, c = first + second, torch.ones_like(share)
    d = 1 / (1 - total * share / (first + 1))
    result = d
    for step in range(1, _FRACTION_STEPS + 1):
        twice = first + 2 * step
        even = step * (second - step) * share / ((twice - 1) * twice)
        odd = -(first + step) * (total + step) * share / (twice * (twice + 1))
        for part in (even, odd):
            c, d = 1 + part / c, 1 / (1 + part * d)
            result = result * c * d
    return result
