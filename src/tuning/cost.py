"""What a search will cost, estimated from some steps of each model's default configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..data.loading import Data
from ..models import create_model
from ..training.device import prepare_process, select_device
from ..training.loop import EpochReport, Observer, TrainingState, build_state, train
from .studies import ModelSearch

MEASURED_STEPS = 20


def seconds_per_epoch(search: ModelSearch, data: Data) -> float:
    """Time of an epoch of the default configuration: some of its steps, scaled up, and its whole validation.

    What a trial costs beside its epochs (starting, writing) is not in it. Models that do not train by epochs are fitted
    once, and the time of that is returned.
    """
    plan = search.plan
    prepare_process(plan.training)
    model: Any = create_model(plan.model, data.spec, plan.options)
    if not search.uses_gradients:
        from ..training.fitting import fit

        return fit(model, data, dataclasses.replace(plan.training, epochs=1)).seconds
    every = max(1, len(data.train) // plan.training.batch_size)
    share = min(1.0, MEASURED_STEPS / every) * plan.training.epoch_fraction
    config = dataclasses.replace(plan.training, epochs=2, epoch_fraction=share, compile=False)
    state = build_state(model, data, config, select_device(config.device))
    clock = _EpochClock()
    train(state, [clock])
    steps = every * plan.training.epoch_fraction
    return clock.training / clock.steps * max(1.0, steps) + clock.validation


class _EpochClock(Observer):
    """Keeps the times of the last epoch; the first one warms up."""

    training = validation = 0.0
    steps = 1

    def on_start(self, state: TrainingState) -> None:
        """Ask for the times of validation batches."""
        state.keep_validation_batches = True

    def on_epoch_end(self, report: EpochReport) -> None:
        """Split the epoch's time."""
        self.validation = sum(batch.seconds for batch in report.validation_batches)
        self.training, self.steps = report.seconds - self.validation, max(1, report.steps)
