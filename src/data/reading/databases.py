"""Tables and queries of databases, by SQLAlchemy addresses."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from ...errors import DataError, OptionError, did_you_mean
from ..tables import RawTable
from .header_names import clean_names, unique_names

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

_ALL_ROWS = 50_000
_MAX_REASON = 200
_PACKAGES = {"MySQLdb": "mysqlclient"}  # what to install for what is imported


@dataclass
class DatabaseSource:
    """The rows of one query.

    Attributes:
        name: the table, or ``query``.
        location: the address without its password.
        size: 0, as nobody knows before the query has run.
    """

    name: str
    location: str
    query: str
    engine: Engine = field(repr=False)
    size: int = 0

    def read(self) -> RawTable:
        """All rows, with the types that the database gives."""
        tables = list(self.blocks(_ALL_ROWS))
        cells = pd.concat([table.cells for table in tables]) if len(tables) > 1 else tables[0].cells
        return RawTable(self.name, self.location, cells, tables[0].notes)

    def blocks(self, rows: int) -> Iterator[RawTable]:
        """The same rows, fetched from the server as they are asked for.

        Raises:
            DataError: if the server cannot be reached, refuses the query or has no row for it.
        """
        from sqlalchemy.exc import SQLAlchemyError

        done = 0
        notes = None
        try:
            with self.engine.connect() as connection:
                ways: dict[str, Any] = {"yield_per": rows, "no_parameters": True}
                if self.engine.dialect.name == "postgresql":
                    ways["postgresql_readonly"] = True
                result = connection.execution_options(**ways).exec_driver_sql(self.query)
                if not result.returns_rows:
                    raise DataError(f"a query must give rows, but '{_short(self.query)}' does not; begin with SELECT")
                names, found = unique_names(clean_names(list(result.keys())))
                for batch in result.partitions(rows):
                    cells = _frame(batch, names, done)
                    yield RawTable(self.name, self.location, cells, found if notes is None else ())
                    notes, done = (), done + len(batch)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise _refused(error, self.location, self.query, self.engine.url) from None
        if not done:
            raise DataError(
                f"a query must give rows, but {self.location} has none for '{_short(self.query)}'; check it"
            )

    def identity(self) -> None:
        """A database may change without anyone being able to tell."""


def open_database(address: str, query: str | None) -> DatabaseSource:
    """A query of a database, or its only table.

    Raises:
        OptionError: if the address is none, or the query is empty.
        DataError: if the driver is missing, the server out of reach, or tables must be chosen from.
    """
    from sqlalchemy.exc import SQLAlchemyError

    if query is not None and not query.strip():
        raise OptionError('--query must be an SQL query, but it is empty; try "SELECT * FROM prices"')
    engine, location = _engine(address)
    if query is not None:
        return DatabaseSource("query", location, query.strip().rstrip(";"), engine)
    try:
        with engine.connect() as connection:
            return _only_table(connection, engine, location)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _refused(error, location, None, engine.url) from None


def _only_table(connection: Any, engine: Engine, location: str) -> DatabaseSource:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    names = sorted(inspector.get_table_names())
    if not names:
        names = sorted(inspector.get_view_names())
    if len(names) == 1:
        quoted = engine.dialect.identifier_preparer.quote(names[0])
        return DatabaseSource(names[0], location, f"SELECT * FROM {quoted}", engine)
    if not names:
        raise DataError(f"a database needs a table, but {location} has none; check the address")
    some = ", ".join(names[:10]) + (f" and {len(names) - 10} others" if len(names) > 10 else "")
    raise OptionError(
        f"--query must say which rows to read where a database has several tables, but {location} has {some}; "
        f'try --query "SELECT * FROM {names[0]}"'
    )


def _engine(address: str) -> tuple[Engine, str]:
    """An engine that only reads, where the database can promise that, and the address without its password."""
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = sqlalchemy.make_url(address)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        location = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, location), location
        return sqlalchemy.create_engine(url), location
    except NoSuchModuleError:
        kind = address.split(":", 1)[0]
        hint = did_you_mean(
            kind, ("sqlite", "postgresql", "mysql+pymysql", "mariadb+pymysql", "oracle", "mssql+pyodbc")
        )
        raise DataError(
            f"--data must be an address that SQLAlchemy knows, but got {kind}://...; check what stands before ://.{hint}"
        ) from None
    except ImportError as error:
        missing = _PACKAGES.get(error.name or "", error.name or str(error))
        raise DataError(f"a database needs its driver, but {missing} is missing; try: pip install {missing}") from None
    except (ArgumentError, ValueError):
        kind = address.split(":", 1)[0]
        raise DataError(
            f"--data must be an address like {kind}://user:password@host/database, but it is not; check it, and write "
            "signs such as @ in a password as %40"
        ) from None


def _sqlite(url: URL, location: str) -> Engine:
    import sqlalchemy

    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        raise DataError(f"--data must name a database file, but {location} names none; try sqlite:///prices.db")
    if not path.is_file():  # SQLite would make an empty one
        folder = path.parent
        hint = did_you_mean(path.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else ""
        hint = hint or (" For a path from the root write four slashes." if Path("/", path).is_file() else "")
        raise DataError(f"data must be a database that exists, but there is no {path}; check the path.{hint}")
    only_reading = f"file:{quote(str(path.resolve()))}?mode=ro"
    return sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(only_reading, uri=True))


def _frame(batch: Sequence[Any], names: tuple[str, ...], done: int) -> pd.DataFrame:
    """Rows as columns: decimal numbers as float64, days as datetimes, clock times and other things as text."""
    index = pd.RangeIndex(done + 1, done + len(batch) + 1)
    frame = pd.DataFrame.from_records([tuple(row) for row in batch], columns=range(len(names)), coerce_float=True)
    for place in frame.columns:
        column = frame[place]
        if column.dtype != object:
            continue
        filled = column.dropna()
        if len(filled) and all(type(value) is datetime.date for value in filled):
            frame[place] = pd.to_datetime(column)
        elif len(filled) and all(isinstance(value, datetime.time | bytes) for value in filled):
            frame[place] = column.map(
                lambda value: value.isoformat() if isinstance(value, datetime.time) else str(value)
            )
    frame.columns = pd.Index(names)
    frame.index = index
    return frame


def _short(query: str) -> str:
    line = " ".join(query.split())
    return line if len(line) <= 100 else line[:97] + "..."


def _refused(error: Exception, location: str, query: str | None, url: URL) -> DataError:
    """One line of what the database said, without the password."""
    reason = " ".join(str(getattr(error, "orig", None) or error).split()).split(" LINE 1: DECLARE ")[0]
    if url.password:
        reason = reason.replace(str(url.password), "***")
    if len(reason) > _MAX_REASON:
        reason = reason[: _MAX_REASON - 3] + "..."
    if query is None or "connect" in reason.lower():
        return DataError(f"a database must answer, but {location} does not: {reason}; check address and server")
    return DataError(f"a database must accept the query, but {location} refuses '{_short(query)}': {reason}; mend it")
