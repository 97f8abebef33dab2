"""Diffusion models: how well they predict noise, at which timesteps, and how good a generated video is.

Every function returns tensors on the device of its input and never waits for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError

_LEAST_SHARE = 1e-7

BUCKETS = 4
"""Parts of equal length that the timesteps are divided into."""


def noise_prediction_metrics(predicted: Tensor, actual: Tensor) -> dict[str, Tensor]:
    """How near predicted noise comes to the noise that was added, both of one shape.

    Returns:
        0-dimensional tensors: ``mse``, ``correlation`` (Pearson, over all elements), and ``predicted_mean``,
        ``predicted_std``, ``actual_mean``, ``actual_std``.
    """
    found, wanted = predicted.detach().float().flatten(), actual.detach().float().flatten()
    found_std, wanted_std = found.std(correction=0), wanted.std(correction=0)
    covariance = ((found - found.mean()) * (wanted - wanted.mean())).mean()
    return {
        "mse": (found - wanted).square().mean(),
        "correlation": covariance / (found_std * wanted_std),
        "predicted_mean": found.mean(),
        "predicted_std": found_std,
        "actual_mean": wanted.mean(),
        "actual_std": wanted_std,
    }


def mse_per_sample(predicted: Tensor, actual: Tensor) -> Tensor:
    """Mean squared error of every sample: ``[batch, ...]`` each, result ``[batch]``."""
    return (predicted.detach().float() - actual.detach().float()).square().flatten(1).mean(1)


def schedule_snr(alphas_cumprod: Tensor) -> Tensor:
    """Signal-to-noise ratio of a noise schedule in decibels, 10 log10(a / (1 - a)), ``[timesteps]`` each.

    It belongs to the schedule (Kingma et al. 2021, "Variational diffusion models") and says nothing about data or
    model; what changes in training is which timesteps are drawn. Without signal or without noise it is cut off at -70
    and 70.

    Args:
        alphas_cumprod: the share of the signal's variance that is left at a timestep.
    """
    left = alphas_cumprod.detach().float().clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)
    return 10 * (left.log10() - (1 - left).log10())


def bucket_of(timesteps: Tensor, total: int, buckets: int = BUCKETS) -> Tensor:
    """The part, from 0, that each of ``[batch]`` timesteps (from 0 to ``total - 1``) falls into."""
    return (timesteps.detach().long() * buckets // total).clamp(0, buckets - 1)


def bucket_sums(values: Tensor, bucket: Tensor, buckets: int = BUCKETS) -> tuple[Tensor, Tensor]:
    """Sum of ``[batch]`` values and number of samples in every bucket, ``[buckets]`` each."""
    chosen = (bucket[:, None] == torch.arange(buckets, device=bucket.device)).to(values.dtype)
    return values @ chosen, chosen.sum(0)


def snr_of_buckets(alphas_cumprod: Tensor, buckets: int = BUCKETS) -> Tensor:
    """Mean signal-to-noise ratio of the schedule in decibels in every part of the timesteps, ``[buckets]``."""
    ratios = schedule_snr(alphas_cumprod)
    places = bucket_of(torch.arange(len(ratios), device=ratios.device), len(ratios), buckets)
    sums, counts = bucket_sums(ratios, places, buckets)
    return sums / counts


def video_statistics(video: Tensor) -> dict[str, Tensor]:
    """What a video, or a batch of them, ``[..., time, channels, height, width]``, looks like as numbers.

    Returns:
        0-dimensional tensors: ``mean``, ``std``, ``min``, ``max`` of all values, and ``frame_difference``, the mean
        absolute change from one frame to the next: 0 for a still.
    """
    values = video.detach().float()
    return {
        "mean": values.mean(),
        "std": values.std(correction=0),
        "min": values.min(),
        "max": values.max(),
        "frame_difference": values.diff(dim=-4).abs().mean(),
    }


def video_quality(generated: Tensor, reference: Tensor, peak: float = 1.0) -> dict[str, Tensor]:
    """Distance of generated videos from true ones of the same shape.

    Args:
        generated, reference: values from 0 to ``peak``.
        peak: the greatest value there can be.

    Returns:
        0-dimensional tensors: ``mse`` and ``psnr``, the peak signal-to-noise ratio 10 log10(peak^2 / MSE) in decibels.
    """
    mse = (generated.detach().float() - reference.detach().float()).square().mean()
    return {"mse": mse, "psnr": 10 * (peak * peak / mse).log10()}


def frechet_distance(generated: Tensor, real: Tensor) -> Tensor:
    """Distance of two sets of features as if both were normally distributed, 0-dimensional.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` (Dowson and Landau 1982; for generated pictures Heusel et al. 2017,
    arXiv 1706.08500). It is the larger the fewer samples there are, so compare sets of one size only.

    Args:
        generated, real: ``[samples, size]``, at least two samples each.

    Raises:
        UserError: if there are fewer.
    """
    if min(len(generated), len(real)) < 2:
        raise UserError(
            f"a Frechet distance needs at least 2 samples of each kind, but got {len(generated)} and {len(real)}"
        )
    first, second = generated.detach().double().cpu(), real.detach().double().cpu()
    first_covariance, second_covariance = (torch.atleast_2d(torch.cov(each.T)) for each in (first, second))
    values, vectors = torch.linalg.eigh(first_covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # The eigenvalues of C1 C2 are those of C1^(1/2) C2 C1^(1/2), which is symmetric.
    product = torch.linalg.eigvalsh(root @ second_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (first.mean(0) - second.mean(0)).square().sum()
    return (apart + first_covariance.trace() + second_covariance.trace() - 2 * product).clamp(min=0)


def diversity(features: Tensor, groups: Tensor | None = None) -> Tensor:
    """Mean distance of two different samples, 0-dimensional; NaN where there are no two.

    Args:
        features: ``[samples, size]``.
        groups: int64 ``[samples]``: only samples of one group are compared, e.g. clips of one caption.
    """
    values = features.detach().double()
    distances = torch.cdist(values, values)
    compared = ~torch.eye(len(values), dtype=torch.bool, device=values.device)
    if groups is not None:
        compared &= groups[:, None] == groups
    return distances[compared].mean()


def nearest_distances(samples: Tensor, known: Tensor, at_once: int = 128) -> tuple[Tensor, Tensor]:
    """How far each sample is from the nearest known one, by the root of the mean squared difference.

    Args:
        samples, known: ``[samples, ...]`` of one shape.
        at_once: samples that are compared together, which bounds the memory.

    Returns:
        distances ``[samples]``, and which known one it is, int64 ``[samples]``.
    """
    values, others = samples.detach().flatten(1).float(), known.detach().flatten(1).float()
    found = [torch.cdist(piece, others).min(1) for piece in values.split(at_once)]
    distances = torch.cat([pair.values for pair in found]) / values.shape[1] ** 0.5
    return distances, torch.cat([pair.indices for pair in found])


class NoiseSchedule:
    """A noise schedule, and how well noise is predicted in which part of it.

    Args:
        alphas_cumprod: the share of the signal's variance that is left at every timestep, ``[timesteps]``, falling.

    Raises:
        UserError: if it is not one row of shares.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        left = torch.as_tensor(alphas_cumprod).detach().float()
        if left.ndim != 1 or not len(left) or not bool(((left >= 0) & (left <= 1)).all()):
            raise UserError(
                "alphas_cumprod must be one number from 0 to 1 for each timestep, but got the shape "
                f"{list(left.shape)}; with betas it is (1 - betas).cumprod(0)"
            )
        self.total = len(left)
        self._snr = schedule_snr(left)
        self._betas = 1 - left / torch.cat([left.new_ones(1), left[:-1]]).clamp_min(torch.finfo(left.dtype).tiny)
        self._bucket_snr = snr_of_buckets(left)
        self._sums = self._counts = torch.zeros(BUCKETS)

    def at(self, timesteps: Tensor) -> dict[str, Tensor]:
        """Means over ``[batch]`` timesteps: ``snr`` in decibels and ``beta``, the variance that a timestep adds."""
        self._follow(timesteps)
        places = timesteps.detach().long()
        return {"snr": self._snr[places].mean(), "beta": self._betas[places].mean()}

    def add(self, errors: Tensor, timesteps: Tensor) -> None:
        """Take in the squared error of every sample, ``[batch]`` each."""
        self._follow(timesteps)
        sums, counts = bucket_sums(errors.detach().float(), bucket_of(timesteps, self.total))
        self._sums, self._counts = self._sums + sums, self._counts + counts

    def by_bucket(self) -> dict[str, Tensor]:
        """Of everything added since the last call, ``[buckets]`` each: ``mse`` (NaN for a bucket without samples),
        ``share`` of the samples; and ``snr`` of the schedule itself in decibels."""
        sums, counts = self._sums, self._counts
        self._sums, self._counts = torch.zeros_like(sums), torch.zeros_like(counts)
        return {"mse": sums / counts, "share": counts / counts.sum(), "snr": self._bucket_snr}

    def _follow(self, timesteps: Tensor) -> None:
        """Move to where the timesteps are; once."""
        if self._snr.device != timesteps.device:
            self._snr, self._betas = self._snr.to(timesteps.device), self._betas.to(timesteps.device)
            self._sums, self._counts = self._sums.to(timesteps.device), self._counts.to(timesteps.device)
            self._bucket_snr = self._bucket_snr.to(timesteps.device)
