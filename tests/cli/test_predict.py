"""Promises of ``predict.py``: what it writes where, and what it refuses."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.cli import predict
from src.cli.common import run_app
from src.cli.train import app as train_app
from src.comparison.outlook_figure import Outlook, draw_outlooks

ROOT = Path(__file__).resolve().parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
COLUMNS = ["origin", "date", "step", "target", "forecast", "naive"]
Call = Callable[..., SimpleNamespace]


def table_of_prices(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close, volume = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows))), rng.integers(900, 999, rows)
    return pd.DataFrame({"Date": pd.date_range("2020-01-01", periods=rows), "Close": close, "Volume": volume})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``prices.csv`` and the runs of one command in ``run``, one of which never ended."""
    folder = tmp_path_factory.mktemp("trained")
    table_of_prices(150).to_csv(folder / "prices.csv", index=False)
    words = "--window 8 --horizon 2 --epochs 2 --jobs 1 --seeds 2 --models linear:dlinear baseline:ridge --name run"
    files = ["--data", str(folder / "prices.csv"), "--output", str(folder)]
    with pytest.raises(SystemExit) as ended:
        run_app(train_app, [*words.split(), *files])
    assert ended.value.code == 0
    unfinished = folder / "run" / "lstm_basic"
    unfinished.mkdir()
    shutil.copy(folder / "run" / "baseline_ridge" / "config.json", unfinished)
    return folder


@pytest.fixture
def call(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command in this process, in a copy of ``trained``."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(predict.app, list(map(str, arguments)), prog_name="predict.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return run


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_forecasts_go_to_a_file(call: Call) -> None:
    ended = call("run/baseline_ridge", "--data", "prices.csv", "--output", "forecast.csv")
    assert ended.code == 0 and ended.out == ""
    assert ended.err.splitlines() == ["data: prices.csv", "wrote forecast.csv"]
    found = read(Path("forecast.csv").read_text())
    assert list(found) == COLUMNS
    assert found["date"].tolist() == ["2020-05-30", "2020-05-31"]
    assert sorted(file.name for file in Path().glob("*")) == ["forecast.csv", "prices.csv", "run"]


def test_parquet_holds_the_same(call: Call) -> None:
    pytest.importorskip("pyarrow")
    assert call("run/baseline_ridge", "--all", "-o", "forecast.parquet").code == 0
    assert call("run/baseline_ridge", "--all", "-o", "forecast.csv").code == 0
    whole, text = pd.read_parquet("forecast.parquet"), pd.read_csv("forecast.csv", parse_dates=["origin", "date"])
    pd.testing.assert_frame_equal(whole, text, check_dtype=False, rtol=1e-7)


def test_csv_alone_on_standard_output(call: Call) -> None:
    ended = call("run/baseline_ridge", "--output", "-", "--plot", "chart.png")
    assert list(read(ended.out)) == COLUMNS and len(read(ended.out)) == 2
    assert Path("chart.png").read_bytes().startswith(PNG)


def test_a_pipe_that_is_closed_early_is_no_error(call: Call, trained: Path) -> None:
    command = f"{sys.executable} {ROOT / 'predict.py'} run/baseline_ridge --output - | true"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert ended.stderr.splitlines() == [f"data: {trained / 'prices.csv'}"]


def test_a_table_to_look_at(call: Call) -> None:
    lines = call("run/linear_dlinear/seed_1").out.splitlines()
    assert lines[0].split() == COLUMNS and len(lines) == 3
    lines = call("run/linear_dlinear/seed_1", "--all").out.splitlines()
    assert len(lines) == 2 + predict.ROWS_SHOWN
    assert lines[-1] == "the last 60 of 282 rows; --output FILE writes all"


def test_a_folder_of_runs_forecasts_with_every_completed_one(call: Call) -> None:
    found = read(call("run", "--output", "-").out)
    assert list(found) == ["model", *COLUMNS]
    expected = ["baseline:ridge", "linear:dlinear seed 0", "linear:dlinear seed 1"]
    assert found["model"].unique().tolist() == expected
    folders = ("baseline_ridge", "linear_dlinear/seed_0", "linear_dlinear/seed_1")
    for model, folder in zip(expected, folders, strict=True):
        rows = found[found["model"] == model].drop(columns="model").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, read(call(f"run/{folder}", "--output", "-").out))


def test_reading_can_be_told(call: Call) -> None:
    text = table_of_prices(60).to_csv(index=False, sep=";", decimal=",")
    Path("new.txt").write_text(text)
    told = call("run/baseline_ridge", "--data", "new.txt", "--separator", ";", "--decimal", "comma", "--output", "-")
    assert told.code == 0, told.err
    assert read(told.out)["naive"].iloc[0] == pytest.approx(table_of_prices(60)["Close"].iloc[-1])


def test_nothing_is_replaced_unless_asked(call: Call) -> None:
    for flag, name in (("--output", "kept.csv"), ("--plot", "kept.png")):
        Path(name).write_text("mine")
        ended = call("run/baseline_ridge", flag, name)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"error: {flag} must be a new file, but {name} exists; use another name, or --overwrite\n"
        assert Path(name).read_text() == "mine"
        assert call("run/baseline_ridge", flag, name, "--overwrite").code == 0
        assert Path(name).read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "no/where.csv"), "--output needs a folder that exists, but there is no no; make it first"),
        (("--output", "forecast.xlsx"), "--output must end in .csv or .parquet, but got forecast.xlsx"),
        (("--plot", "chart.gif"), "--plot must end in .png, but got chart.gif"),
        (("--data", "nothing.csv"), "nothing.csv"),
        (("--decimal", "dot"), "decimal must be one of point, comma, but got 'dot'"),
        (("--outputs", "x.csv"), "there is no option --outputs. Did you mean '--output'?"),
    ],
)
def test_mistakes_are_one_line(call: Call, arguments: tuple[str, ...], message: str) -> None:
    ended = call("run/baseline_ridge", *arguments)
    assert ended.code == 2 and ended.out == ""
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert message in ended.err


def test_a_run_must_be_named(call: Call) -> None:
    assert "RUN" in call().err
    ended = call("run/baseline_rigde")
    assert ended.code == 2 and "Did you mean 'baseline_ridge'?" in ended.err
    ended = call("run/lstm_basic")
    assert ended.code == 2 and "no checkpoint yet (waiting)" in ended.err


def test_a_figure_shows_twelve_series_at_most() -> None:
    dates = np.datetime64("2024-01-01", "ns") + np.arange(12) * np.timedelta64(1, "D")
    many = [Outlook(f"s{i}", dates[:9], np.arange(9.0), dates[9:], {"a:b": np.ones(3)}) for i in range(40)]
    drawn = []
    for count in (1, 12, 40):
        image = draw_outlooks(many[:count], "title", probabilities=count == 1)
        assert image.startswith(PNG)
        drawn.append(int.from_bytes(image[20:24], "big"))  # its height
    assert drawn[0] < drawn[1] == drawn[2]


def test_help_is_quick() -> None:
    code = "import sys, src.cli.predict; print([m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "[]\n", ended.stderr
