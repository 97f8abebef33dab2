"""``train_models.py``: train the selected architectures on one data set and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..data.options import DataOptions
from ..errors import OptionError, UserError
from ..tracking.options import Delivery, LoggingOptions
from ..training.config import TrainingConfig
from .common import VariadicCommand, new_app
from .parameters import given, number_parser, several, with_parameters
from .train_output import print_models
from .train_runs import Way, resume_runs, start_runs

if TYPE_CHECKING:
    from ..plan import Selection

app = new_app()

RESUME_MAY_CHANGE = ("epochs", "patience", "data", *Delivery.names())


class TrainCommand(VariadicCommand):
    """``--models a b c``, ``--set x=1 y=2`` and ``--series A B`` take several values after one flag."""

    variadic = frozenset({"models", "settings", "plugin"}) | several(DataOptions, LoggingOptions)


def train(
    *,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            "-m",
            metavar="NAME...",
            help="e.g. lstm:attention gru:residual 'tcn:*' [default: all]",
        ),
    ] = None,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard/--no-tensorboard", help="write TensorBoard events [default: no]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE...", help="model options: hidden_size=128 or tcn:basic.kernel=5"),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(help="train every network with so many seeds", metavar="N", parser=number_parser("seeds", int)),
    ] = 1,
    jobs: Annotated[str, typer.Option(metavar="auto|N", help="models trained at the same time")] = "auto",
    output: Annotated[Path, typer.Option(help="folder that holds all runs", metavar="DIR")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option(help="name of the run folder [default: date and time]", metavar="NAME")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="repeat a run: its config.json; other options still win", metavar="FILE")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="go on with an unfinished run folder; with --epochs N train on", metavar="DIR"),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(help="start from the encoder of a run, runs/<timestamp>/<model>, in its shape", metavar="RUN"),
    ] = None,
    plugin: Annotated[
        list[str] | None, typer.Option(help="Python files with models of your own", metavar="FILE...")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="open TensorBoard in the browser while training")] = False,
    list_models: Annotated[bool, typer.Option("--list", help="show all models and their options, then end")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check and show what would be trained, then end")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    **values: Any,
) -> None:
    """Train several architectures on a price or sensor series and compare them on data they have not seen.

    Results go to runs/<date_time>/<model>/; `python view_tensorboard.py` shows them if --tensorboard was given.
    """
    if list_models:
        print_models(split_commas(models), split_commas(plugin))
        return
    if resume is not None:
        others = {"seeds": seeds != 1, "tensorboard": tensorboard is not None, "plugin": plugin, "init_from": init_from}
        check_resume(values, name=name, config=config, models=models, settings=settings, **others)
        changes = given(values, TrainingConfig)
        way = Way(jobs, Delivery(**given(values, Delivery)), watch, dry_run, debug)
        raise typer.Exit(resume_runs(resume, changes, values.get("data"), way))
    from ..plan import Selection
    from ..starting import StartingPoint

    if seeds < 1:
        raise OptionError(f"--seeds must be at least 1, but got {seeds}")
    if watch and tensorboard is False:
        raise OptionError("--watch shows what --tensorboard writes, but got --no-tensorboard; leave one of them out")
    tensorboard = True if watch else tensorboard
    selection = Selection(
        tuple(split_commas(models)),
        tuple(settings or ()),
        seeds,
        tuple(split_commas(plugin)),
        bool(tensorboard),
        logging_options(values, bool(tensorboard) or config is not None),
        default_data=values.get("data") is None and config is None,
        start=None if init_from is None else StartingPoint.of_run(init_from, tuple(split_commas(plugin))),
    )
    data_values, training_values = given(values, DataOptions), given(values, TrainingConfig)
    if config is not None:
        selection, data_values, training_values = from_config(
            config, selection, tensorboard, data_values, training_values
        )
    options = DataOptions(**data_values), TrainingConfig(**training_values)
    way = Way(jobs, Delivery(**given(values, Delivery)), watch, dry_run, debug)
    raise typer.Exit(start_runs(selection, *options, output, name, way))


app.command(cls=TrainCommand)(with_parameters(train, DataOptions, TrainingConfig, LoggingOptions, Delivery))


def logging_options(values: Mapping[str, Any], tensorboard: bool) -> LoggingOptions:
    """What to log, as given, with files named absolutely: workers and resumed runs may stand elsewhere.

    Raises:
        OptionError: if every batch is to be logged to a TensorBoard that is not asked for.
    """
    given_values = given(values, LoggingOptions)
    for name in ("monitor", "rules"):
        if name in given_values:
            files = (Path(part).resolve() for part in given_values[name].split(","))
            given_values[name] = ",".join(map(str, files))
    options = LoggingOptions(**given_values)
    if options.log_batches and not tensorboard:
        raise OptionError("--log-batches writes to TensorBoard, but --tensorboard is missing; add it")
    return options


def split_commas(values: Sequence[str] | None) -> list[str]:
    """``["a,b", "c"]`` -> ``["a", "b", "c"]``."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def from_config(
    file: Path,
    selection: Selection,
    tensorboard: bool | None,
    data_values: Mapping[str, Any],
    training_values: Mapping[str, Any],
) -> tuple[Selection, dict[str, Any], dict[str, Any]]:
    """Take what the user did not give from a run's ``config.json``.

    Raises:
        UserError: if the file is no run's configuration.
    """
    from dataclasses import replace

    from ..plan import RunPlan
    from ..starting import StartingPoint
    from ..tracking.run_folder import read_json

    try:
        plan = RunPlan.from_dict(read_json(file))
    except UserError as error:
        raise UserError(f"--config needs the config.json of a run, but got {file}: {error}") from None
    selection = replace(
        selection,
        models=selection.models or (plan.model,),
        plugins=(*plan.plugins, *selection.plugins),
        tensorboard=plan.tensorboard if tensorboard is None else tensorboard,
        presets={plan.model: plan.options},
        start=selection.start or (StartingPoint.of_run(plan.init_from, plan.plugins) if plan.init_from else None),
    )
    return selection, {**plan.data.to_dict(), **data_values}, {**plan.training.to_dict(), **training_values}


def check_resume(values: Mapping[str, Any], **others: Any) -> None:
    """Refuse options that would change what an unfinished run is.

    Raises:
        OptionError: naming the first such option.
    """
    changed = [key for key, value in values.items() if value not in (None, []) and key not in RESUME_MAY_CHANGE]
    changed += [key for key, value in others.items() if value]
    if changed:
        flag = {"settings": "set"}.get(changed[0], changed[0]).replace("_", "-")
        raise OptionError(
            "--resume goes on with what the run folder's plan says; only --epochs, --patience and where the same "
            "--data are may change, "
            f"but got --{flag}"
        )
