"""A trained run and new data: forecasts of what comes after them, or the classes of new texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import registry
from .comparison.evaluate import class_table, forecast_table, in_units
from .comparison.outlook_figure import Outlook
from .data.future_dates import future_dates
from .data.image_reading.reader import read_images
from .data.image_samples import IMAGE_SAMPLES, load_image_sample
from .data.images import ImageSplit, new_images
from .data.loading import read_series
from .data.options import DataOptions, ReadingOptions
from .data.samples import load_sample
from .data.series import PredictionData, SeriesData
from .data.tables import Note, Table, date_text
from .data.text import new_texts
from .data.text_reading.reader import read_texts
from .data.text_samples import TEXT_SAMPLES, load_text_sample
from .errors import UserError, did_you_mean
from .experiment import cached_data, run_status
from .models import load_plugin
from .models.base_model import BaseModel
from .models.bayesian_model import with_laplace
from .tracking.run_folder import CHECKPOINT_FOLDER, CONFIG_FILE, PREDICTIONS_FILE, RESULTS_FILE, read_json
from .training.checkpoint import read_checkpoint
from .training.fitting import check_same_data

TYPICALLY_FAR = 5.0
ONCE_FAR = 30.0
"""Standard deviations of training from which on typical values, or single ones, are reported as suspicious."""

_SAMPLE_PREFIX = "sample:"


@dataclass(frozen=True)
class TrainedRun:
    """A trained model with what it needs to read new data.

    Attributes:
        model: with its best weights, on the CPU.
        schema: how its training data were read, cut and scaled (``SeriesData.schema``).
        folder: of the run.
        config: the run's ``config.json``; empty for a checkpoint that stands alone.
    """

    model: BaseModel
    schema: Mapping[str, Any]
    folder: Path
    config: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The model, with its seed where the run is one of several seeds."""
        return f"{self.model.name} {self.folder.name.replace('_', ' ')}" if _is_seed(self.folder) else self.model.name


@dataclass(frozen=True)
class Forecasts:
    """What ``forecast_tables`` found.

    Attributes:
        table: see ``forecast``.
        notes: what was found in the data; ``warning`` marks what is suspicious.
        outlooks: history and next horizon of every series and target, for a figure.
    """

    table: pd.DataFrame
    notes: Sequence[Note]
    outlooks: Sequence[Outlook]


def load_model(run: str | Path) -> BaseModel:
    """The trained model of a run, with its best weights, on the CPU.

    Models of the user's own are imported from the plugin files that the run names.

    Args:
        run: folder of the run (``runs/<timestamp>/<model>``), or a checkpoint file.

    Raises:
        UserError: if it is no run, has no checkpoint yet, the checkpoint is damaged, or a plugin file is gone.
    """
    file = _checkpoint_file(Path(run))
    content = read_checkpoint(file)
    _load_plugins(_config(file), str(content.get("name")), file)
    try:
        return BaseModel.load(file)
    except RuntimeError as error:  # what torch says of weights of other names or shapes
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"the weights in {file} must fit the code of {content.get('name')}, but do not ({reason}); "
            "use the code it was trained with"
        ) from None


def load_run(run: str | Path) -> TrainedRun:
    """A run's model together with how its data were read.

    Args:
        run: as for ``load_model``.

    Raises:
        UserError: as for ``load_model``, or if the checkpoint says nothing of its data.
    """
    model = load_model(run)
    file = _checkpoint_file(Path(run))
    schema = read_checkpoint(file).get("data")
    if not isinstance(schema, dict):
        raise UserError(
            f"forecasts of new data need a checkpoint that says how its data were read, but {file} does not (it was "
            "written by `model.save` or an earlier version); train again, or use load_model(...).predict(windows)"
        )
    return TrainedRun(model, schema, _run_folder(file), _config(file))


def with_uncertainty(trained: TrainedRun) -> TrainedRun:
    """A trained run whose model says how sure it is, by a Laplace approximation fitted to the run's own data.

    Raises:
        UserError: if the data are gone or have changed, or the model cannot have one.
    """
    data = cached_data(DataOptions.from_dict(dict(trained.schema["options"])))
    known = trained.config.get("fingerprint")
    if known:
        check_same_data(known, data.fingerprint())
    return replace(trained, model=with_laplace(trained.model, data))


def run_folders(path: str | Path) -> list[Path]:
    """A run's own folder (or checkpoint file), or the completed runs of a command's folder in order of their names.

    Raises:
        UserError: if there is none.
    """
    path = Path(path)
    if not path.is_dir() or (path / CONFIG_FILE).is_file():
        return [path]
    runs = list(_runs_below(path))
    completed = [folder for folder in runs if run_status(folder) == "completed"]
    if not completed:
        found = f"{len(runs)} runs, none of them completed" if runs else "no run"
        raise UserError(f"forecasts need a trained run, runs/<timestamp>/<model>, but {path} holds {found}")
    return completed


def forecast(
    trained: TrainedRun,
    data: str | Path | Sequence[Table] | None = None,
    every_window: bool = False,
    **reading: Any,
) -> pd.DataFrame:
    """Forecast the next horizon after the last row of every series.

    To the last bit the same as the test predictions of the same window, if both were computed on the same kind of CPU.

    Args:
        trained: what ``load_run`` returned.
        data: new series, or what ``--data`` would name; None for the run's own data.
        every_window: give all forecasts from within the data as well, those of the next horizon at the end.
        **reading: fields of ``ReadingOptions`` that differ from those of the training data.

    Returns:
        a row per window, step ahead and target: ``series`` (where there are several), ``origin`` (the last date the
        forecast knows), ``date`` (continued in the rhythm of the data, see ``future_dates``), ``step``, ``target``,
        with ``every_window`` ``actual`` (missing where not known yet), ``forecast`` and ``naive`` in original units;
        for ``direction`` ``probability`` of up instead of the last two, and ``up`` instead of ``actual``.

    Raises:
        DataError: if the data cannot be read or do not have what the model needs.
        OptionError: for a wrong reading option.
    """
    if data is None or isinstance(data, str | Path):
        data = read_new(reading_options(trained, None if data is None else str(data), reading), trained)
    return forecast_tables(trained, data, every_window).table


def reading_options(trained: TrainedRun, data: str | None, changes: Mapping[str, Any]) -> ReadingOptions:
    """How to read new data: as the training data were, but for what ``changes`` says.

    Raises:
        UserError: if there is nothing to read again.
    """
    known = {name: value for name, value in trained.schema["options"].items() if name in ReadingOptions.names()}
    if data is None and known["data"] == "-":
        raise UserError("the run's own data came from standard input and are gone; name data with --data")
    if data is not None:
        known["data"] = data
        if "://" not in data:
            known["query"] = None  # a query belongs to its database
        known["series"] = None  # and names of series to their file
    return ReadingOptions.from_dict({**known, **changes})


def classify(trained: TrainedRun, texts: Sequence[str]) -> pd.DataFrame:
    """Classes of new texts.

    Args:
        trained: a run on texts, as ``load_run`` returned it.
        texts: as they are; tokens are cut and numbered as in training.

    Returns:
        a row per text: ``text``, ``predicted``, ``confidence``, ``p_<class>`` for each class, and of Bayesian models
        ``epistemic`` and ``aleatoric`` uncertainty in nats.

    Raises:
        UserError: if the run is one on series, or there is no text.
    """
    if trained.model.spec.kind != "text":
        kind = trained.model.spec.kind
        raise UserError(f"texts need a run that was trained on texts, but {trained.folder} was on {kind}; name --data")
    if not texts:
        raise UserError("there must be a text to classify, but got none")
    return class_table(trained.model, trained.model.spec, new_texts(texts, trained.schema), with_truth=False)


def classify_images(trained: TrainedRun, images: ImageSplit) -> pd.DataFrame:
    """Classes of new images.

    Args:
        trained: a run on labelled images, as ``load_run`` returned it.
        images: what ``read_new_images`` returned.

    Returns:
        a row per image: ``image`` (where it comes from), ``predicted``, ``confidence``, ``p_<class>`` for each class.

    Raises:
        UserError: if the run had no labels to learn from.
    """
    if trained.model.spec.task != "classify":
        raise UserError(
            f"classes need a run that was trained with labels, but {trained.folder} had none; --embeddings FILE writes "
            "what it makes of the images"
        )
    return class_table(trained.model, trained.model.spec, images, with_truth=False)


def read_new_images(options: ReadingOptions, trained: TrainedRun) -> tuple[ImageSplit, Sequence[Note]]:
    """The images that ``options.data`` names, scaled as those of training, and what was found in them."""
    name = options.data.removeprefix(_SAMPLE_PREFIX)
    if options.data.startswith(_SAMPLE_PREFIX) and name in IMAGE_SAMPLES:
        found = load_image_sample(name)[1]
    else:
        found = read_images(options, with_labels=False, least=1)
    return new_images(found, trained.schema), found.notes


def read_new_texts(options: ReadingOptions) -> tuple[list[str], Sequence[Note]]:
    """The texts that ``options.data`` names, a sample included, and what was found in them; labels are not needed."""
    name = options.data.removeprefix(_SAMPLE_PREFIX)
    found = (
        load_text_sample(name)
        if options.data.startswith(_SAMPLE_PREFIX) and name in TEXT_SAMPLES
        else read_texts(options, with_labels=False)
    )
    return list(found.texts), found.notes


def read_new(options: ReadingOptions, trained: TrainedRun) -> list[Table]:
    """The series that ``options.data`` names, a sample included."""
    if not options.data.startswith(_SAMPLE_PREFIX):
        return read_series(options)
    window = trained.model.spec.input_shape[0]
    stacked = load_sample(options.data.removeprefix(_SAMPLE_PREFIX), window=window, seed=0).tables
    tables = []
    for number, name in enumerate(stacked.names):
        rows = slice(int(stacked.bounds[number]), int(stacked.bounds[number + 1]))
        columns = {column: stacked.values[rows, place] for place, column in enumerate(stacked.columns)}
        tables.append(Table(stacked.dates[rows], columns, name))
    return tables


def forecast_tables(
    trained: TrainedRun, tables: Sequence[Table], every_window: bool = False, paths: int = 0
) -> Forecasts:
    """Forecast series; see ``forecast``.

    With ``paths``, so many scenarios of the next horizon instead: a row for each, numbered in the column ``path``.

    Raises:
        UserError: if scenarios are asked of a model that draws none.
    """
    model, schema = trained.model, trained.schema
    data = SeriesData.for_prediction(tables, schema)
    several = len(tables) > 1 or len(schema["series"]) > 1
    newest = np.arange(len(data.newest))
    dates = np.stack([future_dates(table.dates, model.spec.target_shape[0]) for table in tables])
    table = forecast_table(model, model.spec, data.newest, newest, several=several, dates=dates)
    outlooks = _outlooks(trained, tables, data, dates, table)
    if paths:
        drawn = _scenarios(trained, data, newest, paths)
        columns = [name for name in table.columns if name not in ("lower_90", "upper_90", "naive")]
        table = pd.concat([table[columns]] * paths, ignore_index=True)
        table["forecast"] = drawn.reshape(-1)
        numbers = np.repeat(np.arange(1, paths + 1), drawn[0].size)
        table.insert(list(table.columns).index("forecast"), "path", numbers)
        outlooks = [
            replace(outlook, paths={trained.label: drawn[:, number // drawn.shape[3], :, number % drawn.shape[3]]})
            for number, outlook in enumerate(outlooks)
        ]
    if every_window:
        known = forecast_table(model, model.spec, data.windows, np.arange(len(data.windows)), several=several)
        table = pd.concat([known, table], ignore_index=True)
        if "up" in table:
            table["up"] = table["up"].astype("Int64")  # so that what is not known yet leaves the others whole numbers
    return Forecasts(table, [*data.notes, *_suspicions(trained, data)], outlooks)


def _scenarios(trained: TrainedRun, data: PredictionData, newest: np.ndarray, count: int) -> np.ndarray:
    """Scenarios in original units, ``[paths, series, horizon, targets]``."""
    model: Any = trained.model
    if not hasattr(model, "paths"):
        raise UserError(
            f"scenarios need a run that draws them (diffusion:series), but {trained.folder} is {trained.label}; leave "
            "--paths out"
        )
    batch = data.newest.select(newest)
    drawn = model.paths(batch.inputs, count).float().cpu().numpy()
    return np.stack([in_units(model.spec, data.newest, batch, path) for path in drawn])


def _outlooks(
    trained: TrainedRun, tables: Sequence[Table], data: PredictionData, dates: np.ndarray, table: pd.DataFrame
) -> list[Outlook]:
    spec = trained.model.spec
    shape = (len(tables), *spec.target_shape)
    values = table["probability" if spec.task == "direction" else "forecast"].to_numpy().reshape(shape)
    bounds = [table[name].to_numpy().reshape(shape) for name in ("lower_90", "upper_90") if name in table]
    history = data.newest.history(np.arange(len(tables)))
    return [
        Outlook(
            f"{series.name} {target}" if len(tables) > 1 else target,
            series.dates[-history.shape[1] :],
            history[number, :, place],
            dates[number],
            {trained.label: values[number, :, place]},
            {trained.label: np.stack([bound[number, :, place] for bound in bounds])} if bounds else {},
        )
        for number, series in enumerate(tables)
        for place, target in enumerate(spec.target_names)
    ]


def _suspicions(trained: TrainedRun, data: PredictionData) -> Iterator[Note]:
    """What new data have that training data did not."""
    inputs = data.newest.select(np.arange(len(data.newest))).inputs.numpy()
    typical = np.median(inputs, axis=1)
    largest = np.abs(inputs - typical[:, None]).max(axis=(0, 1))
    typical = np.abs(typical).max(axis=0)
    for place, name in enumerate(trained.model.spec.feature_names):
        is_level = trained.schema["transforms"][place] == "level"  # returns look alike in all units
        if is_level and typical[place] > TYPICALLY_FAR:
            text = f"values are {typical[place]:.3g} standard deviations from the mean of training"
            yield Note(name, f"{text}; other units, or another series?", warning=True)
        elif largest[place] > ONCE_FAR:
            kind = "value" if is_level else "change"
            text = f"a {kind} is {largest[place]:.3g} standard deviations of training away from those around it"
            yield Note(name, f"{text}; a wrong cell?", warning=True)
    end, last = _end_of_run(trained.folder), data.newest.origin_dates(np.arange(len(data.newest))).max()
    if end is not None and last < end:
        text = f"the newest row is of {date_text(last)}, but the run has seen data up to {date_text(end)}"
        yield Note("dates", f"{text}; is this the newest file?", warning=True)


def _end_of_run(folder: Path) -> np.datetime64 | None:
    """The last date among the run's test predictions."""
    try:
        dates = pd.read_csv(folder / PREDICTIONS_FILE, usecols=["date"])["date"]
        return np.datetime64(str(dates.max()), "ns") if len(dates) else None
    except (OSError, ValueError):
        return None


def _checkpoint_file(path: Path) -> Path:
    """Where a run keeps its best weights.

    Raises:
        UserError: if there is no run or it has none yet.
    """
    if path.is_file():
        if path.suffix != ".pt":
            raise UserError(f"a run is a folder runs/<timestamp>/<model> or a checkpoint file .pt, but got {path}")
        return path
    if not path.is_dir():
        beside = [folder.name for folder in path.parent.glob("*") if folder.is_dir()] if path.parent.is_dir() else []
        raise UserError(f"there is no run {path}.{did_you_mean(path.name, beside)}")
    if not (path / CONFIG_FILE).is_file():
        runs = list(_runs_below(path))
        fix = f"it holds {len(runs)} runs, name one: {runs[0]}" if runs else "name runs/<timestamp>/<model>"
        raise UserError(f"a run is a folder with a {CONFIG_FILE}, but {path} has none; {fix}")
    file = path / CHECKPOINT_FOLDER / "best.pt"
    if not file.is_file():
        status = run_status(path)
        reason = str(read_json(path / RESULTS_FILE).get("error") or status) if status == "failed" else status
        root = path.parent.parent if _is_seed(path) else path.parent
        raise UserError(
            f"forecasts need a trained run, but {path} has no checkpoint yet ({reason}); "
            f"go on with train_models.py --resume {root}"
        )
    return file


def _runs_below(folder: Path) -> Iterator[Path]:
    """The runs of a command, or the seeds of a model."""
    for pattern in ("*", "*/seed_*"):
        yield from sorted(file.parent for file in folder.glob(f"{pattern}/{CONFIG_FILE}"))


def _is_seed(folder: Path) -> bool:
    return folder.name.startswith("seed_")


def _run_folder(file: Path) -> Path:
    return file.parent.parent if file.parent.name == CHECKPOINT_FOLDER else file.parent


def _config(file: Path) -> dict[str, Any]:
    config = _run_folder(file) / CONFIG_FILE
    return read_json(config) if config.is_file() else {}


def _load_plugins(config: Mapping[str, Any], model: str, checkpoint: Path) -> None:
    for plugin in config.get("plugins") or ():
        if Path(plugin).is_file():
            load_plugin(plugin)
        elif model not in {known.name for known in registry.entries()}:
            raise UserError(
                f"{checkpoint} holds {model}, which the plugin file {plugin} defines, but that file is gone; "
                "put it back, or import it before loading the model"
            )
