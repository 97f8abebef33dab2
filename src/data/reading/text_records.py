"""Lines as records of cells, and what a cell looks like."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?[-+]?[.,]?\d[\d.,' \u00a0\u202f]*([eE][-+]?\d+)?\s?[%)€$£KMB]{0,2}")
_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T][^,;|\t]*|, ?\d{1,2}:[^,;|\t]*)?"
    r"|\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s?[AaPp]\.?[Mm]\.?)?"
    r"|\d{1,2}[- ./][A-Za-zäéûôç]{3,9}\.?[- ./,]+\d{2,4}( [^,;|\t]*)?"
    r"|([A-Za-z]{3,9}\.?,? )?[A-Za-z]{3,9}\.? \d{1,2},? \d{4}( [^,;|\t]*)?"
    r"|\d{4}[-/ ]?(Q[1-4]|W\d{1,2}|[A-Za-z]{3})"
    r"|\d{4}[-/]\d{1,2}"
)
_MISSING = frozenset(("na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", ".", "?", "inf", "-inf", "#value!"))


@dataclass(frozen=True)
class TextRecord:
    """Cells that stand in one row, without the blanks round them.

    Attributes:
        row: number of its first line, from 1.
        cells: text.
        whole: whether every quote in it is closed.
    """

    row: int
    cells: list[str]
    whole: bool = True

    @property
    def blank(self) -> bool:
        return not any(self.cells)


def parse_records(lines: Sequence[str], separator: str, first_row: int = 1) -> Iterator[TextRecord]:
    """Records of a few lines, blank ones left out."""
    taken: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield bare_line(line) if separator == " " else line

    reader = csv.reader(feed(), delimiter=separator, skipinitialspace=True)
    row, last = first_row, first_row + len(lines)
    while True:
        try:
            cells = next(reader)
        except (StopIteration, csv.Error):
            return
        cells = [cell.strip() for cell in cells]
        cells = cells[1:] if cells[:1] == ["#"] else cells  # a header that is marked as a comment
        record = TextRecord(row, cells, row + len(taken) < last or not quote_open(taken, separator))
        row += len(taken)
        taken.clear()
        if not record.blank:
            yield record


def bare_line(line: str) -> str:
    """A line without blanks at both ends, which would count as cells where blanks separate these."""
    return line.strip(" \r\n") + "\n"


def quote_open(record: Sequence[str], separator: str) -> bool:
    """Whether a quote is open at the end of a record: then a further line would belong to it."""
    if not any('"' in line for line in record):
        return False
    try:
        return (
            len(
                list(
                    csv.reader(
                        [*record[:-1], record[-1].rstrip("\r\n") + "\n", "x\n"],
                        delimiter=separator,
                        skipinitialspace=True,
                    )
                )
            )
            == 1
        )
    except csv.Error:
        return True


def cell_kind(cell: str) -> str:
    """``number``, ``date`` (a clock time too), ``empty`` (or a word for it) or ``text``."""
    if not cell or cell.lower() in _MISSING:
        return "empty"
    if _DATE.fullmatch(cell):
        return "date"
    return "number" if _NUMBER.fullmatch(cell) else "text"
