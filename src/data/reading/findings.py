"""What was found while reading, gathered over many sources and told in few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..tables import Note

_MAX_TEXT = 60
_MAX_LIST = 200  # characters of all names in a list


@dataclass(frozen=True)
class Finding:
    """One thing found in one source.

    Attributes:
        topic: as in ``Note``.
        text: what was found; ``{count}`` stands for the number of cases, which adds up over sources, ``{parts}`` for
            ``A 3, B 2`` and ``{names}`` for ``A, B``.
        count: how many cases.
        parts: cases per column or series.
        example: the first of them, e.g. ``row 12: 2017-01-03``; shown in brackets.
        option: the flag that changes it, or "".
        warning: whether it is something suspicious in the values.
        source: where it was found.
    """

    topic: str
    text: str
    count: int = 1
    example: str = ""
    option: str = ""
    warning: bool = False
    source: str = ""
    parts: Mapping[str, int] = field(default_factory=dict)


def merge_findings(findings: Iterable[Finding], sources: int) -> tuple[Note, ...]:
    """Findings that differ only in count, example and source become one note; order of first appearance, warnings last.

    Args:
        findings: of all sources.
        sources: how many sources were read in all.
    """
    groups: dict[tuple[str, str, str, bool], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.topic, finding.text, finding.option, finding.warning), []).append(finding)
    notes = [_note(group, sources) for group in groups.values()]
    return tuple(sorted(notes, key=lambda note: note.warning))


def _note(group: list[Finding], sources: int) -> Note:
    first = group[0]
    places = len({finding.source for finding in group})
    text = first.text.replace("{count}", f"{sum(finding.count for finding in group):,}")
    parts: Counter[str] = Counter()
    for finding in group:
        parts.update(finding.parts)
    text = text.replace("{names}", some(parts))
    text = text.replace("{parts}", some(f"{short(name)} {count:,}" for name, count in parts.most_common()))
    if first.example:
        where = f"{first.source}, " if sources > 1 and first.source else ""
        text += f" ({where}{first.example})"
    if sources > 1:
        text += f"; all {sources:,} files" if places == sources else f"; {places:,} of {sources:,} files"
    return Note(first.topic, text, first.option, first.warning)


def short(value: object, length: int = _MAX_TEXT) -> str:
    """At most one short line of whatever stood in the file, with nothing in it that moves a terminal's cursor."""
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(str(value).split()))
    return text if len(text) <= length else text[: length - 3] + "..."


def some(names: Iterable[str], most: int = 5) -> str:
    """A list of names, cut after a few: ``A, B, C and 12 more``."""
    listed = [short(name) for name in names]
    shown = listed[:most]
    while len(shown) > 1 and sum(map(len, shown)) > _MAX_LIST:
        shown.pop()
    rest = len(listed) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def plural(count: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
