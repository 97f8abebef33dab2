"""Diffusion models: clips drawn from a caption, and paths of a series drawn from its look-back window.

Training takes noise away from noisy samples; drawing starts from noise alone (Ho et al. 2020, arXiv 2006.11239). What
is predicted by default is the sample, not the noise: at equal steps, captions are learnt several times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..data.base import Batch, DataModule, DataSpec, evenly_spaced
from ..errors import OptionError
from ..layers.normalisation import WindowNormalisation, WindowStatistics
from ..layers.samplers import Sampling, SharedNoise, draw_samples
from ..layers.series_denoiser import ReturnNormalisation, SeriesDenoiser
from ..layers.video_transformer import VideoTransformer
from ..layers.video_unet import GROUPS, VideoUNet
from ..metrics.distributions import LEVEL, ForecastDistribution
from ..metrics.proper_scores import interval_score
from ..options import option, tunable
from ..registry import register_model
from ..tracking.monitors.base import Monitor
from ..tracking.monitors.diffusion import DiffusionMonitor
from .captioned_diffusion import CaptionedDiffusion
from .diffusion_model import DiffusionModel
from .sequence_model import NormalisedWindows, window_normalisation

SCALED_WINDOWS = 4000
"""Training windows at most that the scale of targets is found from."""
LEAST_SCALE = 1e-4
WINDOWS_AT_ONCE = 64
PROGRESS_WINDOWS, CALIBRATION_WINDOWS = 128, 512
"""Validation windows at most that are forecast after an epoch, and after training."""
SPREADS = tuple(0.7 + 0.05 * number for number in range(17))


@register_model("diffusion:video", by_default="captioned_video")
class VideoDiffusion(CaptionedDiffusion):
    """Clips from captions: a small U-Net over space and time that takes noise away."""

    @dataclass(frozen=True)
    class Config(CaptionedDiffusion.Config):
        """Options of the network."""

        hidden_size: int = tunable(
            32, low=16, high=128, log=True, minimum=8, multiple_of="num_heads", help="channels at the finer resolution"
        )
        num_blocks: int = tunable(1, search=(1, 2), minimum=1, help="residual blocks at each resolution, down and up")
        num_attentions: int = option(2, minimum=0, help="times that the coarser resolution is looked over")
        num_heads: int = tunable(4, search=(1, 2, 4, 8), minimum=1, help="attention heads; must divide hidden_size")
        attention: str = tunable(
            "factorised",
            search=("factorised", "full"),
            choices=("factorised", "full"),
            help="within frames and then along time, or between all places of all frames",
        )
        patch: int | None = option(None, minimum=1, help="pixels on a side of a place", default_text="2 or more")

        def check(self) -> None:
            """Refuse sizes that do not go together."""
            if self.hidden_size % GROUPS:
                raise OptionError(f"hidden_size must be a multiple of {GROUPS}, but got {self.hidden_size}")
            if self.hidden_size % self.num_heads:
                raise OptionError(
                    f"hidden_size must be a multiple of num_heads, but got {self.hidden_size} and {self.num_heads}"
                )

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        patch = config.patch or _patch_of(spec)
        _check_sides(spec, 2 * patch, patch)
        self.network = VideoUNet(
            spec.input_shape,
            patch=patch,
            size=config.hidden_size,
            blocks=config.num_blocks,
            attention=config.num_attentions,
            heads=config.num_heads,
            factorised=config.attention == "factorised",
            vocabulary=spec.vocabulary,
            timesteps=config.timesteps,
        )
        self.build_average()


@register_model("diffusion:transformer", by_default=False)
class TransformerDiffusion(CaptionedDiffusion):
    """Clips from captions: a transformer over patches of space and time that takes noise away."""

    @dataclass(frozen=True)
    class Config(CaptionedDiffusion.Config):
        """Options of the network."""

        hidden_size: int = tunable(
            96, low=64, high=512, log=True, minimum=2, multiple_of="num_heads", help="width of the tokens"
        )
        num_layers: int = tunable(
            4, low=2, high=12, minimum=1, help="layers, which look within frames and along time in turn"
        )
        num_heads: int = tunable(4, search=(1, 2, 4, 8), minimum=1, help="attention heads; must divide hidden_size")
        feed_forward: int = tunable(
            384, low=64, high=2048, log=True, minimum=1, help="width of the hidden layer between attentions"
        )
        patch: int | None = option(None, minimum=1, help="pixels on a side of a token", default_text="4 or more")

        def check(self) -> None:
            """Refuse sizes that do not go together."""
            if self.hidden_size % self.num_heads or self.hidden_size % 2:
                raise OptionError(
                    f"hidden_size must be even and a multiple of num_heads, but got {self.hidden_size} and "
                    f"{self.num_heads}"
                )

    config: Config

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        patch = config.patch or 2 * _patch_of(spec)
        _check_sides(spec, patch, patch)
        self.network = VideoTransformer(
            spec.input_shape,
            patch=patch,
            size=config.hidden_size,
            layers=config.num_layers,
            heads=config.num_heads,
            feed_forward=config.feed_forward,
            vocabulary=spec.vocabulary,
            timesteps=config.timesteps,
        )
        self.build_average()


@register_model("diffusion:series", by_default=False)
class SeriesDiffusion(DiffusionModel):
    """Paths of a series: futures drawn from noise, told of the look-back window; a forecast with intervals.

    In the manner of TimeGrad (Rasul et al. 2021, arXiv 2101.12072) and CSDI (Tashiro et al. 2021, arXiv 2107.03502).
    All rows ahead are drawn together, measured against the window: levels by its mean and deviation, returns by how
    much they have moved of late. The noise is the same for all windows, so that a forecast depends on its window alone.

    Attributes:
        target_scale: deviation of normalised targets in training, ``[horizon, targets]``.
        spread: what deviations of draws from their mean are multiplied with, fitted to the validation part.
    """

    tasks: ClassVar[tuple[str, ...]] = ("forecast",)

    @dataclass(frozen=True)
    class Config(NormalisedWindows, DiffusionModel.Config):
        """Options of the network and of drawing."""

        hidden_size: int = tunable(64, low=16, high=256, log=True, minimum=1, help="width of the states")
        num_layers: int = tunable(3, low=1, high=6, minimum=1, help="residual blocks over the future")
        encoder_layers: int = option(2, minimum=0, help="residual blocks over the window")
        dropout: float = tunable(
            0.2, low=0.0, high=0.5, minimum=0.0, maximum=0.95, help="share of units over the window dropped"
        )
        channels: str = tunable(
            "mixed",
            search=("mixed", "independent"),
            choices=("mixed", "independent"),
            needs="several_channels",
            help="read all channels together, or draw each target channel from its own history",
        )
        draws: int = option(50, minimum=2, help="paths that a forecast is made of")
        sampling_steps: int = option(10, minimum=1, help="steps of drawing a path")

    config: Config
    target_scale: Tensor
    spread: Tensor
    read_channels: Tensor

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        window, features = spec.input_shape
        horizon, targets = spec.target_shape
        self.independent = config.channels == "independent"
        if self.independent and spec.target_channels is None:
            raise OptionError("channels=independent needs the targets' own history among the inputs; use mixed")
        count = targets if self.independent else features
        places = tuple(range(targets)) if self.independent else spec.target_channels
        unnormalised = config.normalisation in ("auto", "none") and spec.transform != "level"
        self.by_volatility = unnormalised and places is not None
        self.normaliser: ReturnNormalisation | WindowNormalisation = (
            ReturnNormalisation(window, count, places or ())
            if self.by_volatility
            else window_normalisation(spec, config.normalisation, self.independent, learnt=False)
        )
        self.register_buffer("read_channels", torch.tensor(spec.target_channels or (), dtype=torch.long), False)
        self.register_buffer("target_scale", torch.ones(horizon, targets))
        self.register_buffer("spread", torch.ones(()))
        self.network = SeriesDenoiser(
            self.process,
            config.prediction,
            window_shape=(window, 1 if self.independent else features),
            extras=(1 if self.independent else targets) if self.by_volatility else 0,
            history=(0,) if self.independent else spec.target_channels or (),
            outputs=(horizon, 1 if self.independent else targets),
            size=config.hidden_size,
            encoder_blocks=config.encoder_layers,
            blocks=config.num_layers,
            dropout=config.dropout,
        )
        self.build_average()

    def monitors(self) -> Sequence[Monitor]:
        """What fills the categories of the diffusion guide."""
        return (DiffusionMonitor(self),)

    # --- windows and futures as rows ----------------------------------------------------------------------------------

    def before_training(self, data: DataModule, steps_per_epoch: int, epochs: int) -> None:
        """Find the scale of normalised targets."""
        squares, count = torch.zeros_like(self.target_scale, dtype=torch.float64), 0
        for batch in evenly_spaced(data.train, SCALED_WINDOWS):
            targets = self.normaliser.normalise_targets(batch.targets, self._normalised(batch.inputs)[1])
            squares += targets.double().square().sum(0)
            count += len(targets)
        self.target_scale.copy_((squares / count).sqrt().clamp(min=LEAST_SCALE))

    def sample_and_condition(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scaled futures ``[batch (* targets if independent), outputs]``, and windows as rows."""
        windows, statistics = self._normalised(batch.inputs)
        futures = self.normaliser.normalise_targets(batch.targets, statistics) / self.target_scale
        rows = futures.transpose(1, 2).flatten(0, 1) if self.independent else futures.flatten(1)
        return rows, windows

    def _normalised(self, inputs: Tensor) -> tuple[Tensor, WindowStatistics | None]:
        """Windows as rows of what the network reads, and what ``restore`` needs."""
        window, statistics = self.normaliser(inputs[:, :, self.read_channels] if self.independent else inputs)
        rows = window.transpose(1, 2).flatten(0, 1) if self.independent else window.flatten(1)
        if isinstance(self.normaliser, ReturnNormalisation) and statistics is not None:
            rows = torch.cat([rows, self.normaliser.log_scale(statistics).reshape(len(rows), -1)], 1)
        return rows, statistics

    def _restored(self, rows: Tensor, statistics: WindowStatistics | None) -> Tensor:
        """Drawn rows ``[draws, rows, outputs]`` -> ``[draws, batch, horizon, targets]``, scaled as the data."""
        horizon, targets = self.spec.target_shape
        if self.independent:
            futures = rows.unflatten(1, (-1, targets)).transpose(2, 3)
        else:
            futures = rows.unflatten(2, (horizon, targets))
        flat = (futures * self.target_scale).flatten(0, 1)
        repeated = (
            None
            if statistics is None
            else WindowStatistics(
                *(None if part is None else part.repeat(len(rows), 1, 1) for part in statistics)  # type: ignore[arg-type]
            )
        )
        return self.normaliser.restore(flat, repeated).unflatten(0, (len(rows), -1))

    # --- forecasts ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def paths(self, inputs: Tensor, count: int, seed: int = 0) -> Tensor:
        """Draw scenarios of the future.

        Args:
            inputs: ``[batch, look-back window, features]``, scaled as in training.
            count: how many of each window.
            seed: of the noise, which is the same for all windows.

        Returns:
            ``[count, batch, horizon, targets]``, scaled.
        """
        was_training = self.training
        self.eval()
        try:
            drawn = [self._draw_paths(piece, count, seed) for piece in inputs.to(self.device).split(WINDOWS_AT_ONCE)]
        finally:
            self.train(was_training)
        found = torch.cat(drawn, 1)
        mean = found.mean(0)
        return mean + self.spread * (found - mean)

    def _draw_paths(self, inputs: Tensor, count: int, seed: int) -> Tensor:
        windows, statistics = self._normalised(inputs)
        network: Any = self.average_network
        encoded = network.encode(windows)

        def denoise(noisy: Tensor, timesteps: Tensor) -> Tensor:
            now = timesteps[:1]  # the same for all
            said = network.denoise(noisy, now, encoded)
            return self.process.to_sample(self.config.prediction, said, noisy, now.expand(len(noisy)))

        shape = (self.spec.target_shape[1] if self.independent else 1, encoded.centre.shape[1])
        source = SharedNoise(count, shape, len(inputs), seed, inputs.device)
        sampling = Sampling(self.config.sampler, self.config.sampling_steps, 1.0, seed)
        return self._restored(draw_samples(self.process, denoise, source, sampling), statistics)

    def distribution(self, inputs: Tensor, draws: int | None = None) -> ForecastDistribution:
        """The drawn paths as quantiles of every value, whose whole variance counts as aleatoric."""
        return _as_distribution(self.paths(inputs, draws or self.config.draws))

    def forward(self, inputs: Tensor) -> Tensor:
        """The mean of the drawn paths, ``[batch, horizon, targets]``."""
        return self.paths(inputs, self.config.draws).mean(0)

    def validation_metrics(self, data: DataModule) -> dict[str, float]:
        """Squared error of the mean, and CRPS, on a few validation windows."""
        squares, crps, count = 0.0, 0.0, 0
        for batch in evenly_spaced(data.validation, PROGRESS_WINDOWS, WINDOWS_AT_ONCE):
            said = self.distribution(batch.inputs)
            actual = batch.targets.to(said.mean.device)
            squares += float((said.mean - actual).square().sum())
            crps += float(said.crps(actual).sum())
            count += actual.numel()
        return {"mse": squares / max(1, count), "crps": crps / max(1, count)}

    def after_training(self, data: DataModule) -> None:
        """Fit how far draws are from their mean: by the interval score of the 90 % intervals of validation windows, as
        it sees the tails, which the CRPS hardly does."""
        if not len(data.validation):
            return
        self.spread.fill_(1.0)
        scores = torch.zeros(len(SPREADS), dtype=torch.float64)
        for batch in evenly_spaced(data.validation, CALIBRATION_WINDOWS, WINDOWS_AT_ONCE):
            paths = self.paths(batch.inputs, self.config.draws)
            mean, actual = paths.mean(0), batch.targets.to(paths.device)
            for place, spread in enumerate(SPREADS):
                bounds = _as_distribution(mean + spread * (paths - mean)).interval(LEVEL)
                scores[place] += float(interval_score(actual, *bounds, LEVEL)) * len(actual)
        self.spread.fill_(SPREADS[int(scores.argmin())])


def _as_distribution(paths: Tensor) -> ForecastDistribution:
    """Draws ``[draws, batch, horizon, targets]`` as a distribution of each value."""
    count = len(paths)
    levels = tuple((number + 0.5) / count for number in range(count))
    mean = paths.mean(0)
    quantiles = paths.sort(0).values.movedim(0, -1)
    return ForecastDistribution(mean, torch.zeros_like(mean), paths.var(0), quantiles=quantiles, levels=levels)


def _check_sides(spec: DataSpec, multiple: int, patch: int) -> None:
    """Refuse a patch that does not fit the clips."""
    _, _, height, width = spec.input_shape
    if height % multiple or width % multiple:
        raise OptionError(
            f"with patch={patch} sides of clips must be multiples of {multiple} pixels, but they are {height} x "
            f"{width}; use a smaller patch, or another --image-size"
        )


def _patch_of(spec: DataSpec) -> int:
    """Pixels on a side of a place, so that a side has 8 to 16 of them where it can; a power of two."""
    shorter = min(spec.input_shape[2:])
    patch = 1
    while shorter // (2 * patch) >= 8 and shorter % (4 * patch) == 0:
        patch *= 2
    return patch
