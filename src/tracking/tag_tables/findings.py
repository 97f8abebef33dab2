"""What the diagnosis writes: a text of all findings, and a mark where each began."""

from __future__ import annotations

from .spec import MetricSpec

SUMMARY = "Findings/summary"
MARK = "findings/{rule}"

SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        SUMMARY, "", "none", "step", "cheap", "Findings",
        "Table of all findings so far: severity, rule, when, evidence and advice.", kind="text",
    ),
    MetricSpec(
        MARK, "", "none", "step", "cheap", "Findings",
        "1 at each step at which the rule found something; written only then.", chart=None,
    ),
)  # fmt: skip
