"""``manage_runs.py export`` and ``layout``: runs and foreign folders, and one line for every mistake."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from src.cli import manage
from src.cli.common import run_app
from src.tracking.event_reader import event_folders, read_run
from src.tracking.event_writer import EventWriter

Manage = Callable[..., SimpleNamespace]
LAYOUT = {"category": [{"title": "Loss", "children": [{"title": "both", "children": ["Loss/train", "Loss/none"]}]}]}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manage:
    """Runs the command in this process, in an empty folder; the answer has ``code``, ``out`` and ``err``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: Any) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(manage.app, list(map(str, arguments)), prog_name="manage_runs.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of one command with events and a table of epochs."""
    root = tmp_path / "runs"
    for number, name in enumerate(("lstm_basic", "gru_residual")):
        folder = root / "20250110_143022" / name
        with EventWriter(folder) as writer:
            for epoch in range(5):
                writer.add_values({"Loss/train": epoch + number, "Loss/validation": epoch - number}, epoch)
            writer.add_text("Model/summary", "a table")
            writer.add_histogram("Weights/x", torch.arange(5.0), 0)
        (folder / "config.json").write_text(json.dumps({"model": name}))
        (folder / "metrics.csv").write_text("epoch,train_loss\n" + "".join(f"{e},{e + number}\n" for e in range(5)))
    (root / "20250110_143022" / "plan.json").write_text(json.dumps({"version": 1, "command": [], "runs": []}))
    return root


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The log folder of another program, with an empty folder and a file that ends within a record."""
    logdir = tmp_path / "foreign" / "logs"
    for name in ("a", "b"):
        with SummaryWriter(str(logdir / name)) as writer:
            for step in range(3):
                writer.add_scalar("train/loss", step, step)
    (logdir / "empty").mkdir()
    ((path,),) = event_folders(logdir / "b").values()
    os.truncate(path, path.stat().st_size - 5)
    return logdir


def test_all_runs_by_default(call: Manage, runs: Path) -> None:
    ended = call("export")
    assert ended.code == 0, ended.err
    assert "exported 2 runs, 2 tags, 20 points to 'export'" in ended.out
    assert "left out: 2 histograms" in ended.out
    scalars = pd.read_csv("export/scalars.csv")
    assert sorted(set(scalars.run)) == ["20250110_143022/gru_residual", "20250110_143022/lstm_basic"]
    assert len(pd.read_csv("export/epochs.csv")) == 10
    text = Path("export/texts/20250110_143022_lstm_basic.md").read_text()
    assert text == "# 20250110_143022/lstm_basic\n\n## Model/summary/text_summary, step 0\n\na table\n"
    assert sorted(path.name for path in Path().iterdir()) == ["export", "runs"]


def test_one_run_some_tags_wide_and_parquet(call: Manage, runs: Path) -> None:
    arguments = ("--tags", "Loss/train", "*validation", "--wide", "--format", "parquet", "-o", "out/deep")
    ended = call("export", "20250110_143022/lstm_basic", *arguments)
    assert ended.code == 0, ended.err
    frame = pd.read_parquet("out/deep/scalars_wide.parquet")
    assert list(frame.columns) == ["run", "step", "Loss/train", "Loss/validation"] and len(frame) == 5
    assert [path.name for path in Path("out/deep").iterdir()] == ["scalars_wide.parquet"]


def test_any_log_folder_of_any_program(call: Manage, foreign: Path) -> None:
    ended = call("export", foreign, "--figures", "svg", "--smoothing", "0.5")
    assert ended.code == 0, ended.err
    scalars = pd.read_csv("export/scalars.csv")
    assert scalars.run.tolist() == ["a"] * 3 + ["b"] * 2 and scalars.value.tolist() == [0, 1, 2, 0, 1]
    assert "b: events.out" in ended.out and "the last record is not whole" in ended.out
    assert [path.name for path in Path("export/figures").iterdir()] == ["train_loss.svg"]


def test_runs_of_two_folders_are_told_apart(call: Manage, runs: Path, foreign: Path) -> None:
    ended = call("export", "20250110_143022", foreign)
    assert ended.code == 0, ended.err
    assert set(pd.read_csv("export/scalars.csv").run) == {
        "runs/20250110_143022/lstm_basic",
        "runs/20250110_143022/gru_residual",
        "logs/a",
        "logs/b",
    }


def test_the_same_run_twice_is_exported_once(call: Manage, runs: Path) -> None:
    ended = call("export", "20250110_143022", "runs/20250110_143022/lstm_basic", "runs")
    assert "exported 2 runs, 2 tags, 20 points" in ended.out


def test_a_folder_with_something_in_it_is_left_alone(call: Manage, runs: Path) -> None:
    Path("export").mkdir()
    Path("export/mine.txt").touch()
    ended = call("export")
    assert ended.code == 2 and "there is something in 'export'" in ended.err and "--overwrite" in ended.err
    assert call("export", "--overwrite").code == 0
    assert Path("export/mine.txt").exists() and Path("export/scalars.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("20250110_143023",), "Did you mean '20250110_143022'?"),
        (("nowhere",), "there is no run 'nowhere'"),
        (("other",), "'other' is neither a run nor a folder with event files"),
        (("--root", "nothing"), "there is no folder 'nothing'"),
        (("nowhere", "--root", "nothing"), "there is no run or folder 'nowhere'"),
        (("--root", "other"), "there are none in 'other'"),
        (("--tags", "Loss/trian"), "no tag fits 'Loss/trian', of 3 in these runs. Did you mean 'Loss/train'?"),
        (("--format", "xlsx"), "--format must be one of csv, parquet"),
        (("--figures", "gif"), "--figures must be one of png, svg, pdf"),
        (("--smoothing", "1"), "--smoothing must be at least 0 and less than 1"),
        (("-o", "file"), "'file' is a file"),
        (("-o", "file/below"), "the folder 'file/below' cannot be made"),
        (("--tag",), "Did you mean '--tags'?"),
    ],
)
def test_every_mistake_is_one_line_and_leaves_nothing(
    call: Manage, runs: Path, arguments: tuple[str, ...], said: str
) -> None:
    Path("other").mkdir()
    Path("file").touch()
    ended = call("export", *arguments)
    assert ended.code == 2 and said in ended.err, ended.out + ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["file", "other", "runs"]


def test_nothing_to_export(call: Manage, tmp_path: Path) -> None:
    EventWriter(tmp_path / "log").close()
    ended = call("export", "log")
    assert ended.code == 2 and "there is nothing to export" in ended.err and not Path("export").exists()


# ---- layout ----


def layouts(folder: Path) -> int:
    found = [read_run(files).left_out["dashboard layouts"] for files in event_folders(folder).values()]
    return sum(found)


def test_a_layout_goes_into_every_run_of_a_command(call: Manage, runs: Path) -> None:
    Path("layout.json").write_text(json.dumps(LAYOUT))
    ended = call("layout", "layout.json", "20250110_143022")
    assert ended.code == 0, ended.err
    assert "1 category with 1 chart" in ended.out and "2 runs" in ended.out
    assert "without a curve so far, 1 of 2 tags: Loss/none" in ended.out
    assert [layouts(folder) for folder in sorted(runs.glob("*/*_*"))] == [1, 1]


def test_a_layout_goes_once_into_a_foreign_folder(call: Manage, foreign: Path) -> None:
    Path("layout.json").write_text(json.dumps(LAYOUT))
    assert call("layout", "layout.json", foreign).code == 0
    assert layouts(foreign) == 1 and len(list(foreign.glob("events.out.tfevents.*"))) == 1


def test_a_run_in_training_gets_no_layout(call: Manage, runs: Path) -> None:
    Path("layout.json").write_text(json.dumps(LAYOUT))
    with open(runs / "20250110_143022" / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = call("layout", "layout.json", "20250110_143022/lstm_basic")
    assert ended.code == 2 and "not being trained" in ended.err and not layouts(runs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.json", "20250110_143022"), "there is no file none.json"),
        (("bad.json", "20250110_143022"), 'a list "category"'),
        (("layout.json", "nothing"), "there is no run 'nothing'"),
        (("layout.json",), "RUN|LOGDIR"),
    ],
)
def test_mistakes_with_layouts_are_one_line(call: Manage, runs: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("layout.json").write_text(json.dumps(LAYOUT))
    Path("bad.json").write_text("{}")
    ended = call("layout", *arguments)
    assert ended.code == 2 and said in ended.err and ended.err.count("\n") == 1, ended.out + ended.err
    assert not layouts(runs)
