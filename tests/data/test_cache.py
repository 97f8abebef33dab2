"""The promise that large inputs are read once, mapped from disk, and give exactly what small ones give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data import loading, tables
from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 900)))
    days = np.datetime64("2015-01-01") + np.arange(900)
    lines = [
        f"{day},{price:.4f},{volume}" for day, price, volume in zip(days, close, rng.integers(0, 9, 900), strict=True)
    ]
    path = tmp_path / "prices.csv"
    path.write_text("Date,Close,Volume\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LARGE_BYTES", 0)
    for module in (tables, sys.modules["src.data.rows"], sys.modules["src.data.cache"]):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 70)


def options(prices: Path, **changes: object) -> DataOptions:
    return DataOptions(data=str(prices), cache=str(prices.parent / "cache"), window=8, **changes)  # type: ignore[arg-type]


def entries(prices: Path) -> list[Path]:
    return sorted(path for path in (prices.parent / "cache").iterdir() if path.is_dir())


def batches(data: SeriesData) -> list[np.ndarray]:
    return [
        array.numpy()
        for part in (data.train, data.validation, data.test)
        for batch in part.batches(64)
        for array in (batch.inputs, batch.targets)
    ]


@pytest.mark.parametrize("transform", ["return", "level"])
@pytest.mark.parametrize("task", ["forecast", "direction"])
def test_mapped_in_blocks_equals_read_at_once(
    prices: Path, request: pytest.FixtureRequest, transform: str, task: str
) -> None:
    chosen = options(prices, transform=transform, task=task)
    small = load_data(chosen)
    request.getfixturevalue("everything_is_large")
    large = load_data(chosen)
    assert isinstance(large._rows.tables.values, np.memmap) and not isinstance(small._rows.tables.values, np.memmap)
    np.testing.assert_allclose(large.scaler.scale, small.scaler.scale, rtol=1e-12)
    assert large.fingerprint() == small.fingerprint()
    again = load_data(chosen, fitted=small.fitted())
    for first, second in zip(batches(small), batches(again), strict=True):
        np.testing.assert_array_equal(first, second)
    assert small.spec.up_share == again.spec.up_share


def test_the_second_start_reads_nothing(
    prices: Path, everything_is_large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_data(options(prices))
    files = {path: path.stat().st_mtime_ns for path in entries(prices)[0].iterdir()}
    monkeypatch.setattr("src.data.readers.read_tables", lambda *_: pytest.fail("the file was read again"))
    second = load_data(options(prices))
    assert second.fingerprint() == first.fingerprint() and second.messages == first.messages
    assert {path: path.stat().st_mtime_ns for path in entries(prices)[0].iterdir()} == files


def test_a_changed_file_or_another_way_of_reading_is_read_anew(prices: Path, everything_is_large: None) -> None:
    before = load_data(options(prices)).fingerprint()["sha256"]
    prices.write_text(prices.read_text() + "2030-01-01,50.0,3\n")
    assert load_data(options(prices)).fingerprint()["sha256"] != before
    assert len(entries(prices)) == 1, "what was made of the file before it changed is removed"
    load_data(options(prices, duplicates="first"))
    assert len(entries(prices)) == 2


@pytest.mark.parametrize("damaged", ["tables.json", "values.npy"])
def test_a_damaged_entry_is_made_again(prices: Path, everything_is_large: None, damaged: str) -> None:
    before = load_data(options(prices)).fingerprint()
    file = entries(prices)[0] / damaged
    file.write_bytes(file.read_bytes()[:100])
    assert load_data(options(prices)).fingerprint() == before


@pytest.mark.skipif(os.name == "nt", reason="makes a folder read-only the Unix way")
def test_a_cache_that_cannot_be_written_is_one_line(prices: Path, everything_is_large: None) -> None:
    (prices.parent / "cache").write_text("a file, no folder")
    with pytest.raises(DataError, match=r"the cache folder .* cannot be used: .*--cache"):
        load_data(options(prices))


def test_a_failed_reading_leaves_nothing_behind(prices: Path, everything_is_large: None) -> None:
    prices.write_text("Date,Close\n" + "2020-01-01,x\n" * 50)
    with pytest.raises(DataError):
        load_data(options(prices))
    assert entries(prices) == []


def test_two_processes_at_once_get_the_same(prices: Path) -> None:
    code = (
        "import json, sys; from src.data import loading; from src import DataOptions, load_data\n"
        "loading.LARGE_BYTES = 0\n"
        "print(json.dumps(load_data(DataOptions(data=sys.argv[1], cache=sys.argv[2], window=8)).fingerprint()))"
    )
    command = [sys.executable, "-c", code, str(prices), str(prices.parent / "cache")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    assert answers[0] == answers[1] == load_data(options(prices)).fingerprint()
    assert len(entries(prices)) == 1
