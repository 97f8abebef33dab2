"""Promises of help and progress: every option is named, nothing heavy is loaded, a terminal is never broken."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from src.cli.progress import ProgressPrinter
from src.data.options import DataOptions
from src.fanout import Outcome
from src.training.config import TrainingConfig
from src.training.observers import EpochProgress

ROOT = Path(__file__).resolve().parents[2]


def test_help_names_every_option_and_loads_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from src.cli.common import run_app\n"
        "from src.cli.train import app\n"
        "try:\n"
        "    run_app(app, ['--help'], prog_name='train_models.py')\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'matplotlib', 'tensorboard', 'scipy'} & set(sys.modules)\n"
        "    print('heavy:', *sorted(heavy), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    assert ended.returncode == 0 and ended.stderr == "heavy:\n", ended.stderr
    shown = re.sub(r"\s+", "", ended.stdout)  # however the lines are broken
    for options_class in (DataOptions, TrainingConfig):
        for field in dataclasses.fields(options_class):
            assert f"--{field.name.replace('_', '-')}" in shown
            assert field.metadata["help"].replace(" ", "") in shown
            for choice in field.metadata["choices"] or ():
                assert choice in shown
    for default in (
        "[default: 50]",
        "[default: 0.001]",
        "[default: 96]",
        "[default: 0.7,0.15,0.15]",
        "[default: plateau]",
    ):
        assert default.replace(" ", "") in shown
    for flag in ("--models", "--set", "--resume", "--config", "--plugin", "--dry-run", "--list", "--jobs", "--seeds"):
        assert flag in shown


def progress(epoch: int, epochs: int = 20) -> EpochProgress:
    return EpochProgress(epoch, epochs, 0.123456789, 12345.6789, 0.000123456, True, 0.01)


def outcome(key: str, **values: Any) -> Outcome:
    training = {"best_validation_loss": 0.5, "best_epoch": 3, "epochs": 20, "seconds": 1.25}
    return Outcome(key, **{"status": "done", "result": {"training": training}, **values})


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[tuple[Any, Callable[[], str]]]:
    """A stream into a pseudo-terminal of that width, and what has arrived so far."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.set_blocking(master, False)
    arrived: list[bytes] = []

    def so_far() -> str:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(master, 65536):
                arrived.append(chunk)
        return b"".join(arrived).decode()

    with open(slave, "w", encoding="utf-8") as stream:
        yield stream, so_far
    os.close(master)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals as on POSIX")
@pytest.mark.parametrize("columns", [60, 200])
def test_bars_in_a_terminal_never_wrap(columns: int) -> None:
    names = ["lstm:bidirectional", "gru:basic", "transformer:inverted seed 12"]
    with terminal(columns) as (stream, so_far):
        printer = ProgressPrinter(names, stream)
        for epoch in range(20):
            for name in names[: 2 if epoch < 10 else 3]:
                printer.epoch(name, progress(epoch))
        shown = so_far()
        printer.ended(outcome(names[0]))
        printer.ended(outcome(names[1], status="failed", error="RuntimeError: no", result=None))
        printer.close()
        after = so_far()[len(shown) :]
    pieces = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "\n", shown))
    assert max(map(len, pieces)) <= columns, "a line that wraps breaks the display"
    assert all(name in shown for name in names) and "20/20" in shown and "█" in shown
    assert "[1/3] lstm:bidirectional" in after and "best val loss 0.5 at epoch 3, 20 epochs, 1.2 s" in after
    assert "[2/3] gru:basic" in after and "failed: RuntimeError: no" in after


def test_a_log_file_gets_whole_lines_and_few_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    printer = ProgressPrinter(["a:basic", "long:basic"])
    for epoch in range(20):
        printer.epoch("a:basic", progress(epoch))
    assert capsys.readouterr().err == "", "half a minute has not gone by"
    printer.last_line["a:basic"] = -1e9
    printer.epoch("a:basic", progress(4))
    printer.epoch("a:basic", progress(5))
    printer.ended(outcome("a:basic"))
    printer.ended(outcome("long:basic", status="cancelled", result=None, error=None))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "a:basic     epoch 5/20  val 1.235e+04 best 0.0001235 train 0.1235" in lines[0]
    assert lines[1] == "[1/2] a:basic     best val loss 0.5 at epoch 3, 20 epochs, 1.2 s"
    assert lines[2] == "[2/2] long:basic  cancelled:"
