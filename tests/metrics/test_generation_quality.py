"""Scores of generated clips tell good ones from noise, repetition and copies."""

from __future__ import annotations

import functools

import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.errors import UserError
from src.metrics.caption_reader import CaptionReader
from src.metrics.generation import diversity, frechet_distance, nearest_distances
from src.metrics.generation_quality import MOST_CANDIDATES, ClipQuality
from tests.metrics.moving_bars import CAPTIONS, SHAPE, bars, fitted, training


@functools.cache
def quality() -> ClipQuality:
    clips, captions, reader = training()
    return ClipQuality(reader, torch.unique(captions, dim=0), clips, *bars(160, seed=1))


def noise(count: int) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1


def test_real_clips_that_were_held_apart_are_the_ceiling() -> None:
    ceiling = quality().ceiling
    accuracies = ("caption_accuracy", "word_accuracy", "frame_accuracy", "all_frames_accuracy")
    assert all(0.95 <= ceiling[name] <= 1 for name in accuracies)
    assert (ceiling["diversity_ratio"], ceiling["nearest_ratio"]) == pytest.approx((1, 1), rel=1e-4)
    assert ceiling["frechet_distance"] > 0 and ceiling["copies"] <= 0.02


def test_new_clips_of_the_same_kind_score_as_real_ones() -> None:
    found, ceiling = quality().score(*bars(160, seed=2)), quality().ceiling
    assert found["caption_accuracy"] >= 0.95 and found["frechet_distance"] < 2 * ceiling["frechet_distance"]
    assert (found["diversity_ratio"], found["nearest_ratio"]) == pytest.approx((1, 1), abs=0.2)
    assert found["copies"] <= 0.1


def test_noise_says_nothing_and_is_far_from_everything() -> None:
    found, ceiling = quality().score(noise(160), bars(160, seed=2)[1]), quality().ceiling
    assert found["caption_accuracy"] <= 0.4 and found["word_accuracy"] <= 0.65 and found["frame_accuracy"] <= 0.65
    assert found["frechet_distance"] > 5 * ceiling["frechet_distance"]
    assert found["nearest_ratio"] > 1.5 and found["copies"] == 0


def test_clips_of_other_captions_are_not_what_was_asked_for() -> None:
    clips, captions = bars(160, seed=2)
    found = quality().score(clips, captions.roll(1, 0))  # each caption differs from the one before
    assert found["caption_accuracy"] <= 0.05 and found["frechet_distance"] < 2 * quality().ceiling["frechet_distance"]


def test_copies_of_training_clips_are_told() -> None:
    known, captions, _ = training()
    found = quality().score(known[:100], captions[:100])
    assert found["caption_accuracy"] >= 0.95
    assert found["copies"] == 1 and found["nearest_ratio"] < 0.05


def test_the_same_clip_again_and_again_lacks_diversity() -> None:
    clips, captions = bars(160, seed=2)
    found = quality().score(clips[:4].repeat(40, 1, 1, 1, 1), captions)  # one clip for each caption
    assert found["caption_accuracy"] >= 0.95 and found["diversity_ratio"] < 0.01


def test_a_clip_that_changes_its_subject_half_way_has_wrong_frames() -> None:
    clips, captions = bars(160, seed=2)
    clips[:, 2:] = clips[:, 2:].flip(-1)
    found = quality().score(clips, captions)
    assert found["frame_accuracy"] == pytest.approx(0.5, abs=0.05) and found["all_frames_accuracy"] <= 0.05


def test_diversity_compares_like_with_like_where_captions_seldom_repeat() -> None:
    """Clips of one caption differ less than clips of several; a single pair of them is no measure for the others."""
    clips, _ = bars(60, seed=3)
    captions = torch.arange(2, 62)[:, None].clone()
    captions[1], clips[1] = captions[0], clips[0] + 0.01  # two real clips of one caption, nearly alike
    known, known_captions, _ = training()
    scored = ClipQuality(fitted(known, known_captions, vocabulary=64), captions, known, clips, captions)
    others = bars(30, seed=4)[0]
    assert scored.score(others, captions[:30])["diversity_ratio"] == pytest.approx(1, abs=0.2)  # with the pair
    assert scored.score(others, captions[10:40])["diversity_ratio"] == pytest.approx(1, abs=0.2)  # without


def test_diversity_is_that_of_the_captions_asked_for() -> None:
    """Real clips of some captions differ more than those of others, so they are compared caption by caption."""
    clips, captions = bars(160, seed=1)
    calm = (captions == CAPTIONS[0]).all(1)
    clips[calm] = clips[calm][:1] + 0.1 * torch.rand(clips[calm].shape, generator=torch.Generator().manual_seed(6))
    scored = ClipQuality(training()[2], CAPTIONS, training()[0], clips, captions)
    assert scored.score(clips[calm], captions[calm])["diversity_ratio"] == pytest.approx(1, rel=1e-4)


class ExactReader(CaptionReader):
    """Finds the two words whose numbers are the first two values of a clip; notes how many captions it chose among."""

    chose_among = 0

    def word_scores(self, clips: Tensor) -> Tensor:
        said = clips.flatten(1)[:, :2].long()
        return torch.full((len(clips), len(self.informative)), -5.0).scatter_(1, said, 5.0)

    def read(self, clips: Tensor, candidates: Tensor) -> Tensor:
        self.chose_among = len(candidates)
        return super().read(clips, candidates)


def test_of_very_many_captions_a_thousand_are_chosen_among_and_those_asked_for() -> None:
    count = 2 * MOST_CANDIDATES + 1
    captions = torch.stack([2 + torch.arange(count) // 50, 50 + torch.arange(count) % 50], 1)
    reader = ExactReader(SHAPE, 100)
    reader.informative[2:] = True
    asked = captions[[1, 2, 4, 5, 7, 8]]  # none of them is an evenly spaced one
    clips = torch.zeros(6, *SHAPE)
    clips[:, 0, 0, 0, :2] = asked.float()
    scored = ClipQuality(reader, captions, clips, clips, asked)
    assert scored.score(clips, asked)["caption_accuracy"] == 1
    assert len(asked) < reader.chose_among <= MOST_CANDIDATES + len(asked)
    assert scored.score(clips, asked.roll(1, 0))["caption_accuracy"] == 0
    assert torch.equal(scored.read(clips, asked), asked)


def test_what_the_data_do_not_determine_is_left_out() -> None:
    clips, captions, reader = training()
    one = ClipQuality(reader, CAPTIONS, clips, clips[:1], captions[:1])
    assert {"frechet_distance", "diversity_ratio"}.isdisjoint(one.ceiling | one.score(clips[:3], captions[:3]))
    assert {"frechet_distance", "diversity_ratio"}.isdisjoint(quality().score(clips[:1], captions[:1]))
    alike = CAPTIONS[:1].expand(8, -1)
    same = ClipQuality(fitted(clips[:8], alike), CAPTIONS[:1], clips[:8], clips[8:16], alike)
    assert {"word_accuracy", "frame_accuracy", "all_frames_accuracy"}.isdisjoint(same.ceiling)
    assert all(value == value for value in same.ceiling.values()) and same.ceiling["caption_accuracy"] == 1


def test_scores_are_the_same_each_time_and_change_no_random_state() -> None:
    clips, captions = bars(40, seed=2)
    before = torch.get_rng_state()
    assert quality().score(clips, captions) == quality().score(clips, captions)
    assert torch.equal(torch.get_rng_state(), before)


# --- the distances themselves, against closed forms ------------------------------------------------------------------


def drawn(mean: Tensor, root: Tensor, count: int = 500, seed: int = 0) -> Tensor:
    """Samples whose mean is ``mean`` and whose covariance is ``root @ root.T``, exactly."""
    values = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = values - values.mean(0)
    white = values @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(values.T).reshape(len(mean), -1))).T
    return mean + white @ root.T


def test_frechet_distance_of_numbers_is_that_of_their_means_and_deviations() -> None:
    one = drawn(torch.tensor([1.0]).double(), torch.tensor([[2.0]]).double())
    other = drawn(torch.tensor([4.0]).double(), torch.tensor([[0.5]]).double(), seed=1)
    assert float(frechet_distance(one, other)) == pytest.approx(3**2 + 1.5**2, rel=1e-9)


def test_frechet_distance_of_normal_distributions_against_scipy() -> None:
    generator = torch.Generator().manual_seed(2)
    roots = torch.randn(2, 5, 5, generator=generator, dtype=torch.float64).tril(-1) + torch.eye(5).double()
    means = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    first, second = (root @ root.T for root in roots)
    product = scipy.linalg.sqrtm((first @ second).numpy()).real.trace()
    expected = float((means[0] - means[1]).square().sum() + first.trace() + second.trace()) - 2 * product
    sets = [drawn(mean, root, seed=seed) for seed, (mean, root) in enumerate(zip(means, roots, strict=True))]
    assert float(frechet_distance(*sets)) == pytest.approx(expected, rel=1e-8)
    assert float(frechet_distance(*reversed(sets))) == pytest.approx(expected, rel=1e-8)


@given(st.integers(0, 1000), st.integers(2, 30), st.integers(1, 12), st.sampled_from([1e-3, 1.0, 1e3]))
def test_frechet_distance_is_never_negative_and_of_equal_sets_nothing(
    seed: int, n: int, size: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = scale * torch.randn(2, n, size, generator=generator)
    one[:, 0] = scale  # a feature that never differs
    unit = scale * scale * size
    assert 0 <= float(frechet_distance(one, one)) <= 1e-6 * unit
    both = float(frechet_distance(one, other)), float(frechet_distance(other, one))
    assert both[0] > 0 and both[0] == pytest.approx(both[1], rel=1e-4, abs=1e-6 * unit)


def test_frechet_distance_needs_two_samples_of_each() -> None:
    with pytest.raises(UserError, match="at least 2 samples of each kind, but got 1 and 5"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(5, 3))


def test_diversity_is_the_mean_distance_of_different_samples() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]])
    assert float(diversity(features)) == pytest.approx((5 + 3 + 4) / 3)
    assert float(diversity(features, torch.tensor([7, 7, 9]))) == pytest.approx(5)
    assert float(diversity(torch.ones(4, 3))) == pytest.approx(0, abs=1e-6)
    assert torch.isnan(diversity(features, torch.arange(3))) and torch.isnan(diversity(features[:1]))


def test_nearest_known_clip_by_root_mean_square_in_pieces_as_at_once() -> None:
    generator = torch.Generator().manual_seed(4)
    known, clips = torch.randn(30, 2, 1, 3, 3, generator=generator), torch.randn(50, 2, 1, 3, 3, generator=generator)
    clips[7] = known[20] + 0.01
    apart = (clips[:, None] - known).square().flatten(2).mean(2).sqrt()
    for at_once in (3, 128):
        distances, which = nearest_distances(clips, known, at_once)
        torch.testing.assert_close(distances, apart.min(1).values, rtol=1e-3, atol=1e-4)
        assert torch.equal(which, apart.argmin(1)) and which[7] == 20
