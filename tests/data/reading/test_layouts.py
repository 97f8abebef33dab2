"""Single, long and wide: which series the rows of a file make up."""

import pytest

from src.data.options import ReadingOptions
from src.data.readers import read_tables
from src.data.reading.column_names import canonical_name, clean_name
from src.data.reading.sources import open_sources
from src.errors import DataError, OptionError

DAYS = [f"2024-01-{day:02d}" for day in range(1, 29)]


@pytest.fixture
def read(tmp_path):
    def read_text(text, **options):
        path = tmp_path / "prices.csv"
        path.write_text(text)
        chosen = ReadingOptions(data=str(path), **options)
        return read_tables(open_sources(chosen), chosen)

    return read_text


def notes(tables):
    return {note.topic: note.text for note in tables[0].notes}


BY_DATE = "Date,Ticker,Close\n" + "".join(
    f"{day},{ticker},{price + place}\n"
    for place, day in enumerate(DAYS)
    for ticker, price in (("MSFT", 370), ("AAPL", 180))
)
BY_SERIES = "when,what,value\n" + "".join(
    f"{day},{name},{price + place}\n" for name, price in (("oil", 70), ("gold", 1900)) for place, day in enumerate(DAYS)
)
WIDE = "Date,AAPL,MSFT,ZZZZ\n" + "".join(
    f"{day},{180 + place},{370 + place},{'' if place < 5 else 20 + place}\n" for place, day in enumerate(DAYS)
)


def test_long_by_the_name_of_a_column(read):
    tables = read(BY_DATE)
    assert [table.name for table in tables] == ["MSFT", "AAPL"] and list(tables[0].columns) == ["Close"]
    assert tables[1].columns["Close"].tolist() == [180 + place for place in range(28)]
    assert "'Ticker'" in notes(tables)["layout"]


def test_long_by_repeated_dates(read):
    tables = read(BY_SERIES)
    assert [table.name for table in tables] == ["oil", "gold"]
    assert tables[1].columns["value"][:2].tolist() == [1900, 1901]


def test_long_as_asked_and_numbers_as_names(read):
    text = "Date,store,sales\n" + "".join(f"{day},{store},{store * 10 + 1}\n" for day in DAYS for store in (1, 2))
    assert [table.name for table in read(text)] == ["1", "2"]
    text = text.replace("store", "z")
    tables = read(text, series_column="Z")
    assert [table.name for table in tables] == ["1", "2"] and list(tables[0].columns) == ["sales"]
    with pytest.raises(DataError, match="--series-column"):
        read(text)


def test_one_ticker_alone_is_single(read):
    tables = read("Date,Ticker,Close\n" + "".join(f"{day},AAPL,{place}.5\n" for place, day in enumerate(DAYS)))
    assert len(tables) == 1 and tables[0].name == "prices" and notes(tables)["columns"].endswith("Ticker")


def test_text_without_repeated_dates_is_single(read):
    text = "Date,weekday,Close\n" + "".join(f"{day},{'ab'[place % 2]},{place}.5\n" for place, day in enumerate(DAYS))
    assert len(read(text)) == 1


def test_long_rows_without_a_name_are_left_out_and_told(read):
    tables = read(BY_DATE + "2024-01-29,,5\n")
    assert [len(table.dates) for table in tables] == [28, 28]
    assert "1 (row 58)" in notes(tables)["series"]


def test_wide_begins_with_the_first_value(read):
    tables = read(WIDE)
    assert [(table.name, len(table.dates)) for table in tables] == [("AAPL", 28), ("MSFT", 28), ("ZZZZ", 23)]
    assert list(tables[2].columns) == ["Close"] and tables[2].columns["Close"][0] == 25
    assert str(tables[2].dates[0])[:10] == "2024-01-06" and "wide" in notes(tables)["layout"]


def test_sensors_and_prices_are_not_wide(read):
    for header in ("Date,HUFL,HULL,OT", "Date,AAPL,MSFT,Volume", "Date,T,RH,AH", "Date,0,1,OT"):
        tables = read(WIDE.replace("Date,AAPL,MSFT,ZZZZ", header))
        assert [table.name for table in tables] == ["prices"] and len(tables[0].columns) == 3
    negative = WIDE.replace(",180,", ",-180,")
    assert len(read(negative)) == 1 and len(read(negative, layout="wide")) == 3
    assert len(read(WIDE, layout="single")) == 1


def test_series_picks(read):
    assert [table.name for table in read(BY_DATE, series="aapl")] == ["AAPL"]
    assert [table.name for table in read(WIDE, series="ZZZZ,MSFT")] == ["MSFT", "ZZZZ"]
    unknown = WIDE.replace("AAPL,MSFT", "FOO,BAR")
    assert [table.name for table in read(unknown, series="foo")] == ["FOO"]
    with pytest.raises(OptionError, match=r"no 'APL'. Did you mean 'AAPL'\? Series: MSFT, AAPL"):
        read(BY_DATE, series="APL")
    with pytest.raises(OptionError, match=r"no 'TSLA'.*Series: AAPL, MSFT, ZZZZ"):
        read(WIDE, series="MSFT,TSLA")


def test_a_long_layout_needs_a_column(read):
    with pytest.raises(OptionError, match="--series-column"):
        read(WIDE, layout="long")
    with pytest.raises(OptionError, match=r"series_column must name a column.*Did you mean 'Ticker'"):
        read(BY_DATE, series_column="Tickr")


@pytest.mark.parametrize(
    ("canonical", "spellings"),
    [
        (
            "adj close",
            ["Adj Close", "Adj. Close*", "adjClose", "adjusted_close", "ADJ_CLOSE", "5. adjusted close", "AdjClose"],
        ),
        (
            "close",
            ["close", "Close*", "Close/Last", "Last", "Last Price", "close_price", "<CLOSE>", "4. close", "ClosePrice"],
        ),
        ("open", ["Open", "open_price", "1. open", "<OPEN>"]),
        ("high", ["High", "HIGH "]),
        ("low", ["low", "Low Price"]),
        ("volume", ["Volume", "Vol.", "<VOL>", "trade_volume"]),
        ("volume btc", ["Volume BTC", "volume_btc"]),
        ("close time", ["Close time", "closeTime"]),
    ],
)
def test_spellings_of_column_names(canonical, spellings):
    assert {canonical_name(text) for text in spellings} == {canonical}


def test_own_names_lose_only_footnotes():
    assert clean_name(" Adj. Close* ") == "Adj. Close" and clean_name("Vol.") == "Vol" and clean_name("***") == "***"
