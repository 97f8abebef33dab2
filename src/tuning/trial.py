"""One trial of a search, from the claim in the storage to its record: a full run in a folder of its own."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError

from ..comparison.leaderboard import NAIVE
from ..data.loading import Data
from ..data.series import SeriesData
from ..errors import TrainingError, UserError
from ..experiment import cached_data, on_gpu, open_run, write_config
from ..hparams import start_session
from ..models import create_model
from ..plan import RunPlan
from ..tracking import tags
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.model_graph import model_table
from ..tracking.options import Delivery
from ..tracking.run_folder import CHECKPOINT_FOLDER, RESULTS_FILE, write_json
from ..training.checkpoint import read_checkpoint
from ..training.device import seed_everything
from ..training.fitting import check_same_data, fit
from ..training.loop import Observer, TrainingResult
from ..training.loop import evaluate as mean_losses
from ..training.monitoring import FindingHandling
from ..training.observers import ProgressReporter
from ..training.run_log import RunLog
from . import slots
from .liveness import Heartbeat
from .objective import objective_value
from .reports import TrialRecord, TrialStarted
from .seed_names import SEED_NAMES, seed_name
from .studies import ModelSearch, is_hopeless, opened_study, shared_storage
from .trial_observer import TrialObserver

Report = Callable[[Any], None]
_checked: set[tuple[str, str]] = set()  # studies whose data this process has compared with its own


def run_next_trial(payload: Mapping[str, Any], report: Report) -> dict[str, Any] | None:
    """Claim the next trial of a study and carry it out; what ``fanout.run_all`` calls, here or in a worker.

    Args:
        payload: ``storage`` and ``study`` (where to claim), ``root`` (the search's folder on this machine),
            ``delivery`` (``Delivery.to_dict``), ``deadline`` (seconds since 1970 after which nothing is begun, or
            None), ``place`` (decides the GPU where there are several) and, if it is known already, ``fitted``
            (``Scaler.to_dict``).
        report: receives a ``TrialStarted``, a ``TrialEpoch`` after every epoch and the ``TrialRecord``.

    Returns:
        the record, or None if no trial waits (any more).
    """
    if payload.get("deadline") is not None and time.time() > payload["deadline"]:
        return None
    study, search = opened_study(payload["storage"], payload["study"])
    slots.abandon_own(study)
    trial = None if is_hopeless(study) else slots.claim(study)
    if trial is None:
        return None
    with Heartbeat(shared_storage(payload["storage"]), trial._trial_id):
        record = Trial(study, search.moved_to(Path(payload["root"])), trial, payload, report).carry_out()
    return record.to_dict()


class Trial:
    """A claimed trial and everything it needs."""

    def __init__(
        self,
        study: optuna.Study,
        search: ModelSearch,
        trial: optuna.Trial,
        payload: Mapping[str, Any],
        report: Report,
    ) -> None:
        self.study, self.search, self.trial, self.report = study, search, trial, report
        self.payload, self.root = payload, Path(payload["root"])
        self.phase = str(trial.user_attrs[slots.PHASE])
        self.folder = slots.folder_of(trial, search.model)
        self.plan = search.plan
        self.observer: TrialObserver | None = None
        self.started_from: str | None = None
        self.parameters = 0
        self.hyperparameters: dict[str, Any] = {}

    def carry_out(self) -> TrialRecord:
        """Train, and tell the storage and the run's files how it went, whatever happens.

        Raises:
            KeyboardInterrupt: passed on, once that is told.
        """
        try:
            status, error = self._run(), None
        except KeyboardInterrupt:
            self._end("interrupted", "interrupted")
            raise
        except UpdateFinishedTrialError:  # this machine has slept, or could not reach the storage
            status, error = "killed", "it was taken for dead, and is done again elsewhere"
        except TrainingError as failure:
            if isinstance(failure.__cause__, OSError):  # the disk is to blame, and would be for every other trial
                self._end("interrupted", str(failure))
                raise
            status, error = "failed", str(failure)
        except Exception as failure:
            known = isinstance(failure, UserError)
            status, error = "failed", str(failure) if known else f"{type(failure).__name__}: {failure}"
        return self._end(status, error)

    def _end(self, status: str, error: str | None) -> TrialRecord:
        record = self._record(status, error)
        reason = self.observer.reason if self.observer is not None else ""
        write_results(self.root, record, self.search.plan.training.seed, reason)
        slots.finish(self.study, self.trial, record)
        self.report(record)
        return record

    def _run(self) -> str:
        plan = self.plan = self._plan()
        self.report(
            TrialStarted(
                plan.model, self.trial.number, self.phase, plan.training.epochs, plan.folder, self.hyperparameters
            )
        )
        with open_run(plan, self.root) as log:
            data = self._data(plan)
            seed_everything(plan.training.seed)
            model = create_model(plan.model, data.spec, plan.options)
            self.parameters = model.parameter_count
            self._warm_start(model)
            writer = self._writer(plan)
            log.line(f"started: {plan.model}, trial {self.trial.number}, {self.phase} phase")
            try:
                seen = self.observer = TrialObserver(self, writer, plan.logging.log_batches, self._naive(data, plan))
                result = self._fit(plan, data, model, writer, log, seen)
                best = {tags.BEST_OBJECTIVE: seen.value, tags.BEST_VALUE: result.best}
                writer.add_values(best, max(0, result.best_epoch))
                writer.end_session("success")
            except Exception:
                writer.end_session("failure")
                raise
            finally:
                writer.close()
            log.line(f"{'pruned' if seen.pruned else 'completed'}: {result.reason}")
        if not math.isfinite(seen.value):
            raise TrainingError(f"the {self.search.objective} of the best epoch is {seen.value}")
        return "pruned" if seen.pruned else "completed"

    def _writer(self, plan: RunPlan) -> EventWriter | SilentWriter:
        if not plan.tensorboard:
            return SilentWriter()
        kind = EventWriter if self.trial.user_attrs[slots.SLOT] == 0 else WithoutGraph
        return kind(self.root / plan.folder)

    def _plan(self) -> RunPlan:
        """The configuration that the sampler proposes, as a run."""
        space = self.search.space
        values = {dimension.name: dimension.suggest(self.trial) for dimension in space.dimensions}
        self.hyperparameters = {name: value for part in space.split(values).values() for name, value in part.items()}
        return self.search.configured(values, self.folder, epochs=self.search.config.epochs_of(self.phase))

    def shown_hyperparameters(self) -> dict[str, Any]:
        """What is logged as ``hyperparam/*``: what is searched, and what a trial always has, under S0's names."""
        plan = self.plan
        values = {**plan.options, **plan.training.to_dict(), **plan.data.to_dict()}
        values = {name: value for name, value in values.items() if name in SEED_NAMES} | self.hyperparameters
        return {seed_name(name): value for name, value in values.items()}

    def _data(self, plan: RunPlan) -> Data:
        """The data in this trial's windows; refused if this machine has others than the search began with."""
        fitted, study = self.payload.get("fitted"), (self.payload["storage"], self.payload["study"])
        if study not in _checked:
            check_same_data(self.search.fingerprint, cached_data(self.search.plan.data, fitted).fingerprint())
            _checked.add(study)
        return cached_data(plan.data, fitted)

    def _warm_start(self, model: Any) -> None:
        """Take over the weights of the best trial whose shapes fit, if fine-tuning goes on from there."""
        if self.phase != "fine_tune" or not (self.search.config.warm_start and model.uses_gradients):
            return
        best = slots.best_trial(self.study)
        if best is None:
            return
        folder = best.user_attrs[slots.RECORD]["folder"]
        file = self.root / folder / CHECKPOINT_FOLDER / "best.pt"
        if not file.is_file():  # it ran on another machine
            return
        there, here = read_checkpoint(file)["model"], model.state_dict()
        fitting = {name: there[name] for name, own in here.items() if name in there and there[name].shape == own.shape}
        if fitting:
            model.load_state_dict(here | fitting)
            self.started_from = folder

    def _fit(
        self,
        plan: RunPlan,
        data: Data,
        model: Any,
        writer: EventWriter | SilentWriter,
        log: RunLog,
        seen: TrialObserver,
    ) -> TrainingResult:
        write_config(self.root / plan.folder, plan, data, self.parameters)
        # The table cuts its first column short, and sorts it as text.
        name = f"{self.trial.number:0{len(str(self.search.config.total))}} {plan.model} {self.phase}"
        start_session(writer, plan, data, name)
        observers: list[Observer] = [ProgressReporter(log.epoch), seen]
        if plan.tensorboard and isinstance(data, SeriesData) and data.spec.task == "direction":
            from ..comparison.decision_figures import DecisionFigures

            observers.insert(0, DecisionFigures(data, writer))
        return fit(
            model,
            data,
            on_gpu(plan.training, self.payload.get("place", 0)),
            run_dir=self.root / plan.folder,
            observers=observers,
            writer=writer,
            logging=plan.logging,
            resumable=False,  # a trial that is stopped is done again, and many checkpoints would fill the disk
            findings=FindingHandling(
                lambda finding: log.line(finding.line()),  # not told: a search tries what cannot work
                Delivery.from_dict(self.payload.get("delivery") or {}),
                f"{self.search.search}/{plan.folder}",
            ),
        )

    def _naive(self, data: Data, plan: RunPlan) -> float | None:
        """What the naive forecast reaches on the validation part, where values are relative to it."""
        if not self.search.is_relative:
            return None
        model = create_model(NAIVE, data.spec, {})
        losses = mean_losses(model, data.validation, plan.training, torch.device("cpu"))
        return objective_value(self.search.objective, losses)

    def _record(self, status: str, error: str | None) -> TrialRecord:
        seen = self.observer
        return TrialRecord(
            model=self.search.model,
            number=self.trial.number,
            slot=int(self.trial.user_attrs[slots.SLOT]),
            phase=self.phase,
            status=status,
            value=seen.value if seen is not None and math.isfinite(seen.value) else None,
            folder=self.folder,
            host=socket.gethostname(),
            planned_epochs=self.search.config.epochs_of(self.phase),
            epochs=0 if seen is None else seen.epochs,
            best_epoch=-1 if seen is None else seen.best_epoch,
            steps=0 if seen is None else seen.steps,
            seconds=0.0 if seen is None else seen.seconds,
            parameters=self.parameters,
            hyperparameters=self.hyperparameters,
            started_from=self.started_from,
            values={} if seen is None else seen.values,
            error=error,
        )


def write_results(root: Path, record: TrialRecord, seed: int, reason: str = "") -> None:
    """A trial's ``results.json``, as any run has it, but without a test part: that is not for choosing by.

    Nothing is written where the trial's folder is not, on another machine.
    """
    folder = root / record.folder
    if not folder.is_dir():
        return
    training = {
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "best_validation_loss": record.values.get("loss"),
        "steps": record.steps,
        "seconds": record.seconds,
        "reason": reason,
    }
    content = {
        "model": record.model,
        "status": record.status,
        "seed": seed,
        "validation": record.values,
        "training": training,
        "parameters": record.parameters,
        "error": record.error,
        "trial": record.to_dict(),
    }
    with contextlib.suppress(OSError):  # the record in the storage is what counts
        write_json(folder / RESULTS_FILE, content)


class WithoutGraph(EventWriter):
    """Draws no graph of the model, only its table: that of the defaults stands for those of all trials.

    Tracing a model takes as long as dozens of its steps.
    """

    def add_model_graph(self, model: Any, example_inputs: Any) -> bool:
        """Write the table of layers; there is no graph."""
        self.add_text(tags.MODEL_SUMMARY, model_table(model), 0)
        return False
