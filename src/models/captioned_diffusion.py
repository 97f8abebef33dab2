"""``CaptionedDiffusion``: base of models that draw clips from captions, whatever network takes the noise away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..data.base import Batch, DataModule, DataSpec, evenly_spaced
from ..layers.conditioning import drop_captions
from ..layers.samplers import NoiseSource, Sampling, guided, sample_seeds
from ..metrics.caption_reader import BATCH_SIZE, CaptionReader, fit_reader
from ..metrics.generation_quality import ClipQuality
from ..options import option, tunable
from ..tracking.monitors.base import Monitor
from ..tracking.monitors.diffusion import DiffusionMonitor
from .diffusion_model import DiffusionModel

CLIPS_AT_ONCE = 64
"""Clips that are drawn together, at most."""
SHOWN = 8
"""Clips that are shown after every epoch."""
SCORED = 200
"""Captions of a part that clips are drawn for after training, at most."""
REAL_CLIPS = 500
"""Real clips of a part that generated ones are compared with, at most."""
KNOWN_CLIPS = 5000
"""Training clips that the nearest one is looked for among, at most."""
PROGRESS_STEPS = 10
GAIN_CLIPS = 64
GAIN_RANGE = (0.8, 0.95)
"""Part of the timesteps that ``caption_gain`` looks at: where captions decide what a clip becomes."""


@dataclass(frozen=True)
class DrawnClips:
    """Clips that a model has drawn, to be looked at.

    Attributes:
        clips: ``[clips, frames, channels, height, width]`` from -1 to 1.
        real: real clips of the same captions, of the same shape.
        captions: in words.
        is_right: whether the reader finds the caption in the clip.
    """

    clips: Tensor
    real: Tensor
    captions: list[str]
    is_right: list[bool]


class CaptionedDiffusion(DiffusionModel):
    """Base of models that draw clips from captions.

    Attributes:
        progress: some of the clips that were drawn last, after an epoch or for the test part; None before that.
    """

    kinds: ClassVar[tuple[str, ...]] = ("captioned_video",)
    tasks: ClassVar[tuple[str, ...]] = ("generate",)
    bounds = (-1.0, 1.0)

    @dataclass(frozen=True)
    class Config(DiffusionModel.Config):
        """Options of conditioning and of drawing."""

        guidance: float = option(2.0, minimum=0.0, help="how closely captions are followed by default; 1: as learnt")
        caption_dropout: float = tunable(
            0.1, low=0.0, high=0.3, minimum=0.0, maximum=0.95, help="share of captions that training leaves out"
        )
        progress_clips: int = option(
            40, minimum=0, help="clips drawn after every epoch, to be shown and read; 0 for none"
        )

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.progress: DrawnClips | None = None
        self._quality_of = ""
        self._qualities: dict[str, ClipQuality] = {}
        self._read: dict[str, list[str]] = {}

    def sample_and_condition(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Clips and the numbers of their captions' tokens."""
        return batch.inputs, batch.targets

    def with_condition_dropped(self, condition: Tensor) -> Tensor:
        """Some captions taken away, so that the network learns what clips are like without."""
        return drop_captions(condition, self.config.caption_dropout)

    def monitors(self) -> Sequence[Monitor]:
        """What fills the categories of the diffusion guide."""
        return (DiffusionMonitor(self),)

    def forward(self, clips: Tensor, timesteps: Tensor | None = None, captions: Tensor | None = None) -> Tensor:
        """What the network says of noisy clips; without timesteps and captions, of noise alone and of any caption."""
        if timesteps is None:
            timesteps = torch.full((len(clips),), self.process.timesteps - 1, device=clips.device)
        if captions is None:
            captions = torch.zeros(len(clips), *self.spec.target_shape, dtype=torch.long, device=clips.device)
        network = self.network if self.training else self.average_network
        said: Tensor = network(clips, timesteps, captions)
        return said

    # --- drawing clips ------------------------------------------------------------------------------------------------

    def default_sampling(self, seed: int = 0) -> Sampling:
        """As the options say."""
        return Sampling(self.config.sampler, self.config.sampling_steps, self.config.guidance, seed)

    @torch.no_grad()
    def generate(
        self,
        captions: Tensor,
        sampling: Sampling | None = None,
        seeds: Sequence[int] | None = None,
        on_step: Callable[[], None] | None = None,
    ) -> Tensor:
        """Draw a clip for each caption.

        Args:
            captions: numbers of tokens, int64 ``[clips, tokens]``, 0 being padding.
            sampling: how; by default as the options say.
            seeds: of every clip's noise; by default they follow from ``sampling.seed`` and the clip's number.
            on_step: called after every step of every ``CLIPS_AT_ONCE`` clips.

        Returns:
            ``[clips, frames, channels, height, width]`` from -1 to 1.
        """
        sampling = sampling or self.default_sampling()
        seeds = sample_seeds(sampling.seed, len(captions)) if seeds is None else list(seeds)
        drawn = []
        for first in range(0, len(captions), CLIPS_AT_ONCE):
            asked = captions[first : first + CLIPS_AT_ONCE].to(self.device)
            source = NoiseSource(seeds[first : first + CLIPS_AT_ONCE], self.spec.input_shape, self.device)
            denoise = guided(self.denoiser(asked), self.denoiser(torch.zeros_like(asked)), sampling.guidance)
            drawn.append(self.draw(denoise, source, sampling, on_step).clamp(-1, 1))
        return torch.cat(drawn) if drawn else torch.empty(0, *self.spec.input_shape)

    # --- what drawn clips are worth -----------------------------------------------------------------------------------

    def validation_metrics(self, data: DataModule) -> dict[str, float]:
        """What captions help against noise, and what a reader makes of clips drawn for some of them.

        Captions and noise are the same after every epoch.
        """
        found = {"caption_gain": self._caption_gain(data)}
        if self.config.progress_clips:
            steps = min(PROGRESS_STEPS, self.config.sampling_steps)
            sampling = Sampling("ddim", steps, self.config.guidance, seed=1)
            found |= self._draw_and_score(data, "validation", self.config.progress_clips, sampling)
        return found

    def part_metrics(self, data: DataModule, part: str) -> dict[str, float]:
        """What clips drawn for up to 200 captions of a part are worth; ``real_...`` is what real clips of it reach."""
        found = self._draw_and_score(data, part, SCORED, self.default_sampling(seed=2))
        return found | {f"real_{name}": value for name, value in self.quality(data, part).ceiling.items()}

    def drawn_captions(self, data: Any, part: str) -> dict[str, list[str]]:
        """Captions that clips were drawn for in ``part_metrics``, and what the reader found in them, as columns."""
        captions = getattr(data, part).captions(_spread(getattr(data, part), SCORED))
        return {"caption": captions, "read": self._read.get(part, [""] * len(captions))}

    def quality(self, data: Any, part: str) -> ClipQuality:
        """What clips are scored with: a reader fitted to the training part, and real clips of a part.

        They are made once for some data and kept.
        """
        key = str(data.fingerprint()["test_hash"])
        if key != self._quality_of:
            self._quality_of, self._qualities = key, {}
        if part not in self._qualities:
            split = getattr(data, part)
            real = split.select(_spread(split, REAL_CLIPS))
            known = data.train.select(_spread(data.train, KNOWN_CLIPS)).inputs
            candidates = torch.unique(data.train.tokens(), dim=0)
            others = list(self._qualities.values())
            reader = others[0].reader if others else _fitted_reader(data)
            self._qualities[part] = ClipQuality(reader, candidates, known, real.inputs, real.targets)
        return self._qualities[part]

    def _draw_and_score(self, data: Any, part: str, count: int, sampling: Sampling) -> dict[str, float]:
        """Draw clips for captions of a part, evenly spaced, score them, and keep some of them to be shown."""
        split = getattr(data, part)
        index = _spread(split, count)
        batch, quality = split.select(index), self.quality(data, part)
        clips = self.generate(batch.targets, sampling)
        scores = quality.score(clips, batch.targets)
        read = quality.read(clips, batch.targets).cpu()
        right = (read == batch.targets.cpu()).all(1)
        self._read[part] = [data.tokenizer.spelt(row) for row in read.tolist()]
        places = _spread(index, SHOWN)
        self.progress = DrawnClips(
            clips[places], batch.inputs[places], split.captions(index[places]), right[places].tolist()
        )
        return scores

    @torch.no_grad()
    def _caption_gain(self, data: DataModule) -> float:
        """Share by which captions make the error of very noisy validation clips smaller."""
        low, high = (round(share * self.process.timesteps) for share in GAIN_RANGE)
        batch = next(iter(evenly_spaced(data.validation, GAIN_CLIPS)))
        clips, captions = self.sample_and_condition(batch)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(clips.shape, generator=generator).to(clips.device)
        timesteps = torch.linspace(low, max(low, high - 1), len(clips)).round().long().to(clips.device)
        timesteps = timesteps.clamp(max=self.process.timesteps - 1)
        with_it, without = (
            self.compare(clips, noise, timesteps, told)[1].denoised for told in (captions, torch.zeros_like(captions))
        )
        errors = [float((denoised - clips).square().mean()) for denoised in (with_it, without)]
        return 1 - errors[0] / errors[1] if errors[1] else 0.0


def _spread(samples: Any, most: int) -> Tensor:
    """Numbers of at most so many samples, evenly spaced over all of them, int64."""
    count = min(most, len(samples))
    return (torch.arange(count) * len(samples)) // max(1, count)


def _fitted_reader(data: Any) -> CaptionReader:
    """A reader of the training part's captions."""
    generator = torch.Generator().manual_seed(0)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from ((batch.inputs, batch.targets) for batch in data.train.batches(BATCH_SIZE, generator))

    return fit_reader(batches, data.train.tokens(), data.spec.input_shape, data.spec.vocabulary)
