"""Counts of answers, fed batch by batch, give what scikit-learn and TensorBoard give on everything at once."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch.utils.tensorboard.summary import compute_curve

from src.metrics import classification
from src.metrics.classification import THRESHOLDS, DirectionScores, PrecisionRecall


@st.composite
def shapes(draw):
    """Windows, horizon, targets, a seed, and where the batches are cut."""
    windows = draw(st.integers(1, 60))
    cuts = sorted(draw(st.sets(st.integers(1, windows), max_size=4)) | {0, windows})
    return windows, draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 1000)), cuts


@settings(max_examples=80, deadline=None)
@given(shape=shapes(), rises=st.sampled_from([0.0, 0.3, 1.0]), says=st.sampled_from([0.0, 0.5, 1.0]))
def test_direction_scores(shape, rises, says):
    windows, horizon, targets, seed, cuts = shape
    rng = np.random.default_rng(seed)
    up = (rng.random((windows, horizon, targets)) < rises).astype(np.float32)
    probability = (0.5 * rng.random(up.shape) + says / 2).astype(np.float32)
    returns = np.where(up > 0, 1, -1) * rng.exponential(0.01, up.shape)
    share = rng.uniform(0.2, 0.8, targets)
    scores = DirectionScores(5.0)
    for first, last in itertools.pairwise(cuts):
        scores.add(up[first:last], probability[first:last], share, returns[first:last])
    truth, said = up.ravel().astype(int), probability.ravel().astype(np.float64)
    called = (said > 0.5).astype(int)
    recalls = [(called[truth == side] == side).mean() for side in (0, 1) if (truth == side).any()]
    naive = np.broadcast_to(share, up.shape).ravel()
    size = 2 * said - 1
    expected = {
        "accuracy": metrics.accuracy_score(truth, called),
        "balanced_accuracy": np.mean(recalls),
        "majority_share": max(truth.mean(), 1 - truth.mean()),
        "f1": metrics.f1_score(truth, called, zero_division=0.0),
        "mcc": metrics.matthews_corrcoef(truth, called),
        "brier": metrics.brier_score_loss(truth, said),
        "log_loss": metrics.log_loss(truth, np.clip(said, 1e-7, 1 - 1e-7), labels=[0, 1]),
        "skill_vs_naive": 1 - ((said - truth) ** 2).mean() / ((naive - truth) ** 2).mean(),
        "simulated_return": (size * returns.ravel() - np.abs(size) * 0.0005).mean(),
        "buy_and_hold_return": returns.mean(),
        "calls": called.sum(),
        "call_returns": returns.ravel()[called == 1].sum(),
    }
    assert scores.results() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(truth, called, labels=[0, 1]))
    if len(recalls) == 2:
        assert expected["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, called))


@settings(max_examples=40, deadline=None)
@given(classes=st.integers(2, 5), count=st.integers(1, 80), seed=st.integers(0, 1000))
def test_any_number_of_classes(classes, count, seed):
    truth, said = np.random.default_rng(seed).integers(0, classes, (2, count))
    confusion = metrics.confusion_matrix(truth, said, labels=range(classes))
    assert classification.accuracy(confusion) == pytest.approx(metrics.accuracy_score(truth, said))
    assert classification.matthews_correlation(confusion) == pytest.approx(metrics.matthews_corrcoef(truth, said))
    assert classification.majority_share(confusion) == pytest.approx(np.bincount(truth).max() / count)
    if set(said) <= set(truth):
        assert classification.balanced_accuracy(confusion) == pytest.approx(
            metrics.balanced_accuracy_score(truth, said)
        )


def test_the_correlation_of_billions_of_answers_does_not_overflow():
    confusion = np.array([[4, 1], [1, 4]], dtype=np.int64) * 10**9
    assert classification.matthews_correlation(confusion) == pytest.approx(0.6)


def test_scores_by_hand():
    """8 happened not, 6 of them said so; 2 happened, 1 of them said so."""
    confusion = np.array([[6, 2], [1, 1]])
    assert classification.accuracy(confusion) == 0.7
    assert classification.majority_share(confusion) == 0.8
    assert classification.balanced_accuracy(confusion) == (0.75 + 0.5) / 2
    assert classification.f1(confusion) == pytest.approx(2 / 5)
    assert classification.matthews_correlation(confusion) == pytest.approx(4 / math.sqrt(3 * 2 * 8 * 7))


def test_sure_and_wrong_is_finite():
    scores = DirectionScores()
    scores.add(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.array([0.5]))
    assert scores.results()["log_loss"] == pytest.approx(-math.log(1e-7))


def test_a_half_is_not_up():
    scores = DirectionScores(0.0)
    scores.add(np.array([[[0.0]], [[1.0]]]), np.full((2, 1, 1), 0.5), np.array([0.5]), np.full((2, 1, 1), 0.1))
    assert scores.confusion.tolist() == [[1, 0], [1, 0]]
    assert scores.results()["calls"] == 0 and scores.results()["simulated_return"] == 0.0


def test_without_returns_nothing_is_said_of_trading():
    for cost, returns in ((None, None), (5.0, None), (None, np.ones((3, 1, 1)))):
        scores = DirectionScores(cost)
        scores.add(np.ones((3, 1, 1)), np.full((3, 1, 1), 0.7), np.array([0.5]), returns)
        assert scores.results()["accuracy"] == 1.0 and "simulated_return" not in scores.results()


def test_nothing_added_gives_nothing():
    assert DirectionScores(5.0).results() == {}


# ---- precision and recall


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 200), seed=st.integers(0, 1000), rises=st.sampled_from([0.0, 0.2, 1.0]))
def test_precision_and_recall(count, seed, rises):
    rng = np.random.default_rng(seed)
    truth, probability = (rng.random(count) < rises).astype(float), rng.random(count)
    probability[:3] = np.array([0.0, 1.0, 0.5])[:count]
    running = PrecisionRecall()
    for part in np.array_split(np.arange(count), 3):
        running.add(truth[part], probability[part])
    curve = running.curve()
    np.testing.assert_allclose(np.stack(list(curve.values())), compute_curve(truth, probability, THRESHOLDS))
    for place in (0, 1, 40, THRESHOLDS - 1):
        called = np.floor(probability * (THRESHOLDS - 1)) >= place
        precision, recall, _, _ = metrics.precision_recall_fscore_support(
            truth, called, average="binary", zero_division=0.0
        )
        assert curve["precision"][place] == pytest.approx(precision)
        assert curve["recall"][place] == pytest.approx(recall)
