"""The rules of the diagnosis: ``rules.toml``, a user's file over it, and what is checked about both."""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError, did_you_mean
from .conditions import Kind
from .findings import SEVERITIES
from .kinds import KINDS

SHIPPED_RULES = Path(__file__).with_name("rules.toml")
ACTIONS = ("warn", "stop", "lower_lr", "checkpoint")

COMMON: dict[str, Any] = {
    "kind": "",
    "metrics": ["tag"],
    "needs": ["tag"],
    "severity": "warn",
    "action": ["warn"],
    "advice": "",
    "enabled": True,
    "checks": 1,
    "after_steps": 0,
    "after_epochs": 0,
}
"""The keys that every rule has, each with a value of its type."""


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: its name, e.g. ``grad_exploding``.
        kind: the condition, one of ``KINDS``.
        metrics: tags it looks at; a part in braces stands for any text.
        severity: of its findings: "info", "warn" or "critical".
        actions: what its findings set off (see ``alerts.py``).
        advice: what can be done.
        needs: tags of which one must have been seen, or the finding is of severity "info"; empty for none.
        checks: in how many observations in a row the condition must hold, ten steps or an epoch apart.
        after_steps, after_epochs: when to begin; epochs count from 0.
        parameters: those of the kind.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    severity: str = "warn"
    actions: tuple[str, ...] = ("warn",)
    advice: str = ""
    needs: tuple[str, ...] = ()
    checks: int = 1
    after_steps: int = 0
    after_epochs: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def reads(self, tag: str) -> bool:
        """Whether the rule looks at this tag."""
        return any(pattern_of(metric).fullmatch(tag) for metric in self.metrics)

    def range_of(self, tag: str) -> tuple[float, float]:
        """The range of a tag's values, for rules of kind ``outside``."""
        ranges = self.parameters["ranges"].items()
        low, high = next(pair for metric, pair in ranges if pattern_of(metric).fullmatch(tag))
        return low, high

    @property
    def also_reads(self) -> tuple[str, ...]:
        """Further tags that the condition compares with."""
        return tuple(self.parameters[key] for key in self.kind.also_reads)

    def layer_of(self, tag: str) -> str:
        """What stands for the braces of the metric, or the tag itself."""
        matches = (pattern_of(metric).fullmatch(tag) for metric in self.metrics)
        groups = next((match.groups() for match in matches if match), ())
        return groups[-1] if groups else tag


@functools.cache
def pattern_of(metric: str) -> re.Pattern[str]:
    """The regular expression of a tag with braces."""
    parts = re.split(r"\{[^}]*\}", metric)
    return re.compile("(.+)".join(re.escape(part) for part in parts))


def load_rules(path: Path | str | None = None) -> tuple[Rule, ...]:
    """The rules that came with the program, changed by a user's TOML file if there is one.

    A table of the user's file changes the keys it names, switches a rule off (``enabled = false``), or, with a name of
    its own and a ``kind``, adds a rule.

    Raises:
        UserError: if the file cannot be read, or holds a rule, key, kind or value that cannot be.
    """
    tables: dict[str, dict[str, Any]] = _read(SHIPPED_RULES)
    rules = {name: _rule(name, table, SHIPPED_RULES) for name, table in tables.items()}
    if path is not None:
        for name, changes in _read(Path(path)).items():
            if name not in tables and "kind" not in changes:
                raise UserError(
                    f"a rule must be one that exists, or say its kind, but {path} has [{name}] without a kind."
                    + (did_you_mean(name, tables) or f" Rules: {', '.join(tables)}")
                )
            tables[name] = tables.get(name, {}) | changes
            rules[name] = _rule(name, tables[name], Path(path))
    return tuple(rule for name, rule in rules.items() if tables[name].get("enabled", True))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the file of rules {path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"a file of rules must be TOML, but {path} is not: {error}") from None
    for name, table in content.items():
        if not isinstance(table, dict):
            raise UserError(f"every key must stand in a rule, but {path} has {name} before the first [rule]")
    return content


def _rule(name: str, table: dict[str, Any], path: Path) -> Rule:
    where = f"{path}, [{name}]"
    kind_name = table.get("kind")
    if not isinstance(kind_name, str) or kind_name not in KINDS:
        raise UserError(
            f"kind must be one of {', '.join(KINDS)}, but {where} has {kind_name!r}."
            + did_you_mean(str(kind_name), KINDS)
        )
    kind = KINDS[kind_name]
    for key, value in table.items():
        if key not in COMMON and key not in kind.parameters:
            known = [*COMMON, *kind.parameters]
            raise UserError(
                f"a rule of kind {kind_name} has the keys {', '.join(known)}, but {where} has {key!r}."
                + did_you_mean(key, known)
            )
        _check(where, key, value, COMMON[key] if key in COMMON else kind.parameters[key])
    actions = table.get("action", ["warn"])
    rule = Rule(
        name=name,
        kind=kind,
        metrics=tuple(table.get("metrics") or table.get("ranges", ())),
        severity=table.get("severity", "warn"),
        actions=(actions,) if isinstance(actions, str) else tuple(actions),
        advice=table.get("advice", ""),
        needs=tuple(table.get("needs", ())),
        checks=table.get("checks", 1),
        after_steps=table.get("after_steps", 0),
        after_epochs=table.get("after_epochs", 0),
        parameters=dict(kind.parameters) | {key: value for key, value in table.items() if key in kind.parameters},
    )
    return _checked(rule, table, where)


def _checked(rule: Rule, table: dict[str, Any], where: str) -> Rule:
    """What no single key shows."""
    if not rule.metrics:
        raise UserError(f'a rule must name its metrics, but {where} has none; e.g. metrics = ["Loss/validation"]')
    missing = [key for key in rule.kind.required if key not in table]
    if missing:
        raise UserError(f"a rule of kind {rule.kind.name} needs {' and '.join(missing)}, but {where} has none")
    if rule.severity not in SEVERITIES:
        raise UserError(
            f"severity must be one of {', '.join(SEVERITIES)}, but {where} has {rule.severity!r}."
            + did_you_mean(rule.severity, SEVERITIES)
        )
    for action in rule.actions:
        if action not in ACTIONS:
            raise UserError(
                f"action must be one of {', '.join(ACTIONS)}, but {where} has {action!r}."
                + did_you_mean(action, ACTIONS)
            )
    return rule


def _check(where: str, key: str, value: Any, example: Any) -> None:
    """The type of a value, and that numbers are some."""
    if key == "ranges":
        _check_ranges(where, value)
    elif isinstance(example, list):
        texts = [value] if key == "action" and isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            raise UserError(f"{key} must be a list of texts, but {where} has {value!r}")
    elif isinstance(example, bool) or isinstance(value, bool):
        if not (isinstance(example, bool) and isinstance(value, bool)):
            raise UserError(f"{key} must be {_expected(example)}, but {where} has {value!r}")
    elif isinstance(example, int):
        least = 1 if key == "checks" else 0
        if not isinstance(value, int) or value < least:
            raise UserError(f"{key} must be a whole number from {least}, but {where} has {value!r}")
    elif isinstance(example, float):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{key} must be a number, but {where} has {value!r}")
    elif not isinstance(value, str):
        raise UserError(f"{key} must be text, but {where} has {value!r}")


def _expected(example: Any) -> str:
    if isinstance(example, bool):
        return "true or false"
    return "a number" if isinstance(example, int | float) else "text"


def _check_ranges(where: str, value: Any) -> None:
    pairs: list[Any] = list(value.values()) if isinstance(value, dict) else []
    for pair in pairs or [()]:
        numbers = isinstance(pair, list) and all(isinstance(n, int | float) and not isinstance(n, bool) for n in pair)
        if not numbers or len(pair) != 2 or not pair[0] < pair[1]:
            raise UserError(
                f"ranges must be a table of metrics with their lowest and highest value, but {where} has {value!r}; "
                'e.g. ranges = {"ema/weight_magnitude_ratio" = [0.95, 1.05]}'
            )
