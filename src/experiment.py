"""The composition root: one run from its plan to its results.

The one module that knows data, models, training and tracking together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .comparison.evaluate import best_objective, evaluate, predictions_csv
from .comparison.leaderboard import leaderboard, leaderboard_csv
from .data.images import ImageData
from .data.loading import Data, load_data
from .data.options import DataOptions
from .data.series import SeriesData
from .data.text import TextData
from .data.videos import VideoData
from .errors import TrainingError, UserError
from .hparams import start_session
from .models import create_model, load_plugin
from .plan import RunPlan
from .starting import StartingPoint
from .tracking import tags
from .tracking.event_writer import EventWriter, SilentWriter
from .tracking.findings import Finding
from .tracking.options import Delivery
from .tracking.run_folder import (
    CONFIG_FILE,
    LEADERBOARD_FILE,
    LOG_FILE,
    PREDICTIONS_FILE,
    RESULTS_FILE,
    only_command_on,
    read_json,
    remove_leftovers,
    write_atomically,
    write_json,
)
from .tracking.tag_tables.decisions import CONFUSION_TEST_IMAGE
from .training.config import TrainingConfig
from .training.device import prepare_process, seed_everything
from .training.fitting import check_same_data, fit, latest_checkpoint, open_writer
from .training.loop import Observer, TrainingResult
from .training.monitoring import FindingHandling
from .training.observers import EpochProgress, ProgressReporter, check_writable
from .training.run_log import RunLog

LOCK_SECONDS = 10.0  # longer than a worker outlives its command


def run_status(folder: Path) -> str:
    """``completed``, ``failed``, ``interrupted`` or ``waiting``, from the run's results file."""
    file = folder / RESULTS_FILE
    return read_json(file)["status"] if file.is_file() else "waiting"


def prepare_resume(
    root: Path, plans: Sequence[RunPlan], changes: Mapping[str, Any]
) -> tuple[list[RunPlan], list[RunPlan]]:
    """Which runs of a folder are to go on.

    Args:
        root: the command's folder.
        plans: its runs.
        changes: new values of ``epochs`` and ``patience``.

    Returns:
        all runs with the changes made, and those among them that are unfinished, or that would not have stopped
        where they did with the changed options.
    """
    changed = [
        dataclasses.replace(plan, training=TrainingConfig.from_dict({**plan.training.to_dict(), **changes}))
        for plan in plans
    ]
    return changed, [plan for plan in changed if _goes_on(root / plan.folder, plan.training)]


def _goes_on(folder: Path, training: TrainingConfig) -> bool:
    if run_status(folder) != "completed":
        return True
    done = read_json(folder / RESULTS_FILE)["training"]
    waited = done["epochs"] - 1 - done["best_epoch"]
    return 0 < done["epochs"] < training.epochs and waited < training.patience


def data_to_resume(root: Path, plans: Sequence[RunPlan]) -> Data:
    """The data of a folder's runs.

    Raises:
        UserError: if they have changed since a run of the folder began, be it complete or not.
    """
    data = cached_data(plans[0].data)
    for plan in plans:
        file = root / plan.folder / CONFIG_FILE
        if file.is_file():
            check_same_data(read_json(file).get("fingerprint", {}), data.fingerprint())
    return data


def run(payload: Mapping[str, Any], report: Callable[[Any], None]) -> dict[str, Any]:
    """Carry out one planned run; what ``fanout.run_all`` calls, in this process or in a worker.

    Args:
        payload: ``root`` (folder of the command), ``plan`` (``RunPlan.to_dict``), ``resume``, ``place`` (the run's
            number, which decides its GPU where there are several), ``delivery`` (``Delivery.to_dict``: whom findings
            are sent to), and, if it is known already, ``fitted`` (of the data).
        report: receives an ``EpochProgress`` after every epoch, and every ``Finding`` of the diagnosis.

    Returns:
        what was written to ``results.json``.

    Raises:
        TrainingError: if the run cannot go on; ``results.json`` says so too.
    """
    plan = RunPlan.from_dict(payload["plan"])
    root, resume = Path(payload["root"]), bool(payload.get("resume"))
    with open_run(plan, root, resume=resume) as log:
        delivery = Delivery.from_dict(payload.get("delivery") or {})
        return _Run(plan, root, cached_data(plan.data, payload.get("fitted")), log, delivery).carry_out(
            report, resume, payload.get("place", 0)
        )


@contextlib.contextmanager
def open_run(plan: RunPlan, root: Path, *, resume: bool = False) -> Iterator[RunLog]:
    """Hold a run's folder while it is carried out, and say in its files how it ended if it fails.

    Args:
        plan: the run.
        root: the folder that ``plan.folder`` lies in.
        resume: go on with ``train.log``.

    Raises:
        TrainingError: if a file of the run cannot be written or read.
    """
    folder = root / plan.folder
    check_writable(folder)
    with _only_run_in(folder):
        remove_leftovers(folder)
        prepare_process(plan.training)
        for plugin in plan.plugins:
            load_plugin(plugin)
        log = RunLog(folder / LOG_FILE, fresh=not resume)
        try:
            with log.warnings():
                yield log
        except OSError as error:
            reason = f"a file of the run cannot be written or read in {folder} ({error.strerror or error})"
            failure = TrainingError(f"{reason}; mend that, then go on with --resume")
            _record_failure(folder, plan, log, failure)
            raise failure from error
        except BaseException as error:
            _record_failure(folder, plan, log, error)
            raise


def _record_failure(folder: Path, plan: RunPlan, log: RunLog, error: BaseException) -> None:
    """Say in ``train.log`` and ``results.json`` how the run ended."""
    stopped = isinstance(error, KeyboardInterrupt | SystemExit)
    known = isinstance(error, UserError | TrainingError)
    kind = KeyboardInterrupt.__name__ if isinstance(error, KeyboardInterrupt) else type(error).__name__
    message = str(error) if known else f"{kind}: {error}".removesuffix(": ")
    log.line("interrupted" if stopped else f"failed: {message}")
    if not (known or stopped):
        log.line("".join(traceback.format_exception(error)))
    with contextlib.suppress(OSError):
        status = "interrupted" if stopped else "failed"
        write_json(folder / RESULTS_FILE, {"model": plan.model, "status": status, "error": message})


@contextlib.contextmanager
def _only_run_in(folder: Path) -> Iterator[None]:
    """Hold the run's folder; a worker whose command was killed may need some seconds to leave it."""
    deadline = time.monotonic() + LOCK_SECONDS
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(only_command_on(folder))
                break
            except UserError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield


_data: dict[DataOptions, Data] = {}


def cached_data(options: DataOptions, fitted: Mapping[str, Any] | None = None) -> Data:
    """The data of the last options asked for, so that a process training several models reads them once.

    Args:
        options: which data.
        fitted: what another process learnt from them, which spares doing it again.
    """
    if options not in _data:
        data = _recut(options) or load_data(options, fitted=fitted)
        _data.clear()
        _data.update({options: data, data.options: data})  # a plan holds the options with nothing left open
    return _data[options]


def _recut(options: DataOptions) -> Data | None:
    """The rows at hand in other windows, if nothing else is asked for; samples may follow from the window."""
    for data in _data.values():
        if (
            isinstance(data, SeriesData)
            and not options.data.startswith("sample:")
            and options == dataclasses.replace(data.options, window=options.window, horizon=options.horizon)
        ):
            return data.recut(options.window, options.horizon)
    return None


class _Run:
    """One run in one folder."""

    def __init__(self, plan: RunPlan, root: Path, data: Data, log: RunLog, delivery: Delivery) -> None:
        self.plan, self.data, self.log, self.delivery = plan, data, log, delivery
        self.root, self.folder = root, root / plan.folder
        seed_everything(plan.training.seed)
        self.model = create_model(plan.model, data.spec, plan.options)

    def carry_out(self, report: Callable[[Any], None], resume: bool, place: int) -> dict[str, Any]:
        """Train, evaluate and write everything."""
        checkpoint = latest_checkpoint(self.folder) if resume and self.model.uses_gradients else None
        (self.folder / RESULTS_FILE).unlink(missing_ok=True)
        writer = open_writer(self.folder if self.plan.tensorboard else None, checkpoint, resume=resume)
        self.log.line(f"{'resumed' if checkpoint else 'started'}: {self.plan.model}, seed {self.plan.training.seed}")
        try:
            write_config(self.folder, self.plan, self.data, self.model.parameter_count)
            if checkpoint is None:
                self._start_from()
                start_session(writer, self.plan, self.data, f"{self.plan.label or self.plan.model} {self.root.name}")
            observers: list[Observer] = [ProgressReporter(self._reporter(report))]
            if self.plan.tensorboard:
                observers = [*_figures(self.data, writer), *observers]
            result = fit(
                self.model,
                self.data,
                on_gpu(self.plan.training, place),
                run_dir=self.folder,
                observers=observers,
                resume=resume,
                writer=writer,
                logging=self.plan.logging,
                findings=FindingHandling(
                    lambda finding: self._tell(finding, report), self.delivery, f"{self.root.name}/{self.plan.folder}"
                ),
            )
            results = self._evaluate(result, writer)
            writer.end_session("success")
        except Exception:
            writer.end_session("failure")
            raise
        finally:
            writer.close()
        write_json(self.folder / RESULTS_FILE, results)
        self.log.line(f"completed: {result.reason}; best epoch {result.best_epoch}, {result.seconds:.1f} s of training")
        return results

    def _start_from(self) -> None:
        """Take over the encoder that the plan names; a resumed run has it in its own checkpoint."""
        if self.plan.init_from:
            count = StartingPoint.of_run(self.plan.init_from, self.plan.plugins).give_to(self.model)
            self.log.line(f"starts from {count:,} weights of {self.plan.init_from}")

    def _reporter(self, report: Callable[[EpochProgress], None]) -> Callable[[EpochProgress], None]:
        def both(progress: EpochProgress) -> None:
            self.log.epoch(progress)
            report(progress)

        return both

    def _tell(self, finding: Finding, report: Callable[[Any], None]) -> None:
        self.log.line(finding.line())
        report(finding)

    def _evaluate(self, result: TrainingResult, writer: EventWriter | SilentWriter) -> dict[str, Any]:
        validation, _ = evaluate(self.model, self.data, "validation")
        test, details = evaluate(self.model, self.data, "test")
        write_atomically(self.folder / PREDICTIONS_FILE, predictions_csv(self.model, self.data))
        epoch = max(0, result.best_epoch)
        values = {tags.TEST_PREFIX + name: value for name, value in test.items() if value is not None}
        values[tags.BEST_OBJECTIVE] = validation[best_objective(self.data.spec.task)]
        writer.add_values({tags.BEST_VALUE: result.best, **values}, epoch)
        if self.plan.tensorboard:
            title = f"{self.plan.label or self.plan.model}, test part, best epoch {epoch}"
            self._draw_test(writer, epoch, title, details)
        fingerprint = self.data.fingerprint()
        selection = self.model.selection_metric[0] if self.model.uses_gradients else "loss"
        label = {"label": self.plan.label, "search_epochs": self.plan.search_epochs} if self.plan.label else {}
        return {
            "model": self.plan.model,
            **label,
            "status": "completed",
            "seed": self.plan.training.seed,
            "task": self.data.spec.task,
            "targets": list(self.data.spec.target_names),
            "test": test | details,
            "validation": validation,
            "windows": {**fingerprint["windows"], "test_hash": fingerprint["test_hash"]},
            "training": {
                "epochs": result.epochs,
                "best_epoch": result.best_epoch,
                "best_validation_loss": result.best,
                **({} if selection == "loss" else {"selected_by": selection}),
                "steps": result.steps,
                "seconds": result.seconds,
                "reason": result.reason,
            },
            "parameters": self.model.parameter_count,
        }

    def _draw_test(
        self, writer: EventWriter | SilentWriter, epoch: int, title: str, details: Mapping[str, Any]
    ) -> None:
        """Figures of the test part, by the best weights."""
        if self.data.spec.task == "represent":
            return
        if isinstance(self.data, VideoData):
            _draw_clips(self.model, writer, epoch, title)
            return
        if isinstance(self.data, TextData | ImageData):
            from .comparison.class_figures import draw_test_figures

            draw_test_figures(self.model, self.data, writer, epoch, title)
            return
        from .comparison.forecast_figures import draw_forecasts

        figure = draw_forecasts(self.model, self.data, "test", title)
        writer.add_figure(tags.FORECAST_TEST_IMAGE, figure, epoch, close=False)
        if "confusion_matrix" in details:
            from .comparison.decision_figures import draw_confusion

            figure = draw_confusion(details["confusion_matrix"], title)
            writer.add_figure(CONFUSION_TEST_IMAGE, figure, epoch, close=False)


def _draw_clips(model: Any, writer: EventWriter | SilentWriter, epoch: int, title: str) -> None:
    """Some of the clips that were drawn for captions of the test part."""
    from .tracking.clip_figure import draw_clips
    from .tracking.tag_tables.diffusion import GENERATED_TEST_FRAMES

    if model.progress is not None:
        shown = model.progress
        figure = draw_clips((shown.clips.float().cpu() + 1) / 2, shown.captions, title, shown.is_right)
        writer.add_figure(GENERATED_TEST_FRAMES, figure, epoch, close=False)


def _figures(data: Data, writer: EventWriter | SilentWriter) -> list[Observer]:
    """What draws the validation part while a model learns; matplotlib, which others need not wait for."""
    if data.spec.task == "represent" or isinstance(data, VideoData):
        return []
    if isinstance(data, TextData | ImageData):
        from .comparison.class_figures import ClassFigures

        return [ClassFigures(data, writer)]
    from .comparison.forecast_figures import ForecastFigures

    observers: list[Observer] = [ForecastFigures(data, writer)]
    if data.spec.task == "direction":
        from .comparison.decision_figures import DecisionFigures

        observers.append(DecisionFigures(data, writer))
    return observers


def write_config(folder: Path, plan: RunPlan, data: Data, parameters: int) -> None:
    """Write ``config.json``: the run's plan, and what it meets."""
    write_json(
        folder / CONFIG_FILE,
        plan.to_dict()
        | {
            "spec": data.spec.to_dict(),
            "fingerprint": data.fingerprint(),
            "parameters": parameters,
            "versions": versions(),
            "git_commit": git_commit(),
        },
    )


def on_gpu(training: TrainingConfig, place: int) -> TrainingConfig:
    """Spread runs over the GPUs where there are several; anything else stays as it is."""
    several = torch.cuda.is_available() and torch.cuda.device_count() > 1
    if several and training.device in ("auto", "cuda"):
        return dataclasses.replace(training, device=f"cuda:{place % torch.cuda.device_count()}")
    return training


def versions() -> dict[str, str]:
    """Versions of what results may depend on."""
    libraries = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "pandas", "scikit-learn")}
    return {"python": platform.python_version(), "platform": platform.platform(), **libraries}


@functools.lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the checkout this code stands in, ``-dirty`` after it if files are changed; None outside one."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def write_leaderboard(root: Path, plans: Sequence[RunPlan]) -> Any:
    """Compare all completed runs of a command, write ``leaderboard.csv`` and return the table."""
    results = [
        read_json(root / plan.folder / RESULTS_FILE) for plan in plans if run_status(root / plan.folder) == "completed"
    ]
    table = leaderboard(results)
    if not table.empty:
        write_atomically(root / LEADERBOARD_FILE, leaderboard_csv(table))
    return table
