"""A network that takes noise away from the future of a series, told of its look-back window and of the timestep.

Both enter through the norms of a residual network over the whole horizon (as the transformer blocks of Peebles and Xie
2023, arXiv 2212.09748), in place of TimeGrad's recurrent network (Rasul et al. 2021, arXiv 2101.12072), which draws one
step after the other. What the window says by itself, the centre of all futures, is taken off first, so that only what
is left has to be drawn (as Han et al. 2022, arXiv 2206.07275, do with a network trained before).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .conditioning import TimestepEmbedding
from .diffusion_process import DiffusionProcess
from .normalisation import WindowStatistics
from .stochastic import Dropout
from .volatility import WindowVolatility

TIMESTEP_SIZE = 64
LEAST_VOLATILITY = 0.1
"""Scaled returns have a deviation of about 1: a window that hardly moves is taken to move this much."""


class EncodedWindow(NamedTuple):
    """What a denoiser needs to know of windows.

    Attributes:
        told: ``[rows, size]``.
        centre: of the futures, ``[rows, outputs]``.
    """

    told: Tensor
    centre: Tensor


class ReturnNormalisation(nn.Module):
    """Measures the targets against how much they have moved of late; zero stays zero.

    The exponentially weighted deviation of each window, with RiskMetrics' decay of .94 (see ``WindowVolatility``).

    Args:
        window: rows of the look-back window.
        channels: how many are read.
        target_channels: position of every target among them.
    """

    targets: Tensor

    def __init__(self, window: int, channels: int, target_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("targets", torch.tensor(target_channels, dtype=torch.long), persistent=False)
        self.volatility = WindowVolatility(window, target_channels).requires_grad_(False)

    def forward(self, window: Tensor) -> tuple[Tensor, WindowStatistics | None]:
        """``[batch, time, channels]`` -> the same, divided, and what ``restore`` needs."""
        scale = window.new_ones(len(window), 1, self.channels)
        scale[..., self.targets] = self.volatility(window).exp().clamp(min=LEAST_VOLATILITY)
        return window / scale, WindowStatistics(torch.zeros_like(scale), scale)

    def log_scale(self, statistics: WindowStatistics) -> Tensor:
        """The log of what the targets were divided by, ``[batch, targets]``."""
        return _scale_of(statistics)[:, 0, self.targets].log()

    def normalise_targets(self, values: Tensor, statistics: WindowStatistics | None) -> Tensor:
        """What ``restore`` would turn into ``values``, ``[batch, horizon, targets]``."""
        return values / _scale_of(statistics)[..., self.targets]

    def restore(self, forecast: Tensor, statistics: WindowStatistics | None) -> Tensor:
        """Undo the normalisation on a forecast ``[..., batch, horizon, targets]``."""
        return forecast * _scale_of(statistics)[..., self.targets]


def _scale_of(statistics: WindowStatistics | None) -> Tensor:
    if statistics is None or statistics.scale is None:
        raise ValueError("returns are normalised by a scale")
    return statistics.scale


class ResidualBlock(nn.Module):
    """``x + contract(gelu(expand(norm(x))))``.

    Args:
        size: width.
        hidden: width in between.
        dropout: share of units dropped.
    """

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.expand, self.contract = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.drop = Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """``[rows, size]`` -> the same shape."""
        return states + self.drop(self.contract(functional.gelu(self.expand(self.norm(states)))))


class ToldBlock(nn.Module):
    """A residual block that is scaled, shifted and weighted by what it is told; at first by 0.

    Args:
        size: width.
        hidden: width in between.
        told: numbers it is told.
    """

    def __init__(self, size: int, hidden: int, told: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size, elementwise_affine=False)
        self.expand, self.contract = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.told = nn.Linear(told, 3 * size)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, states: Tensor, told: Tensor) -> Tensor:
        """``[..., rows, size]`` and ``[rows, told]`` -> as the states."""
        scale, shift, gate = self.told(told).chunk(3, -1)
        normalised = self.norm(states) * (1 + scale) + shift
        return states + gate * self.contract(functional.gelu(self.expand(normalised)))


class SeriesDenoiser(nn.Module):
    """What the noisy futures of windows were, or what noise is in them.

    A future is told apart into its centre, which the window gives (a linear map of the targets' history and what the
    encoder adds), and the rest, which is taken to have a deviation of about 1: what is said of it begins with what is
    best without any knowledge, ``sqrt(a)`` times the noisy rest.

    Args:
        process: the noise schedule.
        prediction: what is said, ``x0``, ``v`` or ``noise``.
        window_shape: rows and channels of a window; they come flattened, ``extras`` numbers behind them.
        extras: see there.
        history: positions of the targets among the channels; empty where their history is not read.
        outputs: rows ahead, and targets.
        size: width of the states.
        encoder_blocks, blocks: residual blocks over the window, and over the future.
        dropout: share of units dropped over the window.
    """

    history: Tensor

    def __init__(
        self,
        process: DiffusionProcess,
        prediction: str,
        *,
        window_shape: tuple[int, int],
        extras: int,
        history: tuple[int, ...],
        outputs: tuple[int, int],
        size: int,
        encoder_blocks: int,
        blocks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.process, self.prediction, self.window_shape = process, prediction, window_shape
        window, channels = window_shape
        horizon, targets = outputs
        self.register_buffer("history", torch.tensor(history, dtype=torch.long), persistent=False)
        self.timesteps = nn.Sequential(
            TimestepEmbedding(TIMESTEP_SIZE, process.timesteps), nn.Linear(TIMESTEP_SIZE, size)
        )
        self.enter_window = nn.Linear(window * channels + extras, size)
        blocks_of_window = (ResidualBlock(size, 2 * size, dropout) for _ in range(encoder_blocks))
        self.encoder = nn.Sequential(*blocks_of_window, nn.LayerNorm(size))
        self.drop = Dropout(dropout)
        self.line = nn.Linear(window, horizon) if history else None
        self.centre = nn.Linear(size, horizon * targets)
        self.enter = nn.Linear(horizon * targets, size)
        self.blocks = nn.ModuleList(ToldBlock(size, 2 * size, size) for _ in range(blocks))
        self.leave_norm = nn.LayerNorm(size, elementwise_affine=False)
        self.leave_told = nn.Linear(size, 2 * size)
        self.leave = nn.Linear(size, horizon * targets)
        for layer in (self.line, self.centre, self.leave_told, self.leave):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def encode(self, windows: Tensor) -> EncodedWindow:
        """Flattened windows ``[rows, window * channels + extras]`` -> what ``denoise`` needs of them."""
        told = self.encoder(self.drop(self.enter_window(windows)))
        centre = self.centre(self.drop(told))
        if self.line is not None:
            length, channels = self.window_shape
            history = windows[:, : length * channels].unflatten(1, (length, channels))[..., self.history]
            centre = centre + self.line(history.transpose(1, 2)).transpose(1, 2).flatten(1)
        return EncodedWindow(told, centre)

    def forward(self, noisy: Tensor, timesteps: Tensor, windows: Tensor) -> Tensor:
        """``[rows, outputs]``, int64 ``[rows]`` and windows as of ``encode`` -> as the futures."""
        return self.denoise(noisy, timesteps, self.encode(windows))

    def denoise(self, noisy: Tensor, timesteps: Tensor, encoded: EncodedWindow) -> Tensor:
        """The same for windows that are encoded already, and perhaps several draws of each.

        Args:
            noisy: ``[..., rows, outputs]``.
            timesteps: int64 ``[rows]``.
            encoded: what ``encode`` returned.
        """
        signal, deviation = self.process.signal_and_noise(timesteps, encoded.centre)
        told = functional.silu(self.timesteps(timesteps) + encoded.told)
        rest = noisy - signal * encoded.centre
        states = self.enter(rest)
        for block in self.blocks:
            states = block(states, told)
        scale, shift = self.leave_told(told).chunk(2, -1)
        said = self.leave(self.leave_norm(states) * (1 + scale) + shift)
        if self.prediction == "x0":
            return encoded.centre + signal * rest + deviation * said
        # Without any knowledge, the best guess of the noise is sqrt(1 - a) times the rest, and of v nothing.
        if self.prediction == "noise":
            return deviation * rest + signal * said
        return said - deviation * encoded.centre
