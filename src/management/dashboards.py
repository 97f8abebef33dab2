"""``manage_runs.py layout``: a dashboard from a file, written to where TensorBoard looks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..tracking.event_reader import event_folders, read_run
from ..tracking.layout_import import layout_tags, read_layout, write_layout
from .event_sources import Place, find_places


@dataclass(frozen=True)
class LayoutReport:
    """What was written.

    Attributes:
        categories, charts: how many.
        folders: where the layout is now.
        missing: tags of the layout that no run there has.
        tags: how many tags the layout has.
    """

    categories: int
    charts: int
    folders: list[Path]
    missing: list[str]
    tags: int


def place_layout(root: Path, file: Path, names: Sequence[str]) -> LayoutReport:
    """Write the layout in ``file`` to every run that the names stand for, or once to any other folder.

    Of several layouts of one run TensorBoard shows the last; those of several runs it joins.

    Raises:
        UserError: if the file is no layout, a name is unknown, a run is being trained, or nothing can be written.
    """
    layout = read_layout(file)
    places = find_places(root, names)
    folders = list(dict.fromkeys(folder for place in places for folder in _folders(place)))
    for folder in folders:
        write_layout(layout, folder)
    present = {tag for place in places for tag in _tags(place)}
    tags = layout_tags(layout)
    missing = [tag for tag in tags if tag not in present]
    return LayoutReport(len(layout), sum(map(len, layout.values())), folders, missing, len(tags))


def _folders(place: Place) -> list[Path]:
    """Where the layout goes."""
    running = [run.name for run in place.runs if run.state == "running"]
    if running:
        # A reader of TensorBoard's goes on to the newest event file and would miss what still comes in the older one.
        raise UserError(f"a layout is written to runs that are not being trained, but {running[0]} is; wait for it")
    if not place.runs:
        return [place.folder]
    folders = [run.path for run in place.runs if event_folders(run.path)]
    if not folders:
        raise UserError(f"'{place.folder}' has no event files; train with --tensorboard first")
    return folders


def _tags(place: Place) -> set[str]:
    return {tag for files in event_folders(place.folder).values() for tag in read_run(files).scalars}
