"""``DiffusionModel``: base of models that learn to take noise away, and so to draw samples.

A subclass sets ``network`` (noisy samples, timesteps, condition -> what the option ``prediction`` names) and says what
of a batch is the sample and what the condition. Process, losses, averaged weights and sampling are here.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.base import Batch, DataSpec
from ..layers.diffusion_process import LOSS_WEIGHTINGS, NOISE_SCHEDULES, PREDICTIONS, DiffusionProcess
from ..layers.samplers import SAMPLERS, Denoiser, NoiseSource, Sampling, draw_samples
from ..options import option, tunable
from .base_model import BaseModel

AVERAGE_RAMP = 10
"""The average follows more closely in the beginning: its decay is (1 + step) / (10 + step) until that is more than
``ema_decay``."""


@dataclass(frozen=True)
class Denoising:
    """What a network said of noisy samples, all ``[batch, ...]``.

    Attributes:
        samples, noise: what they were made from.
        timesteps: int64 ``[batch]``.
        denoised: what the network takes the samples for.
        predicted_noise: and the noise.
        condition: what it was told.
    """

    samples: Tensor
    noise: Tensor
    timesteps: Tensor
    denoised: Tensor
    predicted_noise: Tensor
    condition: Tensor


class DiffusionModel(BaseModel):
    """Base of diffusion models.

    Attributes:
        process: the noise schedule.
        network: what is trained.
        average_network: its moving average, which samples are drawn with and which validation scores.
        step: optimiser steps so far.
        last: what the last training step compared, kept while ``keep_last`` is set.
        bounds: least and greatest value of a sample, if there are such.
    """

    @dataclass(frozen=True)
    class Config(BaseModel.Config):
        """Options of every diffusion model."""

        prediction: str = tunable(
            "x0",
            search=PREDICTIONS,
            choices=PREDICTIONS,
            help="what the network says: the sample (x0), the noise, or a blend of both (v)",
        )
        noise_schedule: str = tunable(
            "cosine", search=NOISE_SCHEDULES, choices=NOISE_SCHEDULES, help="how noise grows over the timesteps"
        )
        timesteps: int = option(250, minimum=2, help="steps from sample to noise")
        loss_weighting: str = tunable(
            "none",
            search=LOSS_WEIGHTINGS,
            choices=LOSS_WEIGHTINGS,
            help="weight of the timesteps in the loss: all alike, or by their signal-to-noise ratio (min_snr)",
        )
        min_snr_gamma: float = option(5.0, above=0.0, help="the most that min_snr lets the ratio count")
        ema_decay: float = tunable(
            0.995, search=(0.99, 0.995, 0.999), minimum=0.0, maximum=0.99999, help="of the averaged weights"
        )
        sampler: str = option("ddim", choices=SAMPLERS, help="how samples are drawn by default")
        sampling_steps: int = option(25, minimum=1, help="steps of drawing a sample by default")

    config: Config
    network: nn.Module
    average_network: nn.Module
    step: Tensor
    bounds: tuple[float, float] | None = None

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.process = DiffusionProcess(config.noise_schedule, config.timesteps)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.keep_last = False
        self.last: Denoising | None = None

    def build_average(self) -> None:
        """Make the averaged copy of ``network``; called last in a subclass's ``__init__``."""
        self.average_network = copy.deepcopy(self.network).requires_grad_(False)

    # --- what a subclass gives ----------------------------------------------------------------------------------------

    @abstractmethod
    def sample_and_condition(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What of a batch is to be drawn, ``[batch, ...]``, and what is known beside it."""

    # --- training -------------------------------------------------------------------------------------------------

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted squared error of what the network says, at drawn timesteps.

        Parts, both unweighted: ``denoised_mse``, the error of the samples, and ``noise_mse``, that of the noise, which
        is the same error times the signal-to-noise ratio. Outside training the averaged weights are asked.
        """
        samples, condition = self.sample_and_condition(batch)
        if self.training:
            condition = self.with_condition_dropped(condition)
        timesteps = self.process.drawn_timesteps(len(samples), samples.device)
        noise = torch.randn_like(samples)
        loss, found = self.compare(samples, noise, timesteps, condition)
        if self.training and self.keep_last:
            self.last = found
        with torch.no_grad():
            errors = (found.denoised.float() - samples).square().flatten(1).mean(1)
            parts = {"denoised_mse": errors.mean(), "noise_mse": (errors * self.process.snr(timesteps)).mean()}
        return {"loss": loss, **parts}

    def with_condition_dropped(self, condition: Tensor) -> Tensor:
        """The condition with some samples' taken away, for those that are guided."""
        return condition

    def compare(self, samples: Tensor, noise: Tensor, timesteps: Tensor, condition: Tensor) -> tuple[Tensor, Denoising]:
        """The loss of a batch with noise of these timesteps, and what was said of it, without gradients."""
        kind = self.config.prediction
        noisy = self.process.add_noise(samples, noise, timesteps)
        network = self.network if self.training else self.average_network
        said = network(noisy, timesteps, condition)
        target = self.process.target(kind, samples, noise, timesteps)
        weights = self.process.loss_weights(kind, self.config.loss_weighting, self.config.min_snr_gamma, timesteps)
        loss = ((said.float() - target).square().flatten(1).mean(1) * weights).mean()
        with torch.no_grad():
            denoised = self.process.to_sample(kind, said.detach().float(), noisy, timesteps)
            predicted = self.process.to_noise(denoised, noisy, timesteps)
        return loss, Denoising(samples, noise, timesteps, denoised, predicted, condition)

    def after_step(self) -> None:
        """Let the averaged weights follow."""
        followers: list[Tensor] = list(self.average_network.parameters())
        followed: list[Tensor] = list(self.network.parameters())
        with torch.no_grad():
            moves = torch._foreach_sub(followed, followers)
            torch._foreach_mul_(moves, 1 - self.decay_at(self.step))
            torch._foreach_add_(followers, moves)
        self.step += 1

    def decay_at(self, step: Tensor) -> Tensor:
        """Decay of the averaged weights at a step, from 0."""
        return ((1 + step) / (AVERAGE_RAMP + step)).clamp(max=self.config.ema_decay)

    # --- drawing samples ------------------------------------------------------------------------------------------

    def denoiser(self, condition: Tensor) -> Denoiser:
        """What the averaged network takes noisy samples for under a condition."""

        def denoise(noisy: Tensor, timesteps: Tensor) -> Tensor:
            said = self.average_network(noisy, timesteps, condition)
            return self.process.to_sample(self.config.prediction, said.float(), noisy, timesteps)

        return denoise

    def default_sampling(self, seed: int = 0) -> Sampling:
        """How samples are drawn unless somebody says otherwise."""
        return Sampling(self.config.sampler, self.config.sampling_steps, 1.0, seed)

    def draw(
        self, denoise: Denoiser, source: NoiseSource, sampling: Sampling, on_step: Callable[[], None] | None = None
    ) -> Tensor:
        """Samples ``[samples, ...]``, in evaluation mode."""
        was_training = self.training
        self.eval()
        try:
            return draw_samples(self.process, denoise, source, sampling, self.bounds, on_step)
        finally:
            self.train(was_training)
