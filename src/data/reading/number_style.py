"""Whether a comma or a point is the decimal sign and what groups thousands, decided over all cells of a source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

SPACES = "\u00a0\u202f\u2009"
"""Blanks that are not the blank of the keyboard."""
_SIGNS = {"point": ".", "comma": ",", "space": " ", "apostrophe": "'", "none": ""}
_NAMES = {sign: name for name, sign in _SIGNS.items()}


@dataclass(frozen=True)
class Convention:
    """How numbers are written.

    Attributes:
        decimal: ``.`` or ``,``.
        thousands: ``,``, ``.``, a blank, ``'`` or "" for none.
    """

    decimal: str = "."
    thousands: str = ""

    def __str__(self) -> str:
        grouped = f", thousands {_NAMES[self.thousands]}" if self.thousands else ""
        return f"decimal {_NAMES[self.decimal]}{grouped}"


class Evidence(Protocol):
    """What must be known of a column: its plain numbers, the shapes of others, whether points are proven."""

    plain: int
    shapes: Counter[str]
    point_proven: bool


@dataclass
class _Votes:
    """How many cells can only be read with one decimal sign or one mark of thousands, or leave it open."""

    decimal: Counter[str] = field(default_factory=Counter)
    thousands: Counter[str] = field(default_factory=Counter)
    open_comma: int = 0

    def add(self, shape: str, count: int) -> None:
        body = bare_number(shape)
        mark = next((sign for sign in " '" if re.fullmatch(rf"0{{1,3}}(?:{sign}000)+(?:[.,]0*)?", body)), None)
        if mark:
            self.thousands[mark] += count
            body = body.replace(mark, "")
        points, commas = body.count("."), body.count(",")
        if points and commas:
            last = max(body.rfind("."), body.rfind(","))
            decimal = body[last]
            other = "." if decimal == "," else ","
            if re.fullmatch(
                rf"0{{1,3}}(?:{re.escape(other)}0{{2,3}})*{re.escape(other)}000{re.escape(decimal)}0*", body
            ):
                self.decimal[decimal] += count
                self.thousands[other] += count
        elif commas > 1 or points > 1:
            sign = "," if commas else "."
            if re.fullmatch(rf"0{{1,3}}(?:{re.escape(sign)}0{{2,3}})*{re.escape(sign)}000", body):
                self.thousands[sign] += count
                self.decimal["." if commas else ","] += count
        elif commas == 1:
            if mark is None and re.fullmatch(r"0{1,3},000", body):
                self.open_comma += count
            else:
                self.decimal[","] += count
        elif points == 1 and not re.fullmatch(r"0{1,3}\.000", body):
            self.decimal["."] += count


def bare_number(shape: str) -> str:
    """A number without sign, currency, brackets, suffix and exponent; every kind of blank and apostrophe alike."""
    text = re.sub(rf"[{SPACES}]", " ", shape).replace("’", "'")
    text = re.sub(r"[eE][+-]?[0-9]+$", "", re.sub(r"[%$€£¥()+\-\u2212]|USD|EUR", "", text).strip())
    return re.sub(r"[kKmMbBtT]n?$", "", text).strip()


def choose_conventions(
    evidence: Mapping[str, Evidence], decimal: str | None, thousands: str | None, comma_likely: bool
) -> tuple[dict[str, Convention], bool]:
    """How the numbers of every column are written.

    All cells of the source are one body of evidence. Only where columns contradict one another does each follow its
    own.

    Args:
        evidence: of the numeric columns.
        decimal, thousands: what the user said, as in ``ReadingOptions``.
        comma_likely: whether cells like 1,234 are decimal where nothing settles it, as in files with semicolons.

    Returns:
        a convention per column, and whether it was a guess.
    """
    votes = {name: _votes(found) for name, found in evidence.items()}
    total = _Votes()
    for vote in votes.values():
        total.decimal.update(vote.decimal)
        total.thousands.update(vote.thousands)
        total.open_comma += vote.open_comma
    whole, guessed = _convention(total, decimal, thousands, comma_likely)
    chosen = dict.fromkeys(evidence, whole)
    if decimal is None and len([sign for sign in ".," if total.decimal[sign]]) == 2:
        for name, vote in votes.items():
            if vote.decimal:
                chosen[name], _ = _convention(vote, None, thousands, comma_likely)
    return chosen, guessed


def _votes(evidence: Evidence) -> _Votes:
    votes = _Votes()
    for shape, count in evidence.shapes.items():
        votes.add(shape, count)
    if evidence.point_proven:
        votes.decimal["."] += max(evidence.plain, 1)
    return votes


def _convention(
    votes: _Votes, decimal: str | None, thousands: str | None, comma_likely: bool
) -> tuple[Convention, bool]:
    guessed = False
    if decimal is not None:
        sign = _SIGNS[decimal]
    elif votes.decimal:
        sign = votes.decimal.most_common(1)[0][0]
    elif thousands in ("comma", "point"):
        sign = "." if thousands == "comma" else ","
    else:
        sign = "," if votes.open_comma and comma_likely else "."
        guessed = votes.open_comma > 0
    if thousands is not None:
        return Convention(sign, _SIGNS[thousands]), guessed
    if sign == "." and votes.open_comma:
        votes.thousands[","] += votes.open_comma
    marks = [mark for mark, _ in votes.thousands.most_common() if mark != sign]
    default = "." if sign == "," else ""
    return Convention(sign, marks[0] if marks else default), guessed
