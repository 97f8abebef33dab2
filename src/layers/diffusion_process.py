"""Gaussian diffusion: how a sample turns into noise step by step, and how what a network says of it is turned around.

``x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e`` with noise ``e`` and ``a_t``, the share of the signal's variance that is left
at timestep t (Sohl-Dickstein et al. 2015, arXiv 1503.03585; Ho et al. 2020, arXiv 2006.11239). Timesteps run from 0,
hardly any noise, to ``timesteps - 1``, next to nothing else; -1 stands for the sample itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

NOISE_SCHEDULES = ("cosine", "linear", "sigmoid")
PREDICTIONS = ("x0", "v", "noise")
LOSS_WEIGHTINGS = ("none", "min_snr")

_LARGEST_BETA = 0.999


def signal_shares(schedule: str, timesteps: int) -> Tensor:
    """The share of the signal's variance that is left at every timestep, falling, float64 ``[timesteps]``.

    ``linear``: betas in a line from .0001 to .02 for 1,000 timesteps, as much noise in all for other numbers (Ho et al.
    2020); ``cosine``: cos^2, with an offset of .008 (Nichol and Dhariwal 2021, arXiv 2102.09672); ``sigmoid``: from -3
    to 3 (Jabri et al. 2022, arXiv 2212.11972). No step takes more than .999 of what was left.

    Args:
        schedule: one of ``NOISE_SCHEDULES``.
        timesteps: how many, at least 2.
    """
    done = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    if schedule == "linear":
        betas = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64) * (1000 / timesteps)
    else:
        if schedule == "cosine":
            left = torch.cos((done + 0.008) / 1.008 * (math.pi / 2)).square()
        else:
            ends = torch.sigmoid(torch.tensor([-3.0, 3.0], dtype=torch.float64))
            left = (ends[1] - torch.sigmoid(6 * done - 3)) / (ends[1] - ends[0])
        betas = 1 - left[1:] / left[:-1]
    return (1 - betas.clamp(max=_LARGEST_BETA)).cumprod(0)


class DiffusionProcess(nn.Module):
    """A noise schedule, and what follows from it in closed form.

    Samples, noise and what networks say of them are ``[batch, ...]``; timesteps are int64 ``[batch]``.

    Args:
        schedule: one of ``NOISE_SCHEDULES``.
        timesteps: how many.

    Attributes:
        alphas_cumprod: the share of the signal's variance that is left, ``[timesteps]``.
    """

    alphas_cumprod: Tensor
    _signal: Tensor
    _noise: Tensor
    _snr: Tensor

    def __init__(self, schedule: str, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.register_buffer("alphas_cumprod", signal_shares(schedule, timesteps).float(), persistent=False)
        # The sample itself in front, so that timestep -1 is at hand; shares of noise in their own right, as 1 - a in
        # single precision would lose the small ones.
        shares = torch.cat([torch.ones(1, dtype=torch.float64), signal_shares(schedule, timesteps)])
        self.register_buffer("_signal", shares.sqrt().float(), persistent=False)
        self.register_buffer("_noise", (1 - shares).sqrt().float(), persistent=False)
        self.register_buffer("_snr", (shares / (1 - shares)).float(), persistent=False)

    def signal_and_noise(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """``sqrt(a_t)`` and ``sqrt(1 - a_t)``, ``[batch, 1, ...]`` with as many axes as ``like``."""
        shape = (-1, *(1,) * (like.ndim - 1))
        places = timesteps + 1
        return self._signal[places].view(shape), self._noise[places].view(shape)

    def snr(self, timesteps: Tensor) -> Tensor:
        """Signal-to-noise ratio ``a_t / (1 - a_t)``, ``[batch]``."""
        return self._snr[timesteps + 1]

    def add_noise(self, samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The noisy samples x_t."""
        signal, deviation = self.signal_and_noise(timesteps, samples)
        return signal * samples + deviation * noise

    def drawn_timesteps(self, count: int, device: torch.device) -> Tensor:
        """Timesteps for a batch, int64 ``[count]``: one from each of ``count`` equal parts of all of them, in random
        order, which makes the loss vary less from batch to batch (Kingma et al. 2021, arXiv 2107.00630)."""
        places = (torch.randperm(count, device=device) + torch.rand(count, device=device)) / count
        return (places * self.timesteps).long().clamp(max=self.timesteps - 1)

    # --- what networks say --------------------------------------------------------------------------------------------

    def target(self, prediction: str, samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a network should say of the noisy samples.

        Args:
            prediction: ``x0``, the samples; ``noise``; or ``v``, sqrt(a) noise - sqrt(1 - a) sample (Salimans and Ho
                2022, arXiv 2202.00512).
            samples, noise, timesteps: as above.
        """
        if prediction == "x0":
            return samples
        if prediction == "noise":
            return noise
        signal, deviation = self.signal_and_noise(timesteps, samples)
        return signal * noise - deviation * samples

    def to_sample(self, prediction: str, said: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """What a network says of noisy samples, as samples."""
        if prediction == "x0":
            return said
        signal, deviation = self.signal_and_noise(timesteps, noisy)
        if prediction == "noise":
            return (noisy - deviation * said) / signal
        return signal * noisy - deviation * said

    def to_noise(self, samples: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The noise that is in noisy samples if ``samples`` are what they were; timesteps from 0."""
        signal, deviation = self.signal_and_noise(timesteps, noisy)
        return (noisy - signal * samples) / deviation

    def loss_weights(self, prediction: str, weighting: str, gamma: float, timesteps: Tensor) -> Tensor:
        """Weight of each sample's squared error, ``[batch]``.

        ``min_snr`` is, for errors of samples, min(SNR, gamma) (Hang et al. 2023, arXiv 2303.09556), and the same for
        the other predictions: over SNR for noise, over SNR + 1 for v.
        """
        if weighting == "none":
            return torch.ones_like(timesteps, dtype=torch.float32)
        snr = self.snr(timesteps)
        least = snr.clamp(max=gamma)
        return {"x0": least, "noise": least / snr, "v": least / (snr + 1)}[prediction]

    # --- the way back -------------------------------------------------------------------------------------------------

    def posterior(self, samples: Tensor, noisy: Tensor, timesteps: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of x at ``before`` given the noisy samples at ``timesteps`` and what they were.

        Ho et al. 2020, equation 7, for any two timesteps; ``before`` may be -1.

        Returns:
            the mean ``[batch, ...]`` and the variance ``[batch, 1, ...]``.
        """
        signal, deviation = self.signal_and_noise(timesteps, noisy)
        signal_before, deviation_before = self.signal_and_noise(before, noisy)
        kept = signal / signal_before  # sqrt of the share that survives from ``before`` to ``timesteps``
        added = deviation.square() - (kept * deviation_before).square()
        of_sample = signal_before * added / deviation.square()
        of_noisy = kept * deviation_before.square() / deviation.square()
        return of_sample * samples + of_noisy * noisy, deviation_before.square() * added / deviation.square()

    def step_back(
        self, samples: Tensor, noisy: Tensor, timesteps: Tensor, before: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """From x at ``timesteps`` to x at ``before``, if ``samples`` are what they were.

        Without ``noise`` in a straight line (DDIM, Song et al. 2021, arXiv 2010.02502, equation 12 with eta 0); with it
        a draw from the posterior (DDPM).
        """
        if noise is not None:
            mean, variance = self.posterior(samples, noisy, timesteps, before)
            return mean + variance.clamp(min=0).sqrt() * noise
        signal, deviation = self.signal_and_noise(before, noisy)
        return signal * samples + deviation * self.to_noise(samples, noisy, timesteps)
