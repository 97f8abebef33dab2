"""Probes: how much of what one wants to know can be read from a representation by the simplest of readers.

A linear reader and the nearest neighbours (scikit-learn's) are fitted to features of the training part and scored on
features that were held apart. Neither changes the representation.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5
_INVERSE_PENALTY = 0.1
_ITERATIONS = 300
_PENALTIES = np.logspace(0, 5, 6)


@dataclass(frozen=True)
class LinearReader:
    """An affine map from features: ``features @ weight.T + bias``.

    Attributes:
        weight: ``[outputs, dimensions]``.
        bias: ``[outputs]``.
    """

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """``[samples, dimensions]`` -> ``[samples, outputs]``."""
        return features @ self.weight.T + self.bias


def fit_classes(features: np.ndarray, classes: np.ndarray, count: int) -> LinearReader:
    """Logistic regression on standardised features; its outputs are logits of all classes.

    Args:
        features: ``[samples, dimensions]``.
        classes: numbers of classes, int ``[samples]``.
        count: how many classes there are; those without a sample get no chance.
    """
    scaler = StandardScaler().fit(features)
    present = np.unique(classes)
    weight, bias = np.zeros((count, features.shape[1])), np.full(count, -30.0)
    if len(present) == 1:
        bias[present] = 0.0
    else:
        model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a probe that stops early is a probe all the same
            model.fit(scaler.transform(features), classes)
        found, offset = model.coef_, model.intercept_
        if len(present) == 2:  # one row of logits, for the second class
            found, offset = np.concatenate([np.zeros_like(found), found]), np.append(0.0, offset)
        weight[present], bias[present] = found, offset
    return _unscaled(weight, bias, scaler)


def fit_directions(features: np.ndarray, ups: np.ndarray) -> LinearReader:
    """Logistic regression for every output by itself; outputs are logits of "up".

    Args:
        features: ``[samples, dimensions]``.
        ups: 0.0 or 1.0, ``[samples, outputs]``.
    """
    readers = [fit_classes(features, column.astype(int), 2) for column in ups.T]
    weight = np.stack([reader.weight[1] - reader.weight[0] for reader in readers])
    return LinearReader(weight, np.array([reader.bias[1] - reader.bias[0] for reader in readers]))


def fit_values(features: np.ndarray, values: np.ndarray) -> LinearReader:
    """Ridge regression on standardised features; its penalty is the one that serves the last fifth of them best.

    Windows of a series overlap, so that leaving out one at a time would leave out nothing.

    Args:
        features: ``[samples, dimensions]``, in order of time where there is one.
        values: ``[samples, outputs]``.
    """
    features = features.astype(np.float64)
    scaler = StandardScaler().fit(features)
    scaled, border = scaler.transform(features), max(1, len(features) * 4 // 5)
    penalty = _PENALTIES[-1]
    if border < len(features):
        errors = [
            np.square(
                Ridge(alpha).fit(scaled[:border], values[:border]).predict(scaled[border:]) - values[border:]
            ).mean()
            for alpha in _PENALTIES
        ]
        penalty = _PENALTIES[int(np.argmin(errors))]
    model = Ridge(penalty).fit(scaled, values)
    weight = np.asarray(model.coef_).reshape(values.shape[1], -1)
    return _unscaled(weight, np.broadcast_to(model.intercept_, values.shape[1]), scaler)


def _unscaled(weight: np.ndarray, bias: np.ndarray, scaler: StandardScaler) -> LinearReader:
    """The same map on features as they are."""
    weight = weight / scaler.scale_
    return LinearReader(weight, bias - weight @ scaler.mean_)


def explained(values: np.ndarray, found: np.ndarray) -> float:
    """R squared over all outputs together, ``[samples, outputs]``: 1 is exact, 0 as good as the mean."""
    return float(r2_score(values, found, multioutput="variance_weighted"))


def neighbour_accuracy(
    features: np.ndarray, classes: np.ndarray, held_apart: np.ndarray, truth: np.ndarray, neighbours: int = NEIGHBOURS
) -> float:
    """Share of right answers of the nearest neighbours among standardised features."""
    scaler = StandardScaler().fit(features)
    reader = KNeighborsClassifier(min(neighbours, len(features))).fit(scaler.transform(features), classes)
    return float(reader.score(scaler.transform(held_apart), truth))


def neighbour_direction_accuracy(
    features: np.ndarray, ups: np.ndarray, held_apart: np.ndarray, truth: np.ndarray, neighbours: int = NEIGHBOURS
) -> float:
    """Share of right answers of the nearest neighbours' majority, over all outputs ``[samples, outputs]``."""
    columns = zip(ups.T, truth.T, strict=True)
    return float(np.mean([neighbour_accuracy(features, up, held_apart, true, neighbours) for up, true in columns]))


def neighbour_explained(
    features: np.ndarray, values: np.ndarray, held_apart: np.ndarray, truth: np.ndarray, neighbours: int = NEIGHBOURS
) -> float:
    """R squared of the mean of the nearest neighbours' values, as ``explained``."""
    scaler = StandardScaler().fit(features)
    reader = KNeighborsRegressor(min(neighbours, len(features))).fit(scaler.transform(features), values)
    return explained(truth, reader.predict(scaler.transform(held_apart)).reshape(truth.shape))
