"""What cells look like: words, numbers, dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..reading.text_records import cell_kind

_SIGN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")  # of Chinese or Japanese: as good as a word
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?%?")
_SAMPLE = 1000
_CHARACTERS = 1000  # of a cell


@dataclass(frozen=True)
class Looks:
    """What the cells of a column look like.

    Attributes:
        words: words a filled cell, on average.
        letters: share of the characters that are letters, blanks not counted.
        distinct: share of the filled cells that differ from those before.
        filled: share of the cells that are not empty.
        dates: share of the filled cells that are dates or times.
        decimals: share of the filled cells that are numbers with a decimal sign.
        numbers: share of the filled cells that are numbers.
    """

    words: float
    letters: float
    distinct: float
    filled: float
    dates: float
    decimals: float
    numbers: float

    @property
    def wordy(self) -> bool:
        """Whether it holds words rather than numbers or codes."""
        return self.words > 0 and self.letters >= 0.5

    @property
    def sentences(self) -> bool:
        """Whether most rows have a sentence of their own."""
        return self.words >= 3 and self.letters >= 0.6 and self.distinct >= 0.2 and self.filled >= 0.5


def looks(cells: Sequence[str]) -> Looks:
    """Look at the cells of a column, at most a thousand spread over it."""
    sample = [cell[:_CHARACTERS].strip() for cell in cells[:: len(cells) // _SAMPLE + 1]]
    filled = [cell for cell in sample if cell]
    if not filled:
        return Looks(0, 0, 0, 0, 0, 0, 0)
    signs = sum(len("".join(cell.split())) for cell in filled)
    numbers = [cell for cell in filled if is_number(cell)]
    count = len(filled)
    return Looks(
        words=sum(map(count_words, filled)) / count,
        letters=sum(len(_LETTER.findall(cell)) for cell in filled) / signs,
        distinct=len(set(filled)) / count,
        filled=count / len(sample),
        dates=sum(cell_kind(cell) == "date" for cell in filled) / count,
        decimals=sum("." in cell or "," in cell for cell in numbers) / count,
        numbers=len(numbers) / count,
    )


def is_number(cell: str) -> bool:
    """Whether a cell is a number, a decimal comma and a percent sign allowed."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def count_words(cell: str) -> int:
    """How many words a cell has: between blanks, and with a letter. Addresses and names of files are one each."""
    return sum(len(_SIGN.findall(word)) or 1 for word in cell.split() if _LETTER.search(word))
