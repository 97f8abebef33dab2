"""Probes: what they find where it is known, and that they do not look at what was held apart."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from src.metrics.probe import (
    explained,
    fit_classes,
    fit_directions,
    fit_values,
    neighbour_accuracy,
    neighbour_direction_accuracy,
    neighbour_explained,
)

RANDOM = np.random.default_rng(0)


def clusters(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    classes = random.integers(0, 3, count)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 600.0]])  # dimensions of different scales
    return centres[classes] + random.normal(size=(count, 2)) * (1.0, 100.0), classes


def test_classes_are_found_as_scikit_learn_finds_them() -> None:
    features, classes = clusters(300, 1)
    held_apart, truth = clusters(200, 2)
    reader = fit_classes(features, classes, 3)
    assert (reader(held_apart).argmax(1) == truth).mean() > 0.97
    scaled = (features - features.mean(0)) / features.std(0)
    model = LogisticRegression(C=0.1, max_iter=300, tol=1e-3).fit(scaled, classes)
    np.testing.assert_allclose(reader(features), model.decision_function(scaled), atol=1e-6)
    assert neighbour_accuracy(features, classes, held_apart, truth) > 0.97


def test_two_classes_and_one_and_absent_ones() -> None:
    features, classes = clusters(200, 1)
    some = classes != 1
    reader = fit_classes(features[some], classes[some], 4)
    said = reader(features[some])
    assert said.shape == (some.sum(), 4)
    assert set(said.argmax(1)) == {0, 2}
    assert (said.argmax(1) == classes[some]).mean() > 0.97
    alone = fit_classes(features[classes == 2], classes[classes == 2], 3)
    assert set(alone(features).argmax(1)) == {2}


def test_values_are_found_and_scored() -> None:
    features = RANDOM.normal(size=(400, 6))
    values = features @ RANDOM.normal(size=(6, 2)) + 3.0 + 0.1 * RANDOM.normal(size=(400, 2))
    reader = fit_values(features[:300], values[:300])
    assert reader.weight.shape == (2, 6)
    assert explained(values[300:], reader(features[300:])) > 0.99
    assert explained(values, np.broadcast_to(values.mean(0), values.shape)) == pytest.approx(0.0)
    assert 0.3 < neighbour_explained(features[:300], values[:300], features[300:], values[300:]) < 0.95
    assert fit_values(features, values[:, :1])(features).shape == (400, 1)


def test_directions_are_read_one_by_one() -> None:
    features = RANDOM.normal(size=(300, 4))
    ups = (features[:, :2] > 0).astype(float)
    reader = fit_directions(features[:200], ups[:200])
    assert ((reader(features[200:]) > 0) == (ups[200:] > 0.5)).mean() > 0.95
    constant = fit_directions(features, np.ones((300, 1)))
    assert (constant(features) > 0).all()
    assert neighbour_direction_accuracy(features[:200], ups[:200], features[200:], ups[200:]) > 0.7


def test_noise_gives_nothing_away() -> None:
    features, classes = RANDOM.normal(size=(400, 10)), RANDOM.integers(0, 2, 400)
    reader = fit_classes(features[:200], classes[:200], 2)
    assert abs((reader(features[200:]).argmax(1) == classes[200:]).mean() - 0.5) < 0.12
    values = RANDOM.normal(size=(400, 1))
    assert explained(values[200:], fit_values(features[:200], values[:200])(features[200:])) < 0.05
