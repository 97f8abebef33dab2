"""Checks of what lies in the folder of runs: locks and files left by killed commands, damaged files and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..tracking.run_folder import CHECKPOINT_FOLDER, LOCK_FILE, SEARCH_FILE, read_json
from .doctor import Check
from .runs import RunInfo, find_runs, is_training


def examine_runs(root: Path, *, deep: bool = False) -> Iterator[Check]:
    """All checks of the runs.

    Args:
        root: the folder of runs; one that is not there has nothing wrong with it.
        deep: read every checkpoint and compare its checksums.
    """
    if not root.is_dir():
        yield Check("runs", "ok", f"none yet in {root}")
        return
    try:
        runs = find_runs(root)
    except UserError as error:
        yield Check("runs", "problem", str(error))
        return
    yield from _states(root, runs)
    yield from _leftovers(root)
    if deep:
        yield from _checkpoints(runs)


def _states(root: Path, runs: list[RunInfo]) -> Iterator[Check]:
    counts = {state: sum(run.state == state for run in runs) for state in dict.fromkeys(run.state for run in runs)}
    yield Check("runs", "ok", ", ".join(f"{count} {state}" for state, count in counts.items()) or f"none yet in {root}")
    for run in runs:
        if run.state == "damaged":
            yield Check("runs", "problem", f"{run.name} is damaged: {run.problem}", f"`delete {run.name}`, train again")
    stopped = [
        run
        for run in runs
        if run.command
        and not run.is_trial
        and (run.state == "interrupted" or (run.state == "waiting" and not is_training(root / run.command)))
    ]
    for command in dict.fromkeys(run.command for run in stopped):
        count = sum(run.command == command for run in stopped)
        text = f"{count} run{'s' if count != 1 else ''} of {command} did not end, and nobody is training"
        script = "tune_models.py" if (root / command / SEARCH_FILE).is_file() else "train_models.py"
        yield Check("runs", "note", text, f"{script} --resume {root / command}")
    for command in dict.fromkeys(run.command for run in runs if run.is_trial):
        yield from _search(root / command)


def _search(folder: Path) -> Iterator[Check]:
    """Whether a search has ended."""
    try:
        status = read_json(folder / SEARCH_FILE)["status"]
    except (UserError, KeyError, TypeError) as error:
        text = f"{folder} holds trials, but its {SEARCH_FILE} cannot be read ({error})"
        yield Check("searches", "problem", text, "the trials can still be used as runs")
        return
    if status != "completed" and not is_training(folder):
        text = f"the search in {folder} did not end, and nobody is searching"
        yield Check("searches", "note", text, f"tune_models.py --resume {folder}")


def _leftovers(root: Path) -> Iterator[Check]:
    locks, files = [], []
    for place, folders, names in os.walk(root):
        folders.sort()
        if LOCK_FILE in names and not is_training(Path(place)):
            locks.append(Path(place, LOCK_FILE))
        temporary = [name for name in (*names, *folders) if name.startswith(".") and name.endswith(".tmp")]
        folders[:] = [name for name in folders if name not in temporary]
        if temporary and not _in_training(root, Path(place)):
            files += [Path(place, name) for name in temporary]
    if locks:
        text = f"{len(locks)} of commands that were killed, such as {locks[0]}"
        yield Check("locks", "note", text, "none needed: a lock nobody holds stops nobody")
    if files:
        text = f"{len(files)} temporary left by killed commands, such as {files[0]}"
        yield Check("files", "note", text, "delete them; --resume does so for its own")
    if not locks and not files:
        yield Check("files", "ok", "no locks and no temporary files left over")


def _in_training(root: Path, folder: Path) -> bool:
    """Whether a command is writing here: its temporary files come and go."""
    above = [folder, *folder.parents]
    return any(is_training(place) for place in above[: above.index(root) + 1])


def _checkpoints(runs: list[RunInfo]) -> Iterator[Check]:
    from ..training.checkpoint import read_checkpoint  # torch

    sound = 0
    for run in runs:
        for file in sorted((run.path / CHECKPOINT_FOLDER).glob("*.pt*")):
            if file.suffix == ".damaged":  # found out and set aside already
                continue
            try:
                read_checkpoint(file)
            except UserError as error:
                if file.is_file():  # may have been replaced at this very moment
                    yield Check("checkpoints", "problem", str(error), _fix_for(run, file))
            else:
                sound += 1
    yield Check("checkpoints", "ok", f"{sound} sound")


def _fix_for(run: RunInfo, file: Path) -> str:
    if file.name == "last.pt":
        return "--resume uses the one before by itself"
    if not file.name.endswith(".pt"):
        return "none needed while last.pt is sound"
    return f"train {run.name} again: its best weights are lost"
