"""Collapse and prediction quality against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from src.metrics.representation import (
    EvenSample,
    collapse_metrics,
    combined_similarities,
    cosine_similarities,
    effective_rank,
    evenly_spaced_rows,
    mean_similarity,
    prediction_quality,
    similarity_summary,
    triangular_singular_values,
)


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_effective_rank_of_equally_strong_directions_is_their_number(directions: int) -> None:
    features = torch.eye(8)[:directions].repeat(5, 1) * 3.0
    assert float(effective_rank(features)) == pytest.approx(directions, rel=1e-4)


def test_effective_rank_is_the_exponential_of_the_entropy_of_the_singular_values() -> None:
    shares = [0.5, 0.3, 0.2]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert float(effective_rank(torch.diag(torch.tensor(shares) * 7))) == pytest.approx(expected, rel=1e-5)


def test_effective_rank_without_svd_is_right_to_half_a_percent() -> None:
    torch.manual_seed(0)
    for features in (torch.randn(300, 64), torch.randn(64, 5) @ torch.randn(5, 96), torch.randn(96, 96)):
        exact = torch.linalg.svdvals(features)
        values = triangular_singular_values(features)
        ranks = [float(torch.special.entr(v / v.sum()).sum().exp()) for v in (values, exact)]
        assert ranks[0] == pytest.approx(ranks[1], rel=5e-3)


def test_features_that_are_not_finite_or_all_zero_do_not_raise() -> None:
    broken = torch.ones(4, 3)
    broken[1, 1] = math.nan
    assert math.isnan(float(effective_rank(broken)))
    assert all(value.ndim == 0 for value in collapse_metrics(broken).values())
    assert float(effective_rank(torch.zeros(4, 3))) == pytest.approx(1)


def test_collapsed_features_are_told_from_rich_ones_whatever_their_scale() -> None:
    torch.manual_seed(0)
    rich = torch.randn(400, 16)
    for scale in (1e-3, 1.0, 1e3):
        found = {name: float(value) for name, value in collapse_metrics(rich * scale).items()}
        assert 0.9 < found["mean_std_per_dim"] < 1 and found["min_std_per_dim"] > 0.8
        assert found["raw_std_per_dim"] == pytest.approx(scale, rel=0.1)
        assert found["dead_dimensions_percent"] == 0 and abs(found["mean_similarity"]) < 0.05
        assert found["effective_rank"] > 15
        collapsed = {k: float(v) for k, v in collapse_metrics((torch.ones(16) + 1e-4 * rich) * scale).items()}
        assert collapsed["mean_std_per_dim"] < 0.01 and collapsed["mean_similarity"] > 0.99
        assert collapsed["effective_rank"] < 1.1 and collapsed["dead_dimensions_percent"] == 100


def test_share_of_dead_dimensions() -> None:
    torch.manual_seed(0)
    features = torch.randn(50, 4).sign()
    features[:, 1] = 1.0
    assert float(collapse_metrics(features)["dead_dimensions_percent"]) == 25


def test_similarity_leaves_out_samples_with_themselves() -> None:
    torch.manual_seed(0)
    features = torch.randn(7, 5)
    pairs = [
        float(torch.cosine_similarity(features[i], features[j], dim=0)) for i in range(7) for j in range(7) if i != j
    ]
    assert float(mean_similarity(features)) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert float(mean_similarity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-1)
    assert math.isnan(float(mean_similarity(features[:1])))


def test_rows_are_evenly_spaced_and_bounded() -> None:
    rows = evenly_spaced_rows(torch.arange(2000.0).reshape(10, 100, 2), most_rows=100)
    assert rows.shape == (100, 2) and rows[1, 0] - rows[0, 0] == 20


def test_prediction_quality_of_known_angles() -> None:
    targets = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]])
    predictions = torch.tensor([[[2.0, 0.0], [5.0, 0.0], [-1.0, 0.0]]])
    found = {name: float(value) for name, value in prediction_quality(predictions, targets).items()}
    assert found["cosine_sim_mean"] == pytest.approx(0) and found["normalized_mse"] == pytest.approx(2)
    assert found["cosine_sim_std"] == pytest.approx(math.sqrt(2 / 3))
    assert (found["cosine_sim_min"], found["cosine_sim_max"]) == pytest.approx((-1, 1))


def test_batches_combine_to_what_all_samples_together_give() -> None:
    torch.manual_seed(0)
    predictions, targets = torch.randn(30, 6), torch.randn(30, 6)
    similarities = cosine_similarities(predictions, targets)
    parts = similarities.split([3, 20, 7])
    combined = combined_similarities([len(part) for part in parts], [similarity_summary(part) for part in parts])
    for name, value in similarity_summary(similarities).items():
        assert float(combined[name]) == pytest.approx(float(value), abs=1e-6), name


def test_an_even_sample_spans_the_whole_set_in_bounded_memory() -> None:
    sample = EvenSample(most_rows=50)
    sample.add(torch.zeros(1, 2, 1))
    for start in range(2, 1002, 10):
        sample.add(torch.arange(start, start + 10.0)[:, None])
    rows = sample.rows()[:, 0]
    spaces = rows.diff()
    assert 50 <= len(rows) <= 100 and rows[-1] > 950
    assert spaces[1:].unique().numel() == 1  # the first ones were two zeros


def test_no_gradient_is_kept() -> None:
    features = torch.randn(8, 4, requires_grad=True)
    found = {**collapse_metrics(features), **prediction_quality(features, features)}
    assert not any(value.requires_grad for value in found.values())


def test_the_centred_rank_does_not_see_a_collapse() -> None:
    noise = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    healthy, collapsed = noise + 1.0, 1e-3 * noise + 1.0
    one, two = (collapse_metrics(features, centred=True) for features in (healthy, collapsed))
    assert one["effective_rank"] > 10 > 1.3 > two["effective_rank"]
    torch.testing.assert_close(one["centred_effective_rank"], two["centred_effective_rank"], rtol=1e-3, atol=0)
    assert "centred_effective_rank" not in collapse_metrics(healthy)
