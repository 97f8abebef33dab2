"""Comparing run folders bit for bit and looking at processes; also used by ``benchmarks/kill_and_resume.py``."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from src.tracking.tag_tables import findings, monitors
from src.tracking.tags import spec_of

# Times, where events lie (a resumed run has several files), and what follows from times in the state of the monitors.
NOT_COMPARED = {"seconds", "event_files", "monitoring", "events"}


def content(file: Path) -> dict[str, Any]:
    """What a checkpoint holds."""
    return torch.load(file, weights_only=True)


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Where two nested values differ in any bit; seconds are left out, and file names and sizes of events."""
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() - NOT_COMPARED != second.keys() - NOT_COMPARED:
            return [f"{place}: {first.keys() ^ second.keys()}"]
        return [
            d for key in first.keys() - NOT_COMPARED for d in differences(first[key], second[key], f"{place}.{key}")
        ]
    if isinstance(first, list | tuple) and len(first) == len(second):
        return [
            d for n, pair in enumerate(zip(first, second, strict=True)) for d in differences(*pair, f"{place}[{n}]")
        ]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else [place]


def table(file: Path) -> list[dict[str, str]]:
    """The rows of ``metrics.csv`` without their times."""
    with open(file, newline="") as opened:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(opened)]


def different_files(run: Path, expected: Path) -> list[str]:
    """Which files of a run's folder differ from those of another run in any bit, times aside, and where."""
    found = []
    if table(run / "metrics.csv") != table(expected / "metrics.csv"):
        found.append("metrics.csv")
    if (run / "predictions.csv").read_bytes() != (expected / "predictions.csv").read_bytes():
        found.append("predictions.csv")
    for name in ("results.json", "config.json"):
        pair = [json.loads((folder / name).read_text()) for folder in (run, expected)]
        found += [f"{name} {place}" for place in differences(*pair)]
    for name in ("best.pt", "last.pt"):
        pair = [content(folder / "checkpoints" / name) for folder in (run, expected)]
        found += [f"{name} {place}" for place in differences(*pair)]
    return found + [f"{path} is left over" for path in run.rglob("*") if path.suffix in (".tmp", ".new", ".damaged")]


def follows_the_clock(tag: str) -> bool:
    """Whether a tag tells of times and the machine, or is written when a new tag of that kind has come up."""
    spec = spec_of(tag)
    return (spec is not None and spec.timed) or tag.startswith(("custom_scalars", "Model/glossary", "Findings/summary"))


def is_thinned(tag: str) -> bool:
    """Whether a monitor writes the tag, or the diagnosis, which hears of monitors: how often depends on their costs."""
    return (spec := spec_of(tag)) is not None and spec in (*monitors.SPECS, *findings.SPECS)


def events_of(folder: Path) -> tuple[Counter[tuple[str, int]], dict[tuple[str, int], bytes]]:
    """How often each (tag, step) stands in the folder's event files, and the bytes of its value."""
    counts: Counter[tuple[str, int]] = Counter()
    values = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if follows_the_clock(value.tag):
                    continue
                counts[value.tag, event.step] += 1
                if not value.tag.startswith(("_hparams_/", "__run_graph__")):  # with times, or names of a traced call
                    values[value.tag, event.step] = value.SerializeToString(deterministic=True)
    return counts, values


def different_steps(run: Path, expected: Path) -> tuple[list[Any], list[Any]]:
    """Which (tag, step) of the events stand there too often, and which are missing, not wanted or of another value."""
    (counts, values), (wanted, wanted_values) = events_of(run), events_of(expected)
    twice = [key for key, count in counts.items() if count > wanted.get(key, 1)]
    missing = [key for key in counts.keys() ^ wanted.keys() if not is_thinned(key[0])]
    other = missing + [key for key in values if values[key] != wanted_values.get(key, values[key])]
    return twice, other


def epochs_done(root: Path) -> int:
    """Epochs that the runs of a folder have told of."""
    return sum(file.read_text().count(" epoch ") for file in root.glob("*/train.log"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60.0) -> None:
    """Wait until something is so, or the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    """Processes whose parent is ``pid``, workers first of all."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and no mere entry of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(pid: int) -> list[int]:
    """The worker processes (one more child only keeps track of shared resources)."""
    return [child for child in children_of(pid) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
