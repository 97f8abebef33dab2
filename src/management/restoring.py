"""Archived runs brought back to where they were, never over something that exists."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..errors import UserError, did_you_mean
from ..tracking.run_folder import PLAN_FILE, only_command_on, read_json, write_json
from .archiving import NOTE_SUFFIX, NOTE_VERSION, PACKED_SUFFIX, Moved, flat_name, move_folder, one_line_errors
from .packing import unpack_folder
from .runs import planned_runs, size_of


def restore(store: Path, names: Sequence[str]) -> list[Moved]:
    """Bring archived runs back to where they were, never over something that exists.

    Raises:
        UserError: if a name is unknown, its place is taken, or a folder cannot be written.
    """
    notes = _read_notes(store)
    found = [_find_note(store, notes, name) for name in dict.fromkeys(names)]
    for note in found:
        _check_destination(store, note, notes, [str(other["name"]) for other in found])
    with one_line_errors(f"from the archive '{store}'"):
        return [_restore_one(store, note) for note in found]


def archived_names(store: Path) -> list[str]:
    """What can be restored; empty if there is no archive.

    Raises:
        UserError: if a note in the archive is damaged.
    """
    return list(_read_notes(store)) if store.is_dir() else []


def _read_notes(store: Path) -> dict[str, dict[str, Any]]:
    if not store.is_dir():
        raise UserError(f"there is no archive '{store}'; name another one with --from")
    notes = {}
    for file in sorted(store.glob(f"*{NOTE_SUFFIX}")):
        note = read_json(file)
        if not isinstance(note, dict) or not all(isinstance(note.get(key), str) for key in ("name", "root")):
            raise UserError(f"{file} is damaged: it does not say where the run came from; move the run back by hand")
        if note.get("version") != NOTE_VERSION:
            raise UserError(
                f"notes of version {NOTE_VERSION} can be read, but {file} has version {note.get('version')}"
            )
        if ".." in PurePath(note["name"]).parts or PurePath(note["name"]).is_absolute():
            raise UserError(f"{file} is damaged: '{note['name']}' is no name of a run")
        notes[note["name"]] = note
    return notes


def _find_note(store: Path, notes: Mapping[str, dict[str, Any]], given: str) -> dict[str, Any]:
    path = PurePath(given)
    plain = path.name.removesuffix(PACKED_SUFFIX)
    for name, note in notes.items():
        root = PurePath(os.path.basename(os.path.normpath(note["root"])))
        if path.as_posix() == name or path == root / name or plain == flat_name(name):
            return note
    hint = did_you_mean(given, notes)
    if not hint:
        hint = (
            f" It holds: {', '.join(list(notes)[:5])}{', ...' if len(notes) > 5 else ''}" if notes else " It is empty"
        )
    raise UserError(f"there is no '{given}' in the archive '{store}'.{hint}")


def _check_destination(
    store: Path, note: Mapping[str, Any], notes: Mapping[str, dict[str, Any]], wanted: Sequence[str]
) -> None:
    name, root = note["name"], _root_of(store, note)
    target = root / name
    real_root = Path(os.path.realpath(root))
    if os.path.lexists(target):
        raise UserError(f"nothing is restored over what exists, but there is a '{target}'; move that away first")
    if not Path(os.path.realpath(target)).is_relative_to(real_root):
        raise UserError(f"a run is restored into '{root}' only, but '{target}' leads elsewhere through a link")
    above = next((other for other in notes if name.startswith(f"{other}/")), None)
    if above is not None and not (root / above).exists():
        order = "first" if above not in wanted else "in a command of its own first"
        raise UserError(f"'{name}' belongs to '{above}', which is in the archive as well; restore that {order}")
    if not _stored(store, note).exists():
        raise UserError(f"the archive '{store}' has a note about '{name}', but the run is gone")


def _restore_one(store: Path, note: Mapping[str, Any]) -> Moved:
    name, stored = note["name"], _stored(store, note)
    root = _root_of(store, note)
    target = root / name
    plan, command = note.get("plan"), None
    if isinstance(plan, dict) and planned_runs(plan):
        folder = str(planned_runs(plan)[0]["folder"])
        command = _command_of(target, folder)
    with _training_kept_away(command):
        target.parent.mkdir(parents=True, exist_ok=True)
        if note.get("packed"):
            unpack_folder(stored, target)
            stored.unlink()
        else:
            move_folder(stored, target)
        if command is not None and isinstance(plan, dict):
            _put_into_plan(command, plan)
    (store / f"{flat_name(name)}{NOTE_SUFFIX}").unlink()
    return Moved(name, target, size_of(target)[0], int(note.get("runs", 1)))


def _command_of(target: Path, folder: str) -> Path:
    """The command folder of a run, or of all seeds of a model, restored to ``target``."""
    parts = PurePath(folder).parts
    shared = 1 if target.name == parts[0] else len(parts)
    return target.parents[shared - 1]


def _put_into_plan(command: Path, part: Mapping[str, Any]) -> None:
    file = command / PLAN_FILE
    if not file.is_file():
        write_json(file, dict(part))
        return
    try:
        plan = read_json(file)
        present = planned_runs(plan)
    except UserError:
        return  # a damaged plan cannot be added to; the run itself is back
    known = {run["folder"] for run in present}
    write_json(file, plan | {"runs": [*present, *(run for run in part["runs"] if run["folder"] not in known)]})


def _root_of(store: Path, note: Mapping[str, Any]) -> Path:
    """The folder of runs, as short as it can be said from here."""
    path = Path(os.path.normpath(os.path.join(os.path.abspath(store), note["root"])))
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _stored(store: Path, note: Mapping[str, Any]) -> Path:
    return store / (flat_name(note["name"]) + (PACKED_SUFFIX if note.get("packed") else ""))


@contextlib.contextmanager
def _training_kept_away(command: Path | None) -> Iterator[None]:
    with only_command_on(command) if command is not None and command.is_dir() else contextlib.nullcontext():
        yield
