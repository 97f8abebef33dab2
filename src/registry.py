"""Names of architectures and the classes behind them.

A name is ``family:variant``; the family is the file in ``src/models/``. A class enters with
``@register_model("gru:residual")``; stacked decorators give presets of one class.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import OptionError, did_you_mean

ModelClass = TypeVar("ModelClass", bound=type)


@dataclass(frozen=True)
class ModelEntry:
    """One registered name: its class, the option values that make the variant, and where it runs by default."""

    name: str
    model_class: Any
    presets: Mapping[str, Any]
    by_default: bool | str
    summary: str

    @property
    def family(self) -> str:
        """The part before the colon, which is also the module's name."""
        return self.name.partition(":")[0]


_entries: dict[str, ModelEntry] = {}


def register_model(
    name: str, *, by_default: bool | str = True, summary: str | None = None, **presets: Any
) -> Callable[[ModelClass], ModelClass]:
    """Class decorator that enters a model under ``name``.

    Args:
        name: ``family:variant``, e.g. ``"gru:residual"``.
        by_default: whether the model is trained when no ``--models`` are named; False for costly families, the name of
            a kind of data for those that are trained by default on such data alone.
        summary: one line for ``--list``; by default the first line of the class docstring.
        **presets: option values that differ from the defaults of the class's ``Config``.

    Raises:
        OptionError: if the name has no colon or belongs to another class already.
    """
    family, colon, variant = name.partition(":")
    if not (family and colon and variant):
        raise OptionError(f"a model's name must be 'family:variant', but got '{name}'")

    def enter(model_class: ModelClass) -> ModelClass:
        known = _entries.get(name)
        if known is not None and known.model_class.__qualname__ != model_class.__qualname__:
            raise OptionError(
                f"the name '{name}' is taken by {known.model_class.__qualname__}; give the new model another name"
            )
        first_line = (model_class.__doc__ or "").strip().partition("\n")[0]
        _entries[name] = ModelEntry(name, model_class, presets, by_default, summary or first_line)
        return model_class

    return enter


def entries() -> list[ModelEntry]:
    """All registered models in order of registration."""
    return list(_entries.values())


def entry(name: str) -> ModelEntry:
    """The entry of one exact name; a bare family means its ``basic`` variant.

    Raises:
        OptionError: if there is no such model; the message names the closest one.
    """
    full = name if ":" in name else f"{name}:basic"
    if full not in _entries:
        siblings = [known for known in _entries if known.startswith(f"{name}:")]
        hint = f" Did you mean one of {', '.join(siblings)}?" if siblings else did_you_mean(name, _entries)
        raise OptionError(f"there is no model '{name}'.{hint} `python train_models.py --list` shows all names")
    return _entries[full]


def resolve(patterns: Iterable[str]) -> list[str]:
    """Turn what a user typed (names, bare families, ``tcn:*``) into exact names, in order and without repeats.

    Raises:
        OptionError: if a name is unknown or a pattern fits nothing.
    """
    names: dict[str, None] = {}
    for pattern in patterns:
        if any(character in pattern for character in "*?["):
            matches = fnmatch.filter(_entries, pattern)
            if not matches:
                raise OptionError(f"no model matches '{pattern}'; known: {', '.join(_entries)}")
            names.update(dict.fromkeys(matches))
        else:
            names[entry(pattern).name] = None
    return list(names)


def default_names(kind: str = "series") -> list[str]:
    """The models trained on data of a kind when none are named."""
    return [known.name for known in _entries.values() if known.by_default is True or known.by_default == kind]
