"""TreeEnsemble says what the fitted scikit-learn booster says."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from src.layers import trees
from src.layers.trees import TreeEnsemble


def fit(kind, depth=4, iterations=15, seed=0, rows=500):
    rng = np.random.default_rng(seed)
    read = rng.normal(size=(rows, 5))
    wanted = np.sin(3 * read[:, 0]) + read[:, 1] * read[:, 2] + 0.1 * rng.normal(size=rows)
    if kind is HistGradientBoostingClassifier:
        wanted = (wanted > 0).astype(float)
    booster = kind(max_iter=iterations, max_depth=depth, max_leaf_nodes=None, min_samples_leaf=2, random_state=0)
    return booster.fit(read, wanted), rng.normal(size=(rows, 5)) * 2


def raw(booster, rows):
    return booster.decision_function(rows) if hasattr(booster, "decision_function") else booster.predict(rows)


@pytest.mark.parametrize("kind", [HistGradientBoostingRegressor, HistGradientBoostingClassifier])
@pytest.mark.parametrize("depth", [1, 3, 8])
def test_equals_scikit_learn(kind, depth, monkeypatch):
    monkeypatch.setattr(trees, "ROWS_AT_ONCE", 99)
    booster, rows = fit(kind, depth)
    ensemble = TreeEnsemble(20, 2 ** (depth + 1) - 1, depth)
    ensemble.copy_from(booster)
    rows[0], rows[1] = booster._predictors[0][0].nodes["num_threshold"][0], np.nextafter(rows[0], np.inf)
    np.testing.assert_allclose(ensemble(torch.from_numpy(rows)).numpy(), raw(booster, rows), rtol=1e-10, atol=1e-10)


def test_second_fit_leaves_nothing_of_the_first():
    """A shorter ensemble forgets the trees that it does not have."""
    ensemble = TreeEnsemble(20, 31, 4)
    ensemble.copy_from(fit(HistGradientBoostingRegressor, iterations=20)[0])
    booster, rows = fit(HistGradientBoostingRegressor, depth=2, iterations=5, seed=1)
    ensemble.copy_from(booster)
    np.testing.assert_allclose(ensemble(torch.from_numpy(rows)).numpy(), booster.predict(rows), rtol=1e-10)
    ensemble.reset(2.5)
    assert torch.equal(ensemble(torch.from_numpy(rows)), torch.full((len(rows),), 2.5, dtype=torch.float64))
