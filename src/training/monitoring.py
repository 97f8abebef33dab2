"""``Monitoring``: the observer that feeds monitors, batch-level logging and diagnosis, and acts on findings."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrainingError
from ..tracking.alerts import Alerts
from ..tracking.batch_log import BatchLog, EvaluatedBatch
from ..tracking.diagnosis import Diagnosis
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.findings import Finding, keep_findings, log_finding, markdown
from ..tracking.monitors.base import Monitor, WatchedEpoch, WatchedRun, WatchedStep
from ..tracking.monitors.defaults import default_monitors, load_monitors
from ..tracking.monitors.driver import MonitorDriver
from ..tracking.options import Delivery, LoggingOptions
from ..tracking.rules import load_rules
from ..tracking.system_sampler import SystemSampler, gpu_reader
from ..tracking.tag_tables.epochs import LOSS_TRAIN, LOSS_VALIDATION
from ..tracking.tag_tables.findings import MARK, SUMMARY
from ..tracking.tag_tables.progress import BATCH_LOSS
from ..tracking.training_logger import TrainingLogger
from .checkpoint import write_checkpoint
from .clock import StepClock
from .loop import EpochReport, Observer, StepReport, TrainingState

WATCHER = "monitoring"
LOWER_LEARNING_RATE = 0.5
SYSTEM_SECONDS = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FindingHandling:
    """Where findings go: ``tell`` receives each one, ``delivery`` says who else is to be notified, ``run`` as what."""

    tell: Callable[[Finding], None] | None = None
    delivery: Delivery = field(default_factory=Delivery)
    run: str = ""


def build_monitoring(
    model: Any,
    writer: EventWriter | SilentWriter,
    options: LoggingOptions,
    folder: Path | None,
    handling: FindingHandling | None = None,
) -> Monitoring | None:
    """The monitoring that the options ask for, or None if they ask for none.

    Raises:
        UserError: if a file of monitors or rules cannot be used, or a finding cannot be delivered as asked for.
    """
    if not (options.monitors or options.log_batches):
        return None
    handling = handling or FindingHandling()
    monitors: list[Monitor] = []
    if options.monitors:
        monitors = default_monitors() + [own for own in model.monitors() if isinstance(own, Monitor)]
        for file in filter(None, options.monitor.split(",")):
            monitors += load_monitors(file)
    rules = load_rules(options.rules or None) if options.monitors else ()
    alerts = Alerts(
        rules,
        notify=handling.delivery.notify,
        notify_url=handling.delivery.notify_url,
        run=handling.run,
        log_dir=str(folder or ""),
    )
    return Monitoring(writer, options, monitors, Diagnosis(rules), alerts, folder, handling.tell)


class Monitoring(Observer):
    """Looks inside a training while it runs.

    Args:
        writer: the run's event writer; with a silent one the diagnosis still works.
        options: what to log and to watch.
        monitors: whom to ask.
        diagnosis: the rules at work.
        alerts: what findings set off.
        folder: where ``findings.json`` and snapshots go; None for nowhere.
        tell: receives every finding (a terminal, the log of the run).
    """

    is_logging = True

    def __init__(
        self,
        writer: EventWriter | SilentWriter,
        options: LoggingOptions,
        monitors: Sequence[Monitor],
        diagnosis: Diagnosis,
        alerts: Alerts,
        folder: Path | None = None,
        tell: Callable[[Finding], None] | None = None,
    ) -> None:
        self.options, self.diagnosis, self.alerts = options, diagnosis, alerts
        self.folder, self.tell = folder, tell or log_finding
        self.is_written = isinstance(writer, EventWriter)
        self.logger = TrainingLogger(writer=writer)
        self.driver = MonitorDriver(monitors, self.logger, budget_percent=options.log_budget)
        self.batch_log: BatchLog | None = None
        self.sampler: SystemSampler | None = None
        self._sample: dict[str, float] = {}
        self.state: TrainingState | None = None
        self._actions: list[tuple[str, Finding]] = []
        self._stepped_at = 0.0
        self._parameters: dict[str, nn.Parameter] = {}
        self._clock, self._clip = StepClock(torch.device("cpu")), 0.0

    def on_start(self, state: TrainingState) -> None:
        """Begin, or go on where a checkpoint was written."""
        if not state.model.uses_gradients:
            return
        self.state = state
        self._clock, self._clip = state.clock, state.config.clip
        self._parameters = dict(state.model.named_parameters())
        self.logger.global_step = state.progress.step
        self.logger.listeners.append(self._observe)
        if self.is_written:
            self.sampler = SystemSampler(SYSTEM_SECONDS, gpu_reader(state.device)).start()
        if self.options.log_batches and self.is_written:
            total = state.steps_per_epoch * state.config.epochs
            answers = math.prod(state.data.spec.target_shape)
            self.batch_log = BatchLog(self.logger, state.steps_per_epoch, total, answers)
            state.keep_validation_batches = True
        if WATCHER in state.watched:
            self._load(state.watched[WATCHER])
        state.watchers[WATCHER] = self
        run = WatchedRun(
            state.model,
            self.logger,
            state.optimizer,
            total_steps=state.steps_per_epoch * state.config.epochs,
            steps_per_epoch=state.steps_per_epoch,
            learning_rate_at=state.schedule.rate_at,
            data=state.data,
            options=self.options,
            parameters=self._parameters,
        )
        self.driver.start(run, state.progress.step)
        self._stepped_at = time.perf_counter()

    def on_step(self, report: StepReport) -> None:
        """Hand the step on to whoever looks at it."""
        driver, loss = self.driver, report.losses["loss"]
        driver.remember(loss, report.gradient_norm)
        if self.batch_log is not None:
            now = time.perf_counter()
            self.batch_log.train_batch(report.step, loss, now - self._stepped_at)
            driver.logging_seconds += time.perf_counter() - now
        self.logger.global_step = report.step
        if report.step >= driver.next_step:
            self._log_system(report.step)
            self.logger.observe({BATCH_LOSS: loss}, report.step)
            driver.look(report.step, lambda detailed, driver: self._view(report, detailed))
            self._act()
        elif self.batch_log is not None:
            self.logger.increment_step()
        self._stepped_at = time.perf_counter()

    def _log_system(self, step: int) -> None:
        """The newest sample of the machine, if it is a new one."""
        if self.sampler is not None and (sample := self.sampler.latest()) is not self._sample:
            self._sample = sample
            self.logger.log_values(sample, step)

    def _view(self, report: StepReport, detailed: bool) -> WatchedStep:
        clip, norm = self._clip, report.gradient_norm
        scale: Tensor | float = (clip / (norm + 1e-6)).clamp(max=1.0) if clip else 1.0
        named = ((name, parameter.grad) for name, parameter in self._parameters.items())
        gradients = {name: gradient for name, gradient in named if gradient is not None}
        return WatchedStep(
            step=report.step,
            epoch=report.epoch,
            detailed=detailed and self.is_written,
            losses=report.losses,
            gradients=gradients,
            gradient_norm=norm,
            gradient_scale=scale,
            clip=clip,
            learning_rate=report.learning_rate,
            samples=report.samples,
            batch=report.batch,
            seconds=self._clock.means(),
            recent_losses=self.driver.recent_losses,
            recent_gradient_norms=self.driver.recent_gradient_norms,
        )

    def on_epoch_end(self, report: EpochReport) -> str | None:
        """Ask after the epoch, and act on what was found; may say stop."""
        if self.state is None:
            return None
        step = max(0, report.step - 1)
        self._log_system(step)
        if self.batch_log is not None:
            self._log_epoch(self.batch_log, report, step)
        epoch = WatchedEpoch(
            report.epoch, step, report.train, report.validation, report.is_best, report.seconds, report.samples
        )
        self.driver.after_epoch(epoch, self.state.logging_seconds)
        self.logger.flush()
        values = {LOSS_TRAIN: report.train["loss"], LOSS_VALIDATION: report.validation["loss"]}
        self._take(self.diagnosis.observe_epoch(report.epoch, step, values))
        self._act()
        self._stepped_at = time.perf_counter()
        stopped = [finding for action, finding in self._actions if action == "stop"]
        self._actions.clear()
        return f"the rule {stopped[0].rule} says stop: {stopped[0].evidence}" if stopped else None

    def _log_epoch(self, batch_log: BatchLog, report: EpochReport, step: int) -> None:
        batches = [EvaluatedBatch(batch.seconds, batch.samples, batch.values) for batch in report.validation_batches]
        batch_log.evaluation(step + 1 - report.steps, batches)
        batch_log.epoch(
            step,
            report.train["loss"],
            report.validation,
            seconds=report.seconds,
            validation_seconds=sum(batch.seconds for batch in batches),
            samples=sum(batch.samples for batch in batches),
            epochs_since_best=report.epoch - report.best_epoch,
        )

    def on_end(self, reason: str) -> None:
        """Write what was found, and let everybody go."""
        if self.sampler is not None:
            self.sampler.stop()
        if self.state is None:
            self.alerts.close()
            return
        self.driver.end()
        self.logger.flush()
        if reason.startswith(TrainingError.__name__):  # the loop gives up before anybody is told of the step
            self._take(self.diagnosis.observe(self.state.progress.step, {BATCH_LOSS: math.nan}))
        self._write_findings()
        text = markdown(self.diagnosis.findings, self.diagnosis.verdicts())
        thinned = self.driver.thinned()
        if thinned:
            rows = "\n".join(f"| {name} | every {interval} steps |" for name, interval in thinned.items())
            reason = "To stay within `--log-budget`, some monitors looked less often:"
            text += f"\n\n{reason}\n\n| monitor | |\n|:--|:--|\n{rows}"
        self.logger.log_text(SUMMARY, text, max(0, self.state.progress.step - 1))
        self.logger.close()
        self.alerts.close()
        self.state = None

    # --- findings -----------------------------------------------------------------------------------------------------

    def _observe(self, step: int, values: Mapping[str, float]) -> None:
        self._take(self.diagnosis.observe(step, values))

    def _take(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.tell(finding)
            self._actions += [(action, finding) for action in self.alerts.handle(finding)]
            self.logger.writer.add_values({MARK.format(rule=finding.rule): 1.0}, finding.step)
        if findings:
            self._write_findings()

    def _act(self) -> None:
        """Do what the rules ask for at once; a stop waits for the end of the epoch."""
        waiting = []
        for action, finding in self._actions:
            if action == "lower_lr" and self.state is not None:
                self.state.schedule.scale *= LOWER_LEARNING_RATE
                _logger.warning("the rule %s halves the learning rate after step %d", finding.rule, finding.step)
            elif action == "checkpoint":
                self._snapshot(finding)
            elif action == "stop":
                waiting.append((action, finding))
        self._actions[:] = waiting

    def _snapshot(self, finding: Finding) -> None:
        if self.folder is None or self.state is None:
            return
        path = self.folder / "checkpoints" / f"{finding.rule}_step_{finding.step}.pt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_checkpoint(path, self.state.model.checkpoint())
        except OSError as error:
            _logger.warning("the snapshot %s cannot be written: %s", path, error.strerror)

    def _write_findings(self) -> None:
        if self.folder is not None:
            keep_findings(self.folder, self.diagnosis.findings, self.diagnosis.verdicts())

    # --- what a checkpoint keeps --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What the driver, the diagnosis and batch-level logging go on with."""
        self.logger.flush()
        return {
            "driver": self.driver.state_dict(),
            "diagnosis": self.diagnosis.state_dict(),
            "best_accuracy": self.batch_log.best_accuracy if self.batch_log is not None else None,
            "actions": [(action, finding.as_dict()) for action, finding in self._actions],
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self.driver.load_state_dict(state["driver"])
        self.diagnosis.load_state_dict(state["diagnosis"])
        if self.batch_log is not None and state["best_accuracy"] is not None:
            self.batch_log.best_accuracy = state["best_accuracy"]
        self._actions = [(action, Finding(**finding)) for action, finding in state["actions"]]
