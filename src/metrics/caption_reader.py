"""A reader of clips: a small network, fitted to real captioned clips, that says which words a clip shows.

What a generator draws is scored by whether this reader, who knows nothing of the generator, finds the caption in it. It
picks among known captions the one whose words are the likeliest, as R-precision does for motions drawn from texts (Guo
et al. 2022, "Generating diverse and natural 3D human motions from text"). The order of words is not read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_SIDE = 32
"""Larger clips are made smaller before they are read."""
MOST_FRAMES = 16
MOST_STEPS, MOST_PASSES = 700, 50
"""Steps that a reader is fitted for at most, and times that it sees every clip."""
BATCH_SIZE = 64
_PEAK_RATE = 4e-3
_NOISE = 0.1
"""Deviation of noise that is added while the reader learns, as generated clips are never quite clean."""
_AT_ONCE = 256
_SIZE = 64
FRAMES_AT_ONCE = 2
"""Random frames of a clip that are looked at in a step of fitting."""

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives clips ``[batch, frames, channels, height, width]`` from -1 to 1 and their captions' tokens ``[batch, tokens]``,
again and again."""


class CaptionReader(nn.Module):
    """Says which words of a vocabulary a clip shows, as a whole and frame by frame.

    Args:
        clip_shape: ``(frames, channels, height, width)``.
        vocabulary: how many token numbers there are; 0 is padding and 1 unknown.

    Attributes:
        informative: bool ``[vocabulary]``: words that some training captions have and others have not.
    """

    informative: Tensor

    def __init__(self, clip_shape: tuple[int, ...], vocabulary: int) -> None:
        super().__init__()
        frames, channels, height, width = clip_shape
        self._shrink = max(1, -(-max(height, width) // LARGEST_SIDE))
        self._stride = -(-frames // MOST_FRAMES)
        seen_frames = -(-frames // self._stride)
        self.looks = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(32, _SIZE, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.motion = nn.Sequential(
            nn.Conv2d(seen_frames * channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, _SIZE, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(8), nn.Flatten(),
            nn.Linear(_SIZE * 64, _SIZE), nn.ReLU(),
        )  # fmt: skip
        self.drop = nn.Dropout(0.1)
        self.of_frame = nn.Linear(_SIZE, vocabulary)
        self.of_clip = nn.Linear(2 * _SIZE, vocabulary)
        self.register_buffer("informative", torch.zeros(vocabulary, dtype=torch.bool))

    def forward(self, clips: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-odds of every word.

        Args:
            clips: ``[batch, frames, channels, height, width]``.
            frames: which of a clip's frames are looked at one by one, int64 ``[batch, looks]``; by default all.

        Returns:
            of the clips ``[batch, vocabulary]``, and of the frames ``[batch, looks, vocabulary]``.
        """
        looks, motion = self._look(clips, frames)
        return self.of_clip(self.drop(torch.cat([looks.mean(1), motion], -1))), self.of_frame(self.drop(looks))

    def _look(self, clips: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen = self._small(clips)
        chosen = seen if frames is None else seen[torch.arange(len(seen), device=seen.device)[:, None], frames]
        looks = self.looks(chosen.flatten(0, 1)).unflatten(0, chosen.shape[:2])
        return looks, self.motion(seen.flatten(1, 2))

    def _small(self, clips: Tensor) -> Tensor:
        clips = clips[:, :: self._stride].float()
        if self._shrink == 1:
            return clips
        return functional.avg_pool2d(clips.flatten(0, 1), self._shrink).unflatten(0, clips.shape[:2])

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.informative.device

    def features(self, clips: Tensor) -> Tensor:
        """What clips look like to it, ``[clips, size]``, before it decides on words."""

        def look(piece: Tensor) -> Tensor:
            looks, motion = self._look(piece)
            return torch.cat([looks.mean(1), motion], -1)

        return self._in_pieces(look, clips)

    def word_scores(self, clips: Tensor) -> Tensor:
        """Log-odds of every word, ``[clips, vocabulary]``."""
        return self._in_pieces(lambda piece: self(piece)[0], clips)

    def frame_word_scores(self, clips: Tensor) -> Tensor:
        """Log-odds of every word from single frames, ``[clips, frames, vocabulary]``; of long clips not from all."""
        return self._in_pieces(lambda piece: self(piece)[1], clips)

    def read(self, clips: Tensor, candidates: Tensor) -> Tensor:
        """The number of the candidate caption that each clip shows, int64 ``[clips]``.

        Args:
            clips: ``[clips, frames, channels, height, width]`` from -1 to 1.
            candidates: captions' tokens, int64 ``[captions, tokens]``.
        """
        words = self.words_of(candidates).float()
        # log p = sum over words there of their log-odds, plus what is the same for all captions.
        return (self.word_scores(clips) @ words.T).argmax(1)

    def words_of(self, captions: Tensor) -> Tensor:
        """Which informative words captions ``[captions, tokens]`` have, bool ``[captions, vocabulary]``."""
        return words_of(captions.to(self.device), len(self.informative)) & self.informative

    @torch.no_grad()
    def _in_pieces(self, ask: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
        was_training = self.training
        self.eval()
        found = [ask(piece.to(self.device)) for piece in clips.split(_AT_ONCE)]
        self.train(was_training)
        return torch.cat(found)


def words_of(captions: Tensor, vocabulary: int) -> Tensor:
    """Which words captions have, int64 ``[captions, tokens]`` -> bool ``[captions, vocabulary]``."""
    said = torch.zeros(len(captions), vocabulary, dtype=torch.bool, device=captions.device)
    said.scatter_(1, captions, True)
    said[:, :2] = False  # padding and unknown words
    return said


def fit_reader(
    batches: Batches, captions: Tensor, clip_shape: tuple[int, ...], vocabulary: int, seed: int = 0
) -> CaptionReader:
    """Fit a reader to real clips: by cross-entropy of every word, from whole clips and from single frames.

    It is the same for the same clips whatever random numbers were drawn before, and leaves those to come as they are.

    Args:
        batches: gives real clips with their captions, in batches of ``BATCH_SIZE``.
        captions: all of them, int64 ``[clips, tokens]``; words that are in each, or in none, say nothing.
        clip_shape: ``(frames, channels, height, width)``.
        vocabulary: how many token numbers there are.
        seed: of its weights.
    """
    device, steps = captions.device, min(MOST_STEPS, MOST_PASSES * -(-len(captions) // BATCH_SIZE))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        reader = CaptionReader(clip_shape, vocabulary).to(device)
        said = words_of(captions, vocabulary)
        reader.informative.copy_(said.any(0) & ~said.all(0))
        optimizer = torch.optim.AdamW(reader.parameters(), lr=_PEAK_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps)
        with torch.enable_grad():
            for clips, tokens in itertools.islice(_again_and_again(batches), steps):
                loss = _loss(reader, clips + _NOISE * torch.randn_like(clips), tokens)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
    return reader.eval().requires_grad_(False)


def _loss(reader: CaptionReader, clips: Tensor, tokens: Tensor) -> Tensor:
    words = reader.words_of(tokens)[:, reader.informative].float()
    seen = -(-clips.shape[1] // reader._stride)
    frames = torch.randint(seen, (len(clips), FRAMES_AT_ONCE), device=clips.device)
    of_clip, of_frames = reader(clips, frames)
    whole = functional.binary_cross_entropy_with_logits(of_clip[:, reader.informative], words)
    single = of_frames[..., reader.informative]
    return whole + functional.binary_cross_entropy_with_logits(single, words[:, None].expand_as(single))


def _again_and_again(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from batches()
