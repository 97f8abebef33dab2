"""Texts in lines: ``label sentence``, ``__label__name sentence`` as fastText writes it, or sentences alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ...errors import DataError
from ..reading.findings import plural, short
from ..reading.text_records import cell_kind
from ..tables import Note
from .texts import FoundTexts, clean_label
from .words import is_number, looks

FASTTEXT = "__label__"

_LABEL = re.compile(r"[^\s,;|\"]+")
_CLASS_NUMBER = re.compile(r"[+-]?\d{1,9}(\.0*)?")
_MOSTLY = 0.9
_FEW = 40  # lines, of which little can be said
_TEXTS_A_LABEL = 4
_SINGLE = 0.2  # share of the labels with one text only; of the words that begin sentences it is more


def line_style(lines: Sequence[str]) -> str:
    """How the label stands in lines: ``fasttext``, ``number``, ``word``, or "" where there is none.

    A label is a first word that comes back: one of few. Words that begin sentences come back too, but less often,
    and many of them just once.

    Args:
        lines: all lines of a text or many of them; blank ones do not count.
    """
    parts = [line.split(None, 1) for line in lines if line.strip()]
    if not parts:
        return ""
    count = len(parts)
    tokens = [part[0] for part in parts]
    rests = [part[1] for part in parts if len(part) > 1]
    if sum(token.startswith(FASTTEXT) for token in tokens) >= _MOSTLY * count:
        return "fasttext"
    if len(rests) < _MOSTLY * count or not looks(rests).wordy:
        return ""
    if sum(_CLASS_NUMBER.fullmatch(token) is not None for token in tokens) >= _MOSTLY * count:
        return "number"
    if not all(_LABEL.fullmatch(token) for token in tokens):
        return ""
    if sum(is_number(token) or cell_kind(token) == "date" for token in tokens) > 0.5 * count:
        return ""
    counts = Counter(tokens)
    if count < _FEW:
        return "word" if count >= 2 * len(counts) else ""
    single = sum(1 for occurrences in counts.values() if occurrences == 1)
    return "word" if count >= _TEXTS_A_LABEL * len(counts) and single <= _SINGLE * len(counts) else ""


def read_lines(lines: Sequence[str], location: str, with_labels: bool, keep_first: bool) -> FoundTexts:
    """Cut lines into labels and sentences.

    Args:
        lines: with or without their ends.
        location: for messages.
        with_labels: whether labels are needed; without, lines that begin with one lose it.
        keep_first: whether lines are sentences even if they seem to begin with a label.

    Raises:
        DataError: if labels are needed and there are none.
    """
    lines = [line.strip() for line in lines if line.strip()]
    style = "" if keep_first else line_style(lines)
    if not with_labels and style == "word" and len(lines) < _FEW:
        style = ""  # a few sentences that happen to begin alike
    if not style:
        if with_labels:
            raise _no_labels(lines, location)
        return FoundTexts(lines, None, (Note("layout", "a text in each line"),))
    what = {"fasttext": f"{FASTTEXT}NAME", "number": "a number of a class", "word": "a label"}
    layout = f"in each line {what[style]} and a text"
    if not with_labels:
        layout += "; with --label-column none, the text is the whole line"
    notes = [Note("layout", layout, "--label-column")]
    pairs, more = [], 0
    for line in lines:
        label, text, extra = _cut(line, style)
        pairs.append((label, text))
        more += extra
    if more:
        found = f"{plural(more, 'text')} with more than one label: the first counts"
        notes.append(Note("labels", found, warning=True))
    texts = [text for _, text in pairs]
    return FoundTexts(texts, [label for label, _ in pairs] if with_labels else None, tuple(notes))


def _cut(line: str, style: str) -> tuple[str, str, bool]:
    """Label ("" where it is missing), text, and whether there are further labels."""
    token, _, text = line.replace("\t", " ").partition(" ") if style != "fasttext" else line.partition(" ")
    if style == "number" and not _CLASS_NUMBER.fullmatch(token):
        return "", line, False
    if style != "fasttext":
        return clean_label(token), text.strip(), False
    words = line.split()
    labels = [word for word in words if word.startswith(FASTTEXT)]
    leading = next((place for place, word in enumerate(words) if not word.startswith(FASTTEXT)), len(words))
    if not leading:
        return "", line, False
    text = line.split(None, leading)[leading] if len(words) > leading else ""
    return labels[0].removeprefix(FASTTEXT), text.removeprefix(",").strip(), leading > 1  # "__label__4 , text" is usual


def _no_labels(lines: Sequence[str], location: str) -> DataError:
    first = short(lines[0], 40)
    if not any(letter.isalpha() for line in lines for letter in line):
        return DataError(
            f"texts must hold words, but {location} holds nothing but numbers, such as '{first}'; give a file of texts"
        )
    many = Counter(line.split(None, 1)[0] for line in lines)
    return DataError(
        f"lines of labelled text must begin with one of a few labels, but those of {location} begin with "
        f"{plural(len(many), 'different word')}, the first is '{first}'; put a label before each text, or give columns "
        "and name them with --text-column and --label-column"
    )
