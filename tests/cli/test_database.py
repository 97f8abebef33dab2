"""Prices in a database: read, trained on, resumed and forecast, without the password in any file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from conftest_postgres import start_postgres

ROOT = Path(__file__).resolve().parents[2]
QUERY = "select day, open, close, volume from prices where ticker = 'AAA' order by day desc"
SMALL = ("--models", "linear:nlinear", "lstm:basic", "--set", "hidden_size=8", "--window", 8, "--name", "run")


def prices() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frames = []
    for ticker in ("AAA", "BBB"):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 300)))
        days = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(300), "D")
        columns = {
            "day": days,
            "ticker": ticker,
            "open": close * 1.001,
            "close": close,
            "volume": rng.integers(1, 9, 300),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server with a table of prices, for a user with a password."""
    with start_postgres(tmp_path_factory.mktemp("postgres")) as address:
        engine = sqlalchemy.create_engine(address)
        prices().to_sql("prices", engine, index=False)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("create role trader login password 'secret-word'"))
            connection.execute(sqlalchemy.text("grant select on prices to trader"))
        engine.dispose()
        yield sqlalchemy.make_url(address).set(username="trader", password="secret-word").render_as_string(False)


def call(folder: Path, script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def files_with(word: bytes, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word in path.read_bytes()]


@pytest.mark.slow
def test_postgres_read_trained_resumed_forecast(postgres: str, tmp_path: Path) -> None:
    csv = tmp_path / "same.csv"
    chosen = prices().query("ticker == 'AAA'").drop(columns="ticker")
    chosen.to_csv(csv, index=False)
    database = ("--data", postgres, "--query", QUERY)
    trained = call(tmp_path, "train_models.py", *SMALL, *database, "--epochs", 1, "--jobs", 2)
    assert trained.returncode == 0, trained.stderr
    expected = call(tmp_path, "train_models.py", *SMALL[:-1], "csv", "--data", csv, "--epochs", 1, "--jobs", 1)
    assert expected.returncode == 0, expected.stderr
    for model in ("linear_nlinear", "lstm_basic"):
        files = [tmp_path / "runs" / name / model / "predictions.csv" for name in ("run", "csv")]
        assert files[0].read_bytes() == files[1].read_bytes(), "a database gives what a file of the same rows gives"
    resumed = call(tmp_path, "train_models.py", "--resume", tmp_path / "runs" / "run", "--epochs", 2)
    assert resumed.returncode == 0, resumed.stderr
    run = tmp_path / "runs" / "run" / "lstm_basic"
    forecast = call(tmp_path, "predict.py", run, *database, "--output", "-")
    again = call(tmp_path, "predict.py", run, "--data", csv, "--output", "-")
    assert forecast.returncode == again.returncode == 0, forecast.stderr
    assert forecast.stdout == again.stdout and "2020-10-27" in forecast.stdout
    assert files_with(b"secret-word", tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("address", "query", "words"),
    [
        ("sqlite:///prices.db", "select * from nowhere", "nowhere"),
        ("sqlite:///prices.db", "select day, close from prices where ticker = 'ZZZ'", "row"),
        ("sqlite:///missing.db", "select 1", "missing.db"),
        ("postgresql://trader:secret-word@127.0.0.1:1/none", "select 1", "127.0.0.1"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_no_run(
    tmp_path: Path, address: str, query: str, words: str
) -> None:
    with sqlite3.connect(tmp_path / "prices.db") as connection:
        prices().to_sql("prices", connection, index=False)
    ended = call(tmp_path, "train_models.py", "--data", address, "--query", query, "--models", "linear:nlinear")
    assert ended.returncode == 2 and len(ended.stderr.strip().splitlines()) == 1
    assert words in ended.stderr and "secret-word" not in ended.stderr + ended.stdout
    assert list((tmp_path / "runs").glob("*")) == [] if (tmp_path / "runs").exists() else True
