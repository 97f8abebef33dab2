"""The promise never to lose work: however a command is ended, resuming it ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comparing import (
    children_of,
    content,
    differences,
    different_files,
    different_steps,
    epochs_done,
    events_of,
    is_running,
    table,
    wait_for,
    workers_of,
)

from src.tracking.run_folder import folder_name

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("gru:residual", "lstm:basic", "baseline:ridge")
EPOCHS = 6
ARGUMENTS = (
    *("--models", *MODELS, "--data", "sample:walk", "--window", 8, "--set", "hidden_size=16", "dropout=0.2"),
    *("--batch-size", 32, "--patience", 20, "--warmup", 1.5, "--epoch-fraction", 0.7, "--lr", 0.02, "--name", "run"),
)
Run = Callable[..., SimpleNamespace]
Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes under /proc")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a command that nobody ended before its time."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, ROOT / "train_models.py", *ARGUMENTS, "--epochs", EPOCHS, "--jobs", 1, "--tensorboard"]
    subprocess.run(list(map(str, command)), cwd=folder, check=True, capture_output=True, timeout=240)
    return folder / "runs" / "run"


def assert_same_results(root: Path, expected: Path) -> None:
    for model in MODELS:
        assert different_files(root / folder_name(model), expected / folder_name(model)) == [], model


def assert_every_step_once(root: Path, expected: Path) -> None:
    for model in MODELS:
        run, other = root / folder_name(model), expected / folder_name(model)
        assert different_steps(run, other) == ([], []), model
        counts, _ = events_of(run)
        epochs = range(EPOCHS) if not model.startswith("baseline") else (0, EPOCHS - 1)
        for tag in ("Loss/train", "Loss/validation"):
            assert sorted(step for name, step in counts if name == tag) == list(epochs)


# --- kill -9 ----------------------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize(("jobs", "targets"), [(1, (0, 5)), (2, (3,))])
def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bits(
    start_command: Start, run_command: Run, undisturbed: Path, tmp_path: Path, jobs: int, targets: tuple[int, ...]
) -> None:
    root, draw, kills = tmp_path / "runs" / "run", random.Random(jobs), 0
    arguments: tuple[Any, ...] = (*ARGUMENTS, "--epochs", EPOCHS, "--tensorboard")
    for target in targets:
        process = start_command(*arguments, "--jobs", jobs)
        wait_for(lambda target=target: (root / "plan.json").exists() and epochs_done(root) >= target, process)  # type: ignore[misc]
        time.sleep(draw.random() * 0.3)
        kills += process.poll() is None
        process.kill()
        process.wait()
        arguments = ("--resume", root)
    assert kills == len(targets), "the command was too quick to be killed"
    ended = run_command("--resume", root, "--jobs", jobs)
    assert ended.code == 0, ended.err
    assert_same_results(root, undisturbed)
    assert_every_step_once(root, undisturbed)


@slow
def test_a_killed_worker_fails_its_run_alone_and_resuming_mends_it(
    start_command: Start, run_command: Run, undisturbed: Path, tmp_path: Path
) -> None:
    root = tmp_path / "runs" / "run"
    process = start_command(*ARGUMENTS, "--epochs", EPOCHS, "--jobs", 2, "--tensorboard")
    wait_for(lambda: epochs_done(root) >= 3, process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "1 of 3 runs did not finish" in out and "signal 9" in out
    assert "Traceback" not in err and f"--resume {root.relative_to(tmp_path)}" in out
    ended = run_command("--resume", root)
    assert ended.code == 0 and "resuming 1 of 3 runs" in ended.out, ended.err
    assert_same_results(root, undisturbed)


# --- Ctrl-C and SIGTERM -----------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize(
    ("number", "jobs", "resumed"),
    [
        (signal.SIGINT, 1, False),
        (signal.SIGINT, 2, False),
        (signal.SIGTERM, 2, True),
    ],
)
def test_an_interrupt_says_how_to_go_on_and_leaves_nobody_behind(
    start_command: Start,
    run_command: Run,
    undisturbed: Path,
    tmp_path: Path,
    number: signal.Signals,
    jobs: int,
    resumed: bool,
) -> None:
    root = tmp_path / "runs" / "run"
    process = start_command(*ARGUMENTS, "--epochs", EPOCHS, "--jobs", jobs, "--tensorboard")
    wait_for(lambda: epochs_done(root) >= 3, process)
    children = children_of(process.pid)
    assert process.poll() is None and bool(children) == (jobs > 1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C reaches parent and workers
    else:
        os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    hints = [line for line in err.splitlines() if "--resume" in line]
    assert [re.sub(r"\S*python\S*", "python", hint) for hint in hints] == [
        "stopped; go on with: python train_models.py --resume runs/run"
    ]
    assert "Traceback" not in out + err
    time.sleep(0.0 if not any(map(is_running, children)) else 2.0)  # what tracks shared resources ends a little later
    assert not any(map(is_running, children)), "workers are left over"
    statuses = [json.loads(file.read_text())["status"] for file in root.glob("*/results.json")]
    assert "interrupted" in statuses and "failed" not in statuses
    if resumed:
        ended = run_command("--resume", root, "--jobs", 1)
        assert ended.code == 0, ended.err
        assert_same_results(root, undisturbed)
        assert_every_step_once(root, undisturbed)


SLOW_MODEL = """
import os, time
from pathlib import Path
from torch import nn
from src import BaseModel, register_model

@register_model('slow:basic', by_default=False)
class Slow(BaseModel):
    '''Sleeps in every step, and a minute in the tenth if a file `stuck` lies beside it.'''
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.layer = nn.Linear(spec.input_shape[0], 1)
        self.steps = 0
    def forward(self, inputs):
        return self.layer(inputs[:, :, 0]).unsqueeze(1)
    def losses(self, batch):
        self.steps += 1
        here = Path(__file__)
        if self.steps == 10:
            here.with_name(f'tenth_{os.getpid()}').touch()
        time.sleep(60.0 if self.steps == 10 and here.with_name('stuck').exists() else 0.05)
        return super().losses(batch)
"""


def start_slowly(start_command: Start, folder: Path, jobs: int) -> tuple[subprocess.Popen[str], Path]:
    """A command in the middle of the first, long epoch of ``jobs`` runs, and its folder."""
    (folder / "slow.py").write_text(SLOW_MODEL)
    options = ("--data", "sample:walk", "--window", 8, "--batch-size", 8, "--name", "run", "--plugin", "slow.py")
    process = start_command("--models", "slow:basic", *options, "--seeds", jobs, "--jobs", jobs, "--epochs", 1)
    wait_for(lambda: len(list(folder.glob("tenth_*"))) == jobs, process)
    assert process.poll() is None
    return process, folder / "runs" / "run" / "slow_basic"


@slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_long_epoch_is_saved_in_its_middle(start_command: Start, tmp_path: Path, jobs: int) -> None:
    process, folder = start_slowly(start_command, tmp_path, jobs)
    os.killpg(process.pid, signal.SIGTERM)  # to the workers too, as a service manager does
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in out + err, err
    assert "finishing the step and saving; once more to leave at once" in err and "go on with: " in err
    files = list(folder.rglob("last.pt"))
    assert len(files) == jobs
    for file in files:
        saved = content(file)
        assert saved["progress"]["epoch"] == 0 and saved["epoch"]["steps"] == saved["progress"]["step"] >= 9
        assert json.loads((file.parents[1] / "results.json").read_text())["status"] == "interrupted"


@slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_second_ctrl_c_leaves_at_once(start_command: Start, tmp_path: Path, jobs: int) -> None:
    (tmp_path / "stuck").touch()
    process, folder = start_slowly(start_command, tmp_path, jobs)
    children = children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None, "the first one waits for the step"
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 130 and "Traceback" not in out + err, err
    assert list(folder.rglob("last.pt")) == []
    time.sleep(0.0 if not any(map(is_running, children)) else 2.0)
    assert not any(map(is_running, children)), "workers are left over"


# --- nothing to do, more to do ----------------------------------------------------------------------------------------


def test_training_on_equals_having_had_so_many_epochs_from_the_start(
    call_command: Run, undisturbed: Path, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    assert call_command(*ARGUMENTS, "--epochs", 2, "--jobs", 1, "--output", tmp_path).code == 0
    plan = json.loads((root / "plan.json").read_text())
    assert {run["training"]["epochs"] for run in plan["runs"]} == {2}
    again = call_command("--resume", root)
    assert again.code == 0 and again.out.startswith("nothing left to do: all 3 runs")
    dry = call_command("--resume", root, "--epochs", EPOCHS, "--dry-run")
    assert dry.code == 0 and "would train 2 runs" in dry.out
    assert json.loads((root / "plan.json").read_text()) == plan, "a dry run changes nothing"

    further = call_command("--resume", root, "--epochs", EPOCHS, "--jobs", 1)
    assert further.code == 0 and "resuming 2 of 3 runs" in further.out, further.err
    for model in MODELS[:2]:
        run, other = root / folder_name(model), undisturbed / folder_name(model)
        assert table(run / "metrics.csv") == table(other / "metrics.csv")
        assert (run / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()
        checkpoints = [content(folder / "checkpoints" / "last.pt") for folder in (run, other)]
        assert differences(*checkpoints) == []
    plan = json.loads((root / "plan.json").read_text())
    assert {run["training"]["epochs"] for run in plan["runs"]} == {EPOCHS}
    assert (root / "leaderboard.csv").read_text().count("\n") == 4


def test_a_finished_folder_is_left_as_it_is(call_command: Run, tmp_path: Path) -> None:
    few = ("--models", "linear:nlinear", "--data", "sample:walk", "--window", 8, "--epochs", 1, "--name", "run")
    assert call_command(*few, "--output", tmp_path, "--tensorboard").code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "linear_nlinear").rglob("*")}
    ended = call_command("--resume", tmp_path / "run")
    assert ended.code == 0 and "nothing left to do: all 1 runs" in ended.out and "linear:nlinear" in ended.out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "linear_nlinear").rglob("*")} == before


def test_a_run_that_stopped_early_goes_on_only_with_more_patience(call_command: Run, tmp_path: Path) -> None:
    root = tmp_path / "run"
    options = ("--models", "lstm:basic", "--data", "sample:walk", "--window", 8, "--lr", 0.5, "--epoch-fraction", 0.1)
    assert call_command(*options, "--patience", 1, "--epochs", 9, "--name", "run", "--output", tmp_path).code == 0
    file = root / "lstm_basic" / "results.json"
    done = json.loads(file.read_text())["training"]
    assert done["reason"] == "no better value for 1 epochs" and done["epochs"] < 9
    assert "nothing left to do" in call_command("--resume", root, "--epochs", 30).out
    assert json.loads(file.read_text())["training"]["epochs"] == done["epochs"]

    patience = 3
    further = call_command("--resume", root, "--patience", patience)
    assert further.code == 0 and "resuming 1 of 1 runs" in further.out
    now = json.loads(file.read_text())["training"]
    assert now["epochs"] > done["epochs"]
    assert now["epochs"] == min(9, now["best_epoch"] + 1 + patience)


def test_a_failed_run_is_tried_again(call_command: Run, tmp_path: Path, plugin_that_waits: Path) -> None:
    root = tmp_path / "run"
    options = ("--data", "sample:walk", "--window", 8, "--epochs", 2, "--jobs", 1, "--plugin", plugin_that_waits)
    failed = call_command(
        "--models", "waiting:basic", "baseline:naive", *options, "--name", "run", "--output", tmp_path
    )
    assert failed.code == 1 and "waiting:basic: RuntimeError: not yet" in failed.out
    results = json.loads((root / "waiting_basic" / "results.json").read_text())
    assert results == {"model": "waiting:basic", "status": "failed", "error": "RuntimeError: not yet"}
    plugin_that_waits.with_name("now").touch()
    ended = call_command("--resume", root)
    assert ended.code == 0 and "resuming 1 of 2 runs" in ended.out, ended.err
    assert json.loads((root / "waiting_basic" / "results.json").read_text())["status"] == "completed"


@pytest.fixture
def plugin_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that fails in its second epoch until a file ``now`` lies beside it."""
    from src import models, registry

    models.load_all()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    file = tmp_path / "waiting_model.py"
    file.write_text(
        "from pathlib import Path\n"
        "from torch import nn\n"
        "from src import BaseModel, register_model\n"
        "@register_model('waiting:basic', by_default=False)\n"
        "class Waiting(BaseModel):\n"
        "    '''Waits for a file.'''\n"
        "    def __init__(self, spec, config):\n"
        "        super().__init__(spec, config)\n"
        "        self.layer = nn.Linear(spec.input_shape[0], 1)\n"
        "        self.epochs = 0\n"
        "    def forward(self, inputs):\n"
        "        return self.layer(inputs[:, :, 0]).unsqueeze(1)\n"
        "    def validation_metrics(self, data):\n"
        "        self.epochs += 1\n"
        "        if self.epochs > 1 and not Path(__file__).with_name('now').exists():\n"
        "            raise RuntimeError('not yet')\n"
        "        return {}\n"
    )
    return file


def test_resuming_refuses_options_that_would_change_the_runs(call_command: Run, tmp_path: Path) -> None:
    for given in (
        ("--lr", "0.1"),
        ("--models", "lstm"),
        ("--set", "hidden_size=3"),
        ("--seeds", "2"),
        ("--tensorboard",),
        ("--plugin", "x.py"),
        ("--window", "9"),
        ("--name", "other"),
    ):
        ended = call_command("--resume", tmp_path, *given)
        assert ended.code == 2 and ended.err.count("\n") == 1
        assert "only --epochs, --patience and where the same" in ended.err and f"but got {given[0]}" in ended.err
