"""Runs put away and deleted; never anything outside their root, and never while they are trained.

An archive lies beside the folder of runs, not in it: TensorBoard reads everything below its log folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..tracking.run_folder import LOCK_FILE, PLAN_FILE, only_command_on, read_json, write_json
from .packing import pack_folder, verify_copy, write_to_disk
from .runs import is_training, planned_runs, size_of
from .selection import Choice, choose, refuse_unsafe

NOTE_SUFFIX = ".archive.json"
PACKED_SUFFIX = ".tar.gz"
NOTE_VERSION = 1


@dataclass(frozen=True)
class Moved:
    """What was archived or restored.

    Attributes:
        name: below the root of runs.
        path: where it is now.
        size: bytes it takes there.
        runs: how many runs it holds.
    """

    name: str
    path: Path
    size: int
    runs: int


def default_archive(root: Path) -> Path:
    """``runs_archive`` beside ``runs``."""
    absolute = Path(os.path.abspath(root))
    return root.parent / f"{absolute.name}_archive" if root.name else absolute.with_name(f"{absolute.name}_archive")


def archive(root: Path, names: Sequence[str], to: Path | None = None, *, pack: bool = False) -> list[Moved]:
    """Move runs out of the folder that TensorBoard shows. A note beside each says where it came from.

    Args:
        root: the folder of runs.
        names: runs or command folders.
        to: the archive folder, made if needed; by default ``default_archive(root)``.
        pack: into a ``.tar.gz`` rather than as a folder.

    Raises:
        UserError: if a name is unknown, a run is being trained, has not begun or is in the archive already, the
            archive lies inside ``root``, or a folder cannot be written.
    """
    store = to or default_archive(root)
    if Path(os.path.realpath(store)).is_relative_to(os.path.realpath(root)):
        raise UserError(f"an archive must lie outside '{root}', or TensorBoard shows it still, but got '{store}'")
    choices = choose(root, names)
    refuse_unsafe(root, choices)
    for choice in choices:
        if not choice.path.is_dir():
            raise UserError(f"only runs that have begun can be archived, but '{choice.name}' has no folder yet")
        _refuse_taken(store / flat_name(choice.name))
    with one_line_errors(f"to the archive '{store}'"), _held(choices):
        store.mkdir(parents=True, exist_ok=True)
        return [_archive_one(choice, root, store, pack) for choice in choices]


def removable(root: Path, names: Sequence[str]) -> list[Choice]:
    """What ``delete`` would remove, everything checked, nothing touched.

    Raises:
        UserError: if a name is unknown or not a run inside ``root``, or a run is being trained.
    """
    choices = choose(root, names)
    refuse_unsafe(root, choices)
    for choice in choices:
        _refuse_training(choice)
    return choices


def delete(root: Path, choices: Sequence[Choice]) -> int:
    """Remove for good what ``removable`` returned. Returns the bytes that became free.

    Raises:
        UserError: if something has become unsafe to delete since, or cannot be deleted.
    """
    refuse_unsafe(root, choices)
    freed = 0
    with one_line_errors(f"in '{root}'"), _held(choices):
        for choice in choices:
            size, _ = size_of(choice.path)
            if choice.path.is_dir():
                remove_folder(choice.path)
            _take_out_of_plan(choice)
            _remove_if_empty(choice)
            freed += size
    return freed


def remove_folder(folder: Path) -> None:
    """Delete a folder; under another name first, so that no half of it is ever taken for a run."""
    doomed = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def move_folder(source: Path, target: Path) -> None:
    """Move a folder, also to another file system: there it is copied, compared, and only then removed here.

    Raises:
        OSError: if it cannot be written, or the copy differs.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            shutil.copytree(source, temporary, symlinks=True)
            verify_copy(source, temporary)
            write_to_disk(temporary)
            os.rename(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        remove_folder(source)


# ---- archiving one ----


def _archive_one(choice: Choice, root: Path, store: Path, pack: bool) -> Moved:
    target, note_file = store / flat_name(choice.name), store / f"{flat_name(choice.name)}{NOTE_SUFFIX}"
    if pack:
        target = target.with_name(target.name + PACKED_SUFFIX)
    note = {
        "version": NOTE_VERSION,
        "name": choice.name,
        "root": _relative(root, store),
        "archived": datetime.now().isoformat(timespec="seconds"),
        "packed": pack,
        "runs": len(choice.runs),
        "plan": _part_of_plan(choice),
    }
    write_json(note_file, note)
    try:
        if pack:
            pack_folder(choice.path, target)
            remove_folder(choice.path)
        else:
            move_folder(choice.path, target)
            for lock in target.rglob(LOCK_FILE):
                lock.unlink(missing_ok=True)
    except BaseException:
        if not target.exists():
            note_file.unlink(missing_ok=True)
        raise
    _take_out_of_plan(choice)
    _remove_if_empty(choice)
    size = target.stat().st_size if pack else size_of(target)[0]
    return Moved(choice.name, target, size, len(choice.runs))


def _part_of_plan(choice: Choice) -> dict[str, Any] | None:
    """The plan of a command with nothing but the chosen runs; None where the plan moves along, or there is none."""
    plan = _plan_beside(choice)
    if plan is None:
        return None
    folders = {run.folder for run in choice.runs}
    return plan | {"runs": [run for run in planned_runs(plan) if run["folder"] in folders]}


def _take_out_of_plan(choice: Choice) -> None:
    """Take runs out of the plan they stood in, so that ``--resume`` does not train them again."""
    plan = _plan_beside(choice)
    if plan is not None and choice.command is not None:
        folders = {run.folder for run in choice.runs}
        kept = [run for run in planned_runs(plan) if run["folder"] not in folders]
        write_json(choice.command / PLAN_FILE, plan | {"runs": kept})


def _plan_beside(choice: Choice) -> dict[str, Any] | None:
    if choice.whole or choice.command is None:
        return None
    try:
        plan = read_json(choice.command / PLAN_FILE)
        planned_runs(plan)
    except UserError:
        return None  # damaged: there is nothing to take the run out of
    return plan


def _remove_if_empty(choice: Choice) -> None:
    """Remove what is left above a run: ``lstm_basic/`` after its last ``seed_1``."""
    if not choice.whole and choice.command is not None and choice.path.parent != choice.command:
        with contextlib.suppress(OSError):
            choice.path.parent.rmdir()


# ---- what both need ----


def flat_name(name: str) -> str:
    """One name for a run in a folder of its own: archived parts of a command can then not stand in its way."""
    return name.replace("/", "--")


def _relative(root: Path, store: Path) -> str:
    """The way from the archive to the root, so that both can be moved together; absolute across Windows drives."""
    try:
        return Path(os.path.relpath(os.path.realpath(root), os.path.realpath(store))).as_posix()
    except ValueError:
        return os.path.abspath(root)


def _refuse_taken(target: Path) -> None:
    for suffix in ("", PACKED_SUFFIX):  # a note alone is left from a command that was killed
        taken = target.with_name(target.name + suffix)
        if os.path.lexists(taken):
            raise UserError(
                f"nothing is archived over what exists, but there is a '{taken}'; use --to for another place"
            )


def _refuse_training(choice: Choice) -> None:
    if any(is_training(folder) for folder in (choice.command or choice.path, *(run.path for run in choice.runs))):
        what = f"'{choice.name}'" if choice.whole else f"the command that '{choice.name}' belongs to"
        raise UserError(f"{what} is still training; stop it or wait for its end")


@contextlib.contextmanager
def _held(choices: Sequence[Choice]) -> Iterator[None]:
    """Keep the training command away from the folders while they are moved.

    Raises:
        UserError: if one is being trained.
    """
    with contextlib.ExitStack() as stack:
        for choice in choices:
            _refuse_training(choice)
        for folder in dict.fromkeys(choice.command for choice in choices if choice.command is not None):
            stack.enter_context(only_command_on(folder))
        yield


@contextlib.contextmanager
def one_line_errors(where: str) -> Iterator[None]:
    """Say in one line what the file system refused."""
    try:
        yield
    except OSError as error:
        place = error.filename or where
        raise UserError(f"files cannot be moved or deleted {where}: {error.strerror or error} ({place})") from None
