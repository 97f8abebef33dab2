"""Small files that nobody would write on purpose, and the one line that each must end in."""

from __future__ import annotations

import gzip
import json

import pytest
from small_files import DAYS, HEADER, ROWS, WHOLE, dated, each_day, panel, refusal, replaced_rows, valued, zipped

EXCEL = zipped(**{"[Content_Types]__xml": "x", "xl_AT_workbook__xml": "x"})
JOINED = HEADER + "\n".join(ROWS[:10]) + "\ndate,close,open,volume\n" + "\n".join(ROWS[10:]) + "\n"
TWO_SEPARATORS = HEADER + "\n".join(ROWS[:15]) + "\n" + "\n".join(ROWS[15:]).replace(",", ";") + "\n"
LONG_NAMES = each_day("dat," + ",".join(f"{'x' * 58}{n}" for n in range(200)), "abc," + ",".join(["1.5"] * 200))

REFUSED = {
    "nothing": ("", "is empty"),
    "blank lines": ("\n\n\n \n", "is empty"),
    "only a header": ("date,close\n", "no row of data"),
    "only a header without line end": ("date,open,close,volume", "no row of data"),
    "one row": ("date,close\n2024-01-01,5\n", "at least 2 rows"),
    "dates of 0": (dated(*["0"] * 8), "'0' in row 2, column 'date'"),
    "one date only": (dated(*["2024-01-01"] * 8), "7 rows of 8 that repeat a date"),
    "second 60 everywhere": (dated(*(f"{day} 10:00:60" for day in DAYS)), "'2024-01-01 10:00:60' in row 2"),
    "year 9999": (dated(*(f"9999-12-{day:02d}" for day in range(1, 9))), "between 1700 and 2199"),
    "year 1": (dated(*(f"0001-12-{day:02d}" for day in range(1, 9))), "between 1700 and 2199"),
    "epochs round 0": (dated(*(str(86_400 * place) for place in range(10))), "row 2"),
    "negative epochs": (dated(*(str(-86_400 * place - 200_000_000) for place in range(10))), "'-200000000'"),
    "ISO weeks": (dated(*(f"2024-W{week:02d}-1" for week in range(1, 9))), "'2024-W01-1'"),
    "ordinal dates": (dated(*(f"2024-{day:03d}" for day in range(1, 9))), "'2024-001'"),
    "German months": (
        dated(*(f"{day}-{m}-2023" for m in ("Jan", "Mrz", "Mai", "Okt") for day in (3, 14))),
        "'3-Mrz-2023'",
    ),
    "French months": (dated(*(f"{day} {m} 2023" for m in ("janv.", "mars", "avril") for day in (3, 14))), "janv."),
    "Finnish November, which is no March": (dated(*(f"{day} marraskuu 2023" for day in range(1, 9))), "marraskuu"),
    "an offset without a clock": (dated(*(f"2024-01-{day:02d}-05" for day in range(1, 9))), "'2024-01-01-05'"),
    "a date that goes on": (dated(*(f"2024-01-05{day:02d}" for day in range(1, 9))), "'2024-01-0501'"),
    "13:30 PM": (dated(*(f"{day} 13:30 PM" for day in DAYS)), "13:30 PM"),
    "days and months that fit both ways": (dated("01/02/2024", "03/02/2024", "05/02/2024"), "--date-format day-first"),
    "one date of open order among others": (dated(*DAYS[:9], "05/06/2024", *DAYS[9:]), "'05/06/2024' in row 11; use"),
    "short years that fit both ways": (
        dated(*(f"24-03-{day:02d}" for day in range(1, 25))),
        "--date-format year-first",
    ),
    "both orders": (
        dated(*(f"{d:02d}/01/2024" for d in range(13, 31)), *(f"02/{d}/2024" for d in range(13, 28))),
        "written alike",
    ),
    "two numbers": (valued('"1,5"'), "'1,5' in row 7, column 'close'"),
    "other sign": (valued('"1.234,56"'), "'1.234,56' in row 7"),
    "two signs": (valued("--3"), "'--3' in row 7"),
    "signs at both ends": (valued("-3-"), "'-3-' in row 7"),
    "a sign in brackets": (valued("(-3)"), "'(-3)' in row 7"),
    "half a bracket beside whole ones": (valued("(3", "({})"), "'(3' in row 7"),
    "a currency sign between digits": (valued("80777$6"), "'80777$6' in row 7"),
    "hexadecimal": (valued("0x10"), "'0x10' in row 7"),
    "underscore": (valued("1_000"), "'1_000' in row 7"),
    "superscript": (valued("²"), "'²' in row 7"),
    "a fraction": (valued("1/2"), "'1/2' in row 7"),
    "a date for a price": (valued("2024-01-05"), "'2024-01-05' in row 7, column 'close'"),
    "a time for a price": (valued("10:30"), "'10:30' in row 7"),
    "a truth value for a price": (valued("TRUE"), "'TRUE' in row 7"),
    "a spreadsheet's error": (valued("#REF!"), "--missing #REF!"),
    "invisible space": (valued("\u200b5"), "row 7"),
    "escape codes": (valued("\x1b[2J5"), "row 7"),
    "unquoted thousands": (each_day("date,close,volume", "{day},{n}.5,1,2{n:02d}"), "separators of thousands"),
    "single quotes": (WHOLE.replace(",", "','").replace("\n", "'\n'"), "column"),
    "semicolon in a cell": (WHOLE.replace("11.25", '"11;25"'), "'11;25' in row 2"),
    "zero byte": (WHOLE.replace("11.25", "11\0.25"), "zero byte in row 2"),
    "zero bytes at the end": (WHOLE + "\0" * 100, "zero byte"),
    "a line of a megabyte": ("x" * 1_000_000, "f.csv"),
    "gzip in gzip": (gzip.compress(gzip.compress(WHOLE.encode())), "packed once"),
    "gzip cut off": (gzip.compress(WHOLE.encode())[:-20], "is damaged"),
    "a web page": ("<!DOCTYPE html><html>404</html>", "a web page"),
    "a part of a web page": ("\n\n  <!-- x --><div>Not Found</div>", "f.csv"),
    "JSON lines": ("".join(json.dumps({"date": day, "close": 1}) + "\n" for day in DAYS), "is JSON"),
    "a workbook": (EXCEL, "Excel workbook"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "Excel workbook"),
    "EBCDIC": (WHOLE.encode("cp500"), "f.csv"),
    "half a character": (WHOLE.encode("utf-16")[:-1], "not utf-16"),
    "blank in a fixed-width table": (
        each_day("date        a   b", "{day}  {n}  5.5").replace("  7  5.5", "     5.5"),
        "row 9",
    ),
    "a comment between": (replaced_rows(r9=ROWS[9] + "\n# a comment"), "1 instead of 4 in row 12"),
    "a short row": (replaced_rows(r9="2024-01-10,5"), "2 instead of 4 in row 11"),
    "a long row": (replaced_rows(r9="2024-01-10,5,6,7,8"), "5 instead of 4 in row 11"),
    "another separator in one row": (replaced_rows(r9=ROWS[9].replace(",", ";")), "1 instead of 4 in row 11"),
    "another separator in half of the rows": (TWO_SEPARATORS, "rows 2 to 16 are not like those below"),
    "joined files with another order of columns": (JOINED, "another header in row 12, with 'date, close'"),
    "quotes round a line end": (
        replaced_rows(r3='2024-01-04,10.5,"11', r4='2024-01-05,10.5,11",5'),
        "closes it in row 6",
    ),
    "a quote never closed": (replaced_rows(r3='"' + ROWS[3]), "never closes it"),
    "year and month in two columns": (
        "Year,Month,x\n" + "".join(f"{y},{m},{y * m % 17}\n" for y in (2001, 2002) for m in range(1, 13)),
        "repeat a date",
    ),
    "200 long names and no date": (LONG_NAMES, "and 197 more"),
    "most tickers missing": (panel("", "AA"), "repeat a date"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case, tmp_path):
    content, part = REFUSED[case]
    assert part in refusal(content, tmp_path)
