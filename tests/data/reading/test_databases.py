"""Tables and queries: SQLite in a file, PostgreSQL on a real server; passwords never show."""

import sqlite3

import pandas as pd
import pytest
import sqlalchemy
from conftest_postgres import start_postgres

from src.data.options import ReadingOptions
from src.data.reading.sources import open_sources
from src.errors import DataError, OptionError, UserError


def only(data, query=None):
    (source,) = open_sources(ReadingOptions(data=data, query=query))
    return source


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "market data.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE prices (date TEXT, close REAL, volume INTEGER)")
        rows = [(f"2024-01-{day:02d}", day / 2, None if day == 3 else day) for day in range(1, 11)]
        connection.executemany("INSERT INTO prices VALUES (?, ?, ?)", rows)
    connection.close()
    return path


def test_the_only_table_of_sqlite(database):
    source = only(f"sqlite:///{database}")
    table = source.read()
    assert (source.name, source.size, source.identity()) == ("prices", 0, None)
    assert table.cells["close"].tolist() == [day / 2 for day in range(1, 11)]
    assert table.cells["date"].iloc[0] == "2024-01-01" and table.cells.index.tolist() == list(range(1, 11))
    blocks = list(source.blocks(4))
    assert [len(block.cells) for block in blocks] == [4, 4, 2] and blocks[2].cells.index[0] == 9
    assert pd.concat([block.cells for block in blocks])["close"].tolist() == table.cells["close"].tolist()


def test_a_query_with_signs_that_drivers_take_for_their_own(database):
    query = "SELECT date AS d, close, close FROM prices WHERE date LIKE '%0%' AND ':x' <> '?' AND volume > 8;"
    source = only(f"sqlite:///{database}", query)
    assert source.name == "query" and source.read().cells.to_numpy().tolist() == [
        ["2024-01-09", 4.5, 4.5],
        ["2024-01-10", 5.0, 5.0],
    ]
    assert list(source.read().cells.columns) == ["d", "close", "close.2"]


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        ("SELEC 1", DataError, "syntax error; mend it"),
        ("SELECT * FROM price", DataError, "no such table: price"),
        ("SELECT * FROM prices WHERE volume > 99", DataError, "has none for 'SELECT"),
        ("DROP TABLE prices", DataError, "readonly database"),
        ("DELETE FROM prices", DataError, "readonly database"),
        (" ", OptionError, "--query must be an SQL query, but it is empty"),
    ],
)
def test_a_query_that_gives_nothing_is_one_line(database, query, error, words):
    with pytest.raises(error) as caught:
        only(f"sqlite:///{database}", query).read()
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert len(only(f"sqlite:///{database}").read().cells) == 10


def test_several_tables_must_be_chosen_from(database):
    with sqlite3.connect(database) as connection:
        connection.execute('CREATE TABLE "my trades" (x)')
    connection.close()
    with pytest.raises(OptionError, match=r"--query must say which rows.* has my trades, prices; try --query"):
        only(f"sqlite:///{database}")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///{folder}/market dat.db", "there is no .*Did you mean 'market data.db'"),
        ("sqlite://", "names none; try sqlite:///prices.db"),
        ("sqlite:///{folder}/words.db", "does not: file is not a database"),
        ("postgresql://me:secret@127.0.0.1:1/x", r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/x does not: .*refused"),
        ("postgresql://me:secret@127.0.0.1:port/x", "must be an address like postgresql://user:password@host/database"),
        ("postgress://me:secret@127.0.0.1/x", "Did you mean 'postgresql'"),
        ("mysql://me:secret@127.0.0.1/x", "pip install mysqlclient"),
    ],
)
def test_databases_out_of_reach(database, address, words):
    (database.parent / "words.db").write_text("date,close\n" * 200)
    with pytest.raises(UserError, match=words) as caught:
        only(address.format(folder=database.parent)).read()
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert not (database.parent / "market dat.db").exists()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start_postgres(tmp_path_factory.mktemp("postgres")) as address:
        engine = sqlalchemy.create_engine(address)
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(
                    "CREATE TABLE prices (day date, moment timestamptz, clock time, close numeric, x float8, s text)"
                )
            )
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO prices SELECT '2024-01-01'::date + i, '2024-01-01 10:00+02'::timestamptz, '09:30', "
                    "100.25 + i, CASE WHEN i = 3 THEN NULL ELSE i END, 'a%b' FROM generate_series(0, 6) AS i"
                )
            )
        engine.dispose()
        yield address


def test_postgresql(server):
    source = only(server.replace("+psycopg", ""))
    table = source.read()
    assert source.name == "prices" and len(table.cells) == 7
    assert table.cells["close"].tolist() == [100.25 + i for i in range(7)]
    assert table.cells["day"].iloc[6] == pd.Timestamp("2024-01-07") and table.cells["clock"].iloc[0] == "09:30:00"
    assert table.cells["moment"].iloc[0] == pd.Timestamp("2024-01-01T08:00Z") and table.cells["x"].isna().sum() == 1
    query = "SELECT day, close FROM prices WHERE s LIKE '%b' AND moment::date = '2024-01-01' ORDER BY day DESC"
    blocks = list(only(server, query).blocks(3))
    assert [len(block.cells) for block in blocks] == [3, 3, 1] and blocks[0].cells["close"].iloc[0] == 106.25


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELEC 1", "syntax error"),
        ("DELETE FROM prices RETURNING *", "refuses"),
        ("SELECT setval('s', 1)", "refuses"),
        ("SELECT 1 / (close - close) FROM prices", "division by zero"),
    ],
)
def test_postgresql_refuses(server, query, words):
    with pytest.raises(DataError, match=words) as caught:
        only(server, query).read()
    assert "\n" not in str(caught.value) and "DECLARE" not in str(caught.value)
    assert len(only(server).read().cells) == 7


def test_rows_are_streamed_from_postgresql(server):
    query = "SELECT '2024-01-01'::date + i AS day, repeat('x', 1000) AS s "
    query += "FROM generate_series(1, 10000) AS i, generate_series(1, 10000) AS j"
    first = next(only(server, query).blocks(100))
    assert len(first.cells) == 100
