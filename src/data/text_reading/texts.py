"""Texts and their labels in memory, and what is checked before they are handed on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import DataError
from ..reading.findings import plural, short, some
from ..tables import Note

MAX_CLASSES = 1000
"""A column with more distinct values holds no labels."""

_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")
_NO_LABEL = frozenset(("", "nan", "null", "<na>", "n/a", "#n/a"))


@dataclass(frozen=True)
class LabelledTexts:
    """Texts in the order of the file, each with its label.

    Attributes:
        texts: none of them empty.
        labels: one for each text; None where only texts were asked for.
        notes: what the reader decided, left out and found suspicious.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class FoundTexts:
    """Texts and labels as they stand in a source, before any is left out.

    Attributes:
        texts: one an entry, empty ones too.
        labels: one a text, "" where it is missing; None where only texts were asked for.
        notes: what was decided to get here.
    """

    texts: Sequence[str]
    labels: Sequence[str] | None
    notes: tuple[Note, ...] = ()


def clean_label(label: str) -> str:
    """A label without blanks around it, whole numbers without a point, "" where the cell means that there is none.

    >>> [clean_label(label) for label in (" pos ", "1.0", "1.5", "NaN")]
    ['pos', '1', '1.5', '']
    """
    label = label.strip()
    number = _WHOLE_NUMBER.fullmatch(label)
    if number:
        return number[1]
    return "" if label.lower() in _NO_LABEL else label


def checked_texts(found: Sequence[FoundTexts], location: str, with_labels: bool) -> LabelledTexts:
    """Put the texts of all sources together and leave out what cannot be used.

    Args:
        found: what each source holds.
        location: what they are called together, for messages.
        with_labels: whether a text needs a label.

    Raises:
        DataError: if no text is left, none has a letter, or there are too few or too many classes.
    """
    texts = [text.strip() for part in found for text in part.texts]
    notes = list(dict.fromkeys(note for part in found for note in part.notes))
    labels = [clean_label(label) for part in found for label in part.labels or ()] if with_labels else []
    empty = texts.count("")
    unlabelled = 0
    if with_labels:
        unlabelled = sum(1 for text, label in zip(texts, labels, strict=True) if text and not label)
        pairs = [(text, label) for text, label in zip(texts, labels, strict=True) if text and label]
        texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    else:
        texts = [text for text in texts if text]
    if empty:
        notes.append(Note("texts", f"left out {plural(empty, 'empty text')}", "--text-column"))
    if unlabelled:
        notes.append(Note("labels", f"left out {plural(unlabelled, 'text')} without a label", "--label-column"))
    _refuse_nothing(texts, empty, unlabelled, location)
    if with_labels:
        notes += _class_notes(labels, location)
    notes += _repeated_notes(texts, labels)
    ordered = sorted(notes, key=lambda note: note.warning)
    return LabelledTexts(tuple(texts), tuple(labels) if with_labels else None, tuple(ordered))


def _refuse_nothing(texts: Sequence[str], empty: int, unlabelled: int, location: str) -> None:
    if not texts and unlabelled:
        raise DataError(
            f"every text needs a label, but none of {plural(unlabelled, 'text')} in {location} has one; name the "
            "column of labels with --label-column"
        )
    if not texts:
        held = f"only {plural(empty, 'empty text')}" if empty else "no text"
        raise DataError(f"labelled text needs texts, but {location} holds {held}; check the file")
    if not any(letter.isalpha() for text in texts for letter in text):
        raise DataError(
            f"texts must hold words, but {location} holds nothing but numbers, such as '{short(texts[0], 40)}'; name "
            "the column of texts with --text-column, or give a file of texts"
        )


def _class_notes(labels: Sequence[str], location: str) -> list[Note]:
    counts = Counter(labels)
    if len(counts) > MAX_CLASSES:
        raise DataError(
            f"a label column has few distinct values, but that of {location} has {len(counts):,}, more than "
            f"{MAX_CLASSES:,}; name another with --label-column"
        )
    if len(counts) < 2:
        raise DataError(
            f"labels must be of at least two classes, but all {plural(len(labels), 'text')} of {location} have the "
            f"label '{short(labels[0])}'; add texts of another class, or name another column with --label-column"
        )
    listed = some(f"{short(label)} {count:,}" for label, count in counts.most_common())
    notes = [Note("labels", f"{len(counts):,} classes: {listed}", "--label-column")]
    single = [label for label, count in counts.items() if count == 1]
    if single:
        notes.append(
            Note("labels", f"{plural(len(single), 'class').replace('classs', 'classes')} with just one text: "
                 f"{some(single)}", "--label-column", warning=True)
        )  # fmt: skip
    return notes


def _repeated_notes(texts: Sequence[str], labels: Sequence[str]) -> list[Note]:
    """Texts that stand more than once, and those of them whose labels contradict each other."""
    counts = Counter(texts)
    repeated = {text: count for text, count in counts.items() if count > 1}
    if not repeated:
        return []
    verb = "occurs" if len(repeated) == 1 else "occur"
    rows = sum(repeated.values())
    notes = [Note("duplicates", f"{plural(len(repeated), 'text')} {verb} more than once ({rows:,} rows)")]
    seen: dict[str, set[str]] = {}
    for text, label in zip(texts, labels, strict=False):
        if text in repeated:
            seen.setdefault(text, set()).add(label)
    torn = [text for text, found in seen.items() if len(found) > 1]
    if torn:
        example = f"'{short(torn[0], 40)}' as {some(sorted(seen[torn[0]]))}"
        verb = "occurs" if len(torn) == 1 else "occur"
        found = f"{plural(len(torn), 'text')} {verb} with different labels ({example})"
        notes.append(Note("duplicates", found, warning=True))
    return notes
