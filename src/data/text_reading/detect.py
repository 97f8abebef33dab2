"""Whether ``--data`` names labelled texts or a series of numbers, by a look at the beginning."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path

from ..options import ReadingOptions
from ..reading.compression import Opener, open_unpacked
from ..reading.sources import FileSource, local_path, open_sources
from ..reading.text_encoding import split_lines
from ..reading.text_layout import given_header, given_separator
from .cells import head_cells, text_separator
from .files import opened_kind
from .folders import documents, find_class_folders
from .lines import line_style
from .names import LABEL_NAMES, TEXT_NAMES, Sheet, bare_name
from .tabular import from_header, name_columns, sheet_of_parquet
from .words import looks

_HEAD_BYTES = 1 << 16
_HEAD_ROWS = 200
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def is_text(options: ReadingOptions) -> bool:
    """Whether ``--data`` names texts with labels rather than a series of numbers.

    Texts are lines that begin with one of a few labels and go on in words; a table with a column of sentences; or
    folders, each a class, of documents. A table with dates and decimal numbers is a series, even if it has remarks,
    unless its columns of texts and labels bear such names. Only the first file is looked at, and only its beginning.

    Returns:
        False also for whatever cannot be read: the readers say better why.
    """
    data = options.data
    try:
        path = local_path(data)
        if path is None:
            return False
        folders = find_class_folders(data)
        if folders is not None:
            first = [documents(folder)[0] for folder in folders.folders[:5]]
            return len(first) > 1 and all(map(_is_document, first))
        if not path.is_file() and not path.is_dir() and not glob.has_magic(data):  # a pipe can be read but once
            return False
        source = open_sources(options)[0]
        return isinstance(source, FileSource) and _is_text_file(source, options)
    except Exception:
        return False


def _is_document(path: Path) -> bool:
    with path.open("rb") as stream:
        seen = looks([stream.read(_HEAD_BYTES).decode("utf-8", "replace")])
    return seen.words >= 3 and seen.letters >= 0.6


def _is_text_file(source: FileSource, options: ReadingOptions) -> bool:
    if opened_kind(source.opener, source.location)[0] == "parquet":
        return _holds_sentences(sheet_of_parquet(source.opener, source.location, options, _HEAD_ROWS))
    row = given_header(options.header)
    text = from_header(_head(source.opener, source.location, options.encoding), row, source.location)
    lines = split_lines(text)
    mark = given_separator(options.separator) or text_separator(text, lines)
    if not mark:
        return line_style(lines) != ""
    rows, _ = head_cells(text, mark)
    width = Counter(map(len, rows)).most_common(1)[0][0]
    alike = [cells for cells in rows if len(cells) == width]
    return width > 1 and _holds_sentences(name_columns(alike, mark, row, source.location))


def _head(opener: Opener, location: str, encoding: str | None) -> str:
    """The first lines, whole ones if there are several."""
    stream = open_unpacked(opener, location)[0]
    with stream:
        content = stream.read(_HEAD_BYTES)
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    text = content.decode(encoding or marked, "replace")
    lines = split_lines(text)
    if len(content) == _HEAD_BYTES and len(lines) > 1:
        lines.pop()
    return "".join(lines)


def _holds_sentences(sheet: Sheet) -> bool:
    found = [looks(column[:_HEAD_ROWS]) for column in sheet.columns]
    sentences = [name for name, seen in zip(sheet.names, found, strict=True) if seen.sentences]
    dated = any(seen.dates > 0.5 for seen in found)
    decimals = sum(seen.decimals > 0.5 for seen in found)
    if decimals > 2 or (dated and decimals):
        labelled = any(bare_name(name) in LABEL_NAMES for name in sheet.names)
        return labelled and any(bare_name(name) in TEXT_NAMES for name in sentences)
    return bool(sentences)
