"""Errors that are the user's to mend. Entry scripts print them as one line and end with exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave cannot work: the message states the rule, then the value, then the likely fix."""


class OptionError(UserError):
    """An option has a value it cannot have, or does not exist."""


class DataError(UserError):
    """A file or data set cannot be read or is not enough for what was asked."""


class TrainingError(Exception):
    """A run cannot go on (a loss that is not finite, for one). That run fails; others are not concerned."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known word (" Did you mean 'lstm:basic'?"), or an empty string."""
    by_lower_case = {word.lower(): word for word in known}
    matches = difflib.get_close_matches(given.lower(), list(by_lower_case), n=1, cutoff=0.6)
    return f" Did you mean '{by_lower_case[matches[0]]}'?" if matches else ""
