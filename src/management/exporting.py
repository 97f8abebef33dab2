"""``manage_runs.py export``: tables and figures of runs in a folder of their own, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import OptionError, UserError, did_you_mean
from ..tracking.event_reader import RunEvents, read_run
from ..tracking.export import FileNames, ScalarTable, check_format, choose_tags, write_epoch_tables, write_texts
from .event_sources import Source, find_sources


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and as what.

    Attributes:
        format: of the tables, "csv" or "parquet".
        wide: one column a tag instead of one row a point.
        figures: "png", "svg" or "pdf"; None for no figures.
        tags: tags or patterns with wildcards; none for all.
        smoothing: of the figures, as TensorBoard's slider: from 0 to less than 1.
        logarithmic: figures with a logarithmic vertical axis where values allow it.
        overwrite: write into a folder that has something in it.
    """

    format: str = "csv"
    wide: bool = False
    figures: str | None = None
    tags: tuple[str, ...] = ()
    smoothing: float = 0.0
    logarithmic: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_format(self.format)
        if self.figures is not None and self.figures not in ("png", "svg", "pdf"):
            raise OptionError(f"--figures must be one of png, svg, pdf, but got '{self.figures}'")
        if not 0 <= self.smoothing < 1:
            raise OptionError(f"--smoothing must be at least 0 and less than 1, but got {self.smoothing:g}")


@dataclass
class ExportReport:
    """What was exported.

    Attributes:
        runs, points: how many.
        tags: those exported, in the order in which they were met.
        files: name below the output folder to size in bytes.
        left_out: how many entries of which kind are in no file.
        notes: what the user should know of the data: files that are damaged, points that were left out.
    """

    runs: int = 0
    points: int = 0
    tags: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def export_runs(root: Path, names: Sequence[str], output: Path, options: ExportOptions) -> ExportReport:
    """Write the tables, texts and figures of runs into the folder ``output``.

    Raises:
        UserError: if a run or tag is unknown, there is nothing to export, or the folder cannot be written.
    """
    _check_output(output, options.overwrite)
    sources = find_sources(root, names)
    with _staging(output) as folder:
        report = _export(sources, folder, options)
        report.files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    return report


def _export(sources: Sequence[Source], folder: Path, options: ExportOptions) -> ExportReport:
    report = ExportReport(runs=len(sources))
    name = "scalars_wide" if options.wide else "scalars"
    table = ScalarTable(folder / f"{name}.{options.format}", wide=options.wide)
    names, seen, figures = FileNames(), dict[str, None](), _figure_data(options)
    texts = 0
    for source in sources:
        events = read_run(list(source.files))
        _note_trouble(report, source, events, options)
        seen |= dict.fromkeys([*events.scalars, *events.texts])
        curves = {tag: events.scalars[tag] for tag in choose_tags(events.scalars, options.tags)}
        events.texts = {tag: events.texts[tag] for tag in choose_tags(events.texts, options.tags)}
        report.tags = list(dict.fromkeys([*report.tags, *curves]))
        table.add(source.name, curves)
        if figures is not None:
            figures.add(source.name, curves)
        if events.texts:
            write_texts(source.name, events, folder / "texts" / f"{names.make(source.name)}.md")
            texts += 1
    table.close()
    report.points = table.points
    if table.replaced:
        report.notes.append(f"{table.replaced:,} points are not in the wide table: a later one has the same step")
    if not table.points:
        table.path.unlink(missing_ok=True)
    epochs = {source.name: source.epochs for source in sources if source.epochs is not None}
    rows = 0 if options.tags else write_epoch_tables(epochs, folder / f"epochs.{options.format}")
    for pattern in options.tags:
        if not choose_tags(seen, [pattern]):
            raise UserError(f"no tag fits '{pattern}', of {len(seen)} in these runs.{did_you_mean(pattern, seen)}")
    if not table.points and not texts and not rows:
        raise UserError("there is nothing to export: the runs have neither scalars nor texts nor epochs yet")
    if figures is not None:
        _write_figures(figures, folder / "figures", options)
    return report


def _figure_data(options: ExportOptions) -> Any:
    if options.figures is None:
        return None
    from ..tracking.export_figures import FigureData

    return FigureData()


def _write_figures(figures: Any, folder: Path, options: ExportOptions) -> None:
    from ..tracking.export_figures import FigureStyle, save_figure

    folder.mkdir()
    names, style = FileNames(), FigureStyle(options.smoothing, options.logarithmic)
    for tag in figures.tags():
        save_figure(figures.draw(tag, style), folder / f"{names.make(tag)}.{options.figures}")


def _note_trouble(report: ExportReport, source: Source, events: RunEvents, options: ExportOptions) -> None:
    if not options.tags:  # who names tags wants nothing else
        report.left_out += events.left_out
    report.notes += [f"{source.name}: {path.name} was read only so far: {reason}" for path, reason in events.damaged]
    if events.withdrawn:
        report.notes.append(f"{source.name}: {events.withdrawn:,} points that the writer withdrew are left out")


# ---- the folder ----


def _check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"--output must be a folder, but '{output}' is a file")
    if output.is_dir() and not overwrite and any(output.iterdir()):
        raise UserError(
            f"--output must be a new or an empty folder, but there is something in '{output}'; "
            "name another one, or use --overwrite"
        )


@contextlib.contextmanager
def _staging(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` whose files come into it only if all goes well.

    Raises:
        UserError: if no folder can be made there.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    except OSError as error:
        raise UserError(
            f"the folder '{output}' cannot be made ({error.strerror}); use --output to name another place"
        ) from None
    try:
        yield folder
        for path in sorted(folder.rglob("*")):
            target = output / path.relative_to(folder)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
