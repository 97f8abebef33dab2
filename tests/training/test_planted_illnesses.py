"""Illnesses planted in real trainings are named by their rules within fifty steps of their onset."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from src import DataOptions, TrainingConfig, create_model, load_data
from src.data.series import SeriesData
from src.data.tables import Table
from src.errors import TrainingError
from src.tracking.findings import Finding
from src.tracking.options import LoggingOptions
from src.training.device import seed_everything
from src.training.fitting import fit
from src.training.loop import EpochReport, Observer, StepReport, TrainingState
from src.training.monitoring import FindingHandling

WITHIN = 50
ONSET = 200
ATTENTIVE = LoggingOptions(log_budget=1e6)  # these steps are so short that monitors would soon be asked less often


class Plant(Observer):
    """Does something to a training after a step, and after all steps that follow if it is to last."""

    def __init__(self, harm: Callable[[TrainingState], None], onset: int, lasting: bool = False) -> None:
        self.harm, self.onset, self.lasting = harm, onset, lasting

    def on_start(self, state: TrainingState) -> None:
        self.state = state
        if self.onset == 0:
            self.harm(state)

    def on_step(self, report: StepReport) -> None:
        if report.step == self.onset or (self.lasting and report.step > self.onset):
            self.harm(self.state)


class Losses(Observer):
    """Remembers the validation losses."""

    def __init__(self) -> None:
        self.validation: list[float] = []

    def on_epoch_end(self, report: EpochReport) -> None:
        self.validation.append(report.validation["loss"])


@pytest.fixture(scope="module")
def seasonal() -> SeriesData:
    return load_data(DataOptions(data="sample:seasonal", window=24))


def table(values: np.ndarray, **more: np.ndarray) -> Table:
    dates = np.datetime64("2020-01-01", "h") + np.arange(len(values)).astype("timedelta64[h]")
    return Table(dates.astype("datetime64[ns]"), {"value": values, **more}, "planted")


def findings(
    name: str,
    data: SeriesData,
    plant: Observer | None = None,
    *,
    steps: int = ONSET + WITHIN,
    settings: dict[str, Any] | None = None,
    prepare: Callable[[Any], None] = lambda model: None,
    **config: Any,
) -> list[Finding]:
    """What is found while a model trains for so many steps."""
    seed_everything(0)
    model = create_model(name, data.spec, {"hidden_size": 16, "dropout": 0.0, **(settings or {})})
    prepare(model)
    per_epoch = math.ceil(len(data.train) / 64)
    options = TrainingConfig(
        **{"epochs": max(1, math.ceil(steps / per_epoch)), "patience": 1000, "device": "cpu", **config}
    )
    told: list[Finding] = []
    observers = [plant] if plant is not None else []
    with contextlib.suppress(TrainingError):  # some of them end that way; it must have been found nevertheless
        fit(model, data, options, observers=observers, logging=ATTENTIVE, findings=FindingHandling(told.append))
    return told


def assert_named(told: list[Finding], rules: set[str], onset: int) -> None:
    early = [finding for finding in told if finding.severity != "info" and finding.step < onset]
    assert early == [], "it was healthy before"
    named = {finding.rule: finding.step for finding in told if finding.severity != "info"}
    in_time = {rule for rule, step in named.items() if step <= onset + WITHIN}
    assert in_time & rules, f"{named} after {onset}"


def multiply(factor: float, *parts: str) -> Callable[[TrainingState], None]:
    @torch.no_grad()
    def harm(state: TrainingState) -> None:
        for name, parameter in state.model.named_parameters():
            if any(part in name for part in parts):
                parameter.mul_(factor)

    return harm


def test_a_learning_rate_a_thousand_times_too_high(seasonal: SeriesData) -> None:
    def harm(state: TrainingState) -> None:
        state.schedule.scale *= 1000

    told = findings("lstm:basic", seasonal, Plant(harm, ONSET))
    assert_named(told, {"step_too_large", "loss_diverging", "loss_spike", "nan_loss", "grad_exploding"}, ONSET)


def test_a_layer_that_is_zero(seasonal: SeriesData) -> None:
    told = findings("tcn:basic", seasonal, Plant(multiply(0.0, "blocks.1.first"), 0), steps=WITHIN)
    assert_named(told, {"zeroed_layer", "dead_layer", "grad_vanishing"}, 0)


@pytest.mark.parametrize(("name", "factor"), [("gru:basic", 1000.0), ("lstm:basic", 1000.0)])
def test_saturated_activations(seasonal: SeriesData, name: str, factor: float) -> None:
    told = findings(name, seasonal, Plant(multiply(factor, "weight_ih", "weight_hh"), ONSET))
    assert_named(told, {"saturated_units"}, ONSET)


def test_forty_samples_learnt_by_heart() -> None:
    values = np.cumsum(np.random.default_rng(0).normal(size=110)) + 100
    options = DataOptions(window=24, horizon=1, transform="return", split="0.6,0.3,0.1")
    data = SeriesData.from_tables([table(values)], options)
    assert 30 <= len(data.train) <= 45
    watched = Losses()
    told = findings("lstm:basic", data, watched, steps=60, settings={"hidden_size": 64}, lr=0.01)
    found = {finding.severity: finding for finding in told if finding.rule == "overfitting"}
    # One step an epoch. The onset is the best epoch: from there on validation gets worse, and training better.
    onset = int(np.argmin(watched.validation))
    assert 0 < found["info"].step - onset < found["warn"].step - onset <= WITHIN
    assert [finding for finding in told if finding.severity != "info"] == [found["warn"]]


def test_a_constant_feature() -> None:
    values = np.sin(np.arange(1500) / 5) + np.random.default_rng(0).normal(size=1500) * 0.1 + 3
    data = SeriesData.from_tables([table(values, stuck=np.full(1500, 7.0))], DataOptions(window=24, transform="level"))
    told = findings("lstm:basic", data, steps=WITHIN, settings={"normalisation": "none"})
    assert_named(told, {"constant_input"}, 0)


def test_a_frozen_encoder(seasonal: SeriesData) -> None:
    told = findings("gru:basic", seasonal, steps=WITHIN, prepare=lambda model: model.gru.requires_grad_(False))
    assert_named(told, {"dead_layer"}, 0)


def test_attention_forced_onto_one_token(seasonal: SeriesData) -> None:
    told = findings("transformer:basic", seasonal, Plant(multiply(300.0, "query.weight", "key_value.weight"), ONSET))
    assert_named(told, {"attn_collapse"}, ONSET)


def test_a_batch_that_is_no_number(seasonal: SeriesData) -> None:
    class Spoilt:
        """A training part one of whose batches holds NaN."""

        def __init__(self, split: Any) -> None:
            self.split = split

        def __len__(self) -> int:
            return len(self.split)

        def batches(self, size: int, generator: Any = None) -> Any:
            for number, batch in enumerate(self.split.batches(size, generator)):
                yield batch._replace(inputs=batch.inputs * math.nan) if number == 5 else batch

    @dataclasses.dataclass
    class Data:
        spec: Any
        train: Any
        validation: Any
        test: Any

        def to(self, device: torch.device) -> Any:
            return self

        def fingerprint(self) -> dict[str, Any]:
            return {}

    data = Data(seasonal.spec, Spoilt(seasonal.train), seasonal.validation, seasonal.test)
    told = findings("lstm:basic", data, steps=WITHIN)  # type: ignore[arg-type]
    assert_named(told, {"nan_loss"}, 5)


def test_a_healthy_training_has_no_warning(seasonal: SeriesData) -> None:
    told = findings("lstm:basic", seasonal, steps=ONSET + WITHIN, settings={"hidden_size": 64, "dropout": 0.1})
    assert [finding.line() for finding in told if finding.severity != "info"] == []
