"""What ``manage_runs.py`` prints: tables that fit the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from .train_output import terminal_width

if TYPE_CHECKING:
    from ..management.dashboards import LayoutReport
    from ..management.differences import Comparison
    from ..management.doctor import Check
    from ..management.exporting import ExportReport
    from ..management.reproduction import Reproduction
    from ..management.runs import RunInfo

NARROWEST_NAME = 26
MOST_REASONS = 5
_GAP = "  "


@dataclass(frozen=True)
class Column:
    """One column of a table; ``dropped`` says in which order columns go when there is no room (0: never)."""

    heading: str
    cells: Sequence[str]
    right: bool = False
    dropped: int = 0

    @property
    def width(self) -> int:
        """Of the widest cell."""
        return max(len(self.heading), *map(len, self.cells))


def table(columns: Sequence[Column], width: int) -> list[str]:
    """Lines no longer than ``width``: the first column is shortened, then columns are dropped, to make room."""
    kept = [column for column in columns if any(column.cells)]
    while len(kept) > 1:
        room = width - sum(column.width + len(_GAP) for column in kept[1:])
        if room >= min(NARROWEST_NAME, kept[0].width) or not any(column.dropped for column in kept):
            break
        kept.remove(min((column for column in kept if column.dropped), key=lambda column: column.dropped))
    room = max(4, width - sum(column.width + len(_GAP) for column in kept[1:]))
    first = Column(shorten(kept[0].heading, room), [shorten(cell, room) for cell in kept[0].cells])
    rows = zip(*(_aligned(column) for column in (first, *kept[1:])), strict=True)
    return [_GAP.join(row).rstrip() for row in rows]


def _aligned(column: Column) -> list[str]:
    justify = str.rjust if column.right else str.ljust
    return [justify(cell, column.width) for cell in (column.heading, *column.cells)]


def shorten(text: str, width: int) -> str:
    """Leave out the middle of a text that is too long."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}" if width > 1 else text[:width]


def shown_size(size: int) -> str:
    """``1234567`` -> ``1.2 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.9995 * factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:.0f} {unit}"
    return f"{size} B"


def shown_age(seconds: float) -> str:
    """``7300`` -> ``2 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def shown(value: Any) -> str:
    """A value of a configuration or a metric."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return " ".join(str(value).split())


# ---- list ----


def print_runs(every: Sequence[RunInfo], *, grouped: bool, now: float, trials: bool = True) -> None:
    """One row per run; with ``grouped`` below a line for each command folder, which also says what data it used.

    Args:
        every: the runs.
        trials: whether trials of a search have a row each; otherwise all of a model have one.
    """
    width = terminal_width()
    runs = every if trials else _with_trials_together(every)
    columns = [
        Column("run", [f"  {run.folder}" if grouped and run.command else run.name for run in runs]),
        Column("state", [run.state + ("*" if run.junk else "") for run in runs]),
        Column("best val", ["" if run.best is None else f"{run.best:.4g}" for run in runs], right=True),
        Column("at", [_epoch(run, run.best_epoch) for run in runs], right=True, dropped=3),
        Column("epochs", [_epoch(run, run.epochs) for run in runs], right=True, dropped=2),
        Column("test", ["" if run.test is None else f"{run.metric} {run.test:.4g}" for run in runs], dropped=5),
        Column("size", [shown_size(run.size) for run in runs], right=True),
        Column("age", [shown_age(now - run.modified) for run in runs], right=True, dropped=4),
    ]
    if not grouped:
        columns.append(Column("data", [shorten(_data_name(run), 24) for run in runs], dropped=1))
    heading, *lines = table(columns, width)
    print(heading)
    command = None
    for run, line in zip(runs, lines, strict=True):
        if grouped and run.command != command:
            command = run.command
            if command:
                print(_command_line([other for other in every if other.command == command], now, width))
        print(line)
    total = f"{len(every)} run{'s' if len(every) != 1 else ''}, {shown_size(sum(run.size for run in every))}"
    states = ", ".join(f"{sum(run.state == state for run in every)} {state}" for state in _states(every))
    print(shorten(f"\n{total}: {states}", width + 1))
    if any(run.junk for run in runs):
        print(shorten("* junk: failed, or fewer than 2 epochs; --junk lists only those", width))
    _print_reasons([run for run in every if run.problem and (trials or not run.is_trial)], width)


def _with_trials_together(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """The runs, all trials of a search's model as one."""
    together: dict[str, list[RunInfo]] = {}
    for run in runs:
        together.setdefault(f"{run.name.rpartition('/')[0]}/trial_*" if run.is_trial else run.name, []).append(run)
    return [group[0] if not group[0].is_trial else _as_one(name, group) for name, group in together.items()]


def _as_one(name: str, trials: Sequence[RunInfo]) -> RunInfo:
    """A line for many trials."""
    return replace(
        trials[0],
        name=name,
        state=f"{len(trials)} trial{'s' if len(trials) != 1 else ''}",
        best=None,
        best_epoch=None,
        epochs=sum(trial.epochs or 0 for trial in trials),
        size=sum(trial.size for trial in trials),
        modified=max(trial.modified for trial in trials),
        problem=None,
    )


def _states(runs: Sequence[RunInfo]) -> list[str]:
    return list(dict.fromkeys(run.state for run in runs))


def _command_line(runs: Sequence[RunInfo], now: float, width: int) -> str:
    age = shown_age(now - max(run.modified for run in runs))
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
    facts = f"{_GAP}{count}, {shown_size(sum(run.size for run in runs))}, {age} ago"
    data = ", ".join(dict.fromkeys(_data_name(run) for run in runs if run.data))
    name = shorten(runs[0].command, max(NARROWEST_NAME, width - len(facts) - 12))
    room = width - len(name) - len(facts) - len(_GAP)
    return f"{name}{facts}" + (f"{_GAP}{shorten(data, room)}" if data and room >= 8 else "")


def _data_name(run: RunInfo) -> str:
    """A file without its folders."""
    return run.data if "://" in run.data else PurePath(run.data).name


def _epoch(run: RunInfo, number: int | None) -> str:
    return "" if number is None or not run.epochs else str(number)


def _print_reasons(runs: Sequence[RunInfo], width: int) -> None:
    for run in runs[:MOST_REASONS]:
        print(shorten(f"{run.name}: {run.problem}", width))
    if len(runs) > MOST_REASONS:
        print(f"and {len(runs) - MOST_REASONS} more with a problem; --json shows all of them")


# ---- diff ----


def print_comparison(comparison: Comparison) -> None:
    """What differs, section by section, then the metrics."""
    width = terminal_width()
    print(shorten(f"A: {comparison.first}", width))
    print(shorten(f"B: {comparison.second}", width))
    if comparison.identical:
        print(f"identical: {', '.join(comparison.identical)}")
    if comparison.differences:
        print()
        print("\n".join(_difference_lines(comparison, width)))
    pairs = comparison.metrics
    if pairs and all(pair.change == 0 for pair in pairs if pair.name != "seconds"):
        print("\nall metrics are the same")
    elif pairs:
        columns = [
            Column("metric", [pair.name for pair in pairs]),
            Column("A", [shown(pair.first) for pair in pairs], right=True),
            Column("B", [shown(pair.second) for pair in pairs], right=True),
            Column("B - A", ["" if pair.change is None else f"{pair.change:+.4g}" for pair in pairs], right=True),
        ]
        print()
        print("\n".join(table(columns, width)))
    if comparison.same_test is False:
        print("\nThe runs were tested on different windows (test hash): their test metrics cannot be compared.")


def _difference_lines(comparison: Comparison, width: int) -> list[str]:
    each = max(12, (width - 36) // 2)
    names, firsts, seconds = [], [], []
    for difference in comparison.differences:
        one, other = _only_what_differs(difference.first, difference.second)
        names.append(f"{difference.section}: {difference.name.replace('_', ' ')}")
        firsts.append(shorten(one, each))
        seconds.append(shorten(other, each))
    return table([Column("differs", names), Column("A", firsts), Column("B", seconds)], width)


def _only_what_differs(one: Any, other: Any) -> tuple[str, str]:
    """Lists, such as columns, are shown without what they share."""
    if isinstance(one, list) and isinstance(other, list) and sorted(map(str, one)) != sorted(map(str, other)):
        return tuple(  # type: ignore[return-value]
            shown([item for item in mine if item not in yours]) or "-" for mine, yours in ((one, other), (other, one))
        )
    return shown(one), shown(other)


# ---- reproduce ----


def print_versions(versions: Mapping[str, tuple[Any, Any]]) -> None:
    """What has changed since the run was trained."""
    if not versions:
        print("versions: the same")
    for name, (then, now) in versions.items():
        print(shorten(f"versions: {name} was {shown(then)}, is {shown(now)}", terminal_width()))


def print_reproduction(result: Reproduction) -> None:
    """Both runs side by side, and the verdict."""
    columns = [
        Column("", list(result.metrics)),
        Column("original", [_exact(one) for one, _ in result.metrics.values()], right=True),
        Column("again", [_exact(other) for _, other in result.metrics.values()], right=True),
    ]
    print("\n".join(table(columns, terminal_width())))
    for part in ("predictions", "weights"):
        print(f"{part}: {_described(result.differences[part])}")
    largest = max(value for value in result.differences.values() if value is not None)
    sentence = {
        "identical": "identical: the same to the last bit",
        "equal": f"equal within 1e-6: the largest difference is {largest:.3g}",
        "different": f"different: the largest difference is {largest:.3g}",
    }[result.verdict]
    print(f"\n{sentence}\nnew run: {result.again}")


def _exact(value: float | None) -> str:
    return "-" if value is None else f"{value:.9g}"


def _described(difference: float | None) -> str:
    if difference is None:
        return "not compared, a file is missing"
    return "the same to the last bit" if difference == 0.0 else f"largest difference {difference:.3g}"


# ---- doctor ----


def print_checks(checks: Iterable[Check]) -> int:
    """A line per check as it is made, its fix below. Returns the number of problems."""
    problems = 0
    for check in checks:
        problems += check.status == "problem"
        print(f"{check.status:<7}  {check.name}: {check.text}", flush=True)
        if check.fix:
            print(f"{'':<9}fix: {check.fix}", flush=True)
    return problems


# ---- export and layout ----


def print_export(report: ExportReport, output: Path) -> None:
    """What was written, what was left out, and what is wrong with the data."""
    width = terminal_width()
    runs = f"{report.runs} run{'s' if report.runs != 1 else ''}"
    tags = f"{len(report.tags)} tag{'s' if len(report.tags) != 1 else ''}"
    print(f"exported {runs}, {tags}, {report.points:,} points to '{output}'")
    folders: dict[str, list[int]] = {}
    for name, size in report.files.items():
        folder, separator, _ = name.rpartition("/")
        folders.setdefault(f"{folder}/" if separator else name, []).append(size)
    lengths = max(map(len, folders))
    for name, sizes in sorted(folders.items(), key=lambda item: item[0].endswith("/")):
        count = f"{len(sizes)} file{'s' if len(sizes) != 1 else ''}, " if name.endswith("/") else ""
        print(f"  {name:<{lengths}}  {count}{shown_size(sum(sizes))}")
    if report.left_out:
        print("left out: " + ", ".join(f"{count:,} {kind}" for kind, count in report.left_out.most_common()))
    for note in report.notes[:MOST_REASONS]:
        print(shorten(note, width))
    if len(report.notes) > MOST_REASONS:
        print(f"and {len(report.notes) - MOST_REASONS} more notes of this kind")


def print_layout(report: LayoutReport) -> None:
    """Where the dashboard is now, and which of its tags no run has."""
    where = f"'{report.folders[0]}'" if len(report.folders) == 1 else f"{len(report.folders)} runs"
    categories = f"{report.categories} categor{'ies' if report.categories != 1 else 'y'}"
    charts = f"{report.charts} chart{'s' if report.charts != 1 else ''}"
    print(f"{categories} with {charts} written to {where}; TensorBoard shows them in CUSTOM SCALARS")
    if report.missing:
        few = ", ".join(report.missing[:4]) + (", ..." if len(report.missing) > 4 else "")
        print(shorten(f"without a curve so far, {len(report.missing)} of {report.tags} tags: {few}", terminal_width()))
