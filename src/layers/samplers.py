"""From noise to samples: DDPM's random steps and DDIM's straight ones, and guidance by a condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import OptionError
from .diffusion_process import DiffusionProcess

SAMPLERS = ("ddim", "ddpm")

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Noisy samples ``[batch, ...]`` and timesteps ``[batch]`` -> what the samples were."""


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn.

    Attributes:
        sampler: ``ddpm`` or ``ddim``.
        steps: how many, evenly spaced over the timesteps; None for all of them.
        guidance: 1 for the condition as it is, 0 for none, more to follow it more closely (Ho and Salimans 2022, arXiv
            2207.12598).
        seed: of the noise; sample number n has noise of its own, whatever is drawn beside it.

    Raises:
        OptionError: if one is not allowed.
    """

    sampler: str = "ddim"
    steps: int | None = 25
    guidance: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise OptionError(f"sampler must be one of {', '.join(SAMPLERS)}, but got '{self.sampler}'")
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"steps must be at least 1, but got {self.steps}; 25 is usual for ddim")
        if not 0 <= self.guidance < float("inf"):
            raise OptionError(f"guidance must be 0 or more, but got {self.guidance}; 1 to 4 is usual")


class NoiseSource:
    """Noise for samples, each from a generator of its own: a sample does not depend on which others are drawn.

    Drawn on the CPU, so that it does not depend on the device.

    Args:
        seeds: one for each sample.
        shape: of a sample.
        device: where the noise is wanted.
    """

    def __init__(self, seeds: Iterable[int], shape: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._shape, self._device = tuple(shape), device

    def draw(self) -> Tensor:
        """Normal noise ``[samples, ...]``, other numbers at every call."""
        drawn = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)


class SharedNoise:
    """Noise for several draws of every window, the same for all windows, so that they do not depend on one another.

    For each value the draws are spread evenly over the normal distribution, in random order (Latin hypercube, McKay et
    al. 1979): means and quantiles of few draws are then nearer to those of many.

    Args:
        draws: of each window.
        shape: rows of a window and values in a row.
        windows: how many there are.
        seed: of the order.
        device: where the noise is wanted.
    """

    def __init__(self, draws: int, shape: tuple[int, int], windows: int, seed: int, device: torch.device) -> None:
        self._draws, self._shape, self._windows, self._device = draws, shape, windows, device
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self) -> Tensor:
        """Noise ``[draws, windows * rows, values]``, other numbers at every call."""
        ranks = torch.rand(self._draws, *self._shape, generator=self._generator).argsort(0)
        noise = torch.special.ndtri((ranks + 0.5) / self._draws)
        return noise[:, None].expand(-1, self._windows, -1, -1).flatten(1, 2).to(self._device)


def sample_seeds(seed: int, count: int) -> list[int]:
    """Seeds for samples number 0 to ``count - 1``, all different for different seeds and numbers."""
    return [seed * 1_000_003 + number for number in range(count)]


def guided(conditional: Denoiser, unconditional: Denoiser, guidance: float) -> Denoiser:
    """What a denoiser says with a condition, driven further away from what it says without one.

    ``without + guidance (with - without)``: of samples as good as of noise, as one is a line in the other. With a
    guidance of 1 or 0 only one of them is asked.
    """
    if guidance == 1:
        return conditional
    if guidance == 0:
        return unconditional

    def both(noisy: Tensor, timesteps: Tensor) -> Tensor:
        without = unconditional(noisy, timesteps)
        return without + guidance * (conditional(noisy, timesteps) - without)

    return both


def timestep_path(total: int, steps: int | None) -> list[int]:
    """The timesteps that are visited, falling from ``total - 1`` to 0 in even strides; at most all of them."""
    count = total if steps is None else min(steps, total)
    if count == 1:
        return [total - 1]
    return torch.linspace(total - 1, 0, count, dtype=torch.float64).round().long().tolist()


@torch.no_grad()
def draw_samples(
    process: DiffusionProcess,
    denoise: Denoiser,
    source: NoiseSource | SharedNoise,
    sampling: Sampling,
    bounds: tuple[float, float] | None = None,
    on_step: Callable[[], None] | None = None,
) -> Tensor:
    """Walk from noise to samples.

    Args:
        process: the noise schedule.
        denoise: what says what noisy samples were.
        source: of the noise that is begun with and, for ``ddpm``, of that in between.
        sampling: sampler and steps; guidance is the business of ``denoise``.
        bounds: least and greatest value of a sample; what ``denoise`` says is cut off there.
        on_step: called after every step, for progress.

    Returns:
        ``[samples, ...]``.
    """
    noisy = source.draw()
    path = timestep_path(process.timesteps, sampling.steps)
    for place, timestep in enumerate(path):
        before = path[place + 1] if place + 1 < len(path) else -1
        now, then = (torch.full((len(noisy),), at, device=noisy.device) for at in (timestep, before))
        samples = denoise(noisy, now)
        if bounds is not None:
            samples = samples.clamp(*bounds)
        noise = source.draw() if sampling.sampler == "ddpm" and before >= 0 else None
        noisy = process.step_back(samples, noisy, now, then, noise)
        if on_step is not None:
            on_step()
    return noisy
