"""Runs on disk: finding them, and telling the state of each from its small files alone."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import UserError
from ..tracking.run_folder import (
    CONFIG_FILE,
    LEADERBOARD_FILE,
    LOCK_FILE,
    LOG_FILE,
    METRICS_FILE,
    PLAN_FILE,
    RESULTS_FILE,
    is_command_folder,
    read_json,
)

STATES = ("running", "completed", "pruned", "interrupted", "failed", "waiting", "damaged")
JUNK_EPOCHS = 2
_DEPTH_OF_COMMANDS = 3  # below the root; `--name a/b` makes nested command folders
_DEPTH_OF_RUNS = 3  # below a command folder: lstm_basic/tuned/seed_1
_FIRST_METRIC_COLUMN = 3  # of leaderboard.csv, after rank, model and seeds
_UNUSABLE = (UserError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OSError)


@dataclass(frozen=True)
class RunInfo:
    """What can be told of a run without loading anything.

    Attributes:
        name: below the root, such as ``20250110_143022/lstm_basic/seed_1``.
        command: name of the command folder it belongs to, below the root; empty where there is none.
        path: the run's folder.
        state: one of ``STATES``. ``pruned``: a trial that was ended as it would not become the best;
            ``interrupted``: begun, not ended and nobody is training it; ``waiting``: not begun; ``damaged``: a file
            that should be there cannot be read.
        model: registered name, or empty if it cannot be told.
        data: what it was trained on, as ``--data`` named it.
        best: best validation loss; ``best_epoch``: when; ``epochs``: how many were trained (0 for baselines).
        metric: the first test metric of the leaderboard, and ``test``, its value.
        size: bytes on disk.
        modified: when a file was last changed, in seconds since 1970.
        problem: why it is failed or damaged.
        is_trial: whether it is a trial of a search; ``best`` is then the value that the search goes by.
    """

    name: str
    command: str
    path: Path
    state: str
    model: str = ""
    data: str = ""
    best: float | None = None
    best_epoch: int | None = None
    epochs: int | None = None
    metric: str | None = None
    test: float | None = None
    size: int = 0
    modified: float = 0.0
    problem: str | None = None
    is_trial: bool = False

    @property
    def folder(self) -> str:
        """The run's name below its command folder."""
        return self.name.removeprefix(f"{self.command}/")

    @property
    def junk(self) -> bool:
        """Failed, or stopped before its second epoch. Not baselines, which have no epochs, nor trials of a search."""
        if self.is_trial:
            return False
        if self.state == "failed":
            return True
        few = self.epochs is not None and self.epochs < JUNK_EPOCHS
        return few and (self.state == "interrupted" or (self.state == "completed" and self.epochs != 0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self) | {"path": str(self.path), "junk": self.junk}


def find_runs(root: Path) -> list[RunInfo]:
    """All runs below ``root``; the newest command folder first, its runs in the order of its plan.

    Raises:
        UserError: if ``root`` is no folder, cannot be read, or is itself a run or the folder of one command.
    """
    check_root(root)
    groups = [_read_group(root, folder) for folder in _folders_of_commands(root, _DEPTH_OF_COMMANDS, set())]
    groups = [group for group in groups if group]
    groups.sort(key=lambda group: (-max(run.modified for run in group), group[0].name))
    return [run for group in groups for run in group]


def check_root(root: Path) -> None:
    """Refuse what cannot be a folder of runs.

    Raises:
        UserError: see ``find_runs``.
    """
    if not root.is_dir():
        raise UserError(f"--root must be a folder of runs, but there is no folder '{root}'")
    if _is_of_a_run(root):
        above = next(folder for folder in Path(os.path.abspath(root)).parents if not _is_of_a_run(folder))
        shown = os.path.relpath(above) if above.is_relative_to(Path.cwd()) else above
        raise UserError(
            f"--root must be the folder that holds all runs, but '{root}' is a run itself; use --root {shown}"
        )
    try:
        os.scandir(root).close()
    except OSError as error:
        raise UserError(f"the folder '{root}' cannot be read ({error.strerror})") from None


def _is_of_a_run(folder: Path) -> bool:
    return is_command_folder(folder) or (folder / CONFIG_FILE).is_file()


def is_training(folder: Path) -> bool:
    """Whether a process holds the lock of a command folder, or of a run's own; leaves everything as it is."""
    try:
        with open(folder / LOCK_FILE, "rb") as file:
            return _is_locked(file.fileno())
    except OSError:
        return False


def _is_locked(file: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            # Shared, so that several who look do not see one another.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def size_of(folder: Path) -> tuple[int, float]:
    """Bytes of all files below a folder, links not followed, and when the newest of them was changed."""
    size, newest = 0, 0.0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below, changed = size_of(Path(entry.path))
                else:
                    status = entry.stat(follow_symlinks=False)
                    below, changed = status.st_size, status.st_mtime
                size, newest = size + below, max(newest, changed)
    except OSError:  # may be deleted at this very moment
        pass
    return size, newest


def planned_runs(plan: Any) -> list[Mapping[str, Any]]:
    """The entries of a ``plan.json`` that was read.

    Raises:
        UserError: if it is no plan, or names folders outside the command's folder.
    """
    runs = plan.get("runs") if isinstance(plan, dict) else None
    if not isinstance(runs, list):
        raise UserError(f"{PLAN_FILE} has no list of runs")
    for run in runs:
        folder = run.get("folder") if isinstance(run, dict) else None
        if not isinstance(folder, str) or not folder or not _is_plain(folder):
            raise UserError(f"{PLAN_FILE} has a run without a proper folder")
    return runs


def _is_plain(name: str) -> bool:
    """Whether a relative name stays below where it starts."""
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts


# ---- finding ----


def _folders_of_commands(folder: Path, depth: int, seen: set[str]) -> Iterator[Path]:
    """Folders with a plan, and folders of single runs that belong to none."""
    seen.add(os.path.realpath(folder))
    for child in _subfolders(folder):
        if _is_of_a_run(child):
            yield child
        elif depth > 1 and os.path.realpath(child) not in seen:
            yield from _folders_of_commands(child, depth - 1, seen)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def _run_folders(folder: Path, depth: int, below: str = "") -> Iterator[str]:
    """Names of the folders with a configuration, below a command folder."""
    for child in _subfolders(folder):
        name = f"{below}{child.name}"
        if (child / CONFIG_FILE).is_file():
            yield name
        elif depth > 1:
            yield from _run_folders(child, depth - 1, f"{name}/")


def _read_group(root: Path, folder: Path) -> list[RunInfo]:
    """The runs of a command folder, or the single run that the folder is."""
    name = folder.relative_to(root).as_posix()
    if not is_command_folder(folder):
        command = folder.parent.relative_to(root).as_posix()
        return [_read_run(name, "" if command == "." else command, folder, {}, False, None)]
    planned, problem = {}, None
    try:
        if (folder / PLAN_FILE).is_file():
            planned = {str(run["folder"]): run for run in planned_runs(read_json(folder / PLAN_FILE))}
    except _UNUSABLE as error:
        planned, problem = {}, _one_line(error)
    names = [*planned, *(found for found in _run_folders(folder, _DEPTH_OF_RUNS) if found not in planned)]
    running, metric = is_training(folder), _first_metric(folder / LEADERBOARD_FILE)
    runs = [_read_run(f"{name}/{run}", name, folder / run, planned.get(run, {}), running, metric) for run in names]
    if problem:
        size, modified = size_of(folder)
        runs.append(
            RunInfo(name, name, folder, "damaged", size=0 if runs else size, modified=modified, problem=problem)
        )
    return runs


def _first_metric(leaderboard: Path) -> str | None:
    try:
        with open(leaderboard, encoding="utf-8", newline="") as file:
            return next(csv.reader(file))[_FIRST_METRIC_COLUMN]
    except (OSError, ValueError, StopIteration, IndexError, csv.Error):
        return None


# ---- one run ----


def _read_run(
    name: str, command: str, path: Path, planned: Mapping[str, Any], running: bool, metric: str | None
) -> RunInfo:
    size, modified = size_of(path)
    if not modified:
        _, modified = size_of(path.parent)
    info = RunInfo(name, command, path, "waiting", size=size, modified=modified)
    try:
        config = _read_object(path / CONFIG_FILE)
        results = _read_object(path / RESULTS_FILE)
        known = config or planned
        info = dataclasses.replace(
            info, model=str(known.get("model", "")), data=str((known.get("data") or {}).get("data", ""))
        )
        if results:
            return _with_results(info, results, config, metric)
        if config or any((path / file).exists() for file in (LOG_FILE, METRICS_FILE)):
            # A worker outlives its killed command by some seconds and still holds its own run.
            state = "running" if running or is_training(path) else "interrupted"
            info = dataclasses.replace(info, state=state)
            return dataclasses.replace(info, **_progress(path / METRICS_FILE))
    except _UNUSABLE as error:
        return dataclasses.replace(info, state="damaged", problem=_one_line(error))
    return info


def _read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file.

    Raises:
        UserError: if the file holds something else.
    """
    if not file.exists():
        return {}
    content = read_json(file)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file.name} is no JSON object")
    return content


def _with_results(info: RunInfo, results: Mapping[str, Any], config: Mapping[str, Any], metric: str | None) -> RunInfo:
    status = results["status"]
    if "trial" in results:
        return _with_trial(info, results["trial"])
    if status in ("failed", "interrupted"):
        progress = _progress(info.path / METRICS_FILE)
        problem = str(results.get("error") or "") or None
        return dataclasses.replace(info, state=status, problem=problem if status == "failed" else None, **progress)
    if status != "completed":
        raise UserError(f"{RESULTS_FILE} has the unknown status {status!r}")
    if not config:
        raise UserError(f"{CONFIG_FILE} is missing")
    training, test = results["training"], results["test"]
    metric = metric if metric in test else _metric_of(results)
    return dataclasses.replace(
        info,
        state="completed",
        best=_number(training["best_validation_loss"]),
        best_epoch=int(training["best_epoch"]),
        epochs=int(training["epochs"]),
        metric=metric,
        test=_number(test.get(metric)),
    )


def _with_trial(info: RunInfo, trial: Mapping[str, Any]) -> RunInfo:
    """What a trial's record says; it has no test part."""
    state = "interrupted" if trial["status"] == "killed" else str(trial["status"])
    if state not in STATES:
        raise UserError(f"{RESULTS_FILE} has the unknown status {state!r}")
    return dataclasses.replace(
        info,
        state=state,
        is_trial=True,
        best=_number(trial["value"]),
        best_epoch=int(trial["best_epoch"]),
        epochs=int(trial["epochs"]),
        problem=str(trial["error"]) if state == "failed" else None,
    )


def _metric_of(results: Mapping[str, Any]) -> str:
    """What a leaderboard would show first, where none was written."""
    from ..comparison.leaderboard import ranking  # pandas, which others need not wait for

    return ranking(str(results["task"]), len(results["targets"])).columns[0]


def _progress(metrics: Path) -> dict[str, Any]:
    """Epochs and best value of a run that has not ended, from its table of epochs.

    A last line that is still being written is passed over.
    """
    best, best_epoch, epochs = math.inf, None, 0
    try:
        with open(metrics, encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.DictReader(file):
                try:
                    epoch, value = int(row["epoch"]), float(row["validation_loss"])
                except (KeyError, TypeError, ValueError):
                    continue
                epochs = max(epochs, epoch + 1)
                if value < best:
                    best, best_epoch = value, epoch
    except (OSError, csv.Error):
        pass
    return {"epochs": epochs, "best": None if best_epoch is None else best, "best_epoch": best_epoch}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"a file has unexpected content ({type(error).__name__}: {text})"
