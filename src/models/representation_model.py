"""``RepresentationModel``: base of models that learn a representation, which a fitted head reads.

The encoder is trained on the samples alone. A linear reader is fitted to its features after every epoch: scored on the
validation part it is the probe that decides which epoch is best, and it is the head that predicts. So such a model
stands in the leaderboard like any other, though it has learnt from no label.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.base import Batch, DataModule, Split, evenly_spaced
from ..layers.normalisation import WindowNormalisation, WindowStatistics
from ..metrics.representation import effective_rank
from .base_model import BaseModel

PROBE_ROWS = 4000
"""Samples at most that a probe is fitted to after an epoch, evenly spaced; after training ``HEAD_ROWS``."""
HEAD_ROWS = 20_000
SCORED_ROWS = 2000
"""Validation samples at most that a probe is scored on after an epoch."""
THUMBNAIL = 8
"""Rows and columns of the small picture that a probe reads where there are no labels."""


class RepresentationModel(BaseModel):
    """Base of models that learn from samples without labels.

    A subclass gives ``rows`` and ``row_size``, sets ``normaliser`` and, where every channel of a series is a row of its
    own, ``independent``, ``rows_per_sample`` and ``read_channels``; it calls ``build_head`` last in ``__init__``.

    Attributes:
        normaliser: of windows; does nothing to pictures.
        independent, rows_per_sample: whether channels are rows of their own, and how many there are of a sample.
        read_channels: those that are read then.
    """

    selection_metric: ClassVar[tuple[str, str]] = ("probe", "max")

    normaliser: WindowNormalisation
    independent: bool = False
    rows_per_sample: int = 1
    read_channels: Tensor
    read_weight: Tensor
    read_bias: Tensor
    untrained_probe: Tensor

    @abstractmethod
    def rows(self, samples: Tensor) -> Tensor:
        """Samples as of ``forward`` -> what the head reads, ``[batch (* channels), numbers]``."""

    @property
    @abstractmethod
    def row_size(self) -> int:
        """Numbers in a row of what the head reads."""

    def build_head(self) -> None:
        """Make the head, which says nothing before it is fitted."""
        outputs = math.prod(self._read_shape)
        self.register_buffer("read_weight", torch.zeros(outputs, self.row_size))
        self.register_buffer("read_bias", torch.zeros(outputs))
        self.register_buffer("untrained_probe", torch.zeros(()))

    @torch.no_grad()
    def embed(self, samples: Tensor) -> Tensor:
        """The representation of samples, ``[batch, embedding size]``; that of independent channels side by side."""
        return self.rows(samples).reshape(len(samples), -1)

    @property
    def embedding_size(self) -> int:
        """Numbers in an embedding."""
        return self.row_size * self.rows_per_sample

    def normalised(self, windows: Tensor) -> tuple[Tensor, WindowStatistics | None]:
        """Windows, of the target channels if those are independent, and what ``restore`` needs."""
        return self.normaliser(windows[:, :, self.read_channels] if self.independent else windows)

    # --- the head and its probes ----------------------------------------------------------------------------------

    def before_training(self, data: DataModule, steps_per_epoch: int, epochs: int) -> None:
        """See what the untrained encoder's features are worth."""
        with torch.no_grad():
            self.untrained_probe.fill_(self._probe(data)["probe"])

    @property
    def _read_shape(self) -> tuple[int, ...]:
        """Shape of what the head reads from one sample."""
        if self.spec.task == "represent":
            return (self.spec.input_shape[0], THUMBNAIL, THUMBNAIL)
        return self.spec.target_shape[:1] if self.independent else self.spec.target_shape

    def read(self, samples: Tensor) -> Tensor:
        """What the head says of samples, as of ``forward``; the embedding where there is nothing to predict."""
        with torch.no_grad():
            rows = self.rows(samples)
        if self.spec.task == "represent":
            return rows
        outputs = functional.linear(rows, self.read_weight, self.read_bias)
        if self.independent:
            outputs = outputs.view(len(samples), self.rows_per_sample, -1).transpose(1, 2)
        outputs = outputs.reshape(-1, *self.spec.target_shape)
        if self.spec.task != "forecast":
            return outputs
        return self.normaliser.restore(outputs, self.normalised(samples.to(self.device))[1])

    def validation_metrics(self, data: DataModule) -> dict[str, float]:
        """What probes of the features reach on the validation part, and what the linear one gains over the encoder
        before its first step."""
        found = self._probe(data)
        return found | {"probe_gain": found["probe"] - float(self.untrained_probe)}

    def after_training(self, data: DataModule) -> None:
        """Fit the head to as much of the training part as there is time for."""
        self._fit_head(*self._features(data.train, HEAD_ROWS))

    def part_metrics(self, data: DataModule, part: str) -> dict[str, float]:
        """What nearest neighbours reach on a part; where there is nothing to predict, what the head does as well.

        Of series nothing: the errors of their forecasts, or directions, say it all.
        """
        if self.spec.kind == "series":
            return {}
        known = self._features(data.train, HEAD_ROWS)
        scored = self._features(getattr(data, part), HEAD_ROWS)
        found = self._neighbours(known, scored)
        if self.spec.task == "classify":
            return {"knn_accuracy": found}
        rank = float(effective_rank(torch.from_numpy(scored[0])))
        return {"pixel_r2": self._score_head(*scored), "knn_pixel_r2": found, "effective_rank": rank}

    def _probe(self, data: DataModule) -> dict[str, float]:
        """Fit the head to some of the training part, and score it and nearest neighbours on some of the validation."""
        known = self._features(data.train, PROBE_ROWS)
        self._fit_head(*known)
        scored = self._features(data.validation, SCORED_ROWS)
        return {"probe": self._score_head(*scored), "probe_knn": self._neighbours(known, scored)}

    @torch.no_grad()
    def _features(self, split: Split, most: int) -> tuple[np.ndarray, np.ndarray]:
        """What the head reads, ``[rows, numbers]``, and what it should say, of evenly spaced samples."""
        features, answers = [], []
        for batch in evenly_spaced(split, max(1, most // self.rows_per_sample)):
            features.append(self.rows(batch.inputs).float().cpu())
            answers.append(self._answers(batch).cpu())
        return torch.cat(features).numpy(), torch.cat(answers).numpy()

    def _answers(self, batch: Batch) -> Tensor:
        """What a reader should say of the samples: classes ``[batch]``, or values ``[batch, outputs]``."""
        if self.spec.task == "classify":
            return batch.targets
        if self.spec.task == "represent":
            return functional.adaptive_avg_pool2d(batch.inputs, THUMBNAIL).flatten(1)
        targets = batch.targets
        if self.spec.task == "forecast":
            targets = self.normaliser.normalise_targets(targets, self.normalised(batch.inputs)[1])
        if self.independent:
            targets = targets.transpose(1, 2).flatten(0, 1)
        return targets.flatten(1)

    def _fit_head(self, features: np.ndarray, answers: np.ndarray) -> None:
        from ..metrics import probe

        if self.spec.task == "classify":
            reader = probe.fit_classes(features, answers, self.spec.target_shape[0])
        elif self.spec.task == "direction":
            reader = probe.fit_directions(features, answers)
        else:
            reader = probe.fit_values(features, answers)
        self.read_weight.copy_(torch.from_numpy(reader.weight))
        self.read_bias.copy_(torch.from_numpy(reader.bias))

    def _score_head(self, features: np.ndarray, answers: np.ndarray) -> float:
        """Accuracy of the head on features that were held apart, or the share of variance that it explains."""
        from ..metrics import probe

        outputs = features @ self.read_weight.cpu().numpy().T + self.read_bias.cpu().numpy()
        if self.spec.task == "classify":
            return float((outputs.argmax(1) == answers).mean())
        if self.spec.task == "direction":
            return float(((outputs > 0) == (answers > 0.5)).mean())
        return probe.explained(answers, outputs)

    def _neighbours(self, known: tuple[np.ndarray, np.ndarray], scored: tuple[np.ndarray, np.ndarray]) -> float:
        from ..metrics import probe

        if self.spec.task == "classify":
            return probe.neighbour_accuracy(*known, *scored)
        if self.spec.task == "direction":
            return probe.neighbour_direction_accuracy(*known, *scored)
        return probe.neighbour_explained(*known, *scored)
