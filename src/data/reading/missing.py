"""What stands for a missing value: words, and numbers that cannot be meant."""

from __future__ import annotations

import numpy as np

MISSING_WORDS = frozenset(
    (
        "", "nan", "na", "n/a", "n.a.", "null", "none", "nil", "-", "--", "---", ".", "..", "?", "#n/a", "#na",
        "#n/a n/a", "#value!", "#div/0!", "nat", "<na>", "-nan", "1.#qnan",
        "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity",
    )
)  # fmt: skip
"""In lower case. What is infinite is as good as missing."""


def sentinel(values: np.ndarray, least: int = 3) -> float | None:
    """A negative number that stands for missing, or None.

    The smallest value is one if it is a whole negative number that occurs several times while all others, of at least
    ten different sizes, lie clearly above: they are above zero, or at zero and the number is -9 or less, or it lies
    further below them than they lie apart.

    Args:
        values: float64 ``[rows]`` of one column; NaN is no value.
        least: how often it must occur.
    """
    lowest = float(np.fmin.reduce(values, initial=np.inf))
    if not lowest < 0 or lowest != np.floor(lowest):
        return None
    is_lowest = values == lowest
    if is_lowest.sum() < least:
        return None
    others = values[~is_lowest & np.isfinite(values)]
    if len(np.unique(others[:: max(1, len(others) // 10_000)])) < 10:
        return None
    low, high = float(others.min()), float(others.max())
    isolated = low > 0 or (lowest <= -9 and (low >= 0 or low - lowest > high - low))
    return lowest if isolated else None


def parse_missing(text: str | None) -> tuple[frozenset[str], list[float] | None]:
    """Words and numbers that mean missing, from ``--missing``; None for numbers to be found by rule."""
    if text is None:
        return MISSING_WORDS, None
    words, values = set(MISSING_WORDS), []
    for part in (part.strip() for part in text.split(",")):
        try:
            values.append(float(part))
        except ValueError:
            words.add(part.lower())
    return frozenset(words), [] if text.strip().lower() == "none" else [value for value in values if np.isfinite(value)]
