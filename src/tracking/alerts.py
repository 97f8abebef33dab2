"""What a finding sets off: actions in the training, a command of the user's, a message to a web address."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .findings import Finding, severity_rank
from .notifiers import CommandNotifier, Deliveries, UrlNotifier
from .rules import Rule, load_rules

NOTIFIED = ("warn", "critical")
_logger = logging.getLogger(__name__)


class Alerts:
    """Says what is to be done about findings, and tells whoever wants to know.

    Training never waits for a notification: each goes through a thread of its own.

    Args:
        rules: from ``load_rules``; their ``action`` says what a finding asks for.
        run: name of the run, for those who are told.
        log_dir: the run's folder.
        notify: a command, split like a shell line but run without a shell; gets JSON on its standard input. Empty for
            none.
        notify_url: http or https address that the same JSON is posted to. Empty for none.
        severities: of the findings that are told.
        report: called with one line if telling failed; by default a warning is logged.

    Raises:
        UserError: if the command cannot be split or the address is none.
    """

    def __init__(
        self,
        rules: Sequence[Rule] | None = None,
        *,
        run: str = "",
        log_dir: str | Path = "",
        notify: str = "",
        notify_url: str = "",
        severities: Sequence[str] = NOTIFIED,
        report: Callable[[str], None] = _logger.warning,
    ) -> None:
        self.rules = {rule.name: rule for rule in (load_rules() if rules is None else rules)}
        self.run, self.log_dir, self.severities = run, str(log_dir), tuple(severities)
        notifiers: list[CommandNotifier | UrlNotifier] = []
        if notify:
            notifiers.append(CommandNotifier(notify))
        if notify_url:
            notifiers.append(UrlNotifier(notify_url))
        self._deliveries = [Deliveries(notifier, report) for notifier in notifiers]

    def handle(self, finding: Finding) -> list[str]:
        """Tell of a finding, and return the actions that its rule asks for: warn, stop, lower_lr, checkpoint.

        A finding milder than its rule (the info before a warning) only warns.
        """
        if finding.severity in self.severities:
            message = json.dumps(self.message(finding)).encode()
            for deliveries in self._deliveries:
                deliveries.put(message)
        rule = self.rules.get(finding.rule)
        if rule is None or severity_rank(finding.severity) < severity_rank(rule.severity):
            return ["warn"]
        return list(rule.actions)

    def message(self, finding: Finding) -> dict[str, Any]:
        """What is sent: run, folder, one line of text (chat services show ``text``), and the finding's fields."""
        fields = finding.as_dict()
        if finding.value - finding.value != 0:  # JSON has no word for NaN and infinity
            fields["value"] = str(finding.value)
        return {"run": self.run, "log_dir": self.log_dir, "text": f"{self.run}: {finding.line()}", **fields}

    def close(self, seconds: float = 10.0) -> None:
        """Wait for what is still under way, so many seconds at most, and say what was not delivered."""
        for deliveries in self._deliveries:
            deliveries.close(seconds)
