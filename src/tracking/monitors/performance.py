"""Where the time goes, and how much memory training takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ..tag_tables import monitors as names
from .base import Monitor, WatchedEpoch, WatchedRun, WatchedStep

GIB = 1024**3
_TAGS = {
    "data": names.DATA_MS,
    "forward": names.FORWARD_MS,
    "backward": names.BACKWARD_MS,
    "optimizer": names.OPTIMIZER_MS,
}


class Performance(Monitor):
    """Times of the parts of a step, steps and samples a second, memory: means over the steps since the last value.

    Steps a second do not count the time of a validation: after an epoch the clock starts anew.
    """

    name: ClassVar[str] = "performance"
    diagnosed: ClassVar[bool] = True

    def __init__(self) -> None:
        self._device = torch.device("cpu")
        self._sums: dict[str, list[float]] = {}
        self._looked: tuple[int, float] | None = None
        self._written: tuple[int, float] = (0, 0.0)

    def on_start(self, run: WatchedRun) -> None:
        """Note the device."""
        parameter = next(iter(run.parameters.values()), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        self._looked, self._sums, self._written = None, {}, (0, 0.0)

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Times of this look where it is for the diagnosis, else means since the last written value."""
        now = time.perf_counter()
        for part, seconds in step.seconds.items():
            if part in _TAGS:
                self._sums.setdefault(part, []).append(seconds)
        steps, seconds = (0, 0.0) if self._looked is None else (step.step - self._looked[0], now - self._looked[1])
        self._looked = (step.step, now)
        self._written = (self._written[0] + steps, self._written[1] + seconds)
        if not step.detailed:
            parts = {part: value for part, value in step.seconds.items() if part in _TAGS}
            return _times(parts) | _speed(steps, seconds, step.samples)
        means = {part: sum(values) / len(values) for part, values in self._sums.items()}
        values = _times(means) | _speed(*self._written, step.samples) | self._memory()
        self._sums, self._written = {}, (0, 0.0)
        return values

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Start the clock anew: a validation has passed."""
        self._looked = (epoch.step, time.perf_counter())
        return {}

    def _memory(self) -> dict[str, Tensor | float]:
        if self._device.type != "cuda":
            peak = peak_process_memory()
            return {} if peak is None else {names.PEAK_MEMORY: peak / GIB}
        return {
            names.GPU_MEMORY: torch.cuda.memory_allocated(self._device) / GIB,
            names.PEAK_MEMORY: torch.cuda.max_memory_allocated(self._device) / GIB,
        }


def peak_process_memory() -> int | None:
    """The most memory in bytes that this process has held so far; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0)) or None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _times(seconds: Mapping[str, float]) -> dict[str, Tensor | float]:
    return {_TAGS[part]: 1000 * value for part, value in seconds.items()}


def _speed(steps: int, seconds: float, samples: int) -> dict[str, Tensor | float]:
    if steps < 1 or seconds <= 0:
        return {}
    values: dict[str, Tensor | float] = {
        names.STEP_MS: 1000 * seconds / steps,
        names.STEPS_PER_SECOND: steps / seconds,
    }
    return values | ({names.SAMPLES_PER_SECOND: steps * samples / seconds} if samples else {})
