"""``Finding``: what a rule saw in a training, and how findings are written for people and programs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .run_folder import write_json

FINDINGS_FILE = "findings.json"
SEVERITIES = ("info", "warn", "critical")
_logger = logging.getLogger(__name__)
NO_FINDING = "No rule has fired: nothing that was watched looks ill so far."


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a training.

    Attributes:
        rule: which rule of ``rules.toml`` fired.
        severity: "info", "warn" or "critical".
        metric: tag of the worst metric concerned.
        step: global step at which the rule fired.
        epoch: the epoch, for rules over epochs; None for those over steps.
        value: the metric's value then; NaN or infinite where that is what is wrong.
        evidence: one sentence: what was seen, since when.
        advice: what can be done about it.
        until_step: global step at which it was over; None while it lasts.
    """

    rule: str
    severity: str
    metric: str
    step: int
    epoch: int | None
    value: float
    evidence: str
    advice: str
    until_step: int | None = None

    def line(self) -> str:
        """For terminal and log: ``warn: dead_layer at step 120: ...``."""
        return f"{self.severity}: {self.rule} at {self.when()}: {self.evidence} {self.advice}"

    def when(self) -> str:
        """Step, and epoch where there is one."""
        place = f"step {self.step}" if self.epoch is None else f"epoch {self.epoch} (step {self.step})"
        return place if self.until_step is None else f"{place}, over since step {self.until_step}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        return asdict(self)


def severity_rank(severity: str) -> int:
    """0 for info, 1 for warn, 2 for critical."""
    return SEVERITIES.index(severity)


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first, then in order of time; those that are over come last."""
    return sorted(findings, key=lambda f: (f.until_step is not None, -severity_rank(f.severity), f.step))


def write_findings(folder: Path, findings: Sequence[Finding], verdicts: Mapping[str, str] | None = None) -> None:
    """Write ``findings.json`` whole and atomically: all findings in order of time, and the verdicts in words."""
    content = {"findings": [_for_json(finding) for finding in findings], "verdicts": dict(verdicts or {})}
    write_json(folder / FINDINGS_FILE, content)


def keep_findings(folder: Path, findings: Sequence[Finding], verdicts: Mapping[str, str] | None = None) -> None:
    """As ``write_findings``, for the middle of a training: a disk that fails is a line in the log."""
    try:
        write_findings(folder, findings, verdicts)
    except OSError as error:
        _logger.warning("findings cannot be written in %s: %s", folder, error.strerror)


def log_finding(finding: Finding) -> None:
    """Say a finding through ``logging``: a warning, unless it is only worth knowing."""
    _logger.log(logging.INFO if finding.severity == "info" else logging.WARNING, "%s", finding.line())


def _for_json(finding: Finding) -> dict[str, Any]:
    """JSON has no word for values that are not finite, and null would hide what was seen."""
    fields = finding.as_dict()
    if finding.value - finding.value != 0:
        fields["value"] = str(finding.value)
    return fields


def markdown(findings: Sequence[Finding], verdicts: Mapping[str, str] | None = None) -> str:
    """The text of the TEXT tab: a paragraph for each finding, the worst first, and the verdicts in words.

    TensorBoard squeezes the columns of a table, so there is none.
    """
    lines = ["## Findings", ""]
    for finding in by_severity(findings):
        lines += [f"**{finding.severity}: {finding.rule}** at {finding.when()}", ""]
        lines += [f"{finding.evidence}", "", f"*What to do:* {finding.advice}", ""]
    if not findings:
        lines.append(NO_FINDING)
    for subject, verdict in (verdicts or {}).items():
        lines += ["", f"**{subject}**: {verdict}"]
    return "\n".join(lines)
