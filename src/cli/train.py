"""``train_models.py``: train the selected architectures on one data set and compare them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..data.options import DataOptions
from ..errors import OptionError, UserError
from ..training.config import TrainingConfig
from .common import VariadicCommand, new_app, python_command
from .parameters import given, number_parser, several, with_parameters
from .train_output import print_data, print_models, print_plans, print_where_to_look, show_results

if TYPE_CHECKING:
    from ..fanout import StandbyWorkers
    from ..plan import RunPlan, Selection

app = new_app()

EXPERIMENT = f"{__package__.rpartition('.')[0]}.experiment"  # ``src`` in a checkout, ``trainboard`` in a wheel
RESUME_MAY_CHANGE = ("epochs", "patience", "data")


class TrainCommand(VariadicCommand):
    """``--models a b c``, ``--set x=1 y=2`` and ``--series A B`` take several values after one flag."""

    variadic = frozenset({"models", "settings", "plugin"}) | several(DataOptions)


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
    plugin: Annotated[
        list[str] | None, typer.Option(help="Python files with models of your own", metavar="FILE...")
    ] = None,
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
        others = {"seeds": seeds != 1, "tensorboard": tensorboard is not None, "plugin": plugin}
        check_resume(values, name=name, config=config, models=models, settings=settings, **others)
        changes = given(values, TrainingConfig)
        code = resume_runs(resume, changes, values.get("data"), jobs, dry_run, debug)
        raise typer.Exit(code)
    from ..plan import Selection

    if seeds < 1:
        raise OptionError(f"--seeds must be at least 1, but got {seeds}")
    selection = Selection(
        tuple(split_commas(models)), tuple(settings or ()), seeds, tuple(split_commas(plugin)), bool(tensorboard)
    )
    data_values, training_values = given(values, DataOptions), given(values, TrainingConfig)
    if config is not None:
        selection, data_values, training_values = from_config(
            config, selection, tensorboard, data_values, training_values
        )
    options = DataOptions(**data_values), TrainingConfig(**training_values)
    raise typer.Exit(start_runs(selection, *options, output, name, jobs, dry_run, debug))


app.command(cls=TrainCommand)(with_parameters(train, DataOptions, TrainingConfig))


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
    )
    return selection, {**plan.data.to_dict(), **data_values}, {**plan.training.to_dict(), **training_values}


def start_runs(
    selection: Selection,
    data_options: DataOptions,
    training: TrainingConfig,
    output: Path,
    name: str | None,
    jobs: str,
    dry_run: bool,
    debug: bool,
) -> int:
    """Check everything, make the run folder and train. Returns the exit code."""
    parse_jobs(jobs)
    from ..fanout import StandbyWorkers

    workers = 1 if dry_run else likely_jobs(selection, training, jobs)
    with StandbyWorkers(workers, EXPERIMENT, worker_environment(training)) as standby:
        from ..data.snapshot import is_repeatable
        from ..experiment import cached_data
        from ..plan import plan_runs, write_plan
        from ..tracking.run_folder import create_root, only_command_on
        from ..training.device import select_device

        select_device(training.device)
        if dry_run or is_repeatable(data_options.data):
            root = None
            kept: contextlib.AbstractContextManager[DataOptions] = contextlib.nullcontext(data_options)
        else:
            root = create_root(output, name)
            kept = copied_into(root, data_options)
        with kept as options:
            data = cached_data(options)
            plans, left_out = plan_runs(selection, data, training)
        print_data(data, left_out)
        if dry_run:
            print_plans(plans)
            return 0
        root = root or create_root(output, name)
        with only_command_on(root):
            write_plan(root, plans, sys.argv)
            print(f"writing to {root}", flush=True)
            return carry_out(root, plans, plans, jobs, standby=standby, scaler=data.scaler.to_dict(), debug=debug)


@contextlib.contextmanager
def copied_into(root: Path, options: DataOptions) -> Iterator[DataOptions]:
    """Options that read a copy in the run folder; the folder goes again if the data turn out to be of no use."""
    import shutil

    from ..data.snapshot import take_snapshot

    try:
        yield take_snapshot(options, root / "input")
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise


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


def resume_runs(root: Path, changes: Mapping[str, Any], data: str | None, jobs: str, dry_run: bool, debug: bool) -> int:
    """Go on with what is unfinished in a run folder; with more epochs, with all that did not stop by themselves.

    Args:
        root: the run folder.
        changes: new values of training options.
        data: where the same data are now, if they have moved.
        jobs, dry_run, debug: as on the command line.
    """
    parse_jobs(jobs)
    from dataclasses import replace

    from ..data.loading import resolved
    from ..experiment import prepare_resume
    from ..plan import read_plan, write_plan
    from ..tracking.run_folder import only_command_on

    plans = read_plan(root)
    if data is not None:
        plans = [replace(plan, data=replace(plan.data, data=resolved(data))) for plan in plans]
    plans, unfinished = prepare_resume(root, plans, changes)
    if not unfinished:
        print(f"nothing left to do: all {len(plans)} runs in {root} are complete")
        show_results(root, plans)
        return 0
    if dry_run:
        print_plans(unfinished)
        return 0
    with only_command_on(root):
        if changes or data is not None:
            write_plan(root, plans, sys.argv)
        print(f"resuming {len(unfinished)} of {len(plans)} runs in {root}", flush=True)
        return carry_out(root, plans, unfinished, jobs, resume=True, debug=debug)


def carry_out(
    root: Path,
    plans: Sequence[RunPlan],
    wanted: Sequence[RunPlan],
    jobs: str,
    *,
    standby: StandbyWorkers | None = None,
    scaler: dict[str, Any] | None = None,
    resume: bool = False,
    debug: bool = False,
) -> int:
    """Train what is wanted, then show how all runs of the folder compare. Returns the exit code."""
    from ..experiment import data_to_resume, run
    from ..fanout import Task, run_all
    from .progress import ProgressPrinter

    if resume:
        scaler = data_to_resume(root, plans).scaler.to_dict()
    keys = [display_name(plan) for plan in wanted]
    tasks = [
        Task(key, {"root": str(root), "plan": plan.to_dict(), "resume": resume, "place": place, "scaler": scaler})
        for place, (key, plan) in enumerate(zip(keys, wanted, strict=True))
    ]
    printer = ProgressPrinter(keys)
    try:
        with termination_interrupts():
            outcomes = run_all(
                run,
                tasks,
                jobs=min(job_count(jobs, wanted[0].training), len(tasks)),
                on_report=printer.epoch,
                on_outcome=printer.ended,
                environment=worker_environment(wanted[0].training),
                standby=standby,
            )
    except KeyboardInterrupt:
        printer.close()
        print(f"\nstopped; go on with: {resume_command(root)}", file=sys.stderr)
        raise SystemExit(130) from None
    printer.close()
    try:
        show_results(root, plans)
    except OSError as error:
        print(f"the leaderboard cannot be written in {root}: {error.strerror or error}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.status != "done"]
    if failed:
        print(f"\n{len(failed)} of {len(outcomes)} runs did not finish:")
        for outcome in failed:
            print(f"  {outcome.key}: {outcome.error}")
            if debug and outcome.traceback:
                print(outcome.traceback)
        print(f"The others are complete. Try again with: {resume_command(root)}")
    print_where_to_look(root, plans)
    return 1 if failed else 0


def resume_command(root: Path) -> str:
    """What to type to go on with a run folder."""
    return f"{python_command()} train_models.py --resume {shlex.quote(str(root))}"


@contextlib.contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, and say at the first of them what happens now."""
    told = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            with contextlib.suppress(OSError):  # not print: the signal may have come in the middle of one
                os.write(2, b"\nfinishing the step and saving; once more to leave at once\n")
        raise KeyboardInterrupt

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def display_name(plan: RunPlan) -> str:
    """The model, with its seed where there are several."""
    return f"{plan.model} seed {plan.training.seed}" if "/" in plan.folder else plan.model


def parse_jobs(jobs: str) -> int | None:
    """The number of jobs, or None for ``auto``.

    Raises:
        OptionError: if it is neither.
    """
    if jobs == "auto":
        return None
    if not jobs.isdecimal() or int(jobs) < 1:
        raise OptionError(f"--jobs must be auto or a whole number from 1, but got '{jobs}'")
    return int(jobs)


def job_count(jobs: str, training: TrainingConfig) -> int:
    """How many models to train at the same time: with ``auto`` one per GPU, or as many as the CPU has cores for."""
    number = parse_jobs(jobs)
    if number is not None:
        return number
    if not is_surely_cpu(training.device):
        import torch

        from ..training.device import select_device

        if select_device(training.device).type == "cpu":
            return cpu_job_count(training)
        return max(1, torch.cuda.device_count()) if training.device in ("auto", "cuda") else 1
    return cpu_job_count(training)


def cpu_job_count(training: TrainingConfig) -> int:
    """One model per core, or per as many cores as a model may use threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // training.threads)


def is_surely_cpu(device: str) -> bool:
    """Whether training will be on the CPU, told without importing torch so that workers can start at once."""
    no_gpu = sys.platform == "linux" and not any(Path(driver).exists() for driver in ("/dev/nvidiactl", "/dev/kfd"))
    return device == "cpu" or (device == "auto" and no_gpu)


def likely_jobs(selection: Selection, training: TrainingConfig, jobs: str) -> int:
    """How many workers will be needed, as far as can be told before the names are resolved."""
    wildcards = not selection.models or any(set(name) & set("*?[") for name in selection.models)
    runs = len(selection.models) * selection.seeds
    return job_count(jobs, training) if wildcards else min(job_count(jobs, training), runs)


def worker_environment(training: TrainingConfig) -> dict[str, str]:
    """What workers need before torch loads: threads of several processes that spin would fight for the same cores."""
    threads = str(training.threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
    }
