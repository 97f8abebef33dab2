"""How much of a model's uncertainty more data could take away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..tag_tables import logger as names
from ..tag_tables.epochs import HISTOGRAM_INTERVAL
from .base import Monitor, WatchedEpoch, WatchedRun
from .validation_sample import distributions, sample_size

MOST_SAMPLES = 256


class Uncertainty(Monitor):
    """Means of epistemic and aleatoric uncertainty on validation samples, after every epoch; every tenth their spread.

    For models whose ``distribution`` tells them apart: variances of scaled values for forecasts, nats for classes.
    """

    name: ClassVar[str] = "uncertainty"

    def __init__(self) -> None:
        self._run: WatchedRun | None = None

    def on_start(self, run: WatchedRun) -> None:
        """See whether the model tells them apart."""
        said = distributions(run, np.array([0]))
        self._run = run if said and said[0][1].epistemic is not None else None

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Ask for a few validation samples."""
        if self._run is None:
            return {}
        count = sample_size(self._run, MOST_SAMPLES)
        index = np.unique(np.linspace(0, len(self._run.data.validation) - 1, count).astype(np.int64))
        said: list[Any] = [distribution for _, distribution in distributions(self._run, index)]
        epistemic, aleatoric = (
            torch.cat([getattr(one, part).flatten() for one in said]) for part in ("epistemic", "aleatoric")
        )
        if epoch.epoch % HISTOGRAM_INTERVAL == 0:
            spread = {names.UNCERTAINTY_EPISTEMIC: epistemic, names.UNCERTAINTY_ALEATORIC: aleatoric}
            self._run.logger.writer.add_histograms(spread, epoch.step)
        return {
            names.UNCERTAINTY_EPISTEMIC_MEAN: epistemic.mean(),
            names.UNCERTAINTY_ALEATORIC_MEAN: aleatoric.mean(),
        }
