"""``predict.py``: forecast what comes after new data, classify new texts or images, or write their embeddings."""

from __future__ import annotations

import dataclasses
import io
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..data.options import ReadingOptions
from ..errors import OptionError, UserError
from ..options import Options, field_types, option
from .common import VariadicCommand, new_app
from .parameters import given, several, with_parameters
from .train_output import account_lines, terminal_width

if TYPE_CHECKING:
    import pandas as pd

    from ..comparison.outlook_figure import Outlook
    from ..data.tables import Note, Table
    from ..prediction import TrainedRun

app = new_app()

ROWS_SHOWN = 60

_DEFAULTS = {"data": "the run's own data"}
Reading: type[Options] = dataclasses.make_dataclass(
    "Reading",
    [
        (
            field.name,
            field_types(ReadingOptions)[field.name] | None,
            option(None, **{**field.metadata, "default_text": _DEFAULTS.get(field.name, "as in training")}),
        )
        for field in dataclasses.fields(ReadingOptions)
    ],
    bases=(Options,),
    frozen=True,
)
"""The options of reading, each as it was in training unless the user says otherwise."""


class PredictCommand(VariadicCommand):
    """``--series A B`` and ``--text "One." "Two."`` take several values after one flag."""

    variadic = several(ReadingOptions) | {"text"}


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="runs/<timestamp>/<model>, or runs/<timestamp> for all its models")
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="write a .csv or .parquet file; - for CSV on stdout"),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="TEXT...", help="classify these texts instead of --data")
    ] = None,
    every_window: Annotated[
        bool, typer.Option("--all", help="also the forecasts from within the data, with what was actual")
    ] = False,
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write what a jepa run makes of its own data or of --data: .npz or .parquet"),
    ] = None,
    laplace: Annotated[
        bool, typer.Option("--laplace", help="give a plain model uncertainty, fitted to the run's own data")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="draw history and next horizon of up to 12 series")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that exist")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    **values: Any,
) -> None:
    """Forecast the next horizon after new data, in their own units; or say the class of new texts or images.

    Columns, scaling, tokens and the way of reading come from the run. For a run of task direction: probabilities of up.
    Models that say how sure they are give 90 % intervals, or epistemic and aleatoric uncertainty.
    """
    if output not in (None, "-"):
        check_file(Path(str(output)), "--output", (".csv", ".parquet"), overwrite)
    if plot is not None:
        check_file(plot, "--plot", (".png",), overwrite)
    reading = given(values, Reading)
    if embeddings is not None:
        others = {"--output": output, "--text": text, "--plot": plot, "--all": every_window, "--laplace": laplace}
        write_embeddings(run, embeddings, reading, [flag for flag, value in others.items() if value], overwrite)
        return
    if text and "data" in reading:
        raise OptionError("texts come from --text or from --data, but got both; leave one out")
    asked = Asked(reading, tuple(text or ()), every_window, laplace)
    table, outlooks, probabilities = predict_all(run, asked)
    if plot is not None and not outlooks:
        raise OptionError(f"--plot draws series, but got a run on texts or images, {run}; leave it out")
    if plot is not None:
        from ..comparison.outlook_figure import draw_outlooks

        write(plot, draw_outlooks(outlooks, f"Forecasts of {run}", probabilities=probabilities))
    if output is None:
        show(table)
    elif output == "-":
        from ..comparison.evaluate import as_csv

        print(as_csv(table), end="")
    else:
        write(Path(output), content(table, Path(output)))


app.command(cls=PredictCommand)(with_parameters(predict, Reading))


@dataclass(frozen=True)
class Asked:
    """What is to be predicted: how to read new data, texts given in words, all windows or the newest, and whether a
    plain model is to say how sure it is."""

    reading: Mapping[str, Any]
    texts: tuple[str, ...] = ()
    every_window: bool = False
    laplace: bool = False

    def load(self, folder: Path) -> TrainedRun:
        """A trained run, as it is to be asked."""
        from ..prediction import load_run, with_uncertainty

        trained = load_run(folder)
        return with_uncertainty(trained) if self.laplace else trained


def predict_all(run: Path, asked: Asked) -> tuple[pd.DataFrame, list[Outlook], bool]:
    """Predict with one run or all completed runs of a folder, and say on stderr what was found in the data.

    Returns:
        the predictions, with a column ``model`` for the runs of a folder; what to draw; whether those are
        probabilities.
    """
    import pandas as pd

    from ..prediction import forecast_tables, load_run, read_new, reading_options, run_folders

    if asked.texts or load_run(run_folders(run)[0]).model.spec.kind in ("text", "images"):
        return _classify_all(run, asked), [], False
    reading, every_window = asked.reading, asked.every_window

    folders = run_folders(run)
    changes = {name: value for name, value in reading.items() if name != "data"}
    known: dict[ReadingOptions, Sequence[Table]] = {}
    tables, outlooks, task = [], list[Any](), ""
    for folder in folders:
        trained = asked.load(folder)
        options = reading_options(trained, reading.get("data"), changes)
        is_new = options not in known
        if is_new:
            known[options] = read_new(options, trained)
        found = forecast_tables(trained, known[options], every_window)
        if is_new:
            say_what_was_found(options.data, found.notes)
        table = found.table
        if folders != [run]:
            table.insert(0, "model", trained.label)
        tables.append(table)
        outlooks = _joined(outlooks, found.outlooks)
        task = trained.model.spec.task
    return pd.concat(tables, ignore_index=True), outlooks, task == "direction"


def write_embeddings(run: Path, file: Path, reading: Mapping[str, Any], others: Sequence[str], overwrite: bool) -> None:
    """Embed with one run, and write the file.

    Raises:
        UserError: if the file cannot be written, or the run is none.
        OptionError: for options that go with predictions.
    """
    from ..embeddings import embed
    from ..prediction import load_run

    if others:
        raise OptionError(f"--embeddings writes embeddings alone, but got {others[0]}; leave it out")
    check_file(file, "--embeddings", (".npz", ".parquet"), overwrite)
    found = embed(load_run(run), dict(reading))
    if found.notes:
        say_what_was_found(str(reading.get("data", "")), found.notes)
    write(file, found.as_npz() if file.suffix.lower() == ".npz" else content(found.as_table(), file))
    print(f"{found.values.shape[0]:,} samples x {found.values.shape[1]} numbers", file=sys.stderr)


def _classify_all(run: Path, asked: Asked) -> pd.DataFrame:
    import pandas as pd

    from ..prediction import classify, classify_images, read_new_images, read_new_texts, reading_options, run_folders

    if asked.every_window:
        raise OptionError("--all gives forecasts from within series, but got a run on texts or images; leave it out")
    folders, tables = run_folders(run), []
    changes = {name: value for name, value in asked.reading.items() if name != "data"}
    known: Any = list(asked.texts)
    for folder in folders:
        trained = asked.load(folder)
        is_image = trained.model.spec.kind == "images" and not asked.texts
        if not known:
            options = reading_options(trained, asked.reading.get("data"), changes)
            known, notes = read_new_images(options, trained) if is_image else read_new_texts(options)
            say_what_was_found(options.data, notes)
        table = classify_images(trained, known) if is_image else classify(trained, known)
        if folders != [run]:
            table.insert(0, "model", trained.label)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _joined(outlooks: Sequence[Outlook], more: Sequence[Outlook]) -> list[Outlook]:
    """The forecasts of several models of the same series in the same panels; the history is that of the longest."""
    if not outlooks:
        return list(more)
    return [
        dataclasses.replace(
            first if len(first.history) >= len(second.history) else second,
            forecasts={**first.forecasts, **second.forecasts},
            intervals={**first.intervals, **second.intervals},
        )
        for first, second in zip(outlooks, more, strict=True)
    ]


def say_what_was_found(data: str, notes: Sequence[Note]) -> None:
    """The account of the new data, on stderr."""
    from ..data.reading.sources import hide_password

    print(f"data: {hide_password(data)}", file=sys.stderr)
    lines = [(note.topic, note.text, note.option) for note in notes if not note.warning]
    lines += [("warning", f"{note.topic}: {note.text}", note.option) for note in notes if note.warning]
    for line in account_lines(lines, terminal_width()) if lines else ():
        print(line, file=sys.stderr)


def check_file(file: Path, flag: str, suffixes: Sequence[str], overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before anything is computed.

    Raises:
        UserError: with what to do about it.
    """
    if file.suffix.lower() not in suffixes:
        raise OptionError(f"{flag} must end in {' or '.join(suffixes)}, but got {file}")
    if not file.parent.is_dir():
        raise UserError(f"{flag} needs a folder that exists, but there is no {file.parent}; make it first")
    if file.is_dir():
        raise UserError(f"{flag} must name a file, but {file} is a folder")
    if file.exists() and not overwrite:
        raise UserError(f"{flag} must be a new file, but {file} exists; use another name, or --overwrite")


def content(table: pd.DataFrame, file: Path) -> str | bytes:
    """The table as CSV or Parquet, as the file's name says."""
    if file.suffix.lower() == ".csv":
        from ..comparison.evaluate import as_csv

        return as_csv(table)
    buffer = io.BytesIO()
    try:
        table.to_parquet(buffer, index=False)
    except ImportError:
        raise UserError(
            "a .parquet file needs pyarrow, which is not installed; pip install pyarrow, or write .csv"
        ) from None
    return buffer.getvalue()


def write(file: Path, data: str | bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    from ..tracking.run_folder import write_atomically

    try:
        write_atomically(file, data)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}); name another place") from None
    print(f"wrote {file}", file=sys.stderr)


def show(table: pd.DataFrame) -> None:
    """Print the newest rows, to six digits."""
    shown = table.tail(ROWS_SHOWN)
    said = next((name for name in ("text", "image") if name in shown), None)
    if said:
        others = shown.drop(columns=said).to_string(index=False, float_format=lambda value: f"{value:.4g}")
        room = max(20, terminal_width() - max(map(len, others.splitlines())) - 2)
        shown = shown.assign(**{said: [textwrap.shorten(text, room, placeholder=" ...") for text in shown[said]]})
    digits = 4 if said else 6
    print(shown.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.{digits}g}"))
    if len(table) > ROWS_SHOWN:
        print(f"the last {ROWS_SHOWN} of {len(table):,} rows; --output FILE writes all")
