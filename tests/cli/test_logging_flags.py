"""Flags of logging, monitors, diagnosis and alerts, as typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.cli.train_runs import shown_command

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., SimpleNamespace]
QUICK: tuple[Any, ...] = ("--data", "sample:walk", "--window", 8, "--epochs", 2, "--epoch-fraction", 0.1, "--jobs", 1)
ALWAYS = """
[always]
kind = "above"
metrics = ["gradient_norm/total"]
limit = 0.0
severity = "warn"
advice = "None: it is a test."
"""
MONITOR = """
from src.tracking.monitors.base import Monitor


class Constant(Monitor):
    name = "constant"
    interval = 5

    def on_step(self, step):
        return {"Custom/constant": 7.0}
"""


def scalars(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def test_every_batch_is_logged_on_request_and_otherwise_not(call: Call, tmp_path: Path) -> None:
    for flags, name in (((), "plain"), (("--log-batches",), "batches")):
        assert call(*QUICK, "--models", "linear:nlinear", "--tensorboard", "--name", name, *flags).code == 0
    tags = {
        name: scalars(tmp_path / "runs" / name / "linear_nlinear").Tags()["scalars"] for name in ("plain", "batches")
    }
    batch_level = {"train/batch_loss", "eval/batch_loss", "progress/epoch"}
    assert batch_level <= set(tags["batches"]) and not batch_level & set(tags["plain"])
    assert "gradient_norm/total" in tags["plain"]
    kept = json.loads((tmp_path / "runs/batches/linear_nlinear/config.json").read_text())["logging"]
    assert kept["log_batches"] is True


def test_monitors_can_be_switched_off(call: Call, tmp_path: Path) -> None:
    assert call(*QUICK, "--models", "linear:nlinear", "--no-monitors", "--tensorboard", "--name", "run").code == 0
    folder = tmp_path / "runs/run/linear_nlinear"
    assert not (folder / "findings.json").exists()
    assert "gradient_norm/total" not in scalars(folder).Tags()["scalars"]


def test_a_monitor_of_the_users_own_is_asked(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MONITOR, encoding="utf-8")
    done = call(*QUICK, "--models", "linear:nlinear", "--tensorboard", "--monitor", "mine.py", "--name", "run")
    assert done.code == 0
    points = scalars(tmp_path / "runs/run/linear_nlinear").Scalars("Custom/constant")
    assert [point.step for point in points][:2] == [0, 5] and points[0].value == 7.0


def test_a_warning_is_printed_kept_and_sent(call: Call, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(ALWAYS, encoding="utf-8")
    program = f'{sys.executable} -c \'import sys; open("told.json", "a").write(sys.stdin.read())\''
    flags = ("--rules", "rules.toml", "--notify", program, "--name", "run")
    done = call(*QUICK, "--models", "linear:nlinear", *flags)
    assert done.code == 0 and "warn: always at step 0" in done.err
    assert all(len(line) <= 120 for line in done.err.splitlines())
    (written,) = json.loads((tmp_path / "runs/run/linear_nlinear/findings.json").read_text())["findings"]
    told = json.loads((tmp_path / "told.json").read_text())
    assert written["rule"] == told["rule"] == "always" and told["run"] == "run/linear_nlinear"
    assert "warn: always" in (tmp_path / "runs/run/linear_nlinear/train.log").read_text()
    plan = json.loads((tmp_path / "runs/run/plan.json").read_text())["runs"][0]
    assert "notify" not in json.dumps(plan) and Path(plan["logging"]["rules"]).is_absolute()
    # Where findings are sent belongs to the command: it may be said again on resume.
    resumed = call("--resume", tmp_path / "runs/run", "--epochs", 3, "--jobs", 1, "--notify", program)
    assert resumed.code == 0


def test_who_is_told_is_not_kept() -> None:
    address = "https://host/secret"
    words = [
        "train_models.py",
        "--notify-url",
        address,
        f"--notify-url={address}",
        "--notify",
        "tell me",
        "--jobs",
        "1",
    ]
    shown = ["train_models.py", "--notify-url", "...", "--notify-url=...", "--notify", "...", "--jobs", "1"]
    assert shown_command(words) == shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--log-batches",), "--tensorboard is missing"),
        (("--rules", "no.toml"), "no.toml"),
        (("--monitor", "no.py"), "--monitor must name a Python file"),
        (("--notify", "no-such-program --now"), "no-such-program"),
        (("--notify-url", "ftp://host/x"), "http"),
        (("--log-budget", "-1"), "log_budget must be at least 0"),
        (("--watch", "--no-tensorboard"), "--watch shows what --tensorboard writes"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_before_anything_is_made(
    call: Call, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    done = call(*QUICK, "--models", "linear:nlinear", *flags)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_watch_serves_the_runs_while_they_train_and_ends_with_them(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train_models.py"), "--watch", "--models", "lstm:basic", "--jobs", "1"]
    command += [
        "--data",
        "sample:walk",
        "--epochs",
        "400",
        "--patience",
        "400",
        "--output",
        str(tmp_path),
        "--name",
        "run",
    ]
    training = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert training.stderr is not None
    try:
        address = None
        while address is None:
            line = training.stderr.readline()
            assert line, "it ended without saying where to look"
            address = re.search(r"watch at (http://\S+)", line)
        deadline = time.monotonic() + 30
        runs: list[str] = []
        while not runs and time.monotonic() < deadline:
            runs = json.loads(urllib.request.urlopen(f"{address[1]}data/runs", timeout=10).read())
            time.sleep(0.2)
        assert runs == ["lstm_basic"] and training.poll() is None
    finally:
        training.terminate()
        training.communicate(timeout=60)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address[1]}data/runs", timeout=2)
