"""Where uncertainty comes from: noise that stays (aleatoric), or not knowing the model (epistemic).

Both from several forecasts of the same thing: draws of a posterior, masks of dropout, members of an ensemble. Inputs
are tensors or arrays on any device; all is computed in double precision, without gradients, and nothing waits for the
device. In both decompositions ``total`` is ``aleatoric + epistemic``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .proper_scores import as_double


class ClassUncertainty(NamedTuple):
    """What draws of class probabilities say together.

    Attributes:
        probabilities: mean over the draws, ``[batch, classes]``.
        total: entropy of the mean, nats, ``[batch]``.
        aleatoric: mean of the entropies, nats, ``[batch]``.
        epistemic: mutual information of class and model, nats, ``[batch]``, from 0 to log(draws).
    """

    probabilities: Tensor
    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


class ForecastUncertainty(NamedTuple):
    """What draws of a forecast's mean and variance say together, all of the shape of one draw.

    Attributes:
        mean: over the draws.
        total: variance of the mixture of the draws, in squared units of the data.
        aleatoric: mean of the variances.
        epistemic: variance of the means.
    """

    mean: Tensor
    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


def class_uncertainty(probabilities: Any) -> ClassUncertainty:
    """Entropy of classes divided into what every draw leaves open and what the draws disagree about.

    Houlsby et al. 2011, Bayesian active learning for classification and preference learning, arXiv 1112.5745;
    Gal 2016, Uncertainty in deep learning, 3.3.1.

    Args:
        probabilities: ``[draws, batch, classes]``, of sum 1.
    """
    drawn = as_double(probabilities)
    mean = drawn.mean(0)
    total, aleatoric = torch.special.entr(mean).sum(-1), torch.special.entr(drawn).sum(-1).mean(0)
    # Entropy is concave: below 0 there is rounding only.
    return ClassUncertainty(mean, total, aleatoric, (total - aleatoric).clamp_min(0))


def forecast_uncertainty(means: Any, variances: Any) -> ForecastUncertainty:
    """Variance of a forecast divided by the law of total variance.

    Depeweg et al. 2018, Decomposition of uncertainty in Bayesian deep learning, arXiv 1710.07283. The draws are taken
    as all there are: the variance of their means divides by their number.

    Args:
        means: ``[draws, ...]``, in units of the data.
        variances: of the noise around each mean, ``[draws, ...]``.
    """
    drawn = as_double(means)
    epistemic, aleatoric = drawn.var(0, correction=0), as_double(variances).mean(0)
    return ForecastUncertainty(drawn.mean(0), aleatoric + epistemic, aleatoric, epistemic)
