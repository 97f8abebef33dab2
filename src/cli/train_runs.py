"""Carrying out what ``train_models.py`` was asked for: new runs, or runs to go on with."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..data.options import DataOptions
from ..errors import OptionError, UserError
from ..tracking.options import Delivery, LoggingOptions
from ..training.config import TrainingConfig
from .common import python_command
from .train_output import print_data, print_plans, print_where_to_look, show_results

if TYPE_CHECKING:
    from ..fanout import StandbyWorkers
    from ..plan import RunPlan, Selection

EXPERIMENT = f"{__package__.rpartition('.')[0]}.experiment"  # ``src`` in a checkout, ``trainboard`` in a wheel


@dataclass(frozen=True)
class Way:
    """How a command goes about its runs; none of it changes what comes out.

    Attributes:
        jobs: ``auto`` or how many models to train at the same time.
        delivery: whom findings are sent to.
        watch: open TensorBoard beside training.
        dry_run, debug: as on the command line.
    """

    jobs: str = "auto"
    delivery: Delivery = field(default_factory=Delivery)
    watch: bool = False
    dry_run: bool = False
    debug: bool = False


def start_runs(
    selection: Selection,
    data_options: DataOptions,
    training: TrainingConfig,
    output: Path,
    name: str | None,
    way: Way,
) -> int:
    """Check everything, make the run folder and train. Returns the exit code."""
    parse_jobs(way.jobs)
    check_watching(selection.logging, way.delivery)
    from ..fanout import StandbyWorkers

    workers = 1 if way.dry_run else likely_jobs(selection, training, way.jobs)
    with StandbyWorkers(workers, EXPERIMENT, worker_environment(training)) as standby:
        from ..data.snapshot import is_repeatable
        from ..experiment import cached_data
        from ..plan import default_data_for, plan_runs, write_plan
        from ..tracking.run_folder import create_root, only_command_on
        from ..training.device import select_device

        select_device(training.device)
        data_options = default_data_for(selection, data_options)
        if way.dry_run or is_repeatable(data_options.data):
            root = None
            kept: contextlib.AbstractContextManager[DataOptions] = contextlib.nullcontext(data_options)
        else:
            root = create_root(output, name)
            kept = copied_into(root, data_options)
        with kept as options:
            data = cached_data(options)
            plans, left_out = plan_runs(selection, data, training)
        print_data(data, left_out)
        if way.dry_run:
            print_plans(plans)
            return 0
        root = root or create_root(output, name)
        with only_command_on(root):
            write_plan(root, plans, shown_command(sys.argv))
            print(f"writing to {root}", flush=True)
            return carry_out(root, plans, plans, way, standby=standby, fitted=data.fitted())


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


def resume_runs(root: Path, changes: Mapping[str, Any], data: str | None, way: Way) -> int:
    """Go on with what is unfinished in a run folder; with more epochs, with all that did not stop by themselves.

    Args:
        root: the run folder.
        changes: new values of training options.
        data: where the same data are now, if they have moved.
        way: how to go about it.
    """
    parse_jobs(way.jobs)
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
    if way.dry_run:
        print_plans(unfinished)
        return 0
    with only_command_on(root):
        if changes or data is not None:
            write_plan(root, plans, shown_command(sys.argv))
        print(f"resuming {len(unfinished)} of {len(plans)} runs in {root}", flush=True)
        return carry_out(root, plans, unfinished, way, resume=True)


def carry_out(
    root: Path,
    plans: Sequence[RunPlan],
    wanted: Sequence[RunPlan],
    way: Way,
    *,
    standby: StandbyWorkers | None = None,
    fitted: dict[str, Any] | None = None,
    resume: bool = False,
) -> int:
    """Train what is wanted, then show how all runs of the folder compare. Returns the exit code."""
    from ..experiment import data_to_resume, run
    from ..fanout import Task, run_all
    from .progress import ProgressPrinter
    from .watch import dashboard

    if resume:
        fitted = data_to_resume(root, plans).fitted()
    keys = [display_name(plan) for plan in wanted]
    shared = {"root": str(root), "resume": resume, "fitted": fitted, "delivery": way.delivery.to_dict()}
    tasks = [
        Task(key, {**shared, "plan": plan.to_dict(), "place": place})
        for place, (key, plan) in enumerate(zip(keys, wanted, strict=True))
    ]
    printer = ProgressPrinter(keys)
    try:
        with dashboard(root) if way.watch else contextlib.nullcontext(), termination_interrupts():
            outcomes = run_all(
                run,
                tasks,
                jobs=min(job_count(way.jobs, wanted[0].training), len(tasks)),
                on_report=printer.report,
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
            if way.debug and outcome.traceback:
                print(outcome.traceback)
        print(f"The others are complete. Try again with: {resume_command(root)}")
    print_where_to_look(root, plans)
    return 1 if failed else 0


def check_watching(logging: LoggingOptions, delivery: Delivery) -> None:
    """Read the files of monitors and rules, and see whether findings can be delivered, before anything is made.

    Raises:
        UserError: if one of them cannot be used.
    """
    if logging.rules:
        from ..tracking.rules import load_rules

        load_rules(logging.rules)
    if logging.monitor:
        from ..tracking.monitors.defaults import load_monitors

        for file in logging.monitor.split(","):
            load_monitors(file)
    if delivery.notify or delivery.notify_url:
        from ..tracking.alerts import Alerts

        Alerts(notify=delivery.notify, notify_url=delivery.notify_url).close()
        program = next(iter(shlex.split(delivery.notify)), "")
        if program and shutil.which(program) is None:
            raise UserError(f"--notify must name a program that can be run, but got '{program}'; is its path right?")


DELIVERY_FLAGS = ("--notify", "--notify-url")


def shown_command(words: Sequence[str]) -> list[str]:
    """The command without whom findings are sent to: whoever knows the address may post there."""
    shown = [
        f"{word.partition('=')[0]}=..." if word.startswith(tuple(f"{flag}=" for flag in DELIVERY_FLAGS)) else word
        for word in words
    ]
    return ["..." if before in DELIVERY_FLAGS else word for before, word in zip(["", *shown], shown, strict=False)]


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
    """The model or the run's label, with its seed where there are several."""
    name = plan.label or plan.model
    return f"{name} seed {plan.training.seed}" if plan.folder.endswith(f"/seed_{plan.training.seed}") else name


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
