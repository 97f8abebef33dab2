"""From text cells to numbers: decimal sign, thousands, signs, percent, currency, K/M/B, and words that mean missing.

Most cells are plain (``-1234.5e3``) and are read at once. The others are looked at by shape, the cell with every digit
replaced by 0, so that the evidence for a decimal comma is gathered over all cells of a source at little cost.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .missing import MISSING_WORDS
from .number_style import SPACES, Convention

_INFINITE_WORDS = frozenset(("inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"))
_PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PROOF = re.compile(r"[+-]?(?:[0-9]*\.[0-9]{0,2}|[0-9]*\.[0-9]{4,}|[0-9]{4,}\.[0-9]+|0[0-9]*\.[0-9]+)(?:[eE].*)?")
_LIKE_A_NUMBER = (
    rf"\(?[+\-\u2212]?\s?(?:[$€£¥]|USD|EUR)?\s?[+\-\u2212]?[0-9.,][0-9.,' ’{SPACES}]*(?:[eE][+-]?[0-9]+)?"
    r"\s?(?:%|[kKmMbBtT]|[mM]n|[bB]n|[$€£¥]|USD|EUR)?\)?-?"
)
_SUFFIXES = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12}
_CURRENCY = r"(?:[$€£¥]|USD|EUR)(?![0-9])|(?<![0-9.,])(?:[$€£¥]|USD|EUR)"  # at an end, not between digits
_MARKS = {
    "currency": (_CURRENCY, _CURRENCY),
    "brackets": (r"^\([^()+\- ](?:[^()]*[^()\-])?\)$", "[()]"),
    "minus": (r"^(?![()+\-]).*[0-9.,]-$", "-$"),  # 12- is how some programs write -12
    "percent": ("%$", "%$"),
    "suffix": (r"[0-9. ](?:[kKmMbBtT]|[mM]n|[bB]n)$", "[a-zA-Z]+$"),
}
"""What may stand round a number: how to know it, and what to strip. A number is negative by one sign, not by two."""
_MOST_SHAPES = 1000


@dataclass
class NumberCells:
    """The cells of one column in one block of rows.

    Attributes:
        cells: as they came.
        plain: float64 ``[cells]``, NaN where the cell is not a plain number.
        others: places of cells that are neither plain nor missing, int64.
        texts: those cells.
        like_numbers: bool ``[others]``: which of them look like a number.
        infinite: places of cells that say infinity.
        missing: how many are empty or a word for missing (infinity included).
    """

    cells: pd.Series
    plain: np.ndarray
    others: np.ndarray
    texts: pd.Series
    like_numbers: np.ndarray
    infinite: int
    missing: int


@dataclass
class NumberEvidence:
    """What all cells of a column say about how its numbers are written.

    Attributes:
        plain, like_numbers, words: cells that are plain numbers, that look like numbers otherwise, and that do not.
        missing: empty cells and words for missing.
        first_word: row and text of the first word.
        shapes: of the cells that look like numbers, and how many have each.
        point_proven: whether a plain cell has a point that can only be a decimal sign.
        point_open: whether plain cells have points that could group thousands too, such as 1.234.
        typed: whether the source says that this is a column of numbers.
    """

    plain: int = 0
    like_numbers: int = 0
    words: int = 0
    missing: int = 0
    infinite: int = 0
    first_word: tuple[int, str] | None = None
    shapes: Counter[str] = field(default_factory=Counter)
    point_proven: bool = False
    point_open: bool = False
    typed: bool = False

    def add(self, cells: NumberCells) -> None:
        """Take in one block."""
        like = int(cells.like_numbers.sum())
        self.plain += int(np.isfinite(cells.plain).sum())
        self.like_numbers += like
        self.words += len(cells.others) - like
        self.missing += cells.missing
        self.infinite += cells.infinite
        self.typed |= not _is_text(cells.cells)
        if self.first_word is None and like < len(cells.others):
            place = int(np.flatnonzero(~cells.like_numbers)[0])
            self.first_word = (int(cells.texts.index[place]), str(cells.texts.iloc[place]))
        if like and len(self.shapes) < _MOST_SHAPES:
            chosen = cells.texts[cells.like_numbers]
            self.shapes.update(chosen.str.replace(r"\d", "0", regex=True).tolist())
        if not self.point_proven and not self.typed:
            self.point_proven, pointed = _proves_point(cells)
            self.point_open |= pointed

    @property
    def is_numeric(self) -> bool:
        """Whether this is a column of numbers, perhaps with a few damaged cells."""
        numbers = self.plain + self.like_numbers
        return numbers > self.words and numbers > 0


def read_numbers(cells: pd.Series, words: frozenset[str] = MISSING_WORDS) -> NumberCells:
    """Read the plain numbers of a column and set the other cells apart.

    Args:
        cells: text, or numbers of any type.
        words: lower-case texts that mean missing.
    """
    none = np.empty(0, np.int64)
    if not _is_text(cells):
        plain = cells.to_numpy(np.float64, na_value=np.nan)
        infinite = int(np.isinf(plain).sum())
        plain = np.where(np.isinf(plain), np.nan, plain)
        missing = int(np.isnan(plain).sum())
        return NumberCells(cells, plain, none, pd.Series([], dtype="str"), none.astype(bool), infinite, missing)
    if not isinstance(cells.dtype, pd.StringDtype):
        cells = cells.map(str, na_action="ignore").astype("str")
    try:
        every = cells.to_numpy(object, na_value="nan")
        plain = every.astype(np.float64)
        if not np.isinf(plain).any() and "_" not in "".join(every):
            missing = int(np.isnan(plain).sum())
            return NumberCells(cells, plain, none, pd.Series([], dtype="str"), none.astype(bool), 0, missing)
    except ValueError:
        pass
    is_plain = cells.str.fullmatch(_PLAIN).to_numpy(bool, na_value=False)
    plain = np.full(len(cells), np.nan)
    plain[is_plain] = cells[is_plain].to_numpy(object).astype(np.float64)
    rest = cells[~is_plain & cells.notna().to_numpy()]
    lower = rest.str.lower()
    infinite = int(lower.isin(_INFINITE_WORDS).sum()) + int(np.isinf(plain).sum())
    plain[np.isinf(plain)] = np.nan
    kept = ~lower.isin(words).to_numpy(bool)
    texts = rest[kept]
    others = np.flatnonzero(~is_plain & cells.notna().to_numpy())[kept]
    like = texts.str.fullmatch(_LIKE_A_NUMBER).to_numpy(bool) & texts.str.contains("[0-9]").to_numpy(bool)
    missing = len(cells) - int(np.isfinite(plain).sum()) - len(others)
    return NumberCells(cells, plain, others, texts, like, infinite, missing)


def _is_text(cells: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(cells.dtype)


def _proves_point(cells: NumberCells) -> tuple[bool, bool]:
    """Whether a plain cell has a point that cannot group thousands (12.5, 1234.567, 0.123, 1.2345), or any point."""
    if any(_PROOF.fullmatch(cell) for cell in cells.cells.iloc[:50].to_numpy(object) if isinstance(cell, str)):
        return True, True
    fractions = np.isfinite(cells.plain) & (cells.plain != np.rint(cells.plain))
    pointed = bool(fractions.any())
    return pointed and bool(cells.cells[fractions].str.fullmatch(_PROOF.pattern).any()), pointed


@dataclass
class Converted:
    """Numbers of one column in one block, and what was done to get them.

    Attributes:
        values: float64 ``[cells]``, NaN where missing.
        counts: how many cells have each of ``_MARKS``; how many have ``points`` that group thousands though they could
            be decimal.
        examples: row and text of the first of each.
        bad: row and text of the first cell that is no number, or None.
    """

    values: np.ndarray
    counts: Counter[str]
    examples: dict[str, tuple[int, str]]
    bad: tuple[int, str] | None


def convert_numbers(cells: NumberCells, convention: Convention, wanted: np.ndarray | None = None) -> Converted:
    """All numbers of a column under one convention; ``wanted``: bool ``[cells]``, where a bad cell matters."""
    result = Converted(cells.plain, Counter(), {}, None)
    places, texts = cells.others, cells.texts
    if convention.decimal == "," and _is_text(cells.cells):  # points of plain cells group thousands
        pointed = cells.cells.str.contains(".", regex=False).to_numpy(bool, na_value=False)
        pointed = pointed & np.isfinite(cells.plain)
        if pointed.any():
            first = int(np.flatnonzero(pointed)[0])
            result.counts["points"] += int(pointed.sum())
            result.examples["points"] = (int(cells.cells.index[first]), str(cells.cells.iloc[first]))
        places = np.union1d(places, np.flatnonzero(pointed))
        texts = cells.cells.iloc[places]
    if not len(places):
        return result
    result.values = cells.plain.copy()
    values, good = _convert_texts(texts, convention, result)
    result.values[places] = np.where(good, values, np.nan)
    bad = ~good if wanted is None else ~good & wanted[places]
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        result.bad = (int(texts.index[first]), str(texts.iloc[first]))
    return result


def _convert_texts(texts: pd.Series, convention: Convention, result: Converted) -> tuple[np.ndarray, np.ndarray]:
    """Values and which of them are numbers; counts what was stripped into ``result``."""
    bare = texts.str.replace(f"[{SPACES}]", " ", regex=True).str.replace("[\u2212]", "-", regex=True)
    bare = bare.str.replace("’", "'", regex=False)
    factor = np.ones(len(texts))
    for what, (pattern, stripped) in _MARKS.items():
        marked = bare.str.contains(pattern).to_numpy(bool)
        if not marked.any():
            continue
        result.counts[what] += int(marked.sum())
        first = int(np.flatnonzero(marked)[0])
        result.examples.setdefault(what, (int(texts.index[first]), str(texts.iloc[first])))
        if what == "suffix":
            suffix = bare[marked].str.extract("([a-zA-Z]+)$")[0].str.lower()
            factor[marked] *= suffix.map(_SUFFIXES).to_numpy(np.float64)
        elif what in ("brackets", "minus"):
            factor[marked] *= -1
        bare = bare.mask(marked, bare.str.replace(stripped, "", regex=True).str.strip())
    bare = bare.str.replace(r"^([+-])\s+", r"\1", regex=True)
    good = bare.str.fullmatch(_pattern(convention)).to_numpy(bool)
    bare = bare[good]
    if convention.thousands:
        bare = bare.str.replace(convention.thousands, "", regex=False)
    if convention.decimal == ",":
        bare = bare.str.replace(",", ".", regex=False)
    values = np.full(len(texts), np.nan)
    values[good] = bare.to_numpy(object).astype(np.float64)
    values *= factor
    return values, good & np.isfinite(values)


def _pattern(convention: Convention) -> str:
    """What a number may look like; thousands only in groups of three (or two, as in India)."""
    decimal, mark = re.escape(convention.decimal), re.escape(convention.thousands)
    whole = f"[0-9]+|[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}" if mark else "[0-9]+"
    return f"[+-]?(?:(?:{whole})(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?"
