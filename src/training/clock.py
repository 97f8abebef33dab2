"""Where the time of a training step goes: data, forward pass, backward pass, optimiser."""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch

PARTS = ("data", "forward", "backward", "optimizer")
EVENT_INTERVAL = 10
"""On a GPU every tenth step is timed: recording an event costs a few microseconds."""


class StepClock:
    """Sums up the seconds that the parts of training steps take.

    On a CPU by the process's clock. On a GPU, where calls return before the work is done, by CUDA events, which are
    read later, when they have come by; only ``data`` is time of the process there.

    Args:
        device: where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._steps = self._timed = 0
        self._last = time.perf_counter()
        self._events: list[tuple[str, Any]] = []
        self._waiting: list[list[tuple[str, Any]]] = []

    def begin(self) -> None:
        """A step begins with waiting for its data."""
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """This part of the step is over; the next one begins."""
        if self._on_gpu:
            self._mark_on_gpu(part)
            return
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now
        if part == PARTS[-1]:
            self._steps += 1
            self._timed += 1

    def means(self) -> dict[str, float]:
        """Part to mean seconds over the steps since the last call; empty if none of them has been timed."""
        self._read_events()
        steps, timed = self._steps, self._timed
        seconds, self._seconds = self._seconds, dict.fromkeys(PARTS, 0.0)
        self._steps = self._timed = 0
        if not steps or not timed:
            return {}
        return {part: value / (steps if part == PARTS[0] else timed) for part, value in seconds.items()}

    def _mark_on_gpu(self, part: str) -> None:
        if part == PARTS[0]:
            self._seconds[part] += time.perf_counter() - self._last
            self._events = []
        if self._steps % EVENT_INTERVAL == 0:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((part, event))
        if part == PARTS[-1]:
            self._steps += 1
            if self._events:
                self._waiting.append(self._events)

    def _read_events(self) -> None:
        """Read the steps that the device has finished, without waiting for it."""
        while self._waiting and self._waiting[0][-1][1].query():
            events = self._waiting.pop(0)
            for (_, before), (part, after) in itertools.pairwise(events):
                self._seconds[part] += before.elapsed_time(after) / 1000
            self._timed += 1
