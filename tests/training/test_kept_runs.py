"""Run folders that are damaged, moved or held by others, and changed data: right or refused, never mixed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comparing import content, different_files, different_steps, table

from src.data.series import SeriesData
from src.models import create_model
from src.tracking.run_folder import only_command_on
from src.training.checkpoint import previous_of
from src.training.config import TrainingConfig
from src.training.loop import EpochReport, Observer
from src.training.observers import EpochProgress

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., SimpleNamespace]
EPOCHS = 4
SMALL = ("--data", "sample:walk", "--window", 8, "--epoch-fraction", 0.2, "--jobs", 1, "--name", "run")
ONE = ("--models", "linear:dlinear", *SMALL, "--epochs", EPOCHS, "--lr", 0.01, "--tensorboard")


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a command that had no trouble."""
    from src.cli.common import run_app
    from src.cli.train import app

    folder = tmp_path_factory.mktemp("complete")
    with pytest.raises(SystemExit) as ended:
        run_app(app, list(map(str, (*ONE, "--output", folder))), prog_name="train_models.py")
    assert ended.value.code == 0
    return folder / "run"


class Killed(BaseException):
    """As good as a kill: nobody catches it."""


@pytest.fixture
def stopped(complete: Path, tmp_path: Path) -> Path:
    """The same as a kill leaves it that comes between the events of the last epoch and its checkpoint."""
    from src import experiment

    def report(progress: EpochProgress) -> None:
        if progress.epoch == EPOCHS - 1:
            raise Killed

    root = tmp_path / "run"
    root.mkdir()
    shutil.copy(complete / "plan.json", root)
    (plan,) = json.loads((root / "plan.json").read_text())["runs"]
    with pytest.raises(Killed):
        experiment.run({"root": str(root), "plan": plan}, report)
    (root / "linear_dlinear" / "results.json").unlink()
    return root


def last_of(root: Path) -> Path:
    return root / "linear_dlinear" / "checkpoints" / "last.pt"


def best_of(root: Path) -> Path:
    return last_of(root).with_name("best.pt")


def log_of(root: Path) -> str:
    return (root / "linear_dlinear" / "train.log").read_text()


def warnings_of(root: Path) -> list[str]:
    return [line.partition(" warning: ")[2] for line in log_of(root).splitlines() if " warning: " in line]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-700])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    place = data.index(next(iter(content(file)["model"].values())).numpy().tobytes())
    data[place + 5] ^= 16
    file.write_bytes(data)


def assert_equal(root: Path, complete: Path) -> None:
    for path in root.rglob("*.damaged"):
        path.unlink()
    run, other = root / "linear_dlinear", complete / "linear_dlinear"
    assert different_files(run, other) == [] and different_steps(run, other) == ([], [])
    assert [int(row["epoch"]) for row in table(run / "metrics.csv")] == list(range(EPOCHS))


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_checkpoint_is_named_in_the_log_and_the_one_before_is_used(
    call_command: Run, stopped: Path, complete: Path, damage: Callable[[Path], None]
) -> None:
    damage(last_of(stopped))
    ended = call_command("--resume", stopped, "--jobs", 1)
    assert ended.code == 0, ended.err
    folder = last_of(stopped).parent
    assert warnings_of(stopped) == [
        f"last.pt in {folder} damaged (checksums do not fit); the checkpoint before it is used"
    ]
    assert warnings_of(stopped)[0] in ended.err
    assert "epoch 2 " in log_of(stopped).partition("resumed: ")[2], "the third epoch is done again"
    assert_equal(stopped, complete)


def test_a_damaged_checkpoint_never_replaces_the_sound_one_before_it(walk: SeriesData, tmp_path: Path) -> None:
    class Kill(Observer):
        def on_epoch_end(self, report: EpochReport) -> None:
            if report.epoch == 2:
                raise Killed

    config = TrainingConfig(epochs=3, device="cpu", epoch_fraction=0.1)
    create_model("linear:nlinear", walk.spec).fit(walk, config, run_dir=tmp_path)
    last = tmp_path / "checkpoints" / "last.pt"
    truncate(last)
    with pytest.raises(Killed):  # before anything is written
        create_model("linear:nlinear", walk.spec).fit(walk, config, run_dir=tmp_path, resume=True, observers=[Kill()])
    assert content(previous_of(last))["progress"]["epoch"] == 2 and not last.exists()


def test_two_damaged_checkpoints_are_one_line_and_a_new_start(call_command: Run, stopped: Path, complete: Path) -> None:
    truncate(last_of(stopped))
    flip(previous_of(last_of(stopped)))
    ended = call_command("--resume", stopped, "--jobs", 1)
    assert ended.code == 0, ended.err
    folder = last_of(stopped).parent
    line = f"last.pt and last.pt.previous in {folder} damaged (checksums do not fit); the run starts anew"
    assert warnings_of(stopped) == [line] and "Traceback" not in ended.err
    assert_equal(stopped, complete)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_without_the_best_weights_a_run_starts_anew(
    call_command: Run, stopped: Path, complete: Path, damage: Callable[[Path], None]
) -> None:
    damage(best_of(stopped))
    ended = call_command("--resume", stopped, "--jobs", 1)
    assert ended.code == 0, ended.err
    (line,) = warnings_of(stopped)
    assert line.startswith(str(best_of(stopped))) and line.endswith("the run starts anew")
    assert_equal(stopped, complete)


@pytest.mark.parametrize("moment", ["new written", "old moved"])
def test_killed_between_the_steps_of_a_checkpoint_write(
    call_command: Run, stopped: Path, complete: Path, moment: str
) -> None:
    last = last_of(stopped)
    if moment == "new written":  # ... under its temporary name, and the two others are as before
        shutil.copy(last, last.with_name("last.pt.new"))
        os.replace(previous_of(last), last)
    else:
        os.replace(last, last.with_name("last.pt.new"))
    ended = call_command("--resume", stopped, "--jobs", 1)
    assert ended.code == 0, ended.err
    assert warnings_of(stopped) == []
    assert_equal(stopped, complete)


def test_a_checkpoint_of_a_newer_version_is_refused_and_kept(call_command: Run, stopped: Path) -> None:
    torch.save(content(last_of(stopped)) | {"format": 99}, last_of(stopped))
    before = last_of(stopped).read_bytes()
    ended = call_command("--resume", stopped, "--jobs", 1)
    assert ended.code == 1 and "was written by a newer version (format 99); update trainboard" in ended.out
    assert last_of(stopped).read_bytes() == before


def test_another_version_of_torch_is_allowed_with_a_note(call_command: Run, stopped: Path, complete: Path) -> None:
    torch.save(content(last_of(stopped)) | {"torch": "1.0"}, last_of(stopped))
    assert call_command("--resume", stopped, "--jobs", 1).code == 0
    assert warnings_of(stopped) == [
        f"resumed with torch {torch.__version__}, begun with torch 1.0: results may differ in the last digits"
    ]


def test_both_checkpoints_hold_the_schema_of_the_data(walk: SeriesData, tmp_path: Path) -> None:
    schema = {"columns": ["Close"], "scale": [0.5], "options": {"window": 8}}

    class Described:
        def __getattr__(self, name: str) -> Any:
            return getattr(walk, name)

        def schema(self) -> dict[str, Any]:
            return schema

    model = create_model("linear:nlinear", walk.spec)
    model.fit(Described(), TrainingConfig(epochs=1, device="cpu", epoch_fraction=0.1), run_dir=tmp_path)
    for name in ("best.pt", "last.pt"):
        assert content(tmp_path / "checkpoints" / name)["data"] == schema
    assert type(model).load(tmp_path / "checkpoints" / "best.pt").spec == walk.spec


# --- moved, changed, held by others -----------------------------------------------------------------------------------


def test_a_folder_moved_elsewhere_is_resumed_there(
    call_command: Run, stopped: Path, complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "another" / "place"
    other.parent.mkdir()
    shutil.move(stopped, other)
    monkeypatch.chdir(other.parent)
    assert call_command("--resume", "place", "--jobs", 1).code == 0
    assert_equal(other, complete)


def write_prices(file: Path, factor: float = 1.0) -> None:
    rows = [f"2020-{1 + n // 28:02d}-{1 + n % 28:02d},{100 + factor * ((n * 37) % 23):.2f}" for n in range(300)]
    file.write_text("Date,Close\n" + "\n".join(rows) + "\n")


@pytest.fixture
def with_prices(call_command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two runs on a file, of which one is complete and the other waits."""
    monkeypatch.chdir(tmp_path)
    write_prices(tmp_path / "prices.csv")
    options = ("--data", "prices.csv", "--window", 8, "--epochs", 2, "--jobs", 1, "--name", "run", "--output", tmp_path)
    assert call_command("--models", "linear:nlinear", "baseline:naive", *options).code == 0
    (tmp_path / "run" / "baseline_naive" / "results.json").unlink()
    return tmp_path / "run"


def test_data_that_have_changed_are_refused_in_one_line(
    call_command: Run, with_prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src import experiment

    monkeypatch.setattr(experiment, "_data", {})  # a process that has read a file does not read it again
    write_prices(with_prices.parent / "prices.csv", factor=1.01)
    ended = call_command("--resume", with_prices, "--jobs", 1)
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert "prices.csv has changed since (other values); bring the old data back, or start a new run" in ended.err
    assert not (with_prices / "baseline_naive" / "results.json").exists()
    write_prices(with_prices.parent / "prices.csv")
    monkeypatch.setattr(experiment, "_data", {})
    assert call_command("--resume", with_prices, "--jobs", 1).code == 0


def test_from_another_place_a_file_is_found_or_the_resume_refused(
    call_command: Run, with_prices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src import experiment

    monkeypatch.setattr(experiment, "_data", {})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_prices(elsewhere / "prices.csv", factor=2.0)  # of the same name, not the same
    monkeypatch.chdir(elsewhere)
    ended = call_command("--resume", with_prices, "--jobs", 1)
    assert (ended.code == 0 and "resuming 1 of 2" in ended.out) or (ended.code == 2 and ended.err.count("\n") == 1)


def test_a_second_command_on_the_same_folder_is_refused_in_one_line(call_command: Run, stopped: Path) -> None:
    with only_command_on(stopped):
        ended = call_command("--resume", stopped, "--epochs", 9)
    assert ended.code == 2 and ended.err.count("\n") == 1, ended.err
    assert "only one command may train in a run folder at a time" in ended.err
    assert '"epochs": 9' not in (stopped / "plan.json").read_text()


def test_a_resumed_run_waits_for_a_worker_that_outlives_its_command(
    call_command: Run, stopped: Path, complete: Path, tmp_path: Path
) -> None:
    folder = stopped / "linear_dlinear"
    worker = "from pathlib import Path; from src.tracking.run_folder import only_command_on; import time\n"
    worker += f"with only_command_on(Path({str(folder)!r})): print('held', flush=True); time.sleep(3)\n"
    worker += "print(time.time(), flush=True)"
    process = subprocess.Popen([sys.executable, "-c", worker], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    assert call_command("--resume", stopped, "--jobs", 1).code == 0
    left = float(process.communicate()[0])
    assert (folder / "config.json").stat().st_mtime >= left - 0.1, "nothing is touched before"
    assert_equal(stopped, complete)
