"""``Diagnosis``: watches the metrics of a training and says what is wrong with it, since when, and what helps.

Depends on nothing but the values it is shown, so that a resumed run finds what an uninterrupted one would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from .conditions import Look, Sighting
from .findings import Finding, severity_rank
from .history import History
from .rules import Rule, load_rules, pattern_of

STEPS_APART = 10
"""Values of one metric that are closer together than this many steps count once."""
HEALTHY_CHECKS = 3
"""Observations in a row without the condition after which a finding is over."""
FIRST_QUIET = 10
"""Observations after a rule's finding before it may have another one; doubled with each, so that none floods."""
MOST_FINDINGS = 200
"""Findings that are kept; by the doubling above, no training of any length has as many."""


@dataclass
class _Case:
    """One rule's view of one metric: the streak of observations in which its condition held, and the finding if any."""

    streak: int = 0
    since: int = 0
    healthy: int = 0
    finding: int | None = None
    memory: dict[str, float] = field(default_factory=dict)


@dataclass
class _Activity:
    """A rule's whole record: observations so far, findings so far and the observation of the latest, its cases."""

    observations: int = 0
    findings: int = 0
    latest: int = -1
    latest_rank: int = -1
    cases: dict[str, _Case] = field(default_factory=dict)


@dataclass(frozen=True)
class _Place:
    """Where an observation stands: ``position`` is the epoch, or the step where there is no epoch."""

    step: int
    epoch: int | None
    position: int


class Diagnosis:
    """Evaluates the rules on what monitors measure.

    Args:
        rules: from ``load_rules``; those that came with the program by default.
    """

    def __init__(self, rules: Sequence[Rule] | None = None) -> None:
        self.rules = {rule.name: rule for rule in (load_rules() if rules is None else rules)}
        self.findings: list[Finding] = []
        self._history = History()
        self._activities = {name: _Activity() for name in self.rules}
        self._needed = {name: not rule.needs for name, rule in self.rules.items()}
        self._readers: dict[str, tuple[list[Rule], bool]] = {}

    def observe(self, step: int, values: Mapping[str, float]) -> list[Finding]:
        """Look at values of a global step, tag to number; any tags, any of them missing. Returns new findings."""
        return self._observe(_Place(step, None, step), values)

    def observe_epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> list[Finding]:
        """Look at values of an epoch that ended at ``step``. Returns new findings."""
        return self._observe(_Place(step, epoch, epoch), values)

    def _observe(self, place: _Place, values: Mapping[str, float]) -> list[Finding]:
        fresh: dict[str, list[tuple[str, float]]] = {}  # rule to what it has to look at
        spacing = STEPS_APART if place.epoch is None else 1
        for tag, value in values.items():
            rules, is_remembered = self._readers.get(tag) or self._readers_of(tag)
            is_new = is_remembered and self._history.add(tag, place.position, value, spacing)
            if is_new or not math.isfinite(value):
                for rule in rules:
                    fresh.setdefault(rule.name, []).append((tag, value))
        found: list[Finding] = []
        for name, rule in self.rules.items():  # the order of the rules, whatever the order of the values
            if name in fresh and self._begins(rule, place):
                found += self._apply(rule, fresh[name], place)
        return found

    def _readers_of(self, tag: str) -> tuple[list[Rule], bool]:
        """The rules that look at a tag, and whether it is to be remembered; asked once for each tag."""
        rules = [rule for rule in self.rules.values() if rule.reads(tag)]
        is_compared = any(tag in rule.also_reads for rule in self.rules.values())
        for name, rule in self.rules.items():
            if any(pattern_of(needed).fullmatch(tag) for needed in rule.needs):
                self._needed[name] = True
        self._readers[tag] = (rules, bool(rules) or is_compared)
        return self._readers[tag]

    def _begins(self, rule: Rule, place: _Place) -> bool:
        begin = rule.after_steps if place.epoch is None else rule.after_epochs
        return self._needed[rule.name] and place.position >= begin

    # --- one rule -----------------------------------------------------------------------------------------------------

    def _apply(self, rule: Rule, values: list[tuple[str, float]], place: _Place) -> list[Finding]:
        activity = self._activities[rule.name]
        activity.observations += 1
        ill: dict[str, Sighting] = {}
        for tag, value in values:
            if not math.isfinite(value) and rule.kind.name != "nonfinite":
                continue
            case = activity.cases.get(tag)
            if case is None:
                case = activity.cases[tag] = _Case()
            series = self._history[tag]
            look = Look(rule, tag, value, place.position, series, self._history, case.streak, case.memory)
            sighting = rule.kind.condition(look)
            if sighting is None:
                self._heal(case, place)
                continue
            case.since = place.position if not case.streak else case.since
            case.streak, case.healthy = case.streak + 1, 0
            if case.streak >= rule.checks or sighting.is_sure:
                ill[tag] = sighting
        return self._report(rule, activity, ill, dict(values), place) if ill else []

    def _heal(self, case: _Case, place: _Place) -> None:
        """Count a healthy observation of a metric; the last of a finding's metrics to heal ends it."""
        case.streak, case.healthy = 0, case.healthy + 1
        if case.finding is None or case.healthy < HEALTHY_CHECKS:
            return
        number, case.finding = case.finding, None
        finding = self.findings[number]
        others = self._activities[finding.rule].cases.values()
        if finding.until_step is None and not any(other.finding == number for other in others):
            self.findings[number] = replace(finding, until_step=place.step)

    def _report(
        self,
        rule: Rule,
        activity: _Activity,
        ill: dict[str, Sighting],
        values: dict[str, float],
        place: _Place,
    ) -> list[Finding]:
        """One finding for all metrics that are newly ill, if it is time for another one of this rule."""
        severities = {tag: sighting.severity or rule.severity for tag, sighting in ill.items()}
        new = {
            tag: sighting
            for tag, sighting in ill.items()
            if self._is_news(activity.cases[tag], severity_rank(severities[tag]))
        }
        if not new:
            return []
        top = max(severity_rank(severities[tag]) for tag in new)
        quiet = FIRST_QUIET * 2 ** (activity.findings - 1) if activity.findings else 0
        is_too_soon = activity.observations - activity.latest < quiet and top <= activity.latest_rank
        if is_too_soon or len(self.findings) >= MOST_FINDINGS:
            return []
        worst = max((tag for tag in new if severity_rank(severities[tag]) == top), key=lambda tag: new[tag].badness)
        finding = self._finding(rule, worst, severities[worst], values[worst], new, place)
        activity.findings, activity.latest = activity.findings + 1, activity.observations
        activity.latest_rank = top
        self._end_milder(activity, new, place)
        for tag in new:
            activity.cases[tag].finding = len(self.findings)
        self.findings.append(finding)
        return [finding]

    def _is_news(self, case: _Case, rank: int) -> bool:
        return case.finding is None or rank > severity_rank(self.findings[case.finding].severity)

    def _end_milder(self, activity: _Activity, tags: Mapping[str, Sighting], place: _Place) -> None:
        """Findings whose metrics all turned into a worse one end with its beginning."""
        numbers = {activity.cases[tag].finding for tag in tags}
        kept = {case.finding for tag, case in activity.cases.items() if tag not in tags}
        for number in numbers - kept:
            if number is not None:
                self.findings[number] = replace(self.findings[number], until_step=place.step)

    def _finding(
        self, rule: Rule, tag: str, severity: str, value: float, ill: Mapping[str, Sighting], place: _Place
    ) -> Finding:
        since, word = self._activities[rule.name].cases[tag].since, "step" if place.epoch is None else "epoch"
        evidence = f"{tag} {ill[tag].evidence}"
        if since != place.position:
            evidence += f", since {word} {since}"
        if len(ill) > 1:
            other = [rule.layer_of(name) for name in sorted(ill) if name != tag]
            named = ", ".join(other[:3]) + (", ..." if len(other) > 3 else "")
            evidence += f"; so {'is 1 other' if len(other) == 1 else f'are {len(other)} others'} ({named})"
        return Finding(rule.name, severity, tag, place.step, place.epoch, value, f"{evidence}.", rule.advice)

    # --- what is known in the end -------------------------------------------------------------------------------------

    def verdicts(self) -> dict[str, str]:
        """What can be said in words beside the findings: so far, whether uncertainties are well calibrated."""
        coverage = self._history["calibration/coverage_90_percent"].last(5)
        correlation = self._history["calibration/uncertainty_error_correlation"].last(5)
        error = self._history["calibration/expected_calibration_error"].last(5)
        gap = self._history["calibration/confidence_gap"].last(5)
        if not (coverage or correlation or error or gap):
            return {}
        known = (median(values) if values else None for values in (coverage, correlation, error, gap))
        return {"Calibration": calibration_verdict(*known)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs to go on as if nothing had been; plain and bounded."""
        return {
            "findings": [finding.as_dict() for finding in self.findings],
            "history": self._history.state_dict(),
            "needed": dict(self._needed),
            "activities": {
                name: vars(activity)
                | {"cases": {tag: vars(case) | {"memory": dict(case.memory)} for tag, case in activity.cases.items()}}
                for name, activity in self._activities.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken. Rules that have been added since start anew."""
        self.findings = [Finding(**fields) for fields in state["findings"]]
        self._history.load_state_dict(state["history"])
        self._needed |= {name: bool(seen) for name, seen in state["needed"].items() if name in self._needed}
        for name, fields in state["activities"].items():
            # Also of rules that are gone, whose findings stay.
            cases = {tag: _Case(**case | {"memory": dict(case["memory"])}) for tag, case in fields["cases"].items()}
            self._activities[name] = _Activity(**{**fields, "cases": cases})


def calibration_verdict(
    coverage: float | None, correlation: float | None, error: float | None, gap: float | None = None
) -> str:
    """Well calibrated, over- or under-confident, in one sentence.

    Args:
        coverage: percent of the truth inside the 90 % interval.
        correlation: rank correlation (Spearman) of uncertainty and absolute error.
        error: expected calibration error, 0 to 1.
        gap: mean confidence minus accuracy, -1 to 1.
    """
    said = []
    if coverage is not None:
        word = "over-confident" if coverage < 85 else "under-confident" if coverage > 95 else "well calibrated"
        said.append(f"{word} (the 90 % interval holds {coverage:.1f} % of the truth)")
    elif gap is not None:
        word = "over-confident" if gap > 0.05 else "under-confident" if gap < -0.05 else "well calibrated"
        said.append(f"{word} (confidence is {100 * gap:+.1f} points off the accuracy)")
    elif error is not None:
        said.append("well calibrated" if error <= 0.1 else "badly calibrated")
    if error is not None:
        said.append(f"expected calibration error {error:.3f}")
    if correlation is not None:
        word = (
            "uncertainty is large where errors are" if correlation >= 0.1 else "uncertainty says nothing about errors"
        )
        said.append(f"{word} (rank correlation {correlation:.2f})")
    return "; ".join(said) + "."
