"""What a diffusion model is watched for: the fifteen categories of the diffusion guide, filled while it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ...errors import UserError
from ..clip_figure import draw_clips
from ..clip_files import as_mp4_bytes, clip_grid, enlarged
from ..diffusion_logger import STEPS_AHEAD, DiffusionLogger
from ..event_writer import EventWriter
from ..options import LoggingOptions
from ..run_folder import write_atomically
from ..tag_tables import diffusion as names
from .base import DIAGNOSIS_INTERVAL, Monitor, WatchedEpoch, WatchedRun, WatchedStep

DIAGNOSTIC_LOOKS = 20
"""Detailed looks that a training has at least."""
SAMPLES_FOLDER = "samples"


class DiffusionMonitor(Monitor):
    """Feeds ``DiffusionLogger`` with what a model of the kind of ``models.diffusion_model`` compares and draws.

    Every tenth step there are loss, learning rate, speed and the error of the noise; every 500 steps, or twenty times
    in a shorter training, everything by layer and by timestep; after an epoch its summary, and the clips the model has
    drawn for fixed captions from fixed noise, as GIF, as a strip of frames, and as MP4 beside the events.

    Args:
        model: with ``network``, ``process``, ``config``, ``last`` while ``keep_last``, and ``progress``, the clips it
            drew after the epoch, or None.
    """

    name: ClassVar[str] = "diffusion"
    diagnosed: ClassVar[bool] = True
    interval = DIAGNOSIS_INTERVAL

    def __init__(self, model: Any) -> None:
        self._model = model
        self._run: WatchedRun | None = None
        self._logger: DiffusionLogger | None = None
        self._next_diagnostic = 0
        self._every = 1
        self._is_described = False
        self._has_mp4 = True

    def on_start(self, run: WatchedRun) -> None:
        """Join the run's logger, and write down the settings."""
        self._run = run
        options = run.options or LoggingOptions()
        alphas = self._model.process.alphas_cumprod
        self._logger = DiffusionLogger.joined(run.logger, options, alphas_cumprod=alphas)
        tens = (run.total_steps or 0) // (DIAGNOSTIC_LOOKS * DIAGNOSIS_INTERVAL)
        self._every = min(options.diagnostic_log_every_steps, max(1, tens) * DIAGNOSIS_INTERVAL)
        if not self._next_diagnostic:
            settings = self._model.config.to_dict() | {"total_steps": run.total_steps}
            self._logger.log_configuration(settings, "Model", 0, enter_hparams=False)

    def before_step(self) -> None:
        """Ask the model to keep what it compares."""
        self._model.keep_last = True

    def on_step(self, step: WatchedStep) -> Mapping[str, Tensor | float]:
        """Look at what was compared, and now and then at everything else."""
        found, self._model.last, self._model.keep_last = self._model.last, None, False
        if found is None or self._logger is None or not step.detailed:
            return {}
        logger, number = self._logger, step.step
        if number >= self._next_diagnostic:
            logger.diagnostic_step = number
            self._next_diagnostic = number // self._every * self._every + self._every
        components = {name: value for name, value in step.losses.items() if name != "loss"}
        logger.log_training(step.losses["loss"], components, step.gradient_norm, number, step.recent_losses)
        logger.log_noise_prediction(
            found.predicted_noise, found.noise, found.timesteps, number, denoised=found.denoised, samples=found.samples
        )
        if step.seconds:
            logger.log_performance(step.samples, sum(step.seconds.values()), number)
        if logger.is_diagnostic(number):
            self._look_closely(logger, step, found)
        self._log_learning_rate(logger, number)
        return {}

    def _look_closely(self, logger: DiffusionLogger, step: WatchedStep, found: Any) -> None:
        number, network = step.step, self._model.network
        if not self._is_described:
            logger.log_model(network, number)
            self._is_described = True
        logger.log_parameters(network, number)
        logger.log_gradients(network, number, clipped_by=step.gradient_scale)
        logger.log_system(number)
        if found.samples.ndim == 5:
            logger.log_video_data(found.samples, number)
            logger.log_noise_videos(found.predicted_noise, found.noise, number)

    def _log_learning_rate(self, logger: DiffusionLogger, number: int) -> None:
        run = self._run
        if run is None or run.optimizer is None:
            return
        ahead: list[float] = []
        if run.learning_rate_at is not None and logger.is_diagnostic(number):
            end = min(number + max(STEPS_AHEAD), run.total_steps or number)
            ahead = [float(run.learning_rate_at(step)) for step in range(number + 1, end)]
        logger.log_learning_rate(run.optimizer, number, rates_ahead=ahead)

    def on_epoch_end(self, epoch: WatchedEpoch) -> Mapping[str, Tensor | float]:
        """Write the summary of the epoch, and show the clips the model has drawn."""
        logger, model = self._logger, self._model
        if logger is None:
            return {}
        values = {f"Train_{_title(name)}": value for name, value in epoch.train.items()}
        values |= {f"Validation_{_title(name)}": value for name, value in epoch.validation.items()}
        logger.log_epoch_summary(epoch.epoch, values, epoch.step)
        quality = {name: epoch.validation[name] for name in names.QUALITY_TAGS if name in epoch.validation}
        logger.log_quality(quality, epoch.step)
        progress = getattr(model, "progress", None)
        is_due = epoch.epoch % logger.config.log_every_epochs == 0
        if progress is not None and is_due and isinstance(logger.writer, EventWriter):
            self._show(logger, progress, epoch)
        return {}

    def _show(self, logger: DiffusionLogger, progress: Any, epoch: WatchedEpoch) -> None:
        if not logger.config.enable_video_logging:
            return
        rate = self._model.spec.frame_rate or 8
        logger.log_generated(progress.clips, progress.real, epoch.step, rate, (-1.0, 1.0))
        unit = (progress.clips.float().cpu() + 1) / 2
        title = f"Generated clips, epoch {epoch.epoch}, always from the same noise"
        logger.log_figure(
            names.GENERATED_FRAMES, draw_clips(unit, progress.captions, title, progress.is_right), epoch.step
        )
        self._keep_mp4(logger, unit, rate, epoch.epoch)

    def _keep_mp4(self, logger: DiffusionLogger, clips: Tensor, rate: float, epoch: int) -> None:
        """Put the clips beside the events; where MP4 cannot be written, the GIFs have to do."""
        if not self._has_mp4:
            return
        try:
            content = as_mp4_bytes(clip_grid(enlarged(clips)), rate)
        except UserError:
            self._has_mp4 = False
            return
        folder = logger.log_dir / SAMPLES_FOLDER
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"epoch_{epoch:04d}.mp4", content)

    def state_dict(self) -> dict[str, Any]:
        """When the next detailed look is due."""
        return {"next_diagnostic": self._next_diagnostic, "is_described": self._is_described}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state_dict`` was taken."""
        self._next_diagnostic = int(state["next_diagnostic"])
        self._is_described = bool(state["is_described"])


def _title(name: str) -> str:
    """``denoised_mse`` -> ``Denoised_Mse``."""
    return name.title()
