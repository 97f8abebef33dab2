"""What models and the training loop may know of data: ``DataSpec``, ``Batch``, ``Split`` and ``DataModule``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Batch(NamedTuple):
    """A mini-batch.

    Attributes:
        inputs: what the model reads; for series ``[batch, look-back window, features]``, scaled; for text int64
            ``[batch, tokens, 1 + n-grams]``: the number of each token and of its character n-grams, 0 being padding,
            as long as the batch's longest text; for images ``[batch, channels, height, width]``, scaled; for clips
            ``[batch, frames, channels, height, width]`` from -1, black, to 1.
        targets: what it shall predict; for series ``[batch, horizon, targets]``: scaled values (task ``forecast``)
            or 0.0/1.0 (task ``direction``: 1 where the next return is above zero); for text and images the classes'
            numbers, int64 ``[batch]``, -1 where unknown; for clips the numbers of their captions' tokens, int64
            ``[batch, most tokens]``, 0 where there are no more.
        index: which samples of the split these are, ``[batch]``, int64.
        returns: task ``direction`` only: the simple returns p[t] / p[t-1] - 1 that the targets turned out to be,
            ``[batch, horizon, targets]``; None for other tasks, and where values of zero or below have no return.
    """

    inputs: Tensor
    targets: Tensor
    index: Tensor  # type: ignore[assignment]  # a NamedTuple's own index() is of no use here
    returns: Tensor | None = None


@dataclass(frozen=True)
class DataSpec:
    """All that a model must know of the data it will see. Shapes are without the batch axis; time comes first.

    Attributes:
        kind: ``series``, ``text``, ``images`` or ``captioned_video``.
        task: ``forecast`` or ``direction`` for series, ``classify`` for text and for images with labels,
            ``represent`` for images without, ``generate`` for captioned clips.
        input_shape: ``(look-back window, features)``; for text ``(most tokens, 1 + n-grams)``; for images
            ``(channels, height, width)``, for clips ``(frames, channels, height, width)``.
        target_shape: ``(horizon, targets)``; for text and images ``(classes,)``, ``(0,)`` where there are none; for
            clips ``(most caption tokens,)``.
        feature_names: names of the input channels.
        target_names: names of the predicted channels.
        target_channels: the position of every target among the input channels, or None where the targets' own
            history is not among the inputs (the adding problem).
        transform: what the target columns hold: ``level``, ``return`` (p[t] / p[t-1] - 1) or ``log-return``
            (ln p[t] - ln p[t-1]). Returns are scaled without centring, so zero stays zero: no change.
        target_scale: for returns, the factor that turns a scaled value of each target back into a return.
        period: the season length in steps, or None if there is none to be expected.
        up_share: task ``direction`` only: share of training targets that are up, per target.
        cost_bps: task ``direction`` only: what a simulated trade costs, in basis points (1/10000) of its size; None
            where batches have no ``returns``.
        class_names: text and images only: of the classes, in the order of their numbers.
        class_shares: text and images only: share of the training part that each class has.
        vocabulary: of text and captions: how many token numbers there are, padding and the unknown one included.
        ngrams: text only: how many numbers of character n-grams there are, padding included; 0 without any.
        background: images only: the median pixel of the training part, scaled, per channel.
        pixel_mean: images only: mean of the training part's pixels, from 0 to 1, per channel.
        pixel_deviation: images only: their standard deviation, at least 1/255; inputs are (pixel / 255 - mean) /
            deviation.
        frame_rate: clips only: frames per second.
    """

    kind: str
    task: str
    input_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    target_channels: tuple[int, ...] | None = None
    transform: str = "level"
    target_scale: tuple[float, ...] = ()
    period: int | None = None
    up_share: tuple[float, ...] = ()
    cost_bps: float | None = None
    class_names: tuple[str, ...] = ()
    class_shares: tuple[float, ...] = ()
    vocabulary: int = 0
    ngrams: int = 0
    background: tuple[float, ...] = ()
    pixel_mean: tuple[float, ...] = ()
    pixel_deviation: tuple[float, ...] = ()
    frame_rate: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json`` and checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DataSpec:
        """The spec that ``to_dict`` wrote, lists turned back into tuples."""
        read: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**read)


class Split(Protocol):
    """One part of a data set (training, validation or test)."""

    def __len__(self) -> int:
        """Number of samples."""

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """All samples once: in a random order drawn from ``generator``, without one always in the same order.

        The last batch may be smaller; no sample is ever dropped.
        """


class DataModule(Protocol):
    """A data set with its three parts."""

    spec: DataSpec

    @property
    def train(self) -> Split:
        """What is learnt from."""

    @property
    def validation(self) -> Split:
        """What decides when to stop and which weights are best."""

    @property
    def test(self) -> Split:
        """What is looked at once, at the end."""

    def to(self, device: torch.device) -> DataModule:
        """Move what batches are gathered from to ``device``; returns itself."""

    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data: row counts, columns, a hash of the values and of the test windows."""


def evenly_spaced(split: Any, most: int, batch_size: int = 250) -> Iterator[Batch]:
    """Batches of at most so many samples of a part that can be picked by number, evenly spaced over all of it."""
    count = min(most, len(split))
    chosen = (torch.arange(count) * len(split)) // max(1, count)
    yield from (split.select(chosen[first : first + batch_size]) for first in range(0, count, batch_size))
