"""Labelled texts that need no file: made-up reviews, put together from a few hundred words."""

from __future__ import annotations

import numpy as np

from ..errors import DataError, did_you_mean
from .tables import Note
from .text_reading.texts import LabelledTexts

TEXT_SAMPLES = ("reviews",)
REVIEWS = 1500

_THINGS = (
    "the plot", "the story", "the acting", "the lead", "the music", "the ending", "the dialogue", "the camera work",
    "the script", "the pace", "the cast", "the humour", "the second half", "the opening", "the whole film",
)  # fmt: skip
_GOOD = (
    "brilliant", "charming", "gripping", "moving", "witty", "fresh", "superb", "warm", "clever", "delightful", "honest",
    "stunning", "tender", "sharp", "lively", "memorable",
)  # fmt: skip
_BAD = (
    "dull", "clumsy", "tedious", "shallow", "lifeless", "stale", "awful", "cold", "silly", "tiresome", "false", "ugly",
    "flat", "bland", "sluggish", "forgettable",
)  # fmt: skip
_OPENINGS = ("", "", "all in all , ", "to be fair , ", "i must say , ", "frankly , ", "for once , ")
_CLOSINGS = ("", "", " .", " !", " , and that says it all .", " . i saw it twice .", " from start to end .")


def load_text_sample(name: str) -> LabelledTexts:
    """Make a sample; it is always the same.

    ``reviews``: 1,500 made-up sentences that praise or pan a film. "Not" turns a word round, and of two halves joined
    by "but" the second decides; one sentence in ten praises and pans in equal parts and is labelled by the toss of a
    coin, so that no model can be right, or sure, about all of them.

    Raises:
        DataError: if there is no such sample.
    """
    if name not in TEXT_SAMPLES:
        raise DataError(
            f"there is no sample '{name}'.{did_you_mean(name, TEXT_SAMPLES)} Known: {', '.join(TEXT_SAMPLES)}"
        )
    rng = np.random.default_rng(0)
    texts, labels = [], []
    for _ in range(REVIEWS):
        is_good = bool(rng.random() < 0.5)
        texts.append(_review(is_good, rng))
        labels.append("positive" if is_good else "negative")
    note = Note("sample", "synthetic: made-up reviews, one in ten of them ambiguous on purpose")
    good = labels.count("positive")
    shares = Note("labels", f"2 classes: positive {good}, negative {REVIEWS - good}")
    return LabelledTexts(tuple(texts), tuple(labels), (note, shares))


def _review(is_good: bool, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.1:  # undecidable
        halves = [_half(True, rng), _half(False, rng)]
        body = " and ".join(halves if rng.random() < 0.5 else halves[::-1])
    elif kind < 0.25:
        body = f"{_half(not is_good, rng)} , but {_half(is_good, rng)}"
    else:
        body = _half(is_good, rng)
    return f"{_pick(_OPENINGS, rng)}{body}{_pick(_CLOSINGS, rng)}"


def _half(is_good: bool, rng: np.random.Generator) -> str:
    negated = rng.random() < 0.15
    word = _pick(_GOOD if is_good != negated else _BAD, rng)
    return f"{_pick(_THINGS, rng)} is {'not ' if negated else ''}{_pick(('', 'very ', 'quite '), rng)}{word}"


def _pick(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
