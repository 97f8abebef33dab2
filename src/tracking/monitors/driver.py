"""``MonitorDriver``: asks the monitors when they are due, and keeps what they cost within a budget."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..tag_tables.progress import OVERHEAD_PERCENT
from .base import DIAGNOSIS_INTERVAL, Monitor, WatchedEpoch, WatchedRun, WatchedStep

if TYPE_CHECKING:
    from ..training_logger import TrainingLogger

RECENT_STEPS = 100
LEAST_SECONDS_A_STEP = 100e-6
"""What logging may take even of the shortest step."""
UNSEEN_COSTS = 1.3
"""What a look costs in all, as a multiple of the time it takes by itself: hooks run inside the step, and the step after
it finds the processor's caches full of other things. Measured epoch by epoch, with and without, at 1.2 to 1.4."""
BUDGET_INTERVAL = 100
"""Steps from one look at the costs to the next."""
MOST_THINNING = 64
EPOCHS_AT_LEAST = 10
"""Epochs over which the costs of figures and the like are spread at first: they are drawn so often."""
LEAST_POINTS = 20
"""Points that a curve of a short training has at least."""
_logger = logging.getLogger(__name__)


class MonitorDriver:
    """Drives monitors through a training.

    A monitor is asked at every ``interval``-th step, and its values are written; one that is ``diagnosed`` is asked at
    every tenth step as well, for the diagnosis alone, and in short trainings is written so often that its curves have
    twenty points. If all of them together take more than their share of the
    training time, the dearest one is asked half as often, again and again.

    Args:
        monitors: whom to ask.
        logger: where values go.
        budget_percent: share of the training time that all logging may take (but always 100 microseconds a step).
        is_diagnosed: whether anybody listens to values that are not written.
    """

    def __init__(
        self,
        monitors: Sequence[Monitor],
        logger: TrainingLogger,
        *,
        budget_percent: float = 5.0,
        is_diagnosed: bool = True,
    ) -> None:
        self.monitors, self.logger, self.budget_percent = list(monitors), logger, budget_percent
        self.is_diagnosed = is_diagnosed
        self.thinning = dict.fromkeys(range(len(self.monitors)), 1)
        self.recent_losses: deque[Tensor] = deque(maxlen=RECENT_STEPS)
        self.recent_gradient_norms: deque[Tensor] = deque(maxlen=RECENT_STEPS)
        self.next_step = 0
        """The next step after which there is something to do; the others cost nothing but a comparison."""
        self.logging_seconds = self.epoch_seconds = 0.0
        self._seconds = [0.0] * len(self.monitors)
        self._calls = [0] * len(self.monitors)
        self._started = time.perf_counter()
        self._first_step = self._steps_per_epoch = 0
        self._window = _Window(0, self._started, 0.0, self._seconds[:])
        self._on_cpu = True
        self._short_interval = sys.maxsize
        self._armed: list[int] = []

    def start(self, run: WatchedRun, step: int = 0) -> None:
        """Begin before optimiser step number ``step``."""
        parameter = next(iter(run.parameters.values()), None)
        self._on_cpu = parameter is None or parameter.device.type == "cpu"
        if run.total_steps is not None:
            tens = run.total_steps // (LEAST_POINTS * DIAGNOSIS_INTERVAL)
            self._short_interval = max(1, tens) * DIAGNOSIS_INTERVAL
        for number in list(self.thinning):
            self._call(number, self.monitors[number].on_start, run)
        self._first_step, self._steps_per_epoch = step, run.steps_per_epoch or 0
        self._arm(step)
        self._started = time.perf_counter()
        self._window = _Window(step, self._started, 0.0, self._seconds[:])

    def remember(self, loss: Tensor, gradient_norm: Tensor | None) -> None:
        """Keep a step's loss and gradient norm, 0-dimensional, for those who look back."""
        self.recent_losses.append(loss.detach())
        if gradient_norm is not None:
            self.recent_gradient_norms.append(gradient_norm)

    def look(self, step: int, watch: Callable[[bool, MonitorDriver], WatchedStep]) -> None:
        """Ask whoever is due after step number ``step``.

        Args:
            step: the step that has just been taken; nothing happens before ``next_step``.
            watch: makes what monitors may see, given whether values will be written.
        """
        if step < self.next_step:
            return
        started = time.perf_counter()
        written, observed = self._ask(step, watch)
        if step % BUDGET_INTERVAL == 0 and step > self._window.step:
            written[OVERHEAD_PERCENT] = self.overhead_percent
            self._thin(step)
        if written:
            self.logger.log_values(written, step)
        if observed and self.is_diagnosed:
            self.logger.observe(observed, step)
        if self._on_cpu or step % (2 * DIAGNOSIS_INTERVAL) == 0:
            self.logger.flush()
        self._arm(step + 1)
        self.logging_seconds += time.perf_counter() - started

    def _ask(
        self, step: int, watch: Callable[[bool, MonitorDriver], WatchedStep]
    ) -> tuple[dict[str, Tensor | float], dict[str, Tensor | float]]:
        views: dict[bool, WatchedStep] = {}
        written: dict[str, Tensor | float] = {}
        observed: dict[str, Tensor | float] = {}
        for number in [armed for armed in self._armed if armed in self.thinning]:
            monitor = self.monitors[number]
            detailed = step % self._interval(number) == 0
            if detailed not in views:
                views[detailed] = watch(detailed, self)
            began = time.perf_counter()
            values = self._call(number, monitor.on_step, views[detailed])
            (written if detailed else observed).update(values or {})
            self._seconds[number] += time.perf_counter() - began
            self._calls[number] += 1
        return written, observed

    def after_epoch(self, epoch: WatchedEpoch, epoch_seconds: float = 0.0) -> None:
        """Ask everybody after an epoch; values stand at the epoch's last step.

        Args:
            epoch: the epoch.
            epoch_seconds: what logging after epochs (figures, histograms, this very call) has taken so far.
        """
        self.epoch_seconds = epoch_seconds
        values: dict[str, Tensor | float] = {}
        for number in list(self.thinning):
            values |= self._call(number, self.monitors[number].on_epoch_end, epoch) or {}
        if values:
            self.logger.log_values(values, epoch.step)

    def end(self) -> None:
        """End all monitors."""
        for number, monitor in enumerate(self.monitors):
            self._call(number, monitor.on_end)

    @property
    def overhead_percent(self) -> float:
        """Share of the time since the start that logging took."""
        elapsed = time.perf_counter() - self._started
        return 100 * (UNSEEN_COSTS * self.logging_seconds + self.epoch_seconds) / max(elapsed, 1e-9)

    def costs(self) -> dict[str, tuple[int, float]]:
        """Monitor to how often it was asked after a step, and the mean seconds this took."""
        return {
            monitor.name: (self._calls[number], self._seconds[number] / max(1, self._calls[number]))
            for number, monitor in enumerate(self.monitors)
        }

    def thinned(self) -> dict[str, int]:
        """Monitors that are asked less often than they wanted, with the steps between two values now."""
        return {
            monitor.name: self._interval(number)
            for number, monitor in enumerate(self.monitors)
            if self.thinning.get(number, 1) > 1
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "recent_losses": _stacked(self.recent_losses),
            "recent_gradient_norms": _stacked(self.recent_gradient_norms),
            "monitors": [monitor.state_dict() for monitor in self.monitors],
            "thinning": [self.thinning.get(number, 1) for number in range(len(self.monitors))],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken; call it before ``start``."""
        self.recent_losses.extend(state["recent_losses"].unbind())
        self.recent_gradient_norms.extend(state["recent_gradient_norms"].unbind())
        if len(state["monitors"]) == len(self.monitors):
            for monitor, monitor_state in zip(self.monitors, state["monitors"], strict=True):
                monitor.load_state_dict(monitor_state)
            self.thinning = dict(enumerate(state["thinning"]))

    def _call(self, number: int, method: Callable[..., Any], *arguments: Any) -> Any:
        """Ask one monitor; one that fails is not asked again, and training goes on."""
        try:
            with torch.no_grad():
                return method(*arguments)
        except Exception as error:
            name = self.monitors[number].name or type(self.monitors[number]).__name__
            _logger.warning(
                "the monitor '%s' failed and is left out from now on: %s: %s", name, type(error).__name__, error
            )
            self.thinning.pop(number, None)
            return None

    # --- when, and how often ------------------------------------------------------------------------------------------

    def _interval(self, number: int) -> int:
        """Steps from one written value of this monitor to the next."""
        interval = self.monitors[number].interval
        if self.is_diagnosed and self.monitors[number].diagnosed:
            interval = min(interval, self._short_interval)  # it is asked at every tenth step anyway
        return interval * self.thinning[number]

    def _period(self, number: int) -> int:
        """Steps from one look of this monitor to the next, written or not."""
        interval = self._interval(number)
        if self.is_diagnosed and self.monitors[number].diagnosed:
            return min(interval, DIAGNOSIS_INTERVAL * self.thinning[number])
        return interval

    def _is_due(self, number: int, step: int) -> bool:
        return step % self._interval(number) == 0 or step % self._period(number) == 0

    def _arm(self, step: int) -> None:
        """Prepare for this step if it will be looked at; otherwise wake up again one step before one that will."""
        periods = [self._period(number) for number in self.thinning]
        due = min(-(-step // period) * period for period in [BUDGET_INTERVAL, *periods])
        self._armed = [number for number in self.thinning if self._is_due(number, step)] if due == step else []
        self.next_step = step if self._armed else max(step, due - 1)
        for number in self._armed:
            began = time.perf_counter()
            self._call(number, self.monitors[number].before_step)
            self._seconds[number] += time.perf_counter() - began

    def _thin(self, step: int) -> None:
        """Ask the dearest monitor half as often, if logging took more than its share of the last steps."""
        now, spent = time.perf_counter(), list(self._seconds)
        seconds = now - self._window.started
        logging_seconds = UNSEEN_COSTS * (self.logging_seconds - self._window.logging_seconds)
        own = [after - before for after, before in zip(spent, self._window.own_seconds, strict=True)]
        steps = step - self._window.step
        self._window = _Window(step, now, self.logging_seconds, spent)
        # What epochs cost is spread over some of them: a figure shall not look like an outbreak.
        spread = self.epoch_seconds / max(step - self._first_step, EPOCHS_AT_LEAST * self._steps_per_epoch) * steps
        allowed = max(self.budget_percent / 100 * seconds - spread, LEAST_SECONDS_A_STEP * steps)
        if logging_seconds <= allowed or not own:
            return
        dearest = max(self.thinning, key=own.__getitem__)
        if self.thinning[dearest] < MOST_THINNING:
            self.thinning[dearest] *= 2
            _logger.info(
                "logging took %.1f %% of the last %d steps, --log-budget allows %g %%: '%s' now looks every %d steps",
                100 * logging_seconds / seconds,
                steps,
                self.budget_percent,
                self.monitors[dearest].name,
                self._period(dearest),
            )


@dataclass(frozen=True)
class _Window:
    """What had been spent when the costs were last looked at."""

    step: int
    started: float
    logging_seconds: float
    own_seconds: list[float]


def _stacked(values: Sequence[Tensor]) -> Tensor:
    return torch.stack([value.float().cpu() for value in values]) if values else torch.empty(0)
