"""``SequenceModel``: what all sequence architectures share, so that each file holds only what is special about it.

series:  window -> normalise -> tokens (patches) -> ``encode`` -> head -> undo the normalisation
text:    numbers of tokens -> embedding -> ``encode`` -> head
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..data.base import DataSpec
from ..errors import OptionError
from ..layers.embedding import TokenEmbedding, token_mask
from ..layers.normalisation import WindowNormalisation, WindowStatistics
from ..layers.stochastic import Dropout
from ..options import tunable
from .base_model import BaseModel


def automatic_normalisation(spec: DataSpec) -> str:
    """What ``normalisation=auto`` means for some data."""
    return "revin" if spec.transform == "level" and spec.target_channels is not None else "none"


@dataclass(frozen=True)
class NormalisedWindows(BaseModel.Config):
    """The option of every model that normalises its windows."""

    normalisation: str = tunable(
        "auto",
        search=("revin", "last", "none"),
        choices=("auto", "revin", "last", "none"),
        tasks=("forecast", "direction"),
        needs="target_history",
        automatic=automatic_normalisation,
        help="of each window: auto = revin for levels, none otherwise",
    )


@dataclass(frozen=True)
class WindowConfig(NormalisedWindows):
    """Options of every model that normalises its windows and chooses its loss.

    For the task ``direction``, the loss is ``weight_alpha`` x cross-entropy - ``weight_beta`` x expected return.
    """

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
    """Base of recurrent, convolutional and attention models over series, and over text where ``kinds`` says so.

    A subclass sets ``self.encoded_size`` and gives ``encode(tokens)``; for text, whose sequences end at different
    places, ``encode(tokens, mask)``. Axes: ``batch``, ``time`` (the look-back
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
        patch: int = tunable(
            1,
            search=(1, 4, 8, 16, 24),
            minimum=1,
            at_most="window",
            tasks=("forecast", "direction"),
            help="time steps per token",
        )
        word_dropout: float = tunable(
            0.2,
            low=0.0,
            high=0.5,
            minimum=0.0,
            maximum=0.95,
            tasks=("classify",),
            help="text: share of words that training takes for unknown ones",
        )

    config: Config
    encoded_size: int
    read_channels: Tensor

    def __init__(self, spec: DataSpec, config: Config) -> None:
        super().__init__(spec, config)
        self.is_text = spec.kind == "text"
        window, features = spec.input_shape
        if self.is_text and (config.patch != 1 or config.channels != "mixed"):
            raise OptionError(
                "patch and channels are options for series, text needs patch=1 and channels=mixed, but got "
                f"patch={config.patch} and channels={config.channels}"
            )
        if config.patch > window:
            raise OptionError(f"patch must be at most the look-back window of {window}, but got {config.patch}")
        self.independent = config.channels == "independent"
        if self.independent and spec.target_channels is None:
            raise OptionError("channels=independent needs the targets' own history among the inputs; use mixed")
        self.channel_count = len(spec.target_channels or ()) if self.independent else features
        self.normaliser = window_normalisation(spec, config.normalisation, self.independent)
        self.drop = Dropout(config.dropout)
        if self.is_text:
            self.words = TokenEmbedding(spec.vocabulary, spec.ngrams, config.hidden_size, config.word_dropout)
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
        """Numbers in one token: patch length times the channels read together; for text the size of its vectors."""
        if self.is_text:
            return self.config.hidden_size
        return self.config.patch * (1 if self.independent else self.channel_count)

    @property
    def token_count(self) -> int:
        """Number of tokens that a window makes."""
        return -(-(self.spec.input_shape[0] - self.config.patch) // self.stride) + 1

    @property
    def output_size(self) -> int:
        """Numbers that are read out of one encoding: steps ahead times targets, or classes."""
        return math.prod(self.spec.target_shape[:1] if self.independent else self.spec.target_shape)

    def build_head(self) -> None:
        """Make the linear map from the encoding to the forecast; called last in a subclass's ``__init__``."""
        self.head = nn.Linear(self.encoded_size, self.output_size)

    # --- the way of a window or of a text -------------------------------------------------------------------------

    def forward(self, inputs: Tensor) -> Tensor:
        """What the model says of inputs.

        Args:
            inputs: ``[batch, time, features]``; for text int64 ``[batch, tokens, 1 + n-grams]``, 0 being padding.

        Returns:
            scaled values or, for ``direction``, logits ``[batch, horizon, targets]``; for text the logits of the
            classes, ``[batch, classes]``.
        """
        encoded, statistics = self.encode_inputs(inputs)
        outputs = self.read_out(encoded)
        return self.normaliser.restore(outputs, statistics) if self.spec.task == "forecast" else outputs

    def encode_inputs(self, inputs: Tensor) -> tuple[Tensor, WindowStatistics | None]:
        """Inputs as of ``forward`` -> ``[batch (* channels if independent), encoded_size]``, and for ``restore`` what
        was taken out of the windows."""
        if self.is_text:
            return self.encode(self.drop(self.words(inputs)), token_mask(inputs)), None  # type: ignore[call-arg]
        if self.independent:
            inputs = inputs[:, :, self.read_channels]
        window, statistics = self.normaliser(inputs)
        return self.encode(self.to_tokens(window)), statistics

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
        """``[batch (* channels), encoded_size]`` -> ``[batch, horizon, targets]`` or ``[batch, classes]``."""
        return self.in_shape(self.head(self.drop(encoded)))

    def in_shape(self, outputs: Tensor) -> Tensor:
        """``[batch (* channels), output_size]`` -> ``[batch, horizon, targets]`` or ``[batch, classes]``."""
        if self.independent:
            horizon, targets = self.spec.target_shape
            return outputs.view(-1, targets, horizon).transpose(1, 2)
        return outputs.view(-1, *self.spec.target_shape)

    def out_of_shape(self, outputs: Tensor) -> Tensor:
        """The way back from ``in_shape``."""
        if self.independent:
            return outputs.transpose(1, 2).reshape(-1, self.output_size)
        return outputs.reshape(-1, self.output_size)


def window_normalisation(spec: DataSpec, kind: str, only_targets: bool, learnt: bool = True) -> WindowNormalisation:
    """The normalisation of a model's windows.

    Args:
        spec: the data.
        kind: ``auto`` (revin for levels, none otherwise), ``revin``, ``last`` or ``none``.
        only_targets: whether the model reads the target channels alone.
        learnt: as of ``WindowNormalisation``.

    Raises:
        OptionError: if windows cannot be normalised because the forecast could not be put back.
    """
    if kind == "auto":
        kind = automatic_normalisation(spec)
    if kind != "none" and spec.target_channels is None:
        raise OptionError(f"normalisation={kind} needs the targets' own history among the inputs; use none")
    channels = tuple(range(len(spec.target_channels or ()))) if only_targets else spec.target_channels
    return WindowNormalisation(kind, len(channels or ()) if only_targets else spec.input_shape[1], channels, learnt)
