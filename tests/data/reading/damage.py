"""Ways to damage a file: its cells, its columns and rows, how it is written, its bytes."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from made_sheets import ISO, Sheet
from slow_reading import numbers

CELLS = (
    "garbage", "", "inf", "nan", "1e400", "1e308", "-1e300", "-7", "0", "2020-01-05", "2020-01-05 10:00",
    "05/06/2020", "20200105", "1600000000000", "43000", "١٢٣", '"', 'a"b', '"5', "1,5", "1.5", "1,234", "1.234",
    "1,234.5", "1.234,5", "a,b;c", "12%", "$5", "(5)", "5-", "-5-", "(-5)", "--5", "1_000", "0x1F", "1e3", ".5", "5.",
    "N/A", "TRUE", "#REF!", "1\u00a0234", "5k", "12:30", "\x00", "x" * 300, "2020", "19-Sep-03", "-200", "999999999",
    "3 4", "1'234", "\u200b", "2019-11-31", "€", "1;2", "1\t2", "line\nbreak", "\u202e7",
)  # fmt: skip

Draw = Callable[[int], int]
"""A number from 0 to below the given one."""


def _with_rows(sheet: Sheet, rows: list[list[str]]) -> Sheet:
    return replace(sheet, rows=rows)


def a_cell(sheet: Sheet, draw: Draw) -> Sheet:
    rows = [list(row) for row in sheet.rows]
    for _ in range(1 + draw(3)):
        row = rows[draw(len(rows))]
        row[draw(len(row))] = CELLS[draw(len(CELLS))]
    return _with_rows(sheet, rows)


def a_header_cell(sheet: Sheet, draw: Draw) -> Sheet:
    header = list(sheet.header)
    names = (
        "",
        "close",
        "Date",
        "a,b",
        'q"q',
        "x\ny",
        "📈",
        "سعر",
        "1",
        "Open",
        "symbol",
        "#",
        "Close.2",
        "column_2",
        *CELLS[:6],
    )
    header[draw(len(header))] = names[draw(len(names))]
    return replace(sheet, header=header)


def swapped_cells(sheet: Sheet, draw: Draw) -> Sheet:
    rows = [list(row) for row in sheet.rows]
    first, second = rows[draw(len(rows))], rows[draw(len(rows))]
    a, b = draw(len(first)), draw(len(second))
    first[a], second[b] = second[b], first[a]
    return _with_rows(sheet, rows)


def _moved(place: int | None, dropped: int) -> int | None:
    if place is None or place == dropped:
        return None
    return place - (place > dropped)


def a_column_dropped(sheet: Sheet, draw: Draw) -> Sheet:
    place = draw(len(sheet.header))
    others = [_moved(spot, place) for spot in (sheet.date, sheet.second_date, sheet.clock)]
    dates = [spot for spot in others[:2] if spot is not None]
    cut = [row[:place] + row[place + 1 :] for row in [sheet.header, *sheet.rows]]
    return replace(
        sheet,
        header=cut[0],
        rows=cut[1:],
        date=dates[0] if dates else 0,
        second_date=dates[1] if len(dates) > 1 else None,
        clock=others[2],
    )


def a_column_twice(sheet: Sheet, draw: Draw) -> Sheet:
    place = draw(len(sheet.header))
    rows = [[*row, *row[place : place + 1]] for row in sheet.rows]
    second = len(sheet.header) if place == sheet.date else sheet.second_date
    return replace(sheet, header=[*sheet.header, sheet.header[place]], rows=rows, second_date=second)


def rows_twice(sheet: Sheet, draw: Draw) -> Sheet:
    rows = [list(row) for row in sheet.rows]
    for _ in range(1 + draw(4)):
        again = list(rows[draw(len(rows))])
        if draw(2):
            again[-1] = "77"
        rows.insert(draw(len(rows)), again)
    return _with_rows(sheet, rows)


def shuffled(sheet: Sheet, draw: Draw) -> Sheet:
    order = np.random.default_rng(draw(1000)).permutation(len(sheet.rows))
    return _with_rows(sheet, [sheet.rows[place] for place in order])


def rows_gone(sheet: Sheet, draw: Draw) -> Sheet:
    first = draw(len(sheet.rows))
    return _with_rows(sheet, sheet.rows[:first] + sheet.rows[first + 1 + draw(20) :])


def header_again(sheet: Sheet, draw: Draw) -> Sheet:
    place = 1 + draw(len(sheet.rows) - 1)
    header = list(sheet.header)
    if draw(3) == 0:
        header = [*header[:1], *header[:0:-1]]
        later = [[*row[:1], *row[:0:-1]] for row in sheet.rows[place:]]
        return replace(sheet, rows=[*sheet.rows[:place], header, *later])
    return _with_rows(sheet, [*sheet.rows[:place], header, *sheet.rows[place:]])


def header_gone(sheet: Sheet, draw: Draw) -> Sheet:
    return replace(sheet, headless=True)


def other_separator(sheet: Sheet, draw: Draw) -> Sheet:
    return replace(sheet, separator=",;\t|"[draw(4)])


def some_rows_separated_otherwise(sheet: Sheet, draw: Draw) -> Sheet:
    other = "|" if sheet.separator != "|" else ";"
    place, count = draw(len(sheet.rows)), 1 + draw(len(sheet.rows) // 3)
    rows = [[other.join(row)] if place <= number < place + count else row for number, row in enumerate(sheet.rows)]
    return _with_rows(sheet, rows)


def other_decimal(sheet: Sheet, draw: Draw) -> Sheet:
    dates = {sheet.date, sheet.second_date, sheet.clock}

    def turned(cell: str, place: int) -> str:
        if place in dates or not numbers(cell, sheet.decimal):
            return cell
        return cell.translate(str.maketrans(".,", ",."))

    rows = [[turned(cell, place) for place, cell in enumerate(row)] for row in sheet.rows]
    return replace(sheet, rows=rows, decimal="," if sheet.decimal == "." else ".")


def grouped_numbers(sheet: Sheet, draw: Draw) -> Sheet:
    mark = ((",", " ", "'") if sheet.decimal == "." else (".", " ", "'"))[draw(3)]
    place = len(sheet.header) - 1

    def grouped(cell: str) -> str:
        whole = cell.removesuffix(".0")
        return f"{int(whole):,}".replace(",", mark) if whole.isdigit() else cell

    return _with_rows(sheet, [[*row[:place], *map(grouped, row[place:])] for row in sheet.rows])


def other_encoding(sheet: Sheet, draw: Draw) -> Sheet:
    encoding = ("utf-8-sig", "utf-16", "cp1252", "latin-1", "utf-16-le", "utf-16-be", "utf-32")[draw(7)]
    header = [*sheet.header[:-1], sheet.header[-1] + " é€"[: 2 + draw(2)]]
    return replace(sheet, encoding=encoding, header=header)


def other_line_end(sheet: Sheet, draw: Draw) -> Sheet:
    return replace(sheet, line_end=("\r\n", "\r", "\n", "\r\r\n")[draw(4)])


def blank_lines(sheet: Sheet, draw: Draw) -> Sheet:
    return replace(sheet, blanks=tuple(draw(len(sheet.rows)) for _ in range(1 + draw(4))))


def trailing_junk(sheet: Sheet, draw: Draw) -> Sheet:
    junk = (
        "Total,,,",
        "# end",
        "\n\nSource: x\n",
        "\x1a",
        "Total;1;2",
        "x" * 200,
        "<html>",
        '"',
        "Downloaded: 2024-01-01, 10:00\n",
    )
    return replace(sheet, tail=junk[draw(len(junk))])


def day_and_month_turned(sheet: Sheet, draw: Draw) -> Sheet:
    """Where days and months are numbers: of one row, of some or of all."""
    pattern = next((p for p in sheet.patterns if p in ("%m/%d/%Y", "%d/%m/%Y")), None)
    if pattern is None:
        return sheet
    rows = [list(row) for row in sheet.rows]
    count = (1, 5, len(rows))[draw(3)]
    begin = 0 if count == len(rows) else draw(len(rows))
    for row in rows[begin : begin + count]:
        a, b, year = row[sheet.date].split("/") if row[sheet.date].count("/") == 2 else ("x", "y", "z")
        row[sheet.date] = f"{b}/{a}/{year}"
    if count < len(rows):
        return replace(sheet, rows=rows)
    turned = tuple(p.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m") for p in sheet.patterns)
    return replace(sheet, rows=rows, patterns=turned)


def zones_added(sheet: Sheet, draw: Draw) -> Sheet:
    rows = [list(row) for row in sheet.rows]
    begin, zone = draw(2) * draw(len(rows)), ("+02:00", "Z", "-0530", " UTC")[draw(4)]
    for row in rows[begin:]:
        day = row[sheet.date]
        if sheet.clock is None and re.fullmatch(r"[\d/-]+( [\d:]+)?", day):
            row[sheet.date] = (day if ":" in day else f"{day} 10:00") + zone
    patterns = (*sheet.patterns, *(f"{p} %H:%M" for p in sheet.patterns if "%M" not in p))
    return replace(sheet, rows=rows, patterns=patterns)


def clock_apart(sheet: Sheet, draw: Draw) -> Sheet:
    """Date and time of day in two columns."""
    if (
        sheet.clock is not None
        or sheet.date != 0
        or not all(re.fullmatch(r"\d{4}-\d\d-\d\d", row[0]) for row in sheet.rows)
    ):
        return sheet
    rows = [
        [row[0], ("16:00", "16:00:00", "4:00 PM")[draw(3) if number == 9 else 0], *row[1:]]
        for number, row in enumerate(sheet.rows)
    ]
    header = [sheet.header[0], "Time", *sheet.header[1:]]
    return replace(sheet, header=header, rows=rows, clock=1, patterns=(*ISO, "%Y-%m-%d %I:%M %p"))


OF_CELLS = (
    a_cell, a_cell, a_header_cell, swapped_cells, a_column_dropped, a_column_twice, rows_twice, shuffled, rows_gone,
    header_again, header_gone, other_separator, some_rows_separated_otherwise, other_decimal, grouped_numbers,
    other_encoding, other_line_end, blank_lines, trailing_junk, day_and_month_turned, zones_added, clock_apart,
)  # fmt: skip


def cut_off(content: bytes, draw: Draw) -> bytes:
    return content[: draw(len(content))]


def flipped(content: bytes, draw: Draw) -> bytes:
    changed = bytearray(content)
    for _ in range(1 + draw(3)):
        changed[draw(len(changed))] ^= 1 << draw(8)
    return bytes(changed)


def packed_and_cut(content: bytes, draw: Draw) -> bytes:
    packed = gzip.compress(content)
    return packed[: 12 + draw(len(packed) - 12)]


def untouched(content: bytes, draw: Draw) -> bytes:
    return content


OF_BYTES = (untouched, untouched, untouched, untouched, cut_off, flipped, packed_and_cut)
