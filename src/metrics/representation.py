"""Is a learned representation rich or collapsed, and how near do predictions of it come.

Every function returns 0-dimensional tensors on the device of its input and never waits for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DEAD_STD = 0.001
"""Deviation of a normalised dimension below which it is counted as dead."""
MOST_ROWS = 512
_TRIANGULAR_STEPS = 12


def evenly_spaced_rows(features: Tensor, most_rows: int = MOST_ROWS) -> Tensor:
    """At most ``most_rows`` vectors of ``[..., dimensions]`` as ``[rows, dimensions]``, evenly spaced, not drawn."""
    rows = features.detach().reshape(-1, features.shape[-1])
    stride = max(1, math.ceil(len(rows) / most_rows))
    return rows[::stride].float()


def collapse_metrics(features: Tensor, most_rows: int = MOST_ROWS, *, centred: bool = False) -> dict[str, Tensor]:
    """What tells a collapsed representation, in which all samples look alike, from a rich one.

    Args:
        features: ``[..., dimensions]``; all but the last axis count as samples.
        most_rows: how many samples are looked at, evenly spaced ones.
        centred: whether the rank of the features without their mean is wanted, too; a collapse it does not see.

    Returns:
        0-dimensional tensors: ``mean_std_per_dim`` and ``min_std_per_dim``, the deviation over samples of each
        dimension, mean and least, after every sample has been scaled to length sqrt(dimensions), so that thresholds do
        not depend on the scale of the features (1 at most, for directions spread evenly); ``raw_std_per_dim``, the
        mean without the scaling; ``dead_dimensions_percent``, the share of dimensions whose scaled deviation is below
        0.001; ``effective_rank``; ``mean_similarity``; and ``centred_effective_rank``, if wanted.
    """
    rows = evenly_spaced_rows(features, most_rows)
    deviations = (_unit(rows) * math.sqrt(rows.shape[-1])).std(0, correction=0)
    found = {
        "mean_std_per_dim": deviations.mean(),
        "min_std_per_dim": deviations.min(),
        "raw_std_per_dim": rows.std(0, correction=0).mean(),
        "dead_dimensions_percent": 100 * (deviations < DEAD_STD).float().mean(),
        "effective_rank": effective_rank(rows, most_rows),
        "mean_similarity": mean_similarity(rows, most_rows),
    }
    if centred:
        found["centred_effective_rank"] = effective_rank(rows - rows.mean(0), most_rows)
    return found


def effective_rank(features: Tensor, most_rows: int = MOST_ROWS) -> Tensor:
    """How many directions the features use: the exponential of the entropy of their normalised singular values.

    Roy and Vetterli 2007, "The effective rank"; on features that are not centred as in RankMe (Garrido et al. 2023,
    arXiv 2210.02885). It is between 1 and the lesser of samples and dimensions, so it compares only between equal
    numbers of samples. NaN if a feature is not finite.

    Args:
        features: ``[..., dimensions]``.
        most_rows: how many samples are looked at.
    """
    rows = evenly_spaced_rows(features, most_rows)
    finite = rows.isfinite().all()
    values = _singular_values(torch.where(finite, rows, torch.zeros_like(rows)))
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    rank = torch.special.entr(shares).sum().exp()
    return torch.where(finite, rank, torch.full_like(rank, math.nan))


def mean_similarity(features: Tensor, most_rows: int = MOST_ROWS) -> Tensor:
    """Mean cosine similarity over all pairs of different samples of ``[..., dimensions]``; near 1 when collapsed."""
    unit = _unit(evenly_spaced_rows(features, most_rows))
    count = len(unit)
    # The sum of all products, of samples with themselves too, is the squared length of the sum.
    products = unit.sum(0).square().sum() - unit.square().sum()
    return products / (count * (count - 1)) if count > 1 else torch.full_like(products, math.nan)


def cosine_similarities(predictions: Tensor, targets: Tensor) -> Tensor:
    """Cosine similarity of every prediction with its target: both ``[..., dimensions]``, result ``[samples]``."""
    dimensions = predictions.shape[-1]
    found, wanted = predictions.detach().reshape(-1, dimensions), targets.detach().reshape(-1, dimensions)
    return (_unit(found.float()) * _unit(wanted.float())).sum(-1)


def prediction_quality(predictions: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """How near predicted features come to their targets, both ``[..., dimensions]``; see ``similarity_summary``."""
    return similarity_summary(cosine_similarities(predictions, targets))


def similarity_summary(similarities: Tensor) -> dict[str, Tensor]:
    """Cosine similarities ``[samples]`` in a few numbers.

    Returns:
        ``cosine_sim_mean``, ``cosine_sim_std``, ``cosine_sim_min``, ``cosine_sim_max``; ``normalized_mse``, the mean
        squared error between predictions and targets after each has been scaled to length sqrt(dimensions), which is
        2 - 2 x cosine (the loss of BYOL, Grill et al. 2020): 0 for the right direction, 2 for an unrelated one.
    """
    mean = similarities.mean()
    return {
        "cosine_sim_mean": mean,
        "cosine_sim_std": similarities.std(correction=0),
        "cosine_sim_min": similarities.min(),
        "cosine_sim_max": similarities.max(),
        "normalized_mse": 2 - 2 * mean,
    }


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=-1)


def _singular_values(rows: Tensor) -> Tensor:
    """Singular values of finite ``[rows, columns]``; away from the CPU nearly, since the exact way waits there."""
    return torch.linalg.svdvals(rows) if rows.device.type == "cpu" else triangular_singular_values(rows)


def triangular_singular_values(rows: Tensor) -> Tensor:
    """Singular values by repeated QR decomposition of the triangular factor (Stewart 1999, "The QLP approximation").

    Not exact where values lie close together, where it mixes them: the effective rank is right to about 0.3 %.
    """
    if rows.shape[0] < rows.shape[1]:
        rows = rows.T
    factor = torch.linalg.qr(rows, mode="r").R
    for _ in range(_TRIANGULAR_STEPS):
        factor = torch.linalg.qr(factor.T, mode="r").R
    return factor.diagonal().abs()


class EvenSample:
    """Evenly spaced samples of a whole data set, gathered batch by batch in bounded memory.

    Every so many-th sample is kept; when there are too many, every second one of them is dropped.

    Args:
        most_rows: how many are kept at least, once there have been so many, and half of how many at most.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows, self._stride, self._seen, self._count = most_rows, 1, 0, 0
        self._kept: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Take in ``[..., dimensions]``."""
        rows = features.detach().reshape(-1, features.shape[-1])
        chosen = rows[-self._seen % self._stride :: self._stride].clone()  # a view would hold the whole batch
        self._seen += len(rows)
        self._count += len(chosen)
        self._kept.append(chosen)
        while self._count > 2 * self._most_rows:
            self._kept = [torch.cat(self._kept)[::2].clone()]
            self._count = len(self._kept[0])
            self._stride *= 2

    def rows(self) -> Tensor:
        """``[rows, dimensions]``.

        Raises:
            IndexError: if nothing has been added.
        """
        return torch.cat(self._kept) if len(self._kept) > 1 else self._kept[0]


def combined_similarities(counts: list[int], summaries: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """``similarity_summary`` of all samples together from those of batches of so many samples."""
    columns = {name: torch.stack([summary[name] for summary in summaries]) for name in summaries[0]}
    mean_column = columns["cosine_sim_mean"]
    shares = torch.tensor(counts, dtype=mean_column.dtype).to(mean_column.device) / sum(counts)
    mean = (shares * mean_column).sum()
    variance = (shares * (columns["cosine_sim_std"].square() + (mean_column - mean).square())).sum()
    return {
        "cosine_sim_mean": mean,
        "cosine_sim_std": variance.sqrt(),
        "cosine_sim_min": columns["cosine_sim_min"].min(),
        "cosine_sim_max": columns["cosine_sim_max"].max(),
        "normalized_mse": 2 - 2 * mean,
    }
