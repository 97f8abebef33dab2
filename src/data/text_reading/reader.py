"""From what ``--data`` names to texts and their labels."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ..options import ReadingOptions
from ..reading.findings import plural
from ..reading.sources import FileSource, Source, open_sources
from ..reading.text_encoding import split_lines
from ..reading.text_layout import given_header, given_separator
from ..tables import Note
from .cells import cut_cells, text_separator
from .detect import is_text
from .files import opened_kind, whole_text
from .folders import documents, encoding_notes, find_class_folders, read_class_folders, read_documents
from .lines import read_lines
from .names import TEXT_NAMES, bare_name
from .tabular import from_header, name_columns, sheet_of_parquet, sheet_of_table, texts_of_sheet
from .texts import FoundTexts, LabelledTexts, checked_texts

__all__ = ["is_text", "read_texts"]

NO_LABELS = "none"
"""As ``--label-column``: texts in lines have no label at their beginning."""


def read_texts(options: ReadingOptions, *, with_labels: bool = True) -> LabelledTexts:
    """Read all texts that ``--data`` names, in the order of files and rows.

    Args:
        options: where they are, and how to read them where the reader's own guess is wrong.
        with_labels: whether labels are needed. Without, texts alone are read, wherever labels stand.

    Raises:
        OptionError: if an option has a value it cannot have, or names a column that is not there.
        DataError: if there is no such file, or it does not hold texts and labels.
    """
    folders = find_class_folders(options.data)
    if folders is not None:
        found = [read_class_folders(folders, options.encoding, with_labels)]
        return checked_texts(found, str(folders.path), with_labels)
    if not with_labels and (alone := _documents_alone(options.data)):
        encodings: Counter[Note] = Counter()
        texts = read_documents(alone, options.encoding, encodings)
        layout = Note("layout", f"{plural(len(texts), 'document')}, each a text")
        found = [FoundTexts(texts, None, (layout, *encoding_notes(encodings, len(texts))))]
        return checked_texts(found, options.data, with_labels)
    sources = open_sources(options)
    found = [_read_source(source, options, with_labels) for source in sources]
    location = sources[0].location if len(sources) == 1 else options.data
    return checked_texts(found, location, with_labels)


def _documents_alone(data: str) -> list[Path]:
    """The files of a folder that holds nothing but documents of one paragraph each; none where it is not so."""
    path = Path(os.path.expanduser(data))
    if not os.path.isdir(path):
        return []
    found = documents(path)
    if not found or any(entry.is_dir() for entry in path.iterdir() if not entry.name.startswith(".")):
        return []
    for document in found[:20]:
        with document.open("rb") as stream:
            if len([line for line in stream.read(1 << 16).splitlines() if line.strip()]) > 1:
                return []
    return found


def _read_source(source: Source, options: ReadingOptions, with_labels: bool) -> FoundTexts:
    text_column = getattr(options, "text_column", None)
    label_column = getattr(options, "label_column", None)
    if not isinstance(source, FileSource):
        return texts_of_sheet(sheet_of_table(source.read()), text_column, label_column, with_labels)
    kind, notes = opened_kind(source.opener, source.location)
    notes = source.notes + notes
    if kind == "parquet":
        sheet = sheet_of_parquet(source.opener, source.location, options)
        return _with_notes(texts_of_sheet(sheet, text_column, label_column, with_labels), notes)
    text, more = whole_text(source.opener, source.location, options.encoding)
    return _with_notes(_read_text(text, source.location, options, with_labels), notes + more)


def _read_text(text: str, location: str, options: ReadingOptions, with_labels: bool) -> FoundTexts:
    """Texts in lines or columns, whichever it is."""
    text_column = getattr(options, "text_column", None)
    label_column = getattr(options, "label_column", None)
    keep_first = label_column == NO_LABELS and not with_labels
    row = given_header(options.header)
    text = from_header(text, row, location)
    lines = split_lines(text)
    mark = given_separator(options.separator) or text_separator(text, lines, with_labels)
    asked = bool(row) or text_column is not None or (label_column is not None and with_labels)
    if mark == " " and not asked:
        mark = ""  # a label and a sentence, of which all blanks but the first are part
    if not mark and (asked or (lines and bare_name(lines[0]) in TEXT_NAMES)):
        mark = ","  # of which there may be none: a single column
    if not mark:
        return read_lines(lines, location, with_labels, keep_first)
    sheet = name_columns(cut_cells(text, mark, location, row or 1), mark, row, location)
    return texts_of_sheet(sheet, text_column, label_column, with_labels)


def _with_notes(found: FoundTexts, notes: tuple[Note, ...]) -> FoundTexts:
    return FoundTexts(found.texts, found.labels, notes + found.notes)
