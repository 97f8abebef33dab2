"""Promises of the learning-rate schedules: their shape, and that a resumed one goes on as if nothing had been."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from src.training.config import SCHEDULES, TrainingConfig
from src.training.optimizer import Schedule, build_optimizer, schedule_factor

TOTAL = 1000


def new_schedule(**values: Any) -> Schedule:
    config = TrainingConfig(**{"epochs": 10, "lr": 0.5, **values})
    return Schedule(build_optimizer([nn.Parameter(torch.zeros(1))], config), config, steps_per_epoch=20)


def rates(schedule: Schedule, epochs: range, improves: Any = lambda epoch: True) -> list[float]:
    found = []
    for epoch in epochs:
        found += [schedule.before_step(epoch * 20 + step) for step in range(20)]
        schedule.after_epoch(improves(epoch))
    return found


def test_cosine_falls_along_half_a_cosine_to_zero() -> None:
    factors = [schedule_factor("cosine", step, TOTAL, 0) for step in range(TOTAL + 1)]
    assert factors[0] == 1 and factors[TOTAL] == pytest.approx(0, abs=1e-12)
    assert factors[500] == pytest.approx(0.5) and factors[250] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert factors == sorted(factors, reverse=True)


def test_one_cycle_rises_over_three_tenths_and_falls_to_zero() -> None:
    factors = [schedule_factor("one-cycle", step, TOTAL, 0) for step in range(TOTAL + 1)]
    assert factors[0] == pytest.approx(1 / 25) and factors[300] == pytest.approx(1)
    assert factors[150] == pytest.approx((1 + 1 / 25) / 2) and factors[650] == pytest.approx(0.5)
    assert factors[TOTAL] == pytest.approx(0, abs=1e-12)
    assert factors[:301] == sorted(factors[:301]) and factors[300:] == sorted(factors[300:], reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant_and_plateau_keep_their_peak_by_themselves(schedule: str) -> None:
    assert {schedule_factor(schedule, step, TOTAL, 0) for step in range(TOTAL)} == {1.0}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_rises_in_equal_steps_to_where_the_schedule_begins(schedule: str) -> None:
    factors = [schedule_factor(schedule, step, TOTAL, 9) for step in range(20)]
    assert factors[:9] == pytest.approx([(step + 1) / 10 for step in range(9)])
    assert factors[9] == schedule_factor(schedule, 0, TOTAL - 9, 0)


def test_warm_up_is_counted_in_epochs_and_the_rate_reaches_the_optimiser() -> None:
    schedule = new_schedule(schedule="constant", warmup=1.5)
    assert schedule.before_step(0) == pytest.approx(0.5 / 31)
    assert schedule.before_step(29) == pytest.approx(0.5 * 30 / 31)
    assert schedule.before_step(30) == 0.5 == schedule.optimizer.param_groups[0]["lr"]


def test_plateau_halves_after_a_third_of_the_patience_without_improvement() -> None:
    schedule = new_schedule(schedule="plateau", patience=9)  # waits 3 epochs
    seen = rates(schedule, range(10), improves=lambda epoch: epoch in (0, 3))
    assert seen[::20] == [0.5] * 7 + [0.25] * 3, "epochs 1 and 2, then 4 to 6, went by without improvement"
    assert rates(new_schedule(schedule="plateau", patience=1), range(3), lambda epoch: False)[::20] == [
        0.5,
        0.25,
        0.125,
    ]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_only_plateau_looks_at_the_validation_value(schedule: str) -> None:
    options = {"schedule": schedule, "patience": 3}
    good, bad = new_schedule(**options), new_schedule(**options)
    assert rates(good, range(10)) == rates(bad, range(10), improves=lambda epoch: False)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stopped_after", [1, 3, 6])
def test_a_resumed_schedule_equals_an_uninterrupted_one(schedule: str, stopped_after: int) -> None:
    options = {"schedule": schedule, "warmup": 1.3, "patience": 6}

    def improves(epoch: int) -> bool:
        return epoch in (0, 1, 7)

    whole = rates(new_schedule(**options), range(10), improves)
    first, second = new_schedule(**options), new_schedule(**options)
    halves = rates(first, range(stopped_after), improves)
    second.load_state_dict(first.state_dict())
    assert halves + rates(second, range(stopped_after, 10), improves) == whole
