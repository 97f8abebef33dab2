"""A slow, obvious way to read a file of which all is known, as a person would."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import numpy as np
from made_sheets import ISO, Sheet

WORDS = ("", "nan", "na", "n/a", "null", "none", "-", "inf", "-inf", "infinity", "#n/a", "?")
CLOCKED = tuple(f"{day} %H.%M.%S" for day in ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d-%b-%y"))
_ZONE = re.compile(r"(.*:.*?)\s?(Z|UTC|[+-]\d\d:?\d\d)", re.IGNORECASE)


def instants(cell: str, patterns: tuple[str, ...]) -> set[int]:
    """Nanoseconds since 1970 of what a person would take a cell for."""
    text, offset = cell.strip(), timedelta()
    zone = _ZONE.fullmatch(text)
    if zone:
        text = zone[1]
        if zone[2][0] in "+-":
            offset = timedelta(hours=int(zone[2][1:3]), minutes=int(zone[2][-2:])) * (1 if zone[2][0] == "+" else -1)
    found = set()
    if re.search("[A-Za-z]{3}", text):
        text = re.sub("[/. ]", "-", text)
    for pattern in (
        *patterns,
        *ISO,
        "%Y%m%d",
        "%Y%m%d.",
        "%Y%m%d.0",
        "%d-%b-%y",
        "%d-%b-%Y",
        "%Y-%m-%dT%H:%M:%S",
        *CLOCKED,
    ):
        try:
            moment = datetime.strptime(text, pattern).replace(tzinfo=UTC) - offset
        except ValueError:
            continue
        found.add(int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000)
    if re.fullmatch(r"\d{9,19}(\.\d*)?", text):  # an epoch
        number = float(text)
        unit = next((unit for unit in (10**9, 10**6, 10**3, 1) if number * unit < 7.3e18), 1)
        found.add(int(text.split(".")[0]) * unit)
    if re.fullmatch(r"\d{5}(\.\d*)?", text):  # a day of a spreadsheet
        found.add(int((float(text) - 25_569) * 86_400) * 10**9)
    for pattern, divisor in (("%Y%m", 1), ("%Y", 1), ("%Y-%m", 1)):
        try:
            moment = datetime.strptime(text.removesuffix(".0"), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
        found.add(int(moment.timestamp()) * 10**9 // divisor)
    return found


def numbers(cell: str, decimal: str) -> set[float]:
    """What number a person would take a cell for, under the decimal sign of its file; none where it is none."""
    text = re.sub(r"[\u00a0\u202f\u2009]", " ", cell.strip()).replace("\u2212", "-").replace("’", "'")
    if text.lower() in WORDS:
        return set()
    text = re.sub(r"^([+-]?)\s?[$€£]\s?|\s?[$€£%]$", r"\1", text)
    sign = 1.0
    if re.fullmatch(r"\([^+-].*\)", text):
        sign, text = -1.0, text[1:-1]
    elif re.fullmatch(r"[^+-].*-", text):
        sign, text = -1.0, text[:-1]
    factor = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}.get(text[-1:].lower(), 1.0)
    text = text[:-1].strip() if factor != 1 else text
    thousands = "," if decimal == "." else "."
    for mark in (thousands, " ", "'"):
        if re.fullmatch(
            rf"[+-]?\d{{1,3}}({re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}({re.escape(decimal)}\d*)?", text
        ):
            text = text.replace(mark, "")
    if not re.fullmatch(rf"[+-]?(\d+({re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)([eE][+-]?\d+)?", text):
        return set()
    value = sign * float(text.replace(decimal, ".")) * factor
    return {value} if np.isfinite(value) else set()


def reference_rows(sheet: Sheet, content: bytes) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what the file is now, cut by the csv module with what its maker knows of it."""
    try:
        text = content.decode(sheet.encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252" if sheet.encoding.startswith("utf-8") else sheet.encoding, "replace")
    text = text.removeprefix("\ufeff")
    lines = io.StringIO(text, newline="").readlines()[len(sheet.preamble) :]
    width = len(sheet.header)
    cut = {mark: _records(lines, mark) for mark in dict.fromkeys((sheet.separator, "|", ";"))}
    mark = max(cut, key=lambda mark: sum(len(record) == width for record in cut[mark]))
    records = cut[mark]
    if sheet.headless or mark != sheet.separator or not records:
        return [""] * width, records
    return records[0], records[1:]


def _records(lines: list[str], separator: str) -> list[list[str]]:
    records = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return [record for record in ([cell.strip() for cell in cells] for cells in records) if any(record)]
