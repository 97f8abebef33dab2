"""The CUSTOM SCALARS dashboards, made from the registry of tags.

TensorBoard puts every first part of a tag into a group of its own; here related tags meet in one category, and training
and validation loss in one chart. Only charts that have a curve are laid out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .tags import GLOSSARY, MARGIN_CHARTS, SPECS, glossary, spec_of

Layout = dict[str, dict[str, list[str | list[str]]]]


def custom_scalars_layout(tags: Collection[str] | None = None) -> Layout:
    """Category to chart title to kind and patterns of tags, for ``SummaryWriter.add_custom_scalars``.

    Args:
        tags: the scalars there are; charts and categories without any are left out. None lays out everything.
    """
    layout: Layout = {}
    shown = set(SPECS) if tags is None else {spec_of(tag) for tag in tags}
    tags_by_chart: dict[tuple[str, str], list[str]] = {}
    for spec in SPECS:
        if spec.kind != "scalar" or spec.chart is None or spec not in shown:
            continue
        title = spec.chart or spec.tag
        if (spec.category, title) not in tags_by_chart:
            patterns = tags_by_chart[spec.category, title] = []
            layout.setdefault(spec.category, {})[title] = ["Multiline", patterns]
        # TensorBoard matches from the start of a tag only.
        tags_by_chart[spec.category, title].append(f"{spec.pattern}$")
    for chart in MARGIN_CHARTS:
        if tags is None or set(chart.tags) <= set(tags):
            layout.setdefault(chart.category, {})[chart.title] = ["Margin", list(chart.tags)]
    return layout


class Dashboard:
    """Keeps the layout of CUSTOM SCALARS and the glossary of a run up to date.

    TensorBoard shows the last layout of a run, so both are written again whenever there are new tags.

    Args:
        writer: the run's ``EventWriter``.
    """

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.laid_out = 0
        """Number of tags that the last layout knew."""

    def update(self, step: int) -> None:
        """Write what has changed, if anything has; ``step`` is where the glossary stands."""
        tags = self.writer.scalar_tags
        if len(tags) != self.laid_out:
            self.laid_out = len(tags)
            self.writer.add_custom_scalars(custom_scalars_layout(tags))
            self.writer.add_text(GLOSSARY, glossary(tags), step)
