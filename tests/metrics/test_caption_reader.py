"""A reader of clips finds the captions of clips that it has not seen, and none where there is none."""

from __future__ import annotations

import pytest
import torch

from src.metrics.caption_reader import LARGEST_SIDE, MOST_FRAMES, CaptionReader, words_of
from tests.metrics.moving_bars import (
    CAPTIONS,
    DOWN,
    LEFT,
    MOVING,
    RIGHT,
    SHAPE,
    UP,
    VOCABULARY,
    bars,
    fitted,
    training,
)


def test_captions_of_clips_that_were_held_apart_are_read() -> None:
    reader = training()[2]
    clips, captions = bars(200, seed=1)
    assert (CAPTIONS[reader.read(clips, CAPTIONS)] == captions).all(1).float().mean() >= 0.95
    said = reader.word_scores(clips) > 0
    assert (said == reader.words_of(captions))[:, reader.informative].float().mean() >= 0.95


def test_a_single_frame_tells_the_place_and_not_the_way() -> None:
    reader = training()[2]
    clips, captions = bars(200, seed=1)
    said = reader.frame_word_scores(clips) > 0
    right = (said == reader.words_of(captions)[:, None]).float().mean((0, 1))
    assert right[[LEFT, RIGHT]].min() >= 0.95
    assert right[[UP, DOWN]].max() <= 0.7


def test_the_way_is_read_from_the_order_of_frames() -> None:
    reader = training()[2]
    clips, captions = bars(100, seed=2)
    backwards = captions.clone()
    backwards[:, 2] = UP + DOWN - captions[:, 2]
    assert (CAPTIONS[reader.read(clips.flip(1), CAPTIONS)] == backwards).all(1).float().mean() >= 0.95


def test_in_noise_it_finds_what_was_asked_as_often_as_by_chance() -> None:
    reader = training()[2]
    noise = torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(3)) * 2 - 1
    asked = torch.arange(400) % len(CAPTIONS)
    assert (reader.read(noise, CAPTIONS) == asked).float().mean() <= 0.35


def test_it_is_the_same_whatever_random_numbers_were_drawn_and_leaves_those_to_come() -> None:
    clips, captions = bars(32, seed=0)
    readers = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        with torch.set_grad_enabled(seed == 1):  # scores are asked for where no gradients are kept
            readers.append(fitted(clips, captions))
        assert torch.equal(torch.get_rng_state(), before)
    first, second = (reader.state_dict() for reader in readers)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not readers[0].training and not any(value.requires_grad for value in readers[0].parameters())


def test_words_of_every_caption_padding_and_unknown_words_are_left_out() -> None:
    reader = training()[2]
    assert reader.informative.nonzero().flatten().tolist() == [LEFT, RIGHT, UP, DOWN]
    assert words_of(torch.tensor([[LEFT, MOVING, 1, 0]]), VOCABULARY).nonzero()[:, 1].tolist() == [MOVING, LEFT]
    assert reader.words_of(torch.tensor([[LEFT, MOVING, 1, 0]])).nonzero()[:, 1].tolist() == [LEFT]


def test_the_order_of_words_is_not_read() -> None:
    reader = training()[2]
    clips = bars(20, seed=1)[0]
    assert torch.equal(reader.read(clips, CAPTIONS), reader.read(clips, CAPTIONS.flip(1)))


def test_a_clip_is_read_alike_alone_and_among_many() -> None:
    reader = training()[2]
    clips = bars(300, seed=4)[0]  # more than are read at once
    for ask in (reader.features, reader.word_scores, reader.frame_word_scores):
        together = ask(clips)
        assert len(together) == 300 and not together.requires_grad
        torch.testing.assert_close(together[299:], ask(clips[299:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "shape", [(2 * MOST_FRAMES, 3, 2 * LARGEST_SIDE, 2 * LARGEST_SIDE), (1, 1, 4, 4), (17, 3, 33, 20)]
)
def test_large_and_small_clips_can_be_read(shape: tuple[int, ...]) -> None:
    reader = CaptionReader(shape, VOCABULARY)
    clips = torch.zeros(2, *shape)
    assert reader.word_scores(clips).shape == (2, VOCABULARY)
    frames = reader.frame_word_scores(clips)
    assert frames.shape[0] == 2 and frames.shape[1] <= min(shape[0], MOST_FRAMES) and frames.shape[2] == VOCABULARY
    assert reader.features(clips).isfinite().all()


def test_captions_that_are_all_alike_leave_nothing_to_be_learnt() -> None:
    clips, _ = bars(8, seed=0)
    reader = fitted(clips, CAPTIONS[:1].expand(8, -1))
    assert not reader.informative.any()
    assert reader.features(clips).isfinite().all()
    assert reader.read(clips, CAPTIONS[:1]).tolist() == [0] * 8
