"""``tune_models.py``: search for the best options of several architectures, in three phases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..data.options import DataOptions
from ..errors import OptionError
from ..tracking.options import Delivery, LoggingOptions
from ..training.config import TrainingConfig
from ..tuning.config import PHASES, HyperparameterConfig
from ..tuning.request import SearchRequest
from .common import VariadicCommand, new_app
from .parameters import given, number_parser, several, with_parameters
from .train import logging_options, split_commas
from .tune_runs import SearchWay, join_search, resume_search, start_search

app = new_app()

DEFAULT_MODELS = ("lstm:attention", "gru:residual")
COUNTS = tuple(f"n_{phase}_trials" for phase in PHASES)


class TuneCommand(VariadicCommand):
    """``--models a b c``, ``--set x=1 y=2`` and ``--series A B`` take several values after one flag."""

    variadic = frozenset({"models", "settings", "plugin"}) | several(DataOptions, LoggingOptions)


def tune(
    *,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            "-m",
            metavar="NAME...",
            help=f"e.g. lstm:attention 'tcn:*' [default: {' '.join(DEFAULT_MODELS)}]",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            metavar="N",
            help="trials of each model, all phases together",
            parser=number_parser("trials", int),
        ),
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="TOML or JSON file that narrows, fixes or adds to the space", metavar="FILE")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE...", help="model options that are not searched: hidden_size=128"),
    ] = None,
    jobs: Annotated[str, typer.Option(metavar="auto|N", help="trials at the same time")] = "auto",
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="begin no trial after 90s, 30m, 2h, 1h30m")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="train the best and the default configuration with so many seeds in the end",
            metavar="N",
            parser=number_parser("seeds", int),
        ),
    ] = 1,
    final: Annotated[
        bool, typer.Option("--final/--no-final", help="train the best configuration in the end and score it")
    ] = True,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE", help="where the studies are kept: sqlite:///, postgresql:// or a journal file"
        ),
    ] = None,
    worker: Annotated[bool, typer.Option("--worker", help="help with the search in --storage")] = False,
    output: Annotated[Path, typer.Option(help="folder that holds all runs", metavar="DIR")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option(help="name of the search and its folder [default: date and time]", metavar="NAME")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with an unfinished search", metavar="DIR")] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard/--no-tensorboard", help="write TensorBoard events")
    ] = True,
    plugin: Annotated[
        list[str] | None, typer.Option("--plugin", help="Python files with models of your own", metavar="FILE...")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="open TensorBoard in the browser meanwhile")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show the space and what the search would cost, then end")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    **values: Any,
) -> None:
    """Search for the best options of each model: at random, then by what was seen, then close to the best.

    Every trial is a run in runs/<date_time>/<model>/; `python view_tensorboard.py` shows them. In the end the best
    configuration is trained beside the default one (for --epochs), and only these are scored on the test part.
    """
    way = SearchWay(jobs, Delivery(**given(values, Delivery)), watch, dry_run, debug, timeout=parse_timeout(timeout))
    if worker or resume is not None:
        own = {"models": models, "trials": trials, "space": space, "set": settings, "plugin": plugin}
        own |= {"seeds": seeds != 1, "no-final": not final, "no-tensorboard": not tensorboard}
        if worker:
            check_unchanged("--worker", values, **own, resume=resume)
            if storage is None:
                raise OptionError("--worker helps with a search in a storage, but --storage is missing; name it")
            raise typer.Exit(join_search(storage, name, output, way))
        check_unchanged("--resume", values, **own, name=name)
        raise typer.Exit(resume_search(Path(str(resume)), storage, way))
    if seeds < 1:
        raise OptionError(f"--seeds must be at least 1, but got {seeds}")
    if watch and not tensorboard:
        raise OptionError("--watch shows what TensorBoard is written, but got --no-tensorboard; leave one of them out")
    if values.get("log_batches") is None:
        values["log_batches"] = tensorboard
    data_values, training_values = given(values, DataOptions), given(values, TrainingConfig)
    request = SearchRequest(
        models=tuple(split_commas(models)) or DEFAULT_MODELS,
        config=phases(values, trials),
        data=DataOptions(**data_values),
        training=TrainingConfig(**training_values),
        logging=logging_options(values, tensorboard),
        given=(*data_values, *training_values),
        settings=tuple(settings or ()),
        plugins=tuple(split_commas(plugin)),
        space=str(space) if space is not None else None,
        storage=storage,
        seeds=seeds,
        final=final,
        tensorboard=tensorboard,
    )
    raise typer.Exit(start_search(request, output, name, way))


app.command(cls=TuneCommand)(
    with_parameters(tune, HyperparameterConfig, DataOptions, TrainingConfig, LoggingOptions, Delivery)
)


def phases(values: Mapping[str, Any], trials: int | None) -> HyperparameterConfig:
    """The phases as given; ``--trials`` splits in their proportion.

    Raises:
        OptionError: if the numbers of trials contradict each other.
    """
    own = given(values, HyperparameterConfig)
    counts = [name for name in COUNTS if name in own]
    config = HyperparameterConfig(**own)
    if trials is None:
        return config
    if not counts:
        return config.with_total(trials)
    if len(counts) < len(COUNTS) or config.total != trials:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in counts)
        raise OptionError(
            f"--trials is the total that is split into phases, but got --trials {trials} with {flags}; leave one out"
        )
    return config


def check_unchanged(flag: str, values: Mapping[str, Any], **others: Any) -> None:
    """Refuse options that would change what a search is.

    Raises:
        OptionError: naming the first such option.
    """
    changed = [key for key, value in values.items() if value not in (None, []) and key not in Delivery.names()]
    changed += [key for key, value in others.items() if value]
    if changed:
        raise OptionError(
            f"{flag} goes on with a search as it was begun; only --jobs, --timeout, --storage, --watch and where "
            f"findings are sent may be given, but got --{changed[0].replace('_', '-')}"
        )


_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.IGNORECASE)


def parse_timeout(text: str | None) -> float | None:
    """Seconds of ``90``, ``90s``, ``30m``, ``2h`` or ``1h30m``; None for None.

    Raises:
        OptionError: if it is none of these, or no time at all.
    """
    if text is None:
        return None
    match = _TIME.fullmatch(text.strip().replace(" ", ""))
    seconds = (
        sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if not seconds:
        raise OptionError(f"--timeout must be a time such as 90s, 30m or 2h, but got '{text}'")
    return seconds
