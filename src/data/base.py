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
        inputs: what the model reads; for series ``[batch, look-back window, features]``, scaled.
        targets: what it shall predict; for series ``[batch, horizon, targets]``: scaled values (task ``forecast``)
            or 0.0/1.0 (task ``direction``: 1 where the next return is above zero).
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
    """All that a model must know of the data it will see. Shapes are without the batch axis, time first.

    Attributes:
        kind: ``series`` (later ``text``, ``images``, ``captioned_video``).
        task: ``forecast`` or ``direction`` for series.
        input_shape: ``(look-back window, features)``.
        target_shape: ``(horizon, targets)``.
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
        """All samples once: in a random order drawn from ``generator``, in their own order without one.

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
