"""What generated clips are worth: whether captions can be read in them, whether they look and differ as real ones do,
and whether they are more than training clips repeated."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .caption_reader import CaptionReader
from .generation import diversity, frechet_distance, nearest_distances

STILL_WORD_ACCURACY = 0.8
"""Balanced accuracy from which a single real frame counts as telling a word."""
MOST_CANDIDATES = 1000
_NEAREST_SHARE = 0.01


class ClipQuality:
    """Scores generated clips against real ones that were held apart.

    Args:
        reader: fitted to training clips.
        candidates: different captions of the training part, int64 ``[captions, tokens]``, among which is read; of more
            than 1,000 so many are taken, evenly spaced, and those that are asked for.
        known_clips: training clips, ``[clips, frames, channels, height, width]`` from -1 to 1.
        real_clips, real_captions: real clips that were held apart, and their captions.

    Attributes:
        ceiling: what ``score`` says of the real clips; their Frechet distance is that to as many training clips.
    """

    def __init__(
        self, reader: CaptionReader, candidates: Tensor, known_clips: Tensor, real_clips: Tensor, real_captions: Tensor
    ) -> None:
        self.reader = reader
        stride = -(-len(candidates) // MOST_CANDIDATES)
        self._candidates = candidates[::stride]
        self._known = known_clips
        known_some = known_clips[:: max(1, len(known_clips) // len(real_clips))][: len(real_clips)]
        self._real_features, self._real_captions = reader.features(real_clips), real_captions.to(candidates)
        self._still = self._still_words(real_clips, real_captions)
        self._real_nearest = nearest_distances(real_clips, known_clips)[0]
        self.ceiling = self.score(real_clips, real_captions)
        if min(len(real_clips), len(known_some)) > 1:
            self.ceiling["frechet_distance"] = float(frechet_distance(self._real_features, reader.features(known_some)))

    def read(self, clips: Tensor, asked: Tensor) -> Tensor:
        """The caption that is found in each clip, among the candidates and those asked for, ``[clips, tokens]``."""
        candidates = torch.unique(torch.cat([self._candidates, asked.to(self._candidates)]), dim=0)
        return candidates[self.reader.read(clips, candidates)]

    def score(self, clips: Tensor, asked: Tensor) -> dict[str, float]:
        """What clips are worth that were drawn for captions. What the data do not determine is left out.

        Args:
            clips: ``[clips, frames, channels, height, width]`` from -1 to 1.
            asked: their captions' tokens, int64 ``[clips, tokens]``.

        Returns:
            ``caption_accuracy``, the share whose words are all found; ``word_accuracy``, balanced over words that are
            there and those that are not (left out where all captions are alike); ``frame_accuracy`` and
            ``all_frames_accuracy``, the shares of frames, and of clips in all their frames, that show the words which
            stills tell (left out where stills tell none); ``frechet_distance`` (left out with less than two clips, or
            real ones); ``diversity_ratio``, the mean distance of clips of one caption over that of real ones of the
            same captions (of all over all, where captions seldom repeat; left out where real ones do not differ);
            ``nearest_ratio``, the mean distance to the nearest training clip over that of real clips; ``copies``, the
            share nearer to one than all but a hundredth of the real ones.
        """
        reader, asked = self.reader, asked.to(self._candidates)
        wanted, found = reader.words_of(asked), reader.words_of(self.read(clips, asked))
        scores = {"caption_accuracy": float((wanted == found).all(1).float().mean())}
        if reader.informative.any():
            scores["word_accuracy"] = self._word_accuracy(reader.word_scores(clips), wanted)
        if self._still.any():
            right = self._right_frames(clips, wanted)
            scores["frame_accuracy"] = float(right.float().mean())
            scores["all_frames_accuracy"] = float(right.all(1).float().mean())
        features = reader.features(clips)
        nearest = nearest_distances(clips.to(self._known), self._known)[0]
        limit = torch.quantile(self._real_nearest, _NEAREST_SHARE)
        if min(len(features), len(self._real_features)) > 1:
            scores["frechet_distance"] = float(frechet_distance(features, self._real_features))
        diversity_ratio = self._diversity_ratio(features, asked)
        if math.isfinite(diversity_ratio):
            scores["diversity_ratio"] = diversity_ratio
        scores["nearest_ratio"] = float(nearest.mean() / self._real_nearest.mean().clamp(min=1e-6))
        scores["copies"] = float((nearest < limit).float().mean())
        return scores

    def _word_accuracy(self, scores: Tensor, wanted: Tensor) -> float:
        said = scores[:, self.reader.informative] > 0
        truth = wanted[:, self.reader.informative]
        shares = [(said == truth)[truth == there].float().mean() for there in (True, False)]
        return float(torch.stack(shares).nanmean())

    def _still_words(self, clips: Tensor, captions: Tensor) -> Tensor:
        """Words that single frames of real clips tell, bool ``[vocabulary]``."""
        said = self.reader.frame_word_scores(clips) > 0  # [clips, frames, vocabulary]
        truth = self.reader.words_of(captions)[:, None].expand_as(said)
        shares = [
            ((said == there) & (truth == there)).sum((0, 1)) / (truth == there).sum((0, 1)) for there in (True, False)
        ]
        return self.reader.informative & (torch.stack(shares).mean(0) >= STILL_WORD_ACCURACY)

    def _right_frames(self, clips: Tensor, wanted: Tensor) -> Tensor:
        """Whether each frame shows those still words that were asked for, bool ``[clips, frames]``."""
        candidates = self.reader.words_of(self._candidates) & self._still
        known = torch.unique(torch.cat([candidates, wanted & self._still]), dim=0)
        scores = self.reader.frame_word_scores(clips) @ known.float().T
        return (known[scores.argmax(-1)] == (wanted & self._still)[:, None]).all(-1)

    def _diversity_ratio(self, features: Tensor, asked: Tensor) -> float:
        """How different clips are over how different real ones are; not finite where that says nothing.

        Clips of one caption differ less than clips of several do, so both sides are compared in the same way: caption
        by caption where most clips have a caption that repeats on both sides, else all with all.
        """
        groups = torch.unique(torch.cat([asked, self._real_captions]), dim=0, return_inverse=True)[1]
        drawn, real = groups[: len(asked)], groups[len(asked) :]
        total = int(groups.max()) + 1
        repeats = (torch.bincount(drawn, minlength=total) > 1) & (torch.bincount(real, minlength=total) > 1)
        if repeats[drawn].float().mean() <= 0.5:
            return float(diversity(features) / diversity(self._real_features))
        captions = repeats.nonzero().flatten().tolist()
        spread = sum(diversity(features[drawn == caption]) for caption in captions)
        return float(spread / sum(diversity(self._real_features[real == caption]) for caption in captions))
