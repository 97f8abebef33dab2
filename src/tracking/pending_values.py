"""Values on their way to the event file: taken without waiting for the device, read and written together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .event_writer import EventWriter, SilentWriter

Listener = Callable[[int, Mapping[str, float]], None]
FLUSH_SECONDS = 2.0
MOST_STEPS = 256
"""Steps that may wait: a device that is never waited for must not gather tensors without end."""


class PendingValues:
    """Scalars of steps that are not written yet.

    A tensor on the CPU is read at once; one on another device is copied there and read at the next ``flush``, all of
    them in one transfer. Every step becomes one event.

    Args:
        writer: where events go.
    """

    def __init__(self, writer: EventWriter | SilentWriter) -> None:
        self.writer = writer
        self.listeners: list[Listener] = []
        self._written: dict[int, dict[str, Tensor | float]] = {}
        self._observed: dict[int, dict[str, Tensor | float]] = {}
        self._wall_times: dict[int, float] = {}
        self._flushed_at = time.monotonic()
        writer.call_before_flush(self.flush)

    def add(
        self, values: Mapping[str, Tensor | float], step: int, *, written: bool = True, observed: bool = True
    ) -> None:
        """Take values of a step, to be written, to be shown to the listeners, or both; a tensor counts by its mean.

        The first values of a step flush those before if it is time to: not every loop says when a step ends.

        Raises:
            UserError: if a value is not a number.
        """
        if step not in self._written:
            self.flush_if_due()
        kept = {tag: value if type(value) is float else _kept(tag, value) for tag, value in values.items()}
        if written:
            if step not in self._wall_times:
                self._wall_times[step] = time.time()
            waiting = self._written.get(step)
            if waiting is None:
                self._written[step] = kept
            else:
                waiting.update(kept)
        if observed and self.listeners:
            self._observed.setdefault(step, {}).update(kept)

    def flush_if_due(self) -> None:
        """Flush when two seconds have passed, or many steps wait."""
        waiting = max(len(self._written), len(self._observed))
        if waiting and (waiting > MOST_STEPS or time.monotonic() - self._flushed_at > FLUSH_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Read everything that waits, write one event a step, and tell the listeners."""
        written, observed, wall_times = self._written, self._observed, self._wall_times
        self._written, self._observed, self._wall_times = {}, {}, {}
        self._flushed_at = time.monotonic()
        _read_together([*written.values(), *observed.values()])
        for step, values in written.items():
            self.writer.add_values(values, step, wall_times[step])  # type: ignore[arg-type]
        for step, values in observed.items():
            for listener in self.listeners:
                listener(step, values)  # type: ignore[arg-type]


def _kept(tag: str, value: Any) -> Tensor | float:
    if not isinstance(value, Tensor):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise UserError(
                f"a logged value must be a number or a tensor, but '{tag}' is {value!r}; log_text takes texts"
            ) from None
    value = value.detach()
    if value.numel() != 1:
        value = value.float().mean()
    # Elsewhere than on the CPU a copy: the value is read later, and its owner may have changed it by then.
    return float(value) if value.device.type == "cpu" else value.reshape(()).float().clone()


def _read_together(groups: list[dict[str, Tensor | float]]) -> None:
    """Replace every tensor by its value, one transfer for each device."""
    places: dict[torch.device, list[tuple[dict[str, Tensor | float], str, Tensor]]] = {}
    for group in groups:
        for tag, value in group.items():
            if isinstance(value, Tensor):
                places.setdefault(value.device, []).append((group, tag, value))
    for entries in places.values():
        numbers = torch.stack([value for _, _, value in entries]).tolist()
        for (group, tag, _), number in zip(entries, numbers, strict=True):
            group[tag] = number
