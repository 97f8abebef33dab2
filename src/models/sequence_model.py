"""``SequenceModel``: what all sequence architectures share, so that each file holds only what is special about it.

window -> normalise -> tokens (patches) -> ``encode`` -> head -> undo the normalisation
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.base import DataSpec
from ..errors import OptionError
from ..layers.normalisation import WindowNormalisation
from ..options import tunable
from .base_model import BaseModel


def automatic_normalisation(spec: DataSpec) -> str:
    """What ``normalisation=auto`` means for some data."""
    return "revin" if spec.transform == "level" and spec.target_channels is not None else "none"


@dataclass(frozen=True)
class WindowConfig(BaseModel.Config):
    """Options of every model that normalises its windows and chooses its loss.

    For the task ``direction``, the loss is ``weight_alpha`` x cross-entropy - ``weight_beta`` x expected return.
    """

    normalisation: str = tunable(
        "auto",
        search=("revin", "last", "none"),
        choices=("auto", "revin", "last", "none"),
        needs="target_history",
        automatic=automatic_normalisation,
        help="of each window: auto = revin for levels, none otherwise",
    )
    loss: str = tunable(
        "mse",
        search=("mse", "mae", "huber"),
        choices=("mse", "mae", "huber"),
        tasks=("forecast",),
        help="what training minimises",
    )
    weight_alpha: float = tunable(
        1.0,
        low=0.1,
        high=10.0,
        log=True,
        minimum=0.0,
        tasks=("direction",),
        needs="returns",
        help="task direction: weight of the cross-entropy in the loss",
    )
    weight_beta: float = tunable(
        0.0,
        search=(0.0, 1.0, 10.0, 100.0),
        minimum=0.0,
        tasks=("direction",),
        needs="returns",
        help="task direction: weight of the simulated return after costs, which is taken off the loss",
    )


class SequenceModel(BaseModel):
    """Base of recurrent, convolutional and attention models over series.

    A subclass sets ``self.encoded_size`` and gives ``encode(tokens)``. Axes: ``batch``, ``time`` (the look-back
    window), ``tokens`` (one per patch of time steps), ``size`` (numbers per token).

    With ``channels = "independent"`` every target channel is forecast from its own history by the same weights
    (Nie et al., ICLR 2023): channels move into the batch axis, and channels that are not targets are not read.
    """

    @dataclass(frozen=True)
    class Config(WindowConfig):
        """Options that every sequence family has."""

        hidden_size: int = tunable(64, low=16, high=512, log=True, minimum=1, help="width of the hidden state")
        num_layers: int = tunable(2, low=1, high=6, minimum=1, help="number of layers")
        dropout: float = tunable(0.1, low=0.0, high=0.5, minimum=0.0, maximum=0.95, help="share of units dropped")
        channels: str = tunable(
            "mixed",
            search=("mixed", "independent"),
            choices=("mixed", "independent"),
            needs="several_channels",
            help="read all channels together, or forecast each target channel from its own history",
        )
        patch: int = tunable(1, search=(1, 4, 8, 16, 24), minimum=1, at_most="window", help="time steps per token")

    config: Config
    encoded_size: int
    read_channels: Tensor

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        window, features = spec.input_shape
        if config.patch > window:
            raise OptionError(f"patch must be at most the look-back window of {window}, but got {config.patch}")
        self.independent = config.channels == "independent"
        if self.independent and spec.target_channels is None:
            raise OptionError("channels=independent needs the targets' own history among the inputs; use mixed")
        self.channel_count = len(spec.target_channels or ()) if self.independent else features
        self.normaliser = window_normalisation(spec, config.normalisation, self.independent)
        self.register_buffer("read_channels", torch.tensor(spec.target_channels or (), dtype=torch.long), False)

    # --- what a subclass gives or changes -------------------------------------------------------------------------

    @abstractmethod
    def encode(self, tokens: Tensor) -> Tensor:
        """``[batch, tokens, token_size]`` -> ``[batch, encoded_size]``: what the forecast is read from."""

    @property
    def stride(self) -> int:
        """Time steps from one patch to the next; patches do not overlap unless a subclass says so."""
        return self.config.patch

    # --- sizes a subclass builds on -------------------------------------------------------------------------------

    @property
    def token_size(self) -> int:
        """Numbers in one token: patch length times the channels read together."""
        return self.config.patch * (1 if self.independent else self.channel_count)

    @property
    def token_count(self) -> int:
        """Number of tokens that a window makes."""
        return -(-(self.spec.input_shape[0] - self.config.patch) // self.stride) + 1

    def build_head(self) -> None:
        """Make the linear map from the encoding to the forecast; called last in a subclass's ``__init__``."""
        horizon, targets = self.spec.target_shape
        self.head = nn.Linear(self.encoded_size, horizon * (1 if self.independent else targets))

    # --- the way of a window --------------------------------------------------------------------------------------

    def forward(self, inputs: Tensor) -> Tensor:
        """``[batch, time, features]`` -> ``[batch, horizon, targets]``: scaled values, or logits for ``direction``."""
        if self.independent:
            inputs = inputs[:, :, self.read_channels]
        window, statistics = self.normaliser(inputs)
        forecast = self.read_out(self.encode(self.to_tokens(window)))
        return forecast if self.spec.task == "direction" else self.normaliser.restore(forecast, statistics)

    def to_tokens(self, window: Tensor) -> Tensor:
        """``[batch, time, channels]`` -> ``[batch (* channels if independent), tokens, token_size]``.

        Where the window is no whole number of patches, its first value is repeated in front, so that the newest
        values are never cut off.
        """
        if self.independent:
            window = window.transpose(1, 2).reshape(-1, window.shape[1], 1)
        patch, stride = self.config.patch, self.stride
        if patch == 1:
            return window
        missing = (self.token_count - 1) * stride + patch - window.shape[1]
        if missing:
            window = torch.cat([window[:, :1].expand(-1, missing, -1), window], 1)
        if patch == stride:
            return window.reshape(window.shape[0], -1, self.token_size)
        return window.unfold(1, patch, stride).transpose(2, 3).flatten(2)

    def read_out(self, encoded: Tensor) -> Tensor:
        """``[batch (* channels), encoded_size]`` -> ``[batch, horizon, targets]``."""
        horizon, targets = self.spec.target_shape
        encoded = functional.dropout(encoded, self.config.dropout, self.training)
        forecast = self.head(encoded)
        if self.independent:
            return forecast.view(-1, targets, horizon).transpose(1, 2)
        return forecast.view(-1, horizon, targets)


def window_normalisation(spec: DataSpec, kind: str, only_targets: bool) -> WindowNormalisation:
    """The normalisation of a model's windows.

    Args:
        spec: the data.
        kind: ``auto`` (revin for levels, none otherwise), ``revin``, ``last`` or ``none``.
        only_targets: whether the model reads the target channels alone.

    Raises:
        OptionError: if windows cannot be normalised because the forecast could not be put back.
    """
    if kind == "auto":
        kind = automatic_normalisation(spec)
    if kind != "none" and spec.target_channels is None:
        raise OptionError(f"normalisation={kind} needs the targets' own history among the inputs; use none")
    channels = tuple(range(len(spec.target_channels or ()))) if only_targets else spec.target_channels
    return WindowNormalisation(kind, len(channels or ()) if only_targets else spec.input_shape[1], channels)
