"""What is known of one tag, and the categories that dashboards and documents sort tags into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", "none"]
Axis = Literal["epoch", "step", "trial"]
Cost = Literal["cheap", "moderate", "expensive"]
Kind = Literal["scalar", "histogram", "image", "text", "pr_curve"]

CATEGORIES = (
    # The fifteen of the diffusion guide, in its order, which all models share...
    "01 Training",
    "02 Loss components",
    "03 Epoch summary",
    "04 Learning rate",
    "05 Performance",
    "06 Diffusion",
    "07 Noise analysis",
    "08 Model architecture",
    "09 Parameter statistics",
    "10 Parameter histograms",
    "11 Gradient statistics",
    "12 Generated samples",
    "13 Noise visualization",
    "14 System",
    "15 Configuration",
    # ... what looks inside a model while it learns, and at its answers ...
    "Activations",
    "Attention",
    "Representation",
    "Uncertainty and calibration",
    "Decisions",
    "Findings",
    # ... batch by batch, and a search with its trials ...
    "Training batches",
    "Evaluation batches",
    "Progress",
    "Search",
    "Trial",
    "Hyperparameters",
    # ... the nine of the H-JEPA guide, and what is a model's own.
    "Loss metrics",
    "EMA dynamics",
    "Collapse monitoring",
    "Prediction quality",
    "Gradient flow",
    "Learning dynamics",
    "Step performance",
    "Hierarchy structure",
    "Masking",
    "Custom",
)
"""The headings of dashboards and documents, in their order."""


@dataclass(frozen=True)
class MetricSpec:
    """What is known of one tag.

    Attributes:
        tag: the tag; a part in braces stands for any text, e.g. a layer's name.
        unit: unit of the values; empty where they have none.
        direction: which values are better; "none" where neither is.
        axis: what a step of the tag is.
        cost: how often it may be written: at every step, at every hundredth, at every tenth epoch.
        category: the heading under which documents and dashboards show it, one of ``CATEGORIES``.
        help: one line that says what it is.
        kind: the tab of TensorBoard it belongs to.
        chart: title of the chart in CUSTOM SCALARS that it shares with other tags; empty for a chart of its own; None
            for no chart there, where a run has one point of it or none.
        timed: whether values depend on the clock or the machine, so that no two runs agree on them.
    """

    tag: str
    unit: str
    direction: Direction
    axis: Axis
    cost: Cost
    category: str
    help: str
    kind: Kind = "scalar"
    chart: str | None = ""
    timed: bool = False

    @property
    def pattern(self) -> str:
        """A regular expression that fits exactly this tag, any text in place of its braces."""
        return "".join(".+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", self.tag))


@dataclass(frozen=True)
class MarginChart:
    """A chart of CUSTOM SCALARS that shows a value within its interval.

    Attributes:
        category, title: where it stands.
        tags: of the value, the lower and the upper bound.
    """

    category: str
    title: str
    tags: tuple[str, str, str]
