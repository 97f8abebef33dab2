"""From the options to series: test data of their own, and new data for a trained model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.tables import Table
from src.errors import DataError, OptionError


def table(rows: int, first: str = "2015-01-01", name: str = "prices", seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    days = (np.datetime64(first) + np.arange(rows)).astype("datetime64[ns]")
    return Table(days, {"Open": close * 1.01, "Close": close, "Volume": rng.integers(0, 9, rows).astype(float)}, name)


def write(path: Path, series: Table) -> str:
    lines = [",".join(["Date", *series.columns])]
    for row, day in enumerate(series.dates.astype("datetime64[D]")):
        lines.append(",".join([str(day), *(repr(float(column[row])) for column in series.columns.values())]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


# --- test data of their own -------------------------------------------------------------------------------------------


def test_test_data_are_the_test_part_and_all_of_the_data_is_learnt_from(tmp_path: Path) -> None:
    data, test = write(tmp_path / "a.csv", table(400)), write(tmp_path / "b.csv", table(90, "2020-01-01", seed=1))
    loaded = load_data(DataOptions(data=data, test_data=test, window=8))
    # Returns: the first row has none, so the first target has 8 returns before it.
    assert len(loaded.test) == 90 - 1 - 8
    assert str(loaded.test.target_dates([0])[0, 0])[:10] == "2020-01-10"
    shares = 0.7 / 0.85
    assert len(loaded.train) == int(400 * shares) - 1 - 8 and len(loaded.train) + len(loaded.validation) == 400 - 9
    assert str(loaded.validation.target_dates([len(loaded.validation) - 1])[0, 0])[:10] == "2016-02-04"
    alone = load_data(DataOptions(data=data, window=8, split=f"{int(400 * shares)},{400 - int(400 * shares) - 9},9"))
    np.testing.assert_array_equal(loaded.scaler.scale, alone.scaler.scale)
    assert not any(note.warning for note in loaded.notes)


def test_the_scale_of_levels_comes_from_training_rows_and_test_series_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for seed, name in enumerate(("AAA", "BBB")):
        write(tmp_path / "train" / f"{name}.csv", table(200, seed=seed))
    write(tmp_path / "test" / "BBB.csv", table(60, "2021-01-01", seed=5))
    options = DataOptions(
        data=str(tmp_path / "train"), test_data=str(tmp_path / "test"), window=8, transform="level", target="Close"
    )
    loaded = load_data(options)
    assert loaded.scaler.center.shape[0] == 2 and loaded.test.series_names([0]) == ["BBB"]
    batch = loaded.test.select([3])
    np.testing.assert_allclose(loaded.test.to_units([3], batch.targets.numpy()), loaded.test.actual([3]), rtol=1e-6)
    write(tmp_path / "test" / "CCC.csv", table(60, "2021-01-01", seed=6))
    with pytest.raises(DataError, match="'CCC' was not trained on"):
        load_data(options)


def test_test_data_that_are_no_unseen_time_are_reported(tmp_path: Path) -> None:
    data = write(tmp_path / "a.csv", table(400))
    loaded = load_data(DataOptions(data=data, test_data=data, window=8))
    assert any(note.warning and "no unseen time" in note.text for note in loaded.notes)


def test_columns_of_one_side_only_are_left_out_and_named(tmp_path: Path) -> None:
    data = write(tmp_path / "a.csv", table(400))
    series = table(90, "2020-01-01")
    test = write(tmp_path / "b.csv", Table(series.dates, {"Close": series.columns["Close"]}, "b"))
    loaded = load_data(DataOptions(data=data, test_data=test, window=8))
    assert loaded.spec.feature_names == ("Close",)
    assert any("left out: Open, Volume" in message for message in loaded.messages)
    other = write(tmp_path / "c.csv", Table(series.dates, {"Price": series.columns["Close"]}, "c"))
    with pytest.raises(DataError, match="test data need the columns of the data"):
        load_data(DataOptions(data=data, test_data=other, window=8))


def test_samples_and_test_data_do_not_mix(tmp_path: Path) -> None:
    data = write(tmp_path / "a.csv", table(400))
    with pytest.raises(OptionError, match="leave --test-data out"):
        load_data(DataOptions(data="sample:walk", test_data=data))
    with pytest.raises(OptionError, match="leave --test-data out"):
        load_data(DataOptions(data=data, test_data="sample:walk"))


# --- new data for a trained model -------------------------------------------------------------------------------------


def schema_of(data: SeriesData) -> dict:
    return json.loads(json.dumps(data.schema()))


@pytest.mark.parametrize("transform", ["return", "level"])
def test_windows_of_the_same_data_are_the_same_to_the_last_bit(transform: str) -> None:
    series = table(300)
    data = SeriesData.from_tables([series], DataOptions(data="made", window=8, horizon=2, transform=transform))
    new = SeriesData.for_prediction([series], schema_of(data))
    assert new.spec == data.spec
    dates = new.windows.target_dates(np.arange(len(new.windows)))[:, 0].tolist()
    for part in (data.train, data.validation, data.test):
        index = np.arange(len(part))
        found = [dates.index(day) for day in part.target_dates(index)[:, 0].tolist()]
        known, again = part.select(index), new.windows.select(found)
        assert known.inputs.equal(again.inputs) and known.targets.equal(again.targets)
        np.testing.assert_array_equal(new.windows.actual(found), part.actual(index))


def test_the_newest_window_ends_with_the_last_row() -> None:
    series = table(300)
    data = SeriesData.from_tables([series], DataOptions(data="made", window=8, horizon=2))
    new = SeriesData.for_prediction([series], schema_of(data))
    assert len(new.newest) == 1 and new.newest.origin_dates([0])[0] == series.dates[-1]
    batch = next(new.newest.batches(4))
    assert batch.targets.isnan().all() and batch.targets.shape == (1, 2, 1)
    np.testing.assert_array_equal(new.newest.history([0])[0, :, 0], series.columns["Close"][-8:])
    assert new.newest.persistence([0])[0, :, 0].tolist() == [series.columns["Close"][-1]] * 2  # type: ignore[index]


def test_other_spellings_and_further_columns_are_no_matter() -> None:
    series = table(300)
    data = SeriesData.from_tables([series], DataOptions(data="made", window=8))
    renamed = {"volume": series.columns["Volume"], "More": series.columns["Open"], "CLOSE": series.columns["Close"]}
    new = SeriesData.for_prediction(
        [Table(series.dates, renamed | {"open": series.columns["Open"]}, "other")], schema_of(data)
    )
    assert new.windows.select([0]).inputs.equal(data.train.select([0]).inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Volume": None}, "has no 'Volume'"),
        ({"Close": 0.0}, "needs values above 0, but column 'Close'"),
        ({"rows": 8}, "a forecast reads the last 8 returns, but prices has 7"),
    ],
)
def test_what_does_not_fit_is_one_line(change: dict, message: str) -> None:
    data = SeriesData.from_tables([table(300)], DataOptions(data="made", window=8))
    series = table(change.pop("rows", 100))
    columns = {name: values for name, values in series.columns.items() if change.get(name, 1) is not None}
    for name in set(change) & set(columns):
        columns[name] = np.where(np.arange(len(series.dates)) == 5, change[name], columns[name])
    with pytest.raises(DataError, match=message):
        SeriesData.for_prediction([Table(series.dates, columns, "prices")], schema_of(data))
