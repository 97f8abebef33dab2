"""A folder of real, small runs, trained once, and a process that holds the lock of a command."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.cli.common import run_app
from src.cli.train import app

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from src.tracking.run_folder import only_command_on
with only_command_on(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def train(output: Path, name: str, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        options = ("--output", str(output), "--name", name, "--window", "8", "--epochs", "2", "--jobs", "1")
        run_app(app, [*options, *arguments])
    assert ended.value.code == 0


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``first`` with two seeds of a network and a baseline, and ``second`` with one of each."""
    root = tmp_path_factory.mktemp("trained") / "runs"
    models = ("--models", "linear:nlinear", "baseline:naive", "--data", "sample:walk", "--epoch-fraction", "0.1")
    train(root, "first", *models, "--seeds", "2")
    train(root, "second", *models, "--window", "9")
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, ``runs`` in the current folder."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Path("runs")


@pytest.fixture
def holding() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts a process that holds the lock of a command folder as training does."""
    with contextlib.ExitStack() as stack:

        def hold(folder: Path) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", HOLD, os.path.abspath(folder)]
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            return process

        yield hold


@pytest.fixture
def train_on(tmp_path: Path) -> Callable[[Path], Path]:
    """Trains a small run on a file and returns its folder."""

    def run(data: Path) -> Path:
        train(tmp_path / "runs", "on_file", "--models", "linear:nlinear", "--data", str(data))
        return tmp_path / "runs" / "on_file" / "linear_nlinear"

    return run
