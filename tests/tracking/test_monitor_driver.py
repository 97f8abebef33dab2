"""The driver asks monitors when they are due, keeps within the budget, and survives monitors that fail."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from src.tracking.event_writer import SilentWriter
from src.tracking.monitors import driver as driver_module
from src.tracking.monitors.base import Monitor, WatchedEpoch, WatchedRun, WatchedStep
from src.tracking.monitors.driver import MonitorDriver
from src.tracking.training_logger import TrainingLogger


class Counting(Monitor):
    """Notes when it is prepared and asked; may be slow, or fail."""

    name = "counting"

    def __init__(self, interval: int, *, seconds: float = 0.0, fails_at: int = -1) -> None:
        self.interval, self.seconds, self.fails_at = interval, seconds, fails_at
        self.asked: list[tuple[int, bool]] = []
        self.prepared = 0
        self.state = 0

    def before_step(self) -> None:
        self.prepared += 1

    def on_step(self, step: WatchedStep) -> Mapping[str, float]:
        self.asked.append((step.step, step.detailed))
        if step.step == self.fails_at:
            raise ValueError("no such layer")
        time.sleep(self.seconds)
        return {f"counting/{self.interval}": float(step.step)}

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, float]:
        return {"counting/epoch": float(epoch.epoch)}

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.state = state["state"]


class Diagnosed(Counting):
    name = "diagnosed"
    diagnosed = True


def drive(driver: MonitorDriver, steps: int, first: int = 0, seconds: float = 0.0) -> int:
    """Take steps and say how often the driver wanted to look."""
    looked = 0
    for step in range(first, first + steps):
        driver.remember(torch.tensor(float(step)), torch.tensor(1.0))
        time.sleep(seconds)
        if step >= driver.next_step:
            looked += 1
        driver.look(step, lambda detailed, _, step=step: WatchedStep(step, 0, detailed, {}, {}))
    return looked


def started(*monitors: Monitor, **options: Any) -> MonitorDriver:
    logger = TrainingLogger(writer=SilentWriter())
    driver = MonitorDriver(monitors, logger, **{"budget_percent": 1e9, **options})
    driver.start(WatchedRun(nn.Linear(2, 1), logger))
    return driver


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that goes on by a microsecond a look and by what is slept, whatever else the machine has to do."""
    passed = [0.0]

    def look() -> float:
        passed[0] += 1e-6
        return passed[0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(driver_module, "time", SimpleNamespace(perf_counter=look))
    monkeypatch.setattr(sys.modules[__name__], "time", SimpleNamespace(sleep=sleep))


def test_a_monitor_is_prepared_and_asked_at_every_interval_and_no_other_step() -> None:
    monitor = Counting(25)
    looked = drive(started(monitor), 101)
    assert monitor.asked == [(0, True), (25, True), (50, True), (75, True), (100, True)]
    assert monitor.prepared == 5
    assert looked == 9  # the five steps, and the four before them at which it is prepared


def test_the_diagnosis_looks_at_every_tenth_step_between_values_that_are_written() -> None:
    monitor = Diagnosed(100)
    driver = started(monitor)
    heard: list[int] = []
    driver.logger.listeners.append(lambda step, values: heard.extend([step] if "counting/100" in values else []))
    drive(driver, 101)
    assert monitor.asked == [(step, step % 100 == 0) for step in range(0, 101, 10)]
    assert heard == list(range(0, 101, 10))


def test_without_a_diagnosis_nobody_is_asked_for_it() -> None:
    monitor = Diagnosed(50)
    drive(started(monitor, is_diagnosed=False), 101)
    assert [step for step, _ in monitor.asked] == [0, 50, 100]


def test_only_what_is_detailed_is_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLogger(tmp_path, "run") as logger:
        driver = MonitorDriver([Diagnosed(50)], logger, budget_percent=1e9)
        driver.start(WatchedRun(nn.Linear(2, 1), logger))
        drive(driver, 101)
        driver.after_epoch(WatchedEpoch(0, 100, {}, {}, True, 1.0, 10))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.step for event in events.Scalars("counting/50")] == [0, 50, 100]
    assert [event.step for event in events.Scalars("counting/epoch")] == [100]
    assert [event.step for event in events.Scalars("progress/logging_overhead_percent")] == [100]


@pytest.mark.usefixtures("clock")
def test_the_dearest_monitor_is_asked_less_often_until_the_budget_holds(caplog: pytest.LogCaptureFixture) -> None:
    dear, cheap = Diagnosed(100, seconds=0.004), Counting(10)
    driver = started(dear, cheap, budget_percent=5.0)
    with caplog.at_level(logging.INFO, "src.tracking"):
        drive(driver, 801, seconds=0.0005)
    assert list(driver.thinned()) == ["diagnosed"]
    assert "'diagnosed' now looks every" in caplog.text
    assert len(dear.asked) < 60 and len(cheap.asked) == 81
    assert driver.costs()["diagnosed"][1] == pytest.approx(0.004, rel=0.5)
    started_again = started(Diagnosed(100), Counting(10))
    started_again.load_state_dict(driver.state_dict())
    assert started_again.thinned() == driver.thinned()


@pytest.mark.usefixtures("clock")
def test_cheap_logging_is_never_thinned() -> None:
    driver = started(Diagnosed(100), budget_percent=0.0)
    drive(driver, 301)
    assert driver.thinned() == {}  # 100 microseconds a step are free


def test_a_monitor_that_fails_is_left_out_and_said_so_once(caplog: pytest.LogCaptureFixture) -> None:
    broken, sound = Counting(10, fails_at=20), Counting(10)
    driver = started(broken, sound)
    drive(driver, 51)
    assert [step for step, _ in broken.asked] == [0, 10, 20]
    assert [step for step, _ in sound.asked] == [0, 10, 20, 30, 40, 50]
    assert (
        caplog.text.count("the monitor 'counting' failed and is left out from now on: ValueError: no such layer") == 1
    )


def test_a_driver_goes_on_where_another_stood() -> None:
    monitor = Counting(10)
    driver = started(monitor)
    monitor.state = 7
    drive(driver, 15)
    second = Counting(10)
    again = MonitorDriver([second], driver.logger, budget_percent=1e9)
    again.load_state_dict(driver.state_dict())
    again.start(WatchedRun(nn.Linear(2, 1), driver.logger), 15)
    drive(again, 10, first=15)
    assert second.state == 7 and [step for step, _ in second.asked] == [20]
    assert [float(loss) for loss in again.recent_losses] == [float(step) for step in range(25)]


def test_no_monitors_cost_one_look() -> None:
    driver = started()
    assert drive(driver, 1) <= 1
