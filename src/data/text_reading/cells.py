"""Text in columns, from characters to rows of cells. Cells are free text: they hold line ends, quotes and commas."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...errors import DataError
from ..reading.text_encoding import split_lines
from ..reading.text_layout import SEPARATORS
from .lines import line_style
from .names import known_names

_HEAD = 1 << 16  # characters by which the separator is found
_CANDIDATES = ("\t", ",", ";", "|")
_ALIKE = 0.9
_SPACED = 0.5  # share of the separators with a blank after them above which they are punctuation
_QUOTED = re.compile(r'"[^"]*"')
_STYLES: tuple[dict[str, Any], ...] = (  # how quotes within quotes are written
    {"strict": True},
    {"strict": True, "doublequote": False, "escapechar": "\\"},
)
_PLAIN: dict[str, Any] = {"quoting": csv.QUOTE_NONE}


def separator_name(mark: str) -> str:
    """A separator as the user would write it."""
    return next((name for name, sign in SEPARATORS.items() if sign == mark), mark)


def find_separator(text: str) -> tuple[str, bool]:
    """What stands between the cells of a text.

    Returns:
        the character, "" where there are no columns; and whether the first row names columns of texts or labels.
    """
    head = text[:_HEAD]
    if len(head) < len(text):
        head = head[: max(head.rfind("\n"), head.rfind("\r")) + 1]
    best, best_share = "", 0.0
    for mark in _CANDIDATES:
        if mark not in head:
            continue
        rows, share = head_cells(head, mark)
        known = known_names(rows[0]) if len(rows[0]) > 1 else set()
        if len(known) == 2 or (known and share >= _ALIKE and all(len(cell.split()) <= 3 for cell in rows[0])):
            return mark, True
        if share >= _ALIKE and share > best_share:
            best, best_share = mark, share
    return best, False


def text_separator(text: str, lines: Sequence[str], with_labels: bool = True) -> str:
    """What stands between the cells of a text, "" where it is one of lines.

    Args:
        text: the whole of it or its beginning.
        lines: the same, in lines.
        with_labels: whether labels are needed; without, commas may just as well be those of sentences.
    """
    style = line_style(lines)
    if style == "fasttext":
        return ""
    mark, named = find_separator(text)
    if named or mark in ("", "\t"):
        return mark
    bare = _QUOTED.sub("", text[:_HEAD])
    punctuation = bare.count(f"{mark} ") > _SPACED * bare.count(mark)
    return "" if style or (punctuation and not with_labels) else mark


def head_cells(head: str, mark: str) -> tuple[list[list[str]], float]:
    """Rows of the beginning of a text, where the last may be cut off and some may not fit.

    Returns:
        rows, at least one; and the share of them that are of the commonest width, 0 where that is a single cell.
    """
    best: list[list[str]] = [[]]
    best_share = -1.0
    for style in (*_STYLES, _PLAIN):
        rows: list[list[str]] = []
        with contextlib.suppress(csv.Error):
            for row in csv.reader(io.StringIO(head, newline=""), delimiter=mark, **{**style, "strict": False}):
                rows += [row] if row else []
        rows = rows[:-1] if len(rows) > 2 else rows
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 1)
        share = count / len(rows) if width > 1 else 0.0
        if rows and share > best_share:
            best, best_share = rows, share
    return best, max(best_share, 0.0)


def cut_cells(text: str, mark: str, location: str, first_row: int = 1) -> list[list[str]]:
    """Rows of cells, all of the same width; blank rows are left out.

    Quotes are read as CSV has them, with doubled quotes or with backslashes within; where that does not give rows of
    one width but taking each quote as a character of the text does, so they are taken. Between tabs, where quotes are
    often not meant, they do not join lines that are whole without.

    Args:
        text: from the header on.
        mark: what stands between cells.
        location: for messages.
        first_row: number of the first line, from 1.

    Raises:
        DataError: for a row with too many cells, a quote that is never closed, or a cell that is too long.
    """
    plain = _even_rows(text, {"delimiter": mark, **_PLAIN})
    if '"' not in text and plain:
        return plain
    for style in _STYLES:
        quoted = _even_rows(text, {"delimiter": mark, **style})
        if quoted and not (mark == "\t" and plain and len(plain) > len(quoted)):
            return quoted
    return plain or _padded_rows(text, mark, location, first_row)


def _even_rows(text: str, style: dict[str, Any]) -> list[list[str]] | None:
    """Rows of cells if all are of the same width."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), **style):
            if not row:
                continue
            if rows and len(row) != len(rows[0]):
                return None
            rows.append(row)
    except csv.Error:
        return None
    return rows


def _padded_rows(text: str, mark: str, location: str, first_row: int) -> list[list[str]]:
    """Rows of which some lack cells at the end, or have empty ones too many."""
    rows: list[list[str]] = []
    lines = split_lines(text)
    reader = csv.reader(lines, delimiter=mark)
    while True:
        row_number = reader.line_num + first_row
        try:
            row = next(reader, None)
        except csv.Error as error:
            if "limit" not in str(error):
                raise DataError(
                    f"rows must be text in columns, but {location} has none in row {row_number}: {error}; mend it"
                ) from None
            raise DataError(
                f"a cell may have at most {csv.field_size_limit():,} characters, but {location} begins a longer one in "
                f"row {row_number}; close its quote, or shorten it"
            ) from None
        if row is None:
            return rows
        if not row:
            continue
        width = len(rows[0]) if rows else len(row)
        if any(cell.strip() for cell in row[width:]):
            raise DataError(
                f"every row must have as many cells as the first, but {location} has {len(row)} instead of {width} in "
                f"row {row_number}; quote texts that hold the separator ({separator_name(mark)}), or name another "
                "with --separator"
            )
        if reader.line_num == len(lines) and row_number < len(lines) + first_row - 1 and len(row) < width:
            raise DataError(
                f"every quote must be closed, but {location} opens one in row {row_number} and never closes it; "
                'remove that " or close it'
            )
        rows.append((row + [""] * width)[:width])
