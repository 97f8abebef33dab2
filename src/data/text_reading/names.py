"""Which column holds the texts and which the labels: by name, then by content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import DataError, OptionError, did_you_mean
from ..reading.findings import short, some
from ..tables import Note
from .texts import MAX_CLASSES, clean_label
from .words import Looks, looks

TEXT_NAMES = (
    "text", "sentence", "review", "reviewtext", "reviewbody", "content", "body", "comment", "commenttext", "tweet",
    "message", "document", "utterance", "verbatim", "question", "questiontext", "query", "headline", "article", "post",
    "abstract", "description", "email", "sms", "phrase", "prompt", "passage", "paragraph", "comments", "feedback",
    "summary", "title", "sentences", "texts", "reviews", "input", "inputs", "v2",
)  # fmt: skip
"""Usual names of a column of texts, the likelier first; lower case without anything but letters and digits."""

LABEL_NAMES = (
    "label", "labels", "class", "classes", "category", "categories", "sentiment", "target", "polarity", "intent",
    "emotion", "topic", "classlabel", "classindex", "labeltext", "labelname", "labelcoarse", "coarselabel",
    "sentimentlabel", "airlinesentiment", "rating", "ratings", "stars", "star", "starrating", "overall", "score",
    "stance", "genre", "spam", "toxic", "type", "tag", "language", "y", "output", "v1",
)  # fmt: skip
"""Usual names of a column of labels."""

_FEW = 40  # rows, of which little can be said
_PARTS = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=[A-Z])", re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """Cells by column.

    Attributes:
        names: of the columns, all different.
        columns: their cells as text, "" where one is empty.
        location: for messages.
        notes: what was decided to get here.
    """

    names: tuple[str, ...]
    columns: Sequence[Sequence[str]]
    location: str
    notes: tuple[Note, ...] = ()


def bare_name(name: str) -> str:
    """A name by which spellings are compared: ``Review_Text`` -> ``reviewtext``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def known_names(cells: Sequence[str]) -> set[str]:
    """``text`` and ``label``, each if a cell is a usual name of such a column."""
    bare = {bare_name(cell) for cell in cells if len(cell) <= 40}
    kinds = {"text": TEXT_NAMES, "label": LABEL_NAMES}
    return {kind for kind, usual in kinds.items() if bare.intersection(usual)}


def find_text_column(sheet: Sheet, given: str | None) -> tuple[int, Note]:
    """Place of the column of texts, and why it is that.

    Args:
        sheet: all cells or many of them.
        given: what the user names, or None.

    Raises:
        OptionError: if the user names a column that is not there.
        DataError: if no column holds texts.
    """
    if given is not None:
        place = _given_place(sheet, given, "--text-column")
        return place, Note("text column", f"{short(sheet.names[place])}, as asked", "--text-column")
    found = [looks(column) for column in sheet.columns]
    place_by_name = _by_name(sheet, TEXT_NAMES, [place for place, seen in enumerate(found) if seen.wordy])
    if place_by_name is not None:
        return place_by_name, Note("text column", f"{short(sheet.names[place_by_name])}, by its name", "--text-column")
    place = max(range(len(found)), key=lambda place: found[place].words if found[place].wordy else 0.0)
    if found[place].wordy and found[place].words >= 1.5:
        why = "as it has the most words" if len(found) > 1 else "the only column"
        return place, Note("text column", f"{short(sheet.names[place])}, {why}", "--text-column")
    raise _no_texts(sheet, found)


def _no_texts(sheet: Sheet, found: Sequence[Looks]) -> DataError:
    if not any(seen.letters for seen in found):
        example = next((cell for column in sheet.columns for cell in column if cell.strip()), "")
        return DataError(
            f"texts must hold words, but {sheet.location} holds nothing but numbers, such as '{short(example, 40)}'; "
            "give a file of texts"
        )
    return DataError(
        f"a column must hold texts of several words, but {sheet.location} has none among {some(sheet.names)}; name it "
        "with --text-column"
    )


def find_label_column(sheet: Sheet, text_place: int, given: str | None) -> tuple[int, Note]:
    """Place of the column of labels, and why it is that.

    Args:
        sheet: all cells.
        text_place: the column of texts.
        given: what the user names, or None.

    Raises:
        OptionError: if the user names a column that is not there, or that of the texts.
        DataError: if no column holds labels.
    """
    if given is not None:
        place = _given_place(sheet, given, "--label-column")
        if place == text_place:
            raise OptionError(
                f"texts and labels must be two columns, but --label-column {given} is also that of the texts; name "
                "another, or name that of the texts with --text-column"
            )
        return place, Note("label column", f"{short(sheet.names[place])}, as asked", "--label-column")
    others = [place for place in range(len(sheet.names)) if place != text_place]
    counts = {place: _count_values(sheet.columns[place]) for place in others}
    usable = [place for place in others if 2 <= counts[place] <= MAX_CLASSES]
    by_name = _by_name(sheet, LABEL_NAMES, usable)
    if by_name is None:
        by_name = _by_name(sheet, LABEL_NAMES, others)
    if by_name is not None:
        return by_name, Note("label column", f"{short(sheet.names[by_name])}, by its name", "--label-column")
    fitting = [place for place in usable if _could_be_labels(sheet.columns[place], counts[place])]
    if not fitting:
        raise DataError(
            f"labelled text needs a column of labels, but {sheet.location} has none among {some(sheet.names)}: no "
            "column has few distinct values that come back; name it with --label-column"
        )
    place = min(fitting, key=lambda place: counts[place])
    rest = some(sheet.names[other] for other in fitting if other != place)
    why = f"as it has the fewest distinct values{f' (others: {rest})' if rest else ''}"
    return place, Note("label column", f"{short(sheet.names[place])}, {why}", "--label-column")


def _count_values(cells: Sequence[str]) -> int:
    return len({clean_label(cell) for cell in cells} - {""})


def _could_be_labels(cells: Sequence[str], distinct: int) -> bool:
    seen = looks(cells)
    rows = sum(1 for cell in cells if cell.strip())
    fractions = {clean_label(cell) for cell in cells}
    decimal = seen.decimals > 0.5 and any("." in value or "," in value for value in fractions)
    repeated = rows >= 2 * distinct if rows >= _FEW else rows > distinct
    return repeated and seen.dates < 0.5 and seen.words <= 4 and not decimal


def _by_name(sheet: Sheet, usual: Sequence[str], places: Sequence[int]) -> int | None:
    """Of some columns the one with the likeliest name: one that is usual, else one that has a usual word in it."""
    bare = {place: bare_name(sheet.names[place]) for place in places}
    for name in usual:
        for place in places:
            if bare[place] == name:
                return place
    for name in usual[:12]:
        for place in places:
            if name in _PARTS.split(sheet.names[place].lower()):
                return place
    return None


def _given_place(sheet: Sheet, given: str, option: str) -> int:
    if given in sheet.names:
        return sheet.names.index(given)
    bare = [bare_name(name) for name in sheet.names]
    if bare.count(bare_name(given)) == 1 and bare_name(given):
        return bare.index(bare_name(given))
    raise OptionError(
        f"{option} must name a column, but {sheet.location} has no '{given}'; it has {some(sheet.names, 12)}."
        f"{did_you_mean(given, sheet.names)}"
    )
