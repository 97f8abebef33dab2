"""A trained run forecasts new data: to the bit as it forecast its test part, anywhere, or with one clear line."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from contract_cases import NAMES, SMALL

from src import models, registry
from src.comparison.evaluate import predict_windows
from src.data.loading import load_data
from src.data.options import DataOptions
from src.errors import DataError, UserError
from src.experiment import cached_data, run
from src.models import create_model
from src.plan import Selection, plan_runs
from src.prediction import forecast, forecast_tables, load_model, load_run, read_new, reading_options, run_folders
from src.training.checkpoint import read_checkpoint, write_checkpoint
from src.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
WINDOW, HORIZON = 16, 3
TRAINED = ("linear:dlinear", "lstm:basic", "baseline:ridge")
TRAINING = TrainingConfig(epochs=2, device="cpu")

PLUGIN = """
from torch import nn
from src import BaseModel, register_model


@register_model("own:flat", by_default=False)
class Flat(BaseModel):
    '''A model of the user's own.'''

    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.layer = nn.Linear(spec.input_shape[0], spec.target_shape[0])

    def forward(self, inputs):
        return self.layer(inputs[:, :, 0]).unsqueeze(2)
"""


WITH_PLUGIN = """
from pathlib import Path
from src.prediction import load_model

try:
    load_model(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
Path(sys.argv[2]).rename(sys.argv[3])
print(load_model(sys.argv[1]).name)
"""


def prices(rows: int, seed: int = 0, level: float = 100.0) -> pd.DataFrame:
    """Business days with three columns."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    dates = pd.date_range("2020-01-01", periods=rows, freq="B")
    return pd.DataFrame({"Date": dates, "Open": close * 1.001, "Close": close, "Volume": rng.integers(900, 999, rows)})


def train(root: Path, names: Sequence[str] = TRAINED, plugins: Sequence[str] = (), **options: Any) -> Path:
    """Real runs below ``root``."""
    data = cached_data(DataOptions(**{"window": WINDOW, "horizon": HORIZON, **options}))
    plans, _ = plan_runs(Selection(names, plugins=plugins), data, TRAINING)
    for plan in plans:
        run({"root": str(root), "plan": plan.to_dict()}, lambda progress: None)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prices, a panel of three series, and runs on both."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("place")
    prices(260).to_csv(folder / "prices.csv", index=False)
    (folder / "panel").mkdir()
    for number, name in enumerate(("AAA", "BBB", "CCC")):
        prices(150 + number, number, 10.0 * (number + 1)).to_csv(folder / "panel" / f"{name}.csv", index=False)
    file, panel = str(folder / "prices.csv"), str(folder / "panel")
    train(folder / "returns", data=file)
    train(folder / "levels", ("linear:dlinear",), data=file, transform="level")
    train(folder / "direction", ("linear:dlinear",), data=file, task="direction")
    train(folder / "panel_levels", ("linear:dlinear",), data=panel, transform="level")
    return folder


def elsewhere(code: str, folder: Path, *arguments: Any) -> str:
    """Run Python in a process of its own and in another folder."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# ---- equal to the bit


FORECAST_ALL = """
from pathlib import Path
import numpy as np
from src.comparison.evaluate import predict_windows
from src.data.series import SeriesData
from src.prediction import load_run, read_new, reading_options

for folder in sorted(Path(sys.argv[1]).glob("*/*")):
    trained = load_run(folder)
    model = trained.model
    for data, part in ((sys.argv[2], "windows"), (sys.argv[3], "newest")):
        tables = read_new(reading_options(trained, data, {}), trained)
        split = getattr(SeriesData.for_prediction(tables, trained.schema), part)
        np.save(folder / f"{part}.npy", predict_windows(model, model.spec, split, np.arange(len(split))))
"""

SHAPES: dict[str, dict[str, Any]] = {
    "returns": {"window": WINDOW, "horizon": 1},
    "levels": {"window": 31, "horizon": 5, "transform": "level", "target": "Close,Open"},
}


def test_a_loaded_model_forecasts_to_the_bit_as_it_did_when_it_was_trained(tmp_path: Path) -> None:
    """Every model; in a fresh process, another folder, a moved run; among all windows and alone at a file's end."""
    torch.set_num_threads(1)
    table = prices(200)
    table.to_csv(tmp_path / "prices.csv", index=False)
    table[:-9].to_csv(tmp_path / "shorter.csv", index=False)
    expected = {}
    for shape, options in SHAPES.items():
        data = load_data(DataOptions(data=str(tmp_path / "prices.csv"), **options))
        for name in NAMES:
            known = registry.entry(name).model_class.Config.names()
            model = create_model(name, data.spec, {option: value for option, value in SMALL.items() if option in known})
            folder = Path(shape, name.replace(":", "_"))
            model.fit(
                data, TrainingConfig(epochs=1, epoch_fraction=0.3, device="cpu"), run_dir=tmp_path / "trained" / folder
            )
            expected[folder] = predict_windows(model, data.spec, data.test, np.arange(len(data.test)))
    (tmp_path / "far" / "away").mkdir(parents=True)
    moved = (tmp_path / "trained").rename(tmp_path / "far" / "moved")
    for folder in expected:
        (moved / folder / "config.json").write_text("{}")
    elsewhere(FORECAST_ALL, tmp_path / "far" / "away", moved, tmp_path / "prices.csv", "../../shorter.csv")
    for folder, test in expected.items():
        every, newest = np.load(moved / folder / "windows.npy"), np.load(moved / folder / "newest.npy")
        assert every[-len(test) :].tobytes() == test.tobytes(), folder
        after = len(test) - 1 - 9 + SHAPES[folder.parts[0]]["horizon"]  # the test window whose history ends there
        assert newest.tobytes() == test[after : after + 1].tobytes(), folder
        assert np.isfinite(test).all() and len(test) > 20 and test.std() > 0


AS_TEXT = """
from pathlib import Path
from src.comparison.evaluate import as_csv
from src.prediction import forecast, load_run

for folder, data in zip(sys.argv[1::2], sys.argv[2::2]):
    Path(folder, "all.csv").write_text(as_csv(forecast(load_run(folder), data, every_window=True)))
"""


def test_all_windows_are_written_as_in_predictions_csv(place: Path, tmp_path: Path) -> None:
    moved = {}
    for kind in ("returns", "levels", "direction", "panel_levels"):
        data = place / ("panel" if kind.startswith("panel") else "prices.csv")
        for source in run_folders(place / kind):
            moved[shutil.copytree(source, tmp_path / kind / source.name)] = data
    elsewhere(AS_TEXT, tmp_path, *(word for pair in moved.items() for word in pair))
    for folder, data in moved.items():
        header, *rows = (folder / "all.csv").read_text().splitlines()
        known_header, *known = (folder / "predictions.csv").read_text().splitlines()
        assert header == known_header
        assert len(known) > 50 and set(known) <= set(rows)
        newest = [row for row in rows if ",," in row]
        assert len(newest) == HORIZON * (3 if data.name == "panel" else 1)
        assert newest == rows[-len(newest) :]


# ---- what a forecast says


def test_the_next_horizon_in_prices(place: Path) -> None:
    table = prices(260)
    for folder in run_folders(place / "returns"):
        found = forecast(load_run(folder), place / "prices.csv")
        assert list(found) == ["origin", "date", "step", "target", "forecast", "naive"]
        assert found["origin"].tolist() == [table["Date"].iloc[-1]] * HORIZON
        assert found["date"].tolist() == list(pd.date_range(table["Date"].iloc[-1], periods=4, freq="B")[1:])
        assert found["step"].tolist() == [1, 2, 3]
        assert set(found["target"]) == {"Close"}
        np.testing.assert_allclose(found["naive"], table["Close"].iloc[-1])
        np.testing.assert_allclose(found["forecast"], found["naive"], rtol=0.2)


def test_probabilities_of_up(place: Path) -> None:
    found = forecast(load_run(place / "direction" / "linear_dlinear"), every_window=True)
    assert list(found) == ["origin", "date", "step", "target", "up", "probability"]
    assert found["probability"].between(0, 1).all()
    assert found["up"].isna().sum() == HORIZON
    close = prices(260).set_index("Date")["Close"]
    known = found[found["up"].notna()]
    assert (known["up"] == [(close.diff() > 0).loc[date] for date in known["date"]]).all()


def test_series_of_a_panel_are_found_by_name(place: Path, tmp_path: Path) -> None:
    trained = load_run(place / "panel_levels" / "linear_dlinear")
    found = forecast(trained, place / "panel")
    assert found["series"].tolist() == [name for name in ("AAA", "BBB", "CCC") for _ in range(HORIZON)]
    np.testing.assert_allclose(found["forecast"] / found["naive"], 1, atol=0.5)
    (tmp_path / "new").mkdir()
    for name in ("CCC", "BBB"):
        shutil.copy(place / "panel" / f"{name}.csv", tmp_path / "new")
    fewer = forecast(trained, tmp_path / "new")
    pd.testing.assert_frame_equal(fewer, found[found["series"] != "AAA"].reset_index(drop=True), check_exact=True)
    shutil.copy(place / "panel" / "AAA.csv", tmp_path / "new" / "AAB.csv")
    with pytest.raises(DataError, match=r"'AAB' was not trained on.*Did you mean 'AAA'"):
        forecast(trained, tmp_path / "new")


def test_only_the_columns_of_the_model_count(place: Path, tmp_path: Path) -> None:
    trained = load_run(place / "returns" / "linear_dlinear")
    table = prices(260).rename(columns={"Close": "CLOSE"})
    table["More"] = range(260)
    table[["More", "CLOSE", "Date", "Volume", "Open"]].to_csv(tmp_path / "other.csv", index=False)
    expected = forecast(trained, place / "prices.csv")
    pd.testing.assert_frame_equal(forecast(trained, tmp_path / "other.csv"), expected, check_exact=True)


def test_files_are_read_as_in_training_unless_told_otherwise(place: Path, tmp_path: Path) -> None:
    days = prices(120)
    text = days.assign(Date=days["Date"].dt.strftime("%m/%d/%Y")).to_csv(index=False)
    (tmp_path / "first.csv").write_text(text)
    train(tmp_path, ("linear:dlinear",), data=str(tmp_path / "first.csv"), date_format="month-first")
    trained = load_run(tmp_path / "linear_dlinear")
    ambiguous = prices(20)
    for separator, pattern, more in (("/", "%m/%d/%Y", {}), ("/", "%d/%m/%Y", {"date_format": "day-first"})):
        dates = ambiguous["Date"].dt.strftime(pattern)
        ambiguous.assign(Date=dates).to_csv(tmp_path / "new.csv", index=False)
        found = forecast(trained, tmp_path / "new.csv", **more)
        assert set(found["origin"]) == {ambiguous["Date"].iloc[-1]}, separator
    options = reading_options(trained, "sqlite:///prices.db", {"query": "select 1"})
    assert (options.query, options.date_format) == ("select 1", "month-first")


def test_a_query_belongs_to_its_database(place: Path) -> None:
    trained = load_run(place / "returns" / "linear_dlinear")
    trained.schema["options"]["query"] = "select * from prices"
    assert reading_options(trained, "new.csv", {}).query is None
    trained.schema["options"]["data"] = "-"
    with pytest.raises(UserError, match="standard input and are gone; name data with --data"):
        reading_options(trained, None, {})


def test_samples_can_be_forecast(tmp_path: Path) -> None:
    train(tmp_path, ("linear:dlinear",), data="sample:walk", window=8, horizon=1)
    found = forecast(load_run(tmp_path / "linear_dlinear"))
    assert len(found) == 1 and found["date"].iloc[0] > found["origin"].iloc[0]


# ---- what is suspicious


def warnings_of(place: Path, run_name: str, table: pd.DataFrame, file: Path) -> list[str]:
    table.to_csv(file, index=False)
    trained = load_run(place / run_name / "linear_dlinear")
    found = forecast_tables(trained, read_new(reading_options(trained, str(file), {}), trained))
    return [f"{note.topic}: {note.text}" for note in found.notes if note.warning]


def test_other_units_and_old_files_are_reported(place: Path, tmp_path: Path) -> None:
    table, file = prices(260), tmp_path / "new.csv"
    assert warnings_of(place, "levels", table, file) == []
    (far,) = warnings_of(place, "levels", table.assign(Close=table["Close"] * 1000), file)
    assert far.startswith("Close: values are") and "other units" in far
    assert warnings_of(place, "returns", table.assign(Close=table["Close"] * 1000), file) == []
    wrong = table["Close"].where(table.index != 255, 300.0)
    cells = warnings_of(place, "levels", table.assign(Close=wrong), file)
    assert any(text.startswith("Close: a value is") and "wrong cell" in text for text in cells)
    (old,) = warnings_of(place, "returns", table[:100], file)
    assert "the newest row is of 2020-05-19, but the run has seen data up to 2020-12-29" in old


# ---- what cannot be


def test_new_data_without_what_the_model_needs(place: Path, tmp_path: Path) -> None:
    trained, file, table = load_run(place / "returns" / "linear_dlinear"), tmp_path / "new.csv", prices(60)
    table.rename(columns={"Volume": "Volumen"}).to_csv(file, index=False)
    with pytest.raises(DataError, match=r"'new' has no 'Volume'.*Did you mean 'Volumen'.*Columns: Open, Close"):
        forecast(trained, file)
    table[:WINDOW].to_csv(file, index=False)
    with pytest.raises(DataError, match=f"reads the last {WINDOW} returns, but new has {WINDOW - 1}"):
        forecast(trained, file)
    table[: WINDOW + 1].to_csv(file, index=False)
    assert len(forecast(trained, file, every_window=True)) == HORIZON
    table.assign(Close=table["Close"].where(table.index != 30, -1.0)).to_csv(file, index=False)
    with pytest.raises(DataError, match="'Close' of new is -1"):
        forecast(trained, file)


def test_what_is_no_run(place: Path, tmp_path: Path) -> None:
    for path, message in (
        (place / "returns" / "lstm_basik", r"there is no run .*lstm_basik\. Did you mean 'lstm_basic'\?"),
        (place / "nothing" / "at_all", "there is no run"),
        (place / "returns", "it holds 3 runs, name one: "),
        (tmp_path, "a run is a folder with a config.json"),
        (place / "prices.csv", "or a checkpoint file .pt, but got"),
    ):
        with pytest.raises(UserError, match=message) as error:
            load_model(path)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="holds no run"):
        run_folders(tmp_path)


def test_a_run_without_a_sound_checkpoint(place: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(place / "returns" / "lstm_basic", tmp_path / "lstm_basic")
    best = folder / "checkpoints" / "best.pt"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 1
    best.write_bytes(content)
    with pytest.raises(UserError, match=r"best\.pt is damaged"):
        load_model(folder)
    best.unlink()
    (folder / "results.json").write_text(json.dumps({"status": "failed", "error": "the loss is not finite"}))
    with pytest.raises(UserError, match=r"no checkpoint yet \(the loss is not finite\).*--resume"):
        load_model(folder)
    (folder / "results.json").unlink()
    with pytest.raises(UserError, match=r"no checkpoint yet \(waiting\)"):
        load_model(folder)
    with pytest.raises(UserError, match="holds 1 runs, none of them completed"):
        run_folders(tmp_path)


def test_a_checkpoint_that_does_not_fit(place: Path, tmp_path: Path) -> None:
    known = read_checkpoint(place / "returns" / "lstm_basic" / "checkpoints" / "best.pt")
    file = tmp_path / "model.pt"
    write_checkpoint(file, {name: value for name, value in known.items() if name != "data"})
    assert load_model(file).name == "lstm:basic"
    with pytest.raises(UserError, match="says how its data were read"):
        load_run(file)
    weights = {name: torch.zeros(7) if name.endswith("bias") else value for name, value in known["model"].items()}
    write_checkpoint(file, {**known, "model": weights})
    with pytest.raises(UserError, match=r"must fit the code of lstm:basic, but do not \(size mismatch") as error:
        load_model(file)
    assert "\n" not in str(error.value)


def test_a_model_from_a_plugin(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.load_all()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    plugin = tmp_path / "own_models.py"
    plugin.write_text(PLUGIN)
    train(tmp_path / "runs", ("own:flat",), (str(plugin),), data=str(place / "prices.csv"))
    folder = tmp_path / "runs" / "own_flat"
    assert len(forecast(load_run(folder), place / "prices.csv")) == HORIZON
    plugin.rename(tmp_path / "kept.py")
    assert load_model(folder).name == "own:flat", "it is known in this process already"
    gone, found = elsewhere(WITH_PLUGIN, tmp_path, folder, tmp_path / "kept.py", plugin).splitlines()
    assert gone.startswith(f"UserError {folder}") and f"which the plugin file {plugin} defines, but that" in gone
    assert found == "own:flat"


def test_a_checkpoint_file_is_as_good_as_its_run(place: Path) -> None:
    folder = place / "returns" / "lstm_basic"
    by_file, by_folder = load_run(folder / "checkpoints" / "best.pt"), load_run(folder)
    assert by_file.folder == by_folder.folder == folder and by_file.config == by_folder.config != {}
    text = io.StringIO()
    forecast(by_file).to_csv(text)
    assert text.getvalue() == forecast(by_folder).to_csv()
