"""``Watching``: monitors and diagnosis in somebody else's loop, through ``TrainingLogger.watch``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .diagnosis import Diagnosis
from .findings import keep_findings, log_finding, markdown
from .monitors.base import DIAGNOSIS_INTERVAL, Monitor, WatchedRun, WatchedStep
from .monitors.defaults import default_monitors
from .monitors.driver import MonitorDriver
from .rules import load_rules
from .system_sampler import SystemSampler, gpu_reader
from .tag_tables.findings import SUMMARY
from .tag_tables.progress import BATCH_LOSS

if TYPE_CHECKING:
    from .training_logger import TrainingLogger


class Watching:
    """Feeds monitors and diagnosis with a loop's steps, and keeps ``findings.json`` in the logger's folder.

    Args:
        logger: where values go.
        model: what is trained.
        optimizer: what trains it. With one, gradients are seen as its ``step`` sees them, even if they are zeroed right
            after it; without one, as they are when the logger is told of the step.
        monitors: whom to ask; the default ones where None.
        budget_percent: share of the training time that logging may take.
        rules: a TOML file that changes the rules of the diagnosis.
    """

    def __init__(
        self,
        logger: TrainingLogger,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        monitors: Sequence[Monitor] | None = None,
        budget_percent: float = 5.0,
        rules: str | Path | None = None,
    ) -> None:
        self.logger, self.model, self.optimizer = logger, model, optimizer
        self.diagnosis = Diagnosis(load_rules(rules))
        chosen = default_monitors() if monitors is None else list(monitors)
        self.driver = MonitorDriver(chosen, logger, budget_percent=budget_percent)
        logger.listeners.append(self._observe)
        self._parameters = dict(model.named_parameters())
        self._gradients: dict[str, Tensor] = {}
        self._stepped_at = time.perf_counter()
        self._hook = None if optimizer is None else optimizer.register_step_pre_hook(self._keep_gradients)
        self._write_findings()
        device = next((parameter.device for parameter in self._parameters.values()), torch.device("cpu"))
        self._sampler = SystemSampler(gpu=gpu_reader(device)).start()
        self._sample: dict[str, float] = {}
        run = WatchedRun(model, logger, optimizer, parameters=self._parameters)
        self.driver.start(run, logger.global_step)

    def after_step(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Tell of the step that has just been taken.

        Args:
            metrics: numbers of the step; ``loss`` is what the diagnosis follows.
        """
        step = self.logger.global_step
        losses = {name: _as_tensor(value) for name, value in metrics.items()}
        if "loss" in losses:
            self.driver.remember(losses["loss"], None)
        if step >= self.driver.next_step:
            if "loss" in losses:
                self.logger.observe({BATCH_LOSS: losses["loss"]}, step)
            if (sample := self._sampler.latest()) is not self._sample:
                self._sample = sample
                self.logger.log_values(sample, step)
            self.driver.look(step, lambda detailed, driver: self._view(step, detailed, losses))
            self._gradients = {}
        self._stepped_at = time.perf_counter()

    def _view(self, step: int, detailed: bool, losses: Mapping[str, Tensor]) -> WatchedStep:
        gradients = self._gradients or self._present_gradients()
        norms = list(torch._foreach_norm(list(gradients.values()))) if gradients else []
        rate = self.optimizer.param_groups[0]["lr"] if self.optimizer is not None else 0.0
        return WatchedStep(
            step=step,
            epoch=0,
            detailed=detailed,
            losses=losses,
            gradients=gradients,
            gradient_norm=torch.linalg.vector_norm(torch.stack(norms)) if norms else None,
            learning_rate=float(rate),
            seconds={"step": time.perf_counter() - self._stepped_at},
            recent_losses=self.driver.recent_losses,
            recent_gradient_norms=self.driver.recent_gradient_norms,
        )

    def _keep_gradients(self, *arguments: Any) -> None:
        """Before an optimiser step that will be looked at: its loop may zero the gradients before we are called."""
        if self.logger.global_step >= self.driver.next_step:
            self._gradients = self._present_gradients()

    def _present_gradients(self) -> dict[str, Tensor]:
        named = ((name, parameter.grad) for name, parameter in self._parameters.items())
        return {
            name: gradient.detach()
            for name, gradient in named
            if gradient is not None and gradient.layout == torch.strided
        }

    def _observe(self, step: int, values: Mapping[str, float]) -> None:
        if step % DIAGNOSIS_INTERVAL:
            return
        found = self.diagnosis.observe(step, values)
        for finding in found:
            log_finding(finding)
        if found:
            self._write_findings()

    def _write_findings(self) -> None:
        keep_findings(self.logger.log_dir, self.diagnosis.findings, self.diagnosis.verdicts())

    def end(self) -> None:
        """Take all hooks away, and write what was found."""
        self._sampler.stop()
        self.driver.end()
        self.logger.flush()
        if self._hook is not None:
            self._hook.remove()
        self._write_findings()
        self.logger.log_text(SUMMARY, markdown(self.diagnosis.findings, self.diagnosis.verdicts()))


def _as_tensor(value: Tensor | float) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.tensor(float(value))
