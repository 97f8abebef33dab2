"""Where the table stands in a text: separator, header, first row of data and what comes after the last."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import DataError, OptionError
from ..tables import Note
from .findings import short
from .header_names import NamedColumns, clean_names, join_levels, known_name, name_columns
from .text_records import TextRecord, cell_kind, parse_records

HEAD_LINES = 200
"""How many lines are looked at to find the layout."""

TAIL_LINES = 100
"""How many lines are looked at to find what comes after the data."""

MAX_FOOTER = 5
"""How many records after the data may be something else."""

SEPARATORS = {"tab": "\t", "semicolon": ";", "pipe": "|", "comma": ",", "space": " "}
"""By name, in the order of preference where two split a text equally well."""

_OTHER_SEPARATOR = re.compile(r"[;|\t,]")
_EXCEL_SEPARATOR = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE | re.DOTALL)
_DATED_ROW = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[^,;|\t]*[,;|\t]")
_SHORT_LINE = 60


@dataclass(frozen=True)
class TextLayout:
    """How to cut a text into named cells.

    Attributes:
        separator: one character; a space stands for any number of them.
        first_row: the line where the data begin, from 1.
        width: how many cells a row has.
        columns: names of the first cells of every row; any after them are empty.
        footer: how many records that are no data stand at the end.
        notes: what was decided.
    """

    separator: str
    first_row: int
    width: int
    columns: tuple[str, ...]
    footer: int = 0
    notes: tuple[Note, ...] = ()

    def fits(self, cells: int) -> bool:
        """Whether a row may have so many cells; the empty ones at its end may be absent."""
        return cells == self.width or cells == len(self.columns)


def find_layout(
    lines: Sequence[str], all_lines: bool, separator: str | None, header: str | None, location: str
) -> TextLayout:
    """Find separator, header and first row of data from the first lines of a text.

    Args:
        lines: the first lines, with their ends.
        all_lines: whether there are no others.
        separator: what the user says it is: a name, a character, or None.
        header: the row of names, ``none``, or None where the user does not say.
        location: for messages.

    Raises:
        OptionError: if what the user says is no separator or row.
        DataError: if header and rows do not fit each other.
    """
    header_row = given_header(header)
    stated = _EXCEL_SEPARATOR.fullmatch(lines[0].rstrip("\r\n")) if separator is None else None
    given = stated[1] if stated else given_separator(separator)
    start = 1 if stated else 0
    if header_row is not None and header_row > 0:
        start = header_row - 1
    mark, records = _split(lines[start:], start + 1, all_lines, given)
    if not records:
        raise DataError(f"a file needs a header and rows, but {location} has no row after row {start}; check the path")
    width = _common_width(records)
    columns, first, notes = _place_table(records, width, header_row, location)
    if mark != ",":
        name = next((name for name, sign in SEPARATORS.items() if sign == mark), f"'{mark}'")
        how = ", as the first line says" if stated else ", as asked" if separator else ""
        notes.insert(0, Note("separator", name + how, "--separator"))
    return TextLayout(mark, first, columns.width, columns.names, notes=tuple(notes))


def given_header(header: str | None) -> int | None:
    """The row that the user names, 0 for none, None where nothing is said.

    Raises:
        OptionError: if it is neither a row nor ``none``.
    """
    if header is None:
        return None
    if header.strip().lower() == "none":
        return 0
    if header.strip().isdecimal() and int(header) > 0:
        return int(header)
    raise OptionError(f"--header must be the number of a row, from 1, or none, but got '{header}'; try --header 1")


def given_separator(separator: str | None) -> str | None:
    """The character that the user names.

    Raises:
        OptionError: if it is none.
    """
    if separator is None:
        return None
    mark = {**SEPARATORS, "\\t": "\t", "colon": ":"}.get(separator.lower(), separator)
    if len(mark) != 1 or mark in '"\r\n' or mark.isalnum():
        raise OptionError(
            f"--separator must be {', '.join(sorted(SEPARATORS))} or one character that is no letter or digit, "
            f"but got '{separator}'; try --separator semicolon"
        )
    return mark


def _split(lines: Sequence[str], first_row: int, all_lines: bool, given: str | None) -> tuple[str, list[TextRecord]]:
    """The separator that gives the most alike and most sensible records, and those."""
    best: tuple[float, str, list[TextRecord]] | None = None
    present = [mark for mark in SEPARATORS.values() if any(mark in line for line in lines)]
    for mark in [given] if given else present:
        records = list(parse_records(lines, mark, first_row))
        if records and not (all_lines and records[-1].whole) and len(records) > 1:
            records.pop()  # may be cut off
        score = _score(records, mark)
        if given or (score > 0 and (best is None or score > best[0] + 1e-9)):
            best = score, mark, records
    if best is None:
        return ",", list(parse_records(lines, ",", first_row))
    return best[1], best[2]


def _score(records: list[TextRecord], mark: str) -> float:
    """Share of records of the commonest width, times how much their cells look like values."""
    width = _common_width(records)
    alike = [record for record in records if len(record.cells) == width]
    share = len(alike) / max(len(records), 1)
    if width < 2 or share < 0.3:
        return 0.0
    value = {"number": 1.0, "date": 1.0, "empty": 0.5}
    cells = [cell for record in alike[-100:] for cell in record.cells]
    sense = sum(value.get(cell_kind(cell), 0.0 if _OTHER_SEPARATOR.search(cell) else 0.5) for cell in cells)
    return share * sense / len(cells)


def _common_width(records: list[TextRecord]) -> int:
    """The commonest number of cells above one, the first met where two are as common; 1 where there is no other."""
    widths = Counter(len(record.cells) for record in records if len(record.cells) > 1)
    return widths.most_common(1)[0][0] if widths else 1


def _place_table(
    records: list[TextRecord], width: int, header_row: int | None, location: str
) -> tuple[NamedColumns, int, list[Note]]:
    """Names of the columns, the row where the data begin, and what to say of header and preamble."""
    alike = [record for record in records if len(record.cells) == width]
    kinds = column_kinds([record.cells for record in alike[-max(len(alike) // 2, 1) :]], width)
    heading = _find_heading(records, width, kinds, header_row, location)
    place = _first_data(records, heading, width, kinds)
    if heading is not None and any(len(record.cells) == len(records[heading].cells) for record in records[place:]):
        width = len(records[heading].cells)  # what a row should have; those that have not are named when they come
        kinds = (kinds + ["text"] * width)[:width]
    rows = [record.cells for record in records[place:] if len(record.cells) == width]
    levels = None if heading is None or header_row else _levels(records[:place], width)
    if levels is not None:
        columns, notes, preamble = name_columns(levels[1], rows, kinds, location), [levels[2]], records[: levels[0]]
    else:
        cells = None if heading is None else records[heading].cells
        columns, notes = name_columns(cells, rows, kinds, location), []
        preamble = records[: place if heading is None else heading]
        if heading is not None:
            notes += _between_note(records[heading + 1 : place])
    if header_row:
        notes.insert(0, Note("header", f"row {header_row}, as asked", "--header"))
    _refuse_rows_before(preamble, location)
    notes = [*_preamble_note(preamble), *notes, *columns.notes]
    first = records[place].row if place < len(records) else records[-1].row + 1
    return columns, first, notes


def column_kinds(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """What each column mostly holds: ``date``, ``number``, ``text``, or ``empty`` where every cell is."""
    found = []
    for place in range(width):
        kinds = Counter(cell_kind(row[place]) for row in rows)
        filled = sum(kinds.values()) - kinds["empty"]
        values = kinds["date"] + kinds["number"]
        kind = "text" if 2 * values < filled else ("date" if kinds["date"] >= kinds["number"] else "number")
        found.append(kind if filled else "empty")
    return found


def _could_head(cells: Sequence[str], width: int, kinds: Sequence[str]) -> bool:
    """Whether words stand where the data have dates or numbers."""
    own = [cell_kind(cell) for cell in cells]
    if len(cells) != width:
        return "date" not in own and own.count("text") > own.count("number")
    values = [kind for kind, column in zip(own, kinds, strict=True) if column == "number"]
    dates = [kind for kind, column in zip(own, kinds, strict=True) if column == "date"]
    if "date" in dates:
        return False
    if "text" in dates and ("text" in values or any(map(known_name, cells))):
        return True  # the others may be numbers too, such as the numbers of series
    return values.count("text") > values.count("number") or ("text" in dates and "number" not in values)


def _find_heading(
    records: list[TextRecord], width: int, kinds: list[str], header_row: int | None, location: str
) -> int | None:
    """Which record holds the names, or None."""
    if header_row == 0:
        return None
    if header_row:
        if records[0].row != header_row:
            raise OptionError(f"--header must name a row with cells, but row {header_row} of {location} is blank")
        return 0
    if not {"date", "number"} & set(kinds):  # all words: nothing tells names from the rest
        return next((place for place, record in enumerate(records) if len(record.cells) == width), None)
    places = range(next((i for i, r in enumerate(records) if _is_data(r.cells, width, kinds)), len(records)))
    heads = [place for place in places if _could_head(records[place].cells, width, kinds)]
    full = [place for place in heads if len(records[place].cells) == width]
    if full:
        return max(full, key=lambda place: (*_worth(records[place].cells), place))
    last = heads[-1] if heads else None
    if last is None:
        return None
    cells = records[last].cells
    short = len(cells) > 1 or (width == 2 and known_name(cells[0]))
    return last if short and all(len(cell) < _SHORT_LINE for cell in cells) else None


def _is_data(cells: Sequence[str], width: int, kinds: Sequence[str]) -> bool:
    return len(cells) == width and not _could_head(cells, width, kinds)


def _worth(cells: Sequence[str]) -> tuple[int, bool, int]:
    """How well a record serves as header: known names, no values, many different names."""
    names = clean_names(cells)
    values = any(cell_kind(name) in ("number", "date") for name in names)
    return sum(map(known_name, names)), not values, len({name for name in names if name})


def _first_data(records: list[TextRecord], heading: int | None, width: int, kinds: Sequence[str]) -> int:
    """The first record after the header that is no row of units; without a header the first that has values."""
    if heading is None:
        for place, record in enumerate(records):
            if len(record.cells) == width or cell_kind(record.cells[0]) in ("number", "date"):
                return place
        return len(records)
    place = heading + 1
    if {"date", "number"} & set(kinds):
        while place < len(records) and {cell_kind(cell) for cell in records[place].cells} <= {"text", "empty"}:
            if not any(_is_data(record.cells, width, kinds) for record in records[place + 1 :]):
                break
            place += 1
    return place


def _levels(records: list[TextRecord], width: int) -> tuple[int, list[str], Note] | None:
    """A header of several rows just before the data: where it begins, the names and what to say."""
    for count in (3, 2):
        rows = records[-count:]
        if len(rows) == count and all(len(record.cells) == width for record in rows):
            joined = join_levels([record.cells for record in rows])
            if joined is not None:
                return len(records) - count, joined[0], joined[1]
    return None


def _refuse_rows_before(preamble: list[TextRecord], location: str) -> None:
    """Refuse to take rows of data for a preamble because they are separated in another way than most."""
    rows = [record for record in preamble if _DATED_ROW.match(record.cells[0])]
    if len(rows) > 1:
        raise DataError(
            f"all rows must be separated alike, but in {location} rows {rows[0].row} to {rows[-1].row} are not like "
            f"those below, e.g. '{short(rows[0].cells[0])}'; write them alike"
        )


def _preamble_note(records: list[TextRecord]) -> list[Note]:
    if not records:
        return []
    text = " ".join(cell for cell in records[0].cells if cell)
    return [Note("preamble", f"left out {_rows(records)} before the header: '{short(text)}'", "--header")]


def _between_note(records: list[TextRecord]) -> list[Note]:
    if not records:
        return []
    text = " ".join(cell for cell in records[0].cells if cell)
    return [Note("header", f"left out {_rows(records)} below it: '{short(text)}'", "--header")]


def _rows(records: Sequence[TextRecord]) -> str:
    first, last = records[0].row, records[-1].row
    return f"row {first}" if first == last else f"rows {first} to {last}"


def find_footer(lines: Sequence[str], first_row: int, layout: TextLayout) -> tuple[int, tuple[Note, ...]]:
    """How many of the last records are no data: a total, a remark, or a row that a broken download cut off.

    Args:
        lines: the last lines of the text, none of them before the data.
        first_row: the number of the first of them.
        layout: of the text.
    """
    records = list(parse_records(lines, layout.separator, first_row))
    whole = [record for record in records if layout.fits(len(record.cells)) and record.whole]
    after = [record for record in records if whole and record.row > whole[-1].row]
    if not after or len(after) > MAX_FOOTER or 2 * len(whole) < len(records):
        return 0, ()
    last = after[-1]
    if _looks_cut(last, whole[-1]):
        if len(last.cells) > layout.width or (not last.whole and last.row != first_row + len(lines) - 1):
            return 0, ()
        text = f"left out the last row ({last.row}), which is cut off: {len(last.cells)} of {len(layout.columns)} cells"
        return 1, (Note("rows", text, warning=True),)
    data = [place for place, record in enumerate(after) if _looks_cut(record, whole[-1])]
    after = after[data[-1] + 1 :] if data else after
    text = " ".join(cell for cell in after[0].cells if cell)
    return len(after), (Note("rows", f"left out {_rows(after)} after the data: '{short(text)}'"),)


def _looks_cut(record: TextRecord, last: TextRecord) -> bool:
    """Whether a record is the beginning of a row of data rather than a remark."""
    first = record.cells[0]
    return not record.whole or first[:1].isdigit() or (first != "" and first == last.cells[0])
