"""The H-JEPA guide's ``tensorboard_layout.json`` made into a dashboard that TensorBoard shows.

TensorBoard reads no such file; what it shows in CUSTOM SCALARS is a layout written into an event file. The guide's file
nests a category, its charts and their tags; a tag may also stand directly below a category::

    {"category": [{"title": "Loss Metrics", "closed": false, "children": [
        {"title": "Hierarchical Losses", "closed": false, "children": ["train/loss/total", "train/loss/h0"]},
        "train/learning_rate/base_lr"]}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import DataError, UserError
from .event_file import EventFile
from .layout import Layout
from .run_folder import read_json

_SEPARATOR = " / "


def read_layout(path: str | Path) -> Layout:
    """Read such a file into what ``SummaryWriter.add_custom_scalars`` takes.

    A tag directly below a category becomes a chart of its own; charts nested deeper are named by their whole path
    ("Outer / Inner"). ``closed`` is not kept: ``add_custom_scalars`` opens every category.

    Raises:
        UserError: if the file cannot be read, is no JSON or is not nested like this.
    """
    content = read_json(Path(path))
    categories = content.get("category") if isinstance(content, dict) else None
    if not isinstance(categories, list) or not categories:
        raise DataError(f'{path} must hold an object with a list "category", as {{"category": [{{"title": ...}}]}}')
    layout: Layout = {}
    for category in categories:
        title = _title(category, str(path))
        if title in layout:
            raise DataError(f"the titles of categories must differ, but {path} has '{title}' twice")
        layout[title] = {}
        _add_charts(layout[title], category, title, "", str(path))
    return layout


def layout_tags(layout: Layout) -> list[str]:
    """The tags that a layout from ``read_layout`` names, each once."""
    patterns = [pattern for charts in layout.values() for chart in charts.values() for pattern in chart[1]]
    return list(dict.fromkeys(re.sub(r"\\(.)", r"\1", pattern.removesuffix("$")) for pattern in patterns))


def write_layout(layout: Layout, folder: Path) -> None:
    """Write a layout into a new event file of a run; of several in one run TensorBoard shows the last.

    Raises:
        UserError: if the folder cannot be written.
    """
    from torch.utils.tensorboard.summary import custom_scalars

    file = EventFile(folder)
    file.add_summary(custom_scalars(layout))
    file.close()
    if file.failed:
        raise UserError(f"a layout is written into the folder of the runs, but '{folder}' cannot be written")


def _add_charts(charts: dict[str, list[str | list[str]]], parent: Any, where: str, above: str, path: str) -> None:
    """Add what stands below a category or below an object inside it."""
    children = parent.get("children")
    if not isinstance(children, list) or not children:
        raise DataError(f"'{where}' in {path} must have a list \"children\" of tags and charts that is not empty")
    tags = [child for child in children if isinstance(child, str)]
    if above and tags:
        _add_chart(charts, above, tags, path)
    elif tags:
        for tag in tags:
            _add_chart(charts, tag, [tag], path)
    for child in children:
        if not isinstance(child, str):
            title = _title(child, path)
            _add_charts(charts, child, title, f"{above}{_SEPARATOR if above else ''}{title}", path)


def _add_chart(charts: dict[str, list[str | list[str]]], title: str, tags: Iterable[str], path: str) -> None:
    if title in charts:
        raise DataError(f"the titles of the charts of a category must differ, but {path} has '{title}' twice")
    # TensorBoard takes tags for regular expressions and matches them from the start only.
    charts[title] = ["Multiline", [f"{re.escape(tag)}$" for tag in tags]]


def _title(entry: Any, path: str) -> str:
    title = entry.get("title") if isinstance(entry, dict) else None
    if not isinstance(title, str) or not title.strip():
        raise DataError(f'every category and chart in {path} must be an object with a "title", but got {entry!r:.80}')
    return title
