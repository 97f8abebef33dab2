"""Small files that are wrong in one way each, for the tests of nasty files."""

from __future__ import annotations

import io
import warnings
import zipfile

import numpy as np
import pytest

from src.data.options import ReadingOptions
from src.data.readers import read_tables
from src.data.reading.sources import open_sources
from src.errors import UserError

DAYS = [str(np.datetime64("2024-01-01") + place) for place in range(31)]
ROWS = [f"{day},{10 + place}.5,{11 + place}.25,{1000 + 37 * place % 500}" for place, day in enumerate(DAYS)]
HEADER = "date,open,close,volume\n"
WHOLE = HEADER + "\n".join(ROWS) + "\n"


def dated(*dates: str) -> str:
    """Two columns, values 100.5, 101.5, ..."""
    return "date,close\n" + "".join(f"{date},{100 + place}.5\n" for place, date in enumerate(dates))


def valued(cell: str, others: str = "{}.5") -> str:
    """Twelve days, of which the sixth has the given cell."""
    cells = [others.format(100 + place) for place in range(12)]
    cells[5] = cell
    return "date,close\n" + "".join(f"{day},{text}\n" for day, text in zip(DAYS, cells, strict=False))


def panel(first: str, second: str) -> str:
    return "date,ticker,close\n" + "".join(
        f"{day},{first},{10 + place}.5\n{day},{second},{50 + place}.5\n" for place, day in enumerate(DAYS)
    )


def each_day(header: str, row: str) -> str:
    """A row a day; ``{day}``, ``{next}`` and ``{n}`` are filled in."""
    lines = [row.format(day=day, next=DAYS[(place + 1) % 31], n=place) for place, day in enumerate(DAYS)]
    return header + "\n" + "\n".join(lines) + "\n"


def zipped(**members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", ".").replace("_AT_", "/"), content)
    return out.getvalue()


def replaced_rows(**rows: str) -> str:
    """The whole file with other rows: ``r5="..."``."""
    lines = list(ROWS)
    for place, text in rows.items():
        lines[int(place[1:])] = text
    return HEADER + "\n".join(lines) + "\n"


def load(content, folder, **options):
    path = folder / "f.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    chosen = ReadingOptions(data=str(path), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_tables(open_sources(chosen), chosen)


def refusal(content, folder, **options) -> str:
    with pytest.raises(UserError) as caught:
        load(content, folder, **options)
    message = str(caught.value)
    assert message.isprintable() and len(message) - len(str(folder)) < 600 and "f.csv" in message
    return message
