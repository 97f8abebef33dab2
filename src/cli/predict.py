"""``predict.py``: forecast what comes after new data, classify new texts or images or write their embeddings, or draw
clips from captions."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..data.options import ReadingOptions
from ..errors import OptionError, UserError
from ..generation import GenerationOptions
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
    """``--series A B``, ``--text "One." "Two."`` and ``--caption`` take several values after one flag."""

    variadic = several(ReadingOptions) | {"text", "caption"}


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="runs/<timestamp>/<model>, or runs/<timestamp> for all its models")
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="write a .csv or .parquet file, - for CSV on stdout; clips: .gif, .mp4, .png or .npz",
        ),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="TEXT...", help="classify these texts instead of --data")
    ] = None,
    every_window: Annotated[
        bool, typer.Option("--all", help="also the forecasts from within the data, with what was actual")
    ] = False,
    caption: Annotated[
        list[str] | None, typer.Option("--caption", metavar="TEXT...", help="draw clips that show what these say")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write what a jepa run makes of its own data or of --data: .npz or .parquet"),
    ] = None,
    paths: Annotated[
        int, typer.Option(metavar="N", min=0, help="so many scenarios instead of the forecast (diffusion:series)")
    ] = 0,
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
    """Forecast the next horizon after new data, in their own units; classify new texts or images; or draw clips.

    Columns, scaling, tokens and the way of reading come from the run. For a run of task direction: probabilities of up.
    Models that say how sure they are give 90 % intervals, or epistemic and aleatoric uncertainty.
    """
    reading, drawing = given(values, Reading), given(values, GenerationOptions)
    others: dict[str, Any] = {"--text": text, "--plot": plot, "--all": every_window, "--laplace": laplace}
    others["--paths"] = paths
    if paths and every_window:
        raise OptionError("--paths draws scenarios of the next horizon, which --all goes beyond; leave one out")
    if embeddings is not None:
        others |= {"--output": output, "--caption": caption, **_flags(drawing)}
        write_embeddings(run, embeddings, reading, [flag for flag, value in others.items() if value], overwrite)
        return
    if caption or drawing:
        others |= _flags(reading)
        if found := [flag for flag, value in others.items() if value]:
            raise OptionError(f"--caption draws clips alone, but got {found[0]}; leave it out")
        write_clips(run, caption or (), GenerationOptions.from_dict(drawing), output, overwrite)
        return
    if output not in (None, "-"):
        check_table_file(Path(str(output)), overwrite)
    if plot is not None:
        check_file(plot, "--plot", (".png",), overwrite)
    if text and "data" in reading:
        raise OptionError("texts come from --text or from --data, but got both; leave one out")
    asked = Asked(reading, tuple(text or ()), every_window, laplace, paths)
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


app.command(cls=PredictCommand)(with_parameters(predict, GenerationOptions, Reading))


@dataclass(frozen=True)
class Asked:
    """What is to be predicted: how to read new data, texts given in words, all windows or the newest, whether a plain
    model is to say how sure it is, and how many scenarios are to be drawn instead."""

    reading: Mapping[str, Any]
    texts: tuple[str, ...] = ()
    every_window: bool = False
    laplace: bool = False
    paths: int = 0

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

    from ..generation import check_captions
    from ..prediction import forecast_tables, load_run, read_new, reading_options, run_folders

    first = load_run(run_folders(run)[0])
    if first.model.spec.kind == "captioned_video":
        check_captions(first, ())  # says which captions could be asked for
    if asked.texts or first.model.spec.kind in ("text", "images"):
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
        found = forecast_tables(trained, known[options], every_window, asked.paths)
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


def write_clips(
    run: Path, captions: Sequence[str], options: GenerationOptions, output: str | None, overwrite: bool
) -> None:
    """Draw clips from captions with one run, or with all of a folder that can, and write them.

    Args:
        run: as of ``predict``.
        captions: what they shall show.
        options: how they are drawn.
        output: the file, or what the files of several clips are named after; by default the captions.
        overwrite: replace files that exist.

    Raises:
        UserError: if a file cannot be written, or the run cannot draw what the captions say.
    """
    from ..generation import check_captions, draws_clips, generate
    from ..prediction import load_run, run_folders
    from ..tracking.clip_files import CLIP_SUFFIXES, TOGETHER_SUFFIXES, clip_file

    place = None if output is None else Path(output)
    if place is not None:
        check_file(place, "--output", CLIP_SUFFIXES, overwrite=True)  # several clips get names of their own
    suffix = ".gif" if place is None else place.suffix
    together = options.grid or suffix.lower() in TOGETHER_SUFFIXES
    folders = run_folders(run)
    loaded = [load_run(folder) for folder in folders]
    runs = [trained for trained in loaded if draws_clips(trained)]
    notes = check_captions((runs or loaded)[0], captions)
    wanted = [caption for caption in captions for _ in range(options.count)]
    files = [clip_names(place, suffix, wanted, together, "" if folders == [run] else trained.label) for trained in runs]
    for file in itertools.chain(*files):
        check_file(file, "--output", CLIP_SUFFIXES, overwrite)
    if notes:
        say_notes(notes)
    columns = options.count if len(captions) > 1 and options.count > 1 else None  # a row for each caption
    for trained, own in zip(runs, files, strict=True):
        with steps_shown(trained.label) as progress:
            found = generate(trained, captions, options, progress)
        for number, file in enumerate(own):
            part = slice(None) if together else slice(number, number + 1)
            write(file, clip_file(suffix, found.clips[part], found.frame_rate, found.captions[part], columns))


def clip_names(place: Path | None, suffix: str, captions: Sequence[str], together: bool, model: str) -> list[Path]:
    """The files of clips, one for each or one for all; numbered where several would have the same name.

    Args:
        place: what ``--output`` names; by default captions name the files, in the working directory.
        suffix: of the files.
        captions: of every clip.
        together: whether one file holds all.
        model: added to the names, if any.
    """
    if together:
        captions = [captions[0] if len(set(captions)) == 1 else "clips"]
    stems = [place.stem if place else in_file_names(caption) for caption in captions]
    stems = [f"{stem}_{in_file_names(model)}" if model else stem for stem in stems]
    of_name, seen = Counter(stems), Counter[str]()
    names = []
    for stem in stems:
        seen[stem] += 1
        names.append(f"{stem}_{seen[stem]}" if of_name[stem] > 1 else stem)
    return [(place or Path(name)).with_name(name + suffix) for name in names]


def in_file_names(text: str) -> str:
    """A text as a file may be called: its letters and digits, at most 60 of them."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")[:60] or "clip"


@contextlib.contextmanager
def steps_shown(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of steps on stderr where that is a terminal, for what takes longer than a second."""
    from tqdm import tqdm

    with tqdm(desc=label, leave=False, disable=None, delay=1, dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _flags(values: Mapping[str, Any]) -> dict[str, bool]:
    """The flags that the user gave."""
    return {f"--{name.replace('_', '-')}": True for name in values}


def _classify_all(run: Path, asked: Asked) -> pd.DataFrame:
    import pandas as pd

    from ..prediction import classify, classify_images, read_new_images, read_new_texts, reading_options, run_folders

    if asked.paths:
        raise OptionError("--paths draws scenarios of series, but got a run on texts or images; leave it out")
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
            paths={**first.paths, **second.paths},
        )
        for first, second in zip(outlooks, more, strict=True)
    ]


def say_what_was_found(data: str, notes: Sequence[Note]) -> None:
    """The account of the new data, on stderr."""
    from ..data.reading.sources import hide_password

    print(f"data: {hide_password(data)}", file=sys.stderr)
    say_notes(notes)


def say_notes(notes: Sequence[Note]) -> None:
    """Notes on stderr, warnings last."""
    lines = [(note.topic, note.text, note.option) for note in notes if not note.warning]
    lines += [("warning", f"{note.topic}: {note.text}", note.option) for note in notes if note.warning]
    for line in account_lines(lines, terminal_width()) if lines else ():
        print(line, file=sys.stderr)


def check_table_file(file: Path, overwrite: bool) -> None:
    """As ``check_file``, for ``--output`` of a table."""
    from ..tracking.clip_files import CLIP_SUFFIXES

    if file.suffix.lower() in CLIP_SUFFIXES:
        raise OptionError(
            f"--output must end in .csv or .parquet, but got {file}; clips, which go to such a file, are asked for "
            "with --caption"
        )
    check_file(file, "--output", (".csv", ".parquet"), overwrite)


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
