"""What a user's word for a run means: a path, the part of it below the root, or a whole command folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..errors import UserError, did_you_mean
from ..tracking.run_folder import CONFIG_FILE, PLAN_FILE, is_command_folder
from .runs import RunInfo, check_root, find_runs


@dataclass(frozen=True)
class Choice:
    """A folder that a user named.

    Attributes:
        name: below the root: a run, all seeds of a model, or a command folder.
        path: its folder.
        runs: the runs it stands for.
        whole: whether it is a whole command folder.
        command: the folder that holds the plan and the lock of these runs; None where there is no plan.
    """

    name: str
    path: Path
    runs: tuple[RunInfo, ...]
    whole: bool
    command: Path | None


def choose(root: Path, names: Sequence[str]) -> list[Choice]:
    """What the names stand for; what is contained in another choice is left out.

    Raises:
        UserError: for a name that is unknown, not below ``root``, or no run.
    """
    check_root(root)
    runs = find_runs(root)
    wanted = dict.fromkeys(_name_below(root, name, runs) for name in names)
    wanted = dict.fromkeys(_widened(root, list(wanted), runs))
    outermost = [name for name in wanted if not any(_is_within(name, other) for other in wanted if other != name)]
    return [_choice(root, name, runs) for name in outermost]


def find_one(root: Path, name: str) -> Path:
    """The folder of one run, which may also stand outside ``root`` (in an archive, say).

    Raises:
        UserError: if there is no such run, or the name stands for several.
    """
    path = Path(name)
    if (path / CONFIG_FILE).is_file() and not is_command_folder(path):
        return path
    if not path.is_dir() and not root.is_dir():
        raise UserError(f"there is no run '{name}', and no folder of runs '{root}'; name another one with --root")
    if path.is_dir() and not _lies_below(path, root):
        root, name = (path.parent, path.name) if path.name else (root, name)
    [choice] = choose(root, [name])
    if len(choice.runs) > 1:
        few = ", ".join(run.folder for run in choice.runs[:4]) + (", ..." if len(choice.runs) > 4 else "")
        raise UserError(f"one run is needed, but '{name}' holds {len(choice.runs)}: {few}; add one of them to the name")
    return choice.runs[0].path


def refuse_unsafe(root: Path, choices: Iterable[Choice]) -> None:
    """Refuse to move or delete what is not surely a run inside the root.

    Raises:
        UserError: for the root itself, anything reached through a link, or a folder that is no run.
    """
    real_root = Path(os.path.realpath(root))
    for choice in choices:
        expected = real_root / choice.name
        if expected == real_root:
            raise UserError(f"a run below '{root}' is needed, but '{choice.name}' is the folder of all runs itself")
        if Path(os.path.realpath(choice.path)) != expected:
            raise UserError(
                f"only folders inside '{root}' are moved or deleted, but '{choice.name}' is a link to "
                f"{os.path.realpath(choice.path)}; remove the link by hand"
            )
        if choice.path.exists() and not _is_run(choice):
            raise UserError(f"only runs are moved or deleted, but '{choice.name}' holds other things as well")


def _is_run(choice: Choice) -> bool:
    if is_command_folder(choice.path) or (choice.path / CONFIG_FILE).is_file():
        return True
    own = {run.path for run in choice.runs}
    return choice.path in own or {Path(entry.path) for entry in os.scandir(choice.path)} <= own


# ---- names ----


def _name_below(root: Path, given: str, runs: Sequence[RunInfo]) -> str:
    """The name below the root that ``given`` stands for.

    Raises:
        UserError: if it stands for none.
    """
    path = PurePath(given)
    below = PurePath(*path.parts[len(root.parts) :]) if path.parts[: len(root.parts)] == root.parts else path
    if not given.strip() or ".." in below.parts:
        raise UserError(f"a run is named by its path, without '..', but got '{given}'; use --root for another folder")
    known = _known_names(runs)
    candidates = [below.as_posix(), path.as_posix()]
    absolute = Path(os.path.abspath(given))
    if absolute.is_relative_to(os.path.abspath(root)):
        candidates.append(absolute.relative_to(os.path.abspath(root)).as_posix())
    for candidate in candidates:
        if candidate in known:
            return candidate
    raise UserError(_why_unknown(root, given, absolute, runs, known))


def _why_unknown(root: Path, given: str, absolute: Path, runs: Sequence[RunInfo], known: Iterable[str]) -> str:
    if os.path.realpath(absolute) == os.path.realpath(root):
        return f"a run in '{root}' is needed, but '{given}' is the folder of all runs itself"
    if absolute.is_dir() and not _lies_below(absolute, root):
        is_run = is_command_folder(absolute) or (absolute / CONFIG_FILE).is_file()
        fix = f"; use --root {absolute.parent}" if is_run else ", and is no run either"
        return f"runs are looked for in '{root}', but '{given}' lies outside{fix}"
    if absolute.is_dir() or (root / given).is_dir():
        return f"'{given}' is not a run: it has neither {PLAN_FILE} nor {CONFIG_FILE}"
    same = [run.name for run in runs if given in (run.folder, run.model)]
    hint = f" Did you mean '{same[0]}'?" if same else did_you_mean(given, known)
    return f"there is no run '{given}' in '{root}'.{hint or ' `list` shows all of them'}"


def _known_names(runs: Sequence[RunInfo]) -> list[str]:
    """Runs, folders of several seeds, and command folders."""
    names: dict[str, None] = {}
    for run in runs:
        parts = run.name.split("/")
        shortest = len(run.command.split("/")) if run.command else len(parts) - run.folder.count("/")
        for count in range(shortest, len(parts) + 1):
            names["/".join(parts[:count])] = None
    return list(names)


def _widened(root: Path, names: Sequence[str], runs: Sequence[RunInfo]) -> list[str]:
    """The names, with a command folder all of whose runs are named put instead of those."""
    covered: dict[str, list[bool]] = {}
    for run in runs:
        covered.setdefault(run.command, []).append(any(_is_within(run.name, name) for name in names))
    whole = [command for command, parts in covered.items() if command and all(parts)]
    return [*(command for command in whole if is_command_folder(root / command)), *names]


def _choice(root: Path, name: str, runs: Sequence[RunInfo]) -> Choice:
    chosen = tuple(run for run in runs if _is_within(run.name, name))
    command = chosen[0].command
    folder = root / command if command and is_command_folder(root / command) else None
    return Choice(name, root / name, chosen, name == command, folder)


def _is_within(name: str, other: str) -> bool:
    return name == other or name.startswith(f"{other}/")


def _lies_below(path: Path, root: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))
