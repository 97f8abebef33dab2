"""The user's space file: what it may hold, and what it says of one model. Free of torch and Optuna."""

from __future__ import annotations

import fnmatch
import json
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError, UserError, did_you_mean
from .seed_names import SEED_NAMES

RANGE_KEYS = ("low", "high", "log")
_EXAMPLE = "dropout = 0.1 (fixed), [0.1, 0.2] (choices) or {low = 0.0, high = 0.3} (a range)"
_OPTION_OF = {seed: option for option, seed in SEED_NAMES.items()}


@dataclass(frozen=True)
class Entry:
    """What the file says of one option: a single value, a list of choices, or a range with open ends as None.

    Attributes:
        written: the option's name as it stands in the file.
        content: a plain value, or a list.
        low, high, log: of a range.
        is_range: whether it is one.
    """

    written: str
    content: Any = None
    low: float | None = None
    high: float | None = None
    log: bool | None = None
    is_range: bool = False


def load_space_file(path: Path | str) -> dict[str, Any]:
    """Read a space file.

    It names options, by their own names or S0's, each with a single value (fixed), a list (choices) or a table of
    ``low``, ``high`` and ``log`` (a range). A table under a model's name or pattern (``["lstm:*"]``) is for that
    model, and wins.

    Args:
        path: JSON or TOML.

    Returns:
        the file's content.

    Raises:
        UserError: if it cannot be read.
        OptionError: if an entry is none of these.
    """
    path = Path(path)
    if path.suffix.lower() not in (".json", ".toml"):
        raise OptionError(f"--space takes a .json or .toml file, but got '{path}'; TOML is the easier one to write")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"--space needs a file that exists, but there is no {path}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--space {path} cannot be read ({error}); check that it is a text file") from None
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = path.suffix[1:].upper()
        raise OptionError(f"--space {path} is no valid {kind} ({error}); mend that place") from None
    if not isinstance(content, dict):
        raise OptionError(f"a space file names options, but {path} holds a {type(content).__name__}; write {_EXAMPLE}")
    for name, entry in content.items():
        if _names_model(name):
            _check_table(name, entry)
        else:
            parse_entry(name, entry)
    return content


def _check_table(model: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise OptionError(f"what stands under the model {model} must be a table of options, but got {table!r}")
    for name, entry in table.items():
        parse_entry(name, entry)


def _names_model(name: str) -> bool:
    return ":" in name


def parse_entry(name: str, entry: Any) -> Entry:
    """What an entry means.

    Raises:
        OptionError: if it means nothing.
    """
    if not isinstance(entry, dict):
        if entry == []:
            raise OptionError(f"a list of choices needs at least one, but {name} has none; write {_EXAMPLE}")
        if isinstance(entry, str | int | float | bool | list) or entry is None:
            return Entry(name, entry)
        raise OptionError(f"an option is a number, a text or true/false, but {name} is {entry!r}; write {_EXAMPLE}")
    for key in entry:
        if key not in RANGE_KEYS:
            raise OptionError(
                f"a range has {', '.join(RANGE_KEYS)}, but {name} has '{key}'.{did_you_mean(key, RANGE_KEYS)} "
                'Tables for a model stand under its full name, such as ["lstm:basic"]'
            )
    low, high, log = (entry.get(key) for key in RANGE_KEYS)
    if low is None and high is None and log is None:
        raise OptionError(f"a range needs low or high, but that of {name} is empty; write {_EXAMPLE}")
    for key, value in (("low", low), ("high", high)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            raise OptionError(f"the ends of a range must be numbers, but {key} of {name} is {value!r}")
    if not isinstance(log, bool | None):
        raise OptionError(f"log of a range must be true or false, but that of {name} is {log!r}")
    if low is not None and high is not None and low > high:
        raise OptionError(f"low must be at most high, but {name} has low={low} and high={high}; swap them")
    return Entry(name, low=low, high=high, log=log, is_range=True)


def option_named(written: str, names: Collection[str]) -> str | None:
    """The option that a name of the file stands for: one of that name, or else the one that S0 called so."""
    if written in names:
        return written
    option = _OPTION_OF.get(written)
    return option if option in names else None


def entries_of(file: Mapping[str, Any], model: str, names: Collection[str]) -> dict[str, Entry]:
    """What the file says of a model's options, by their own names; what others have is passed over.

    Args:
        file: of ``load_space_file``.
        model: its registered name.
        names: of all options that it has.

    Raises:
        OptionError: if an option is named twice in one table.
    """
    general = {name: entry for name, entry in file.items() if not _names_model(name)}
    found = _resolved(general, names)
    for pattern, table in file.items():
        if _names_model(pattern) and fnmatch.fnmatchcase(model, pattern):
            found |= _resolved(table, names)
    return found


def _resolved(table: Mapping[str, Any], names: Collection[str]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for written, entry in table.items():
        option = option_named(written, names)
        if option is None:
            continue
        if option in found:
            raise OptionError(
                f"an option stands once in a space file, but {found[option].written} and {written} are both {option}; "
                "leave one out"
            )
        found[option] = parse_entry(written, entry)
    return found


def check_names(file: Mapping[str, Any], names_by_model: Mapping[str, Collection[str]]) -> None:
    """Refuse names that mean nothing to any of the models.

    Args:
        file: of ``load_space_file``.
        names_by_model: of every model that is searched, the options that may be.

    Raises:
        OptionError: with the closest name known.
    """
    every = sorted({name for names in names_by_model.values() for name in names})
    for written, entry in file.items():
        if _names_model(written):
            chosen = fnmatch.filter(names_by_model, written)
            if not chosen:
                raise OptionError(
                    f"the space file has a table for {written}, but that is none of the models searched."
                    f"{did_you_mean(written, names_by_model)} They are: {', '.join(names_by_model)}"
                )
            known = sorted({name for model in chosen for name in names_by_model[model]})
            for name in entry:
                _check_name(name, known, chosen)
        else:
            _check_name(written, every, list(names_by_model))


def _check_name(written: str, known: Collection[str], models: Collection[str]) -> None:
    if option_named(written, known) is None:
        whose = next(iter(models)) if len(models) == 1 else "any of the models searched"
        raise OptionError(
            f"the space file names {written}, but that is no option of {whose} that can be searched."
            f"{did_you_mean(written, [*known, *_OPTION_OF])} Known: {', '.join(known)}"
        )
