"""The CUSTOM SCALARS dashboards, made from the registry of tags.

TensorBoard puts every first part of a tag into a group of its own; here related tags meet in one category, and training
and validation loss in one chart.
"""

from __future__ import annotations

from .tags import SPECS

Layout = dict[str, dict[str, list[str | list[str]]]]


def custom_scalars_layout() -> Layout:
    """Category to chart title to ``["Multiline", patterns of tags]``, for ``SummaryWriter.add_custom_scalars``."""
    layout: Layout = {}
    tags_by_chart: dict[str, list[str]] = {}
    for spec in SPECS:
        if spec.kind != "scalar" or spec.chart is None:
            continue
        title = spec.chart or spec.tag
        if title not in tags_by_chart:
            tags_by_chart[title] = []
            layout.setdefault(spec.category, {})[title] = ["Multiline", tags_by_chart[title]]
        # TensorBoard matches from the start of a tag only.
        tags_by_chart[title].append(f"{spec.pattern}$")
    return layout
