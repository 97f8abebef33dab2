"""What uncertainty is good for: answering where it is low, and noticing what is unlike the training data.

Inputs are tensors or arrays on any device; all is computed in double precision, without gradients, and nothing waits
for the device. A NaN among the uncertainties makes the results NaN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .calibration import shared_by_rank
from .proper_scores import as_double


def risk_coverage(uncertainty: Any, error: Any) -> tuple[Tensor, Tensor]:
    """Mean error of the most certain samples, for every number of them (El-Yaniv and Wiener 2010).

    Samples of equal uncertainty are taken in expectation over their orders, so the curve does not depend on how the
    data are sorted.

    Args:
        uncertainty: ``[samples]``, of any unit; only the order matters.
        error: what a sample costs, ``[samples]``: 0 and 1 for classes, absolute or squared errors of forecasts.

    Returns:
        Coverage (1/n, 2/n, ... 1) and risk (in the unit of the error), ``[samples]`` each.
    """
    ordered, cost = shared_by_rank(uncertainty, error)
    answered = torch.arange(1, len(cost) + 1, dtype=cost.dtype, device=cost.device)
    return answered / len(cost), _nan_where_undefined(cost.cumsum(0) / answered, ordered)


def area_under_risk_coverage(uncertainty: Any, error: Any) -> Tensor:
    """Mean of ``risk_coverage`` over the coverages (AURC; Geifman and El-Yaniv 2017, Selective classification for deep
    neural networks; Geifman, Uziel and El-Yaniv 2019 for the name).

    In the unit of the error, lower is better; uncertainty that says nothing gives the mean error, in expectation.

    Args:
        uncertainty: ``[samples]``, of any unit; only the order matters.
        error: what a sample costs, ``[samples]``.
    """
    return risk_coverage(uncertainty, error)[1].mean()


def out_of_distribution_auroc(inside: Any, outside: Any) -> Tensor:
    """Probability that a sample from outside has the higher uncertainty than one from inside; ties count half.

    The area under the ROC curve, as the statistic of Mann and Whitney 1947 (Hanley and McNeil 1982; Hendrycks and
    Gimpel 2017 for this use). 0.5 is chance.

    Args:
        inside: uncertainties of samples like the training data, ``[samples]``.
        outside: of others, ``[other samples]``.
    """
    known, strange = as_double(inside).reshape(-1).sort().values, as_double(outside).reshape(-1)
    below, up_to = torch.searchsorted(known, strange), torch.searchsorted(known, strange, right=True)
    result = (below + up_to).to(strange.dtype).mean() / (2 * len(known))
    return _nan_where_undefined(result, known, strange)


def _nan_where_undefined(values: Tensor, *sources: Tensor) -> Tensor:
    undefined = torch.stack([source.isnan().any() for source in sources]).any()
    return torch.where(undefined, torch.nan, values)
