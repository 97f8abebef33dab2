"""Tiny captioned clips: a bright bar at the left or right, moving up or down. Frames tell where, only clips whither."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from src.metrics.caption_reader import BATCH_SIZE, CaptionReader, fit_reader

SHAPE = (4, 1, 8, 8)
MOVING, LEFT, RIGHT, UP, DOWN = 2, 3, 4, 5, 6
VOCABULARY = 8
CAPTIONS = torch.tensor([[side, MOVING, way, 0] for side in (LEFT, RIGHT) for way in (UP, DOWN)])


def bars(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clips ``[count, *SHAPE]`` from -1 to 1 and their captions ``[count, 4]``, every caption as often.

    A bar is on its way through the same rows whether it moves up or down, so no frame tells the way.
    """
    generator = torch.Generator().manual_seed(seed)
    captions = CAPTIONS[torch.arange(count) % len(CAPTIONS)]
    clips = -1 + 0.1 * torch.rand(count, *SHAPE, generator=generator)
    starts = torch.randint(0, 4, (count,), generator=generator).tolist()
    brightness = (0.5 + torch.rand(count, generator=generator)).tolist()
    for number, (side, _, way, _) in enumerate(captions.tolist()):
        for frame in range(SHAPE[0]):
            row = starts[number] + (frame if way == DOWN else SHAPE[0] - 1 - frame)
            columns = slice(0, 4) if side == LEFT else slice(4, 8)
            clips[number, frame, 0, row : row + 2, columns] += brightness[number]
    return clips, captions


def fitted(clips: Tensor, captions: Tensor, vocabulary: int = VOCABULARY) -> CaptionReader:
    """A reader of these clips."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(clips.split(BATCH_SIZE), captions.split(BATCH_SIZE), strict=True)

    return fit_reader(batches, captions, tuple(clips.shape[1:]), vocabulary)


@functools.cache
def training() -> tuple[Tensor, Tensor, CaptionReader]:
    """Training clips, their captions, and a reader fitted to them; made once and not to be changed."""
    clips, captions = bars(192, seed=0)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))
    return clips[order], captions[order], fitted(clips[order], captions[order])
