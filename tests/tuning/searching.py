"""Running ``tune_models.py`` and looking at what it leaves; for the tests of whole searches."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
COUNTED = ("completed", "pruned")


def command(*words: object) -> list[str]:
    return [sys.executable, str(ROOT / "tune_models.py"), *map(str, words)]


def tune(*words: object, timeout: float = 240, **options: Any) -> subprocess.CompletedProcess[str]:
    """A search as a process of its own, to its end."""
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=timeout, **options)


def start(*words: object) -> subprocess.Popen[str]:
    """A search in a process group of its own."""
    return subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def kill_all(process: subprocess.Popen[str]) -> None:
    """End it and all its workers with SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its worker processes."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def wait_until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """The condition's value once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def results(folder: Path) -> list[dict[str, Any]]:
    """``results.json`` of every trial of a model that has one."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("trial_*/results.json"))]


def rows(folder: Path) -> list[dict[str, str]]:
    """``trials.csv``."""
    with open(folder / "trials.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_every_slot_is_filled_once(folder: Path, count: int) -> None:
    """As many finished trials as asked for, one for each place, and nothing that still runs."""
    finished = [row for row in rows(folder) if row["status"] in COUNTED]
    assert sorted(int(row["slot"]) for row in finished) == list(range(count))
    assert all(row["status"] in (*COUNTED, "failed", "interrupted", "killed") for row in rows(folder))
