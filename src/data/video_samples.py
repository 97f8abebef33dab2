"""Captioned clips that need no file: real digits, which come with scikit-learn, in motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError, did_you_mean

VIDEO_SAMPLES = ("moving-digits",)
FRAMES = 8
SIDE = 16
TEST_DIGITS, VALIDATION_DIGITS = 360, 180
DIRECTIONS_PER_DIGIT = 4

DIRECTIONS = {
    "up": (-1, 0),
    "down": (1, 0),
    "left": (0, -1),
    "right": (0, 1),
    "up and left": (-1, -1),
    "up and right": (-1, 1),
    "down and left": (1, -1),
    "down and right": (1, 1),
}
"""Rows and columns that a digit moves from frame to frame."""
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class SampleClips:
    """Clips of a sample: uint8 ``[clips, frames, height, width, channels]``, with their captions, names and parts
    (0, 1 or 2, int64 ``[clips]``)."""

    clips: np.ndarray
    captions: tuple[str, ...]
    names: tuple[str, ...]
    parts: np.ndarray


def load_video_sample(name: str) -> SampleClips:
    """Make a sample; it is always the same.

    ``moving-digits``: the 1,797 handwritten digits of 8 x 8 greys of scikit-learn (UCI, Alpaydin and Kaynak 1998), each
    moving in four of eight directions over 16 x 16 pixels, a pixel a frame, for 8 frames: "a three moving up and left".
    The last 360 digits, of other writers, are the test part, 180 of the others the validation part.

    Raises:
        DataError: if there is no such sample.
    """
    if name not in VIDEO_SAMPLES:
        raise DataError(
            f"there is no sample '{name}'.{did_you_mean(name, VIDEO_SAMPLES)} Known: {', '.join(VIDEO_SAMPLES)}"
        )
    from sklearn.datasets import load_digits

    found = load_digits()
    digits = np.rint(found.images * (255 / 16)).astype(np.uint8)
    random = np.random.default_rng(0)
    parts = np.full(len(digits), 2)
    parts[: len(digits) - TEST_DIGITS] = 0
    parts[random.choice(len(digits) - TEST_DIGITS, VALIDATION_DIGITS, replace=False)] = 1
    directions = _balanced_directions(len(digits), random)
    clips, captions, names = [], [], []
    for number, (digit, label) in enumerate(zip(digits, found.target.tolist(), strict=True)):
        for direction in directions[number]:
            clips.append(_moving(digit, DIRECTIONS[direction], random))
            article = "an" if NUMBERS[label] == "eight" else "a"
            captions.append(f"{article} {NUMBERS[label]} moving {direction}")
            names.append(f"digit #{number + 1} {direction}")
    return SampleClips(
        np.stack(clips)[..., None], tuple(captions), tuple(names), np.repeat(parts, DIRECTIONS_PER_DIGIT)
    )


def _balanced_directions(count: int, random: np.random.Generator) -> list[list[str]]:
    """Four directions of eight for every digit: of two digits in a row one gets those that the other does not."""
    names, chosen = list(DIRECTIONS), list[list[str]]()
    for _ in range(0, count, 2):
        order = random.permutation(len(names)).tolist()
        chosen.append([names[place] for place in order[:DIRECTIONS_PER_DIGIT]])
        chosen.append([names[place] for place in order[DIRECTIONS_PER_DIGIT:]])
    return chosen[:count]


def _moving(digit: np.ndarray, step: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """A digit on its way, ``[frames, height, width]``; it never leaves the canvas."""
    height, width = digit.shape
    way = FRAMES - 1
    start = []
    for size, move in zip((height, width), step, strict=True):
        low, high = (way if move < 0 else 0), SIDE - size - (way if move > 0 else 0)
        start.append(int(random.integers(low, high + 1)))
    clip = np.zeros((FRAMES, SIDE, SIDE), dtype=np.uint8)
    for frame in range(FRAMES):
        row, column = (at + frame * move for at, move in zip(start, step, strict=True))
        clip[frame, row : row + height, column : column + width] = digit
    return clip
