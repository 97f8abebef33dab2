"""Where event files are read from: runs by name as everywhere, or any folder that TensorBoard could show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..tracking.event_reader import event_folders
from ..tracking.run_folder import CONFIG_FILE, METRICS_FILE
from .runs import RunInfo, check_root
from .selection import choose


@dataclass(frozen=True)
class Source:
    """One run as TensorBoard sees it.

    Attributes:
        name: its path below the folder that TensorBoard would be given; ``.`` for that folder itself.
        files: its event files in their order; none where it was trained without TensorBoard.
        epochs: its table of epochs, for a run of this project.
    """

    name: str
    files: tuple[Path, ...]
    epochs: Path | None = None


@dataclass(frozen=True)
class Place:
    """What one word of the user stands for.

    Attributes:
        folder: the folder to read, with everything below it.
        base: the folder that names of runs are relative to.
        runs: the runs of this project that it stands for; empty for any other folder.
    """

    folder: Path
    base: Path
    runs: tuple[RunInfo, ...] = ()


def find_places(root: Path, names: Sequence[str]) -> list[Place]:
    """What the names stand for: runs below ``root``, or folders with event files anywhere. No names: all of ``root``.

    Raises:
        UserError: for a name that is neither, or where there is nothing to read.
    """
    if not names:
        check_root(root)
        return [Place(root, root)]
    places = []
    for name in names:
        try:
            choices = choose(root, [name])
        except UserError as unknown:
            places.append(_any_folder(root, name, unknown))
        else:
            places += [Place(choice.path, root, choice.runs) for choice in choices]
    return places


def find_sources(root: Path, names: Sequence[str]) -> list[Source]:
    """The runs that the names stand for, each once.

    Raises:
        UserError: for a name that is neither a run nor a folder with event files, or where there is nothing to read.
    """
    places = find_places(root, names)
    several = len({place.base for place in places}) > 1
    found: dict[Path, Source] = {}
    for place in places:
        for folder, source in _sources_of(place, several).items():
            found.setdefault(folder, source)
    if not found:
        raise UserError(
            f"runs with event files are needed, but there are none in {_listed(names or [str(root)])}; "
            "train with --tensorboard, or name another folder"
        )
    return list(found.values())


def _any_folder(root: Path, name: str, unknown: UserError) -> Place:
    """A folder of the user's own, inside the root or outside it."""
    if not name.strip():
        raise unknown
    for folder in (Path(name), root / name):
        if folder.is_dir() and event_folders(folder):
            inside = Path(os.path.abspath(folder)).is_relative_to(os.path.abspath(root))
            return Place(folder, root if inside else folder)
    if Path(name).is_dir():
        raise UserError(f"'{name}' is neither a run nor a folder with event files (events.out.tfevents...)")
    if not root.is_dir():
        raise UserError(f"there is no run or folder '{name}', and no folder of runs '{root}'; use --root to name it")
    raise unknown


def _sources_of(place: Place, several: bool) -> dict[Path, Source]:
    """By real folder, in the order of the names."""
    events = {Path(os.path.abspath(folder)): files for folder, files in event_folders(place.folder).items()}
    tables = {
        Path(os.path.abspath(table)).parent: table
        for table in place.folder.rglob(METRICS_FILE)
        if table.with_name(CONFIG_FILE).is_file()
    }
    base = Path(os.path.abspath(place.base))
    sources = {}
    for folder in sorted({*events, *tables}):
        name = folder.relative_to(base).as_posix()
        if several:  # runs of two folders may bear the same name
            name = base.name if name == "." else f"{base.name}/{name}"
        sources[folder] = Source(name, tuple(events.get(folder, ())), tables.get(folder))
    return sources


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
