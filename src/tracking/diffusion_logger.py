"""``DiffusionLogger``: what to watch when a diffusion model learns to make videos, in fifteen numbered categories."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..metrics import generation
from ..metrics.stability import STEPS, RunningMean
from .clip_files import clip_grid, enlarged
from .device_memory import GIB, MemoryReader, gpu_state
from .event_writer import EventWriter, SilentWriter
from .model_graph import model_table
from .monitors.base import by_layer
from .options import DiffusionLoggingConfig
from .schedules import future_learning_rates, schedule_figure, scheduler_state
from .tag_tables import diffusion as names
from .training_logger import TrainingLogger, gradient_norms

Values = dict[str, Tensor | float]
STEPS_AHEAD = (10, 100, 1000)
_PAST_RATES = 1000
_NOISE_RANGE = 6.0
"""Noise is drawn from -3 to 3 of its standard deviations."""
_SAMPLES_SHOWN = 4


class DiffusionLogger(TrainingLogger):
    """Logs the training of a diffusion model; every method may be called at every step and thins out itself.

    Videos are ``[time, channels, height, width]`` or ``[batch, time, channels, height, width]``.

    Attributes:
        config: how much is logged.
        diagnostic_step: a step that gets a detailed look whatever its number.
    """

    def __init__(
        self,
        log_dir: str | Path = "runs",
        experiment_name: str | None = None,
        config: DiffusionLoggingConfig | None = None,
        *,
        alphas_cumprod: Tensor | None = None,
        memory_reader: MemoryReader = gpu_state,
        writer: EventWriter | SilentWriter | None = None,
    ) -> None:
        """Open an event file.

        Args:
            log_dir, experiment_name, writer: as in ``TrainingLogger``.
            config: how much is logged.
            alphas_cumprod: the noise schedule: the share of the signal's variance left at every timestep,
                ``[timesteps]``; for signal-to-noise ratios, betas and everything by timestep.
            memory_reader: what says how much memory a GPU uses and how busy it is.

        Raises:
            UserError: if the folder cannot be written.
        """
        self.config = config or DiffusionLoggingConfig()
        every = self.config.diagnostic_log_every_steps
        super().__init__(log_dir, experiment_name, min(100, every), every, writer=writer)
        self._schedule = None if alphas_cumprod is None else generation.NoiseSchedule(alphas_cumprod)
        self._memory_reader = memory_reader
        self.diagnostic_step = -1
        self._smoothed = RunningMean(STEPS)
        self._rates: deque[tuple[int, float]] = deque(maxlen=_PAST_RATES)

    @classmethod
    def joined(
        cls,
        logger: TrainingLogger,
        config: DiffusionLoggingConfig | None = None,
        *,
        alphas_cumprod: Tensor | None = None,
        memory_reader: MemoryReader = gpu_state,
    ) -> Self:
        """One that writes, flushes and is listened to together with another logger, whose writer it uses."""
        joined = cls(config=config, alphas_cumprod=alphas_cumprod, memory_reader=memory_reader, writer=logger.writer)
        joined._pending = logger._pending
        return joined

    # --- 01 to 05: training, losses, epochs, learning rate, speed ---------------------------------------------------

    def log_training(
        self,
        loss: Tensor | float,
        components: Mapping[str, Tensor | float] | None = None,
        gradient_norm: Tensor | float | None = None,
        step: int | None = None,
        recent_losses: Sequence[Tensor] = (),
    ) -> None:
        """Log the loss as the mean of the last 100 steps, its parts, and the gradient norm before clipping.

        Args:
            loss: of the step.
            components: its parts by name.
            gradient_norm: of all gradients together.
            step: ``global_step`` by default.
            recent_losses: those of the last steps, this one's included, where not every step is logged.
        """
        smoothed = torch.stack(list(recent_losses)).mean() if recent_losses else self._smoothed.add(loss)
        values: Values = {names.LOSS: smoothed}
        for name, value in (components or {}).items():
            values[names.LOSS_COMPONENT.format(name=name)] = value
        if gradient_norm is not None:
            values[names.TRAINING_NORM] = values[names.GRADIENT_NORM_TOTAL] = gradient_norm
        self.log_values(values, step)

    def log_epoch_summary(self, epoch: int, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Log values of a whole epoch, counted from 0, at every ``log_every_epochs``-th."""
        if epoch % self.config.log_every_epochs == 0:
            values = {"Epoch": float(epoch), **metrics}
            self.log_values({names.EPOCH_SUMMARY.format(name=name): value for name, value in values.items()}, step)

    def log_learning_rate(
        self,
        optimizer: torch.optim.Optimizer,
        step: int | None = None,
        scheduler: Any = None,
        rates_ahead: Sequence[float] = (),
    ) -> None:
        """Log the learning rate and, at diagnostic steps, the scheduler's state and the rates it will give.

        Args:
            optimizer: its first parameter group counts.
            step: ``global_step`` by default.
            scheduler: what changes the rate; it is not advanced. Rates ahead are after 10, 100 and 1000 of its steps.
            rates_ahead: those of the next steps, where there is no scheduler but a plan.
        """
        at = self.global_step if step is None else step
        rate = float(optimizer.param_groups[0]["lr"])
        self._rates.append((at, rate))
        values: Values = {names.RATE: rate, names.TRAINING_RATE: rate}
        if (scheduler is not None or rates_ahead) and self.is_diagnostic(at):
            for name, value in scheduler_state(scheduler).items():
                values[names.SCHEDULER_STATE.format(name=name)] = value
            future = list(rates_ahead) or future_learning_rates(scheduler, max(STEPS_AHEAD))
            for steps in STEPS_AHEAD:
                if steps <= len(future):
                    values[names.RATE_AHEAD.format(steps=steps)] = future[steps - 1]
            if future:
                steps_so_far, past = zip(*self._rates, strict=True)
                self.log_figure(names.SCHEDULE_IMAGE, schedule_figure(steps_so_far, past, future), at)
        self.log_values(values, at)

    def log_performance(self, samples: int, seconds: float, step: int | None = None) -> None:
        """Log how fast a step of so many samples was; see ``log_system`` for memory."""
        if self.config.enable_performance_profiling:
            seconds = max(seconds, 1e-9)
            self.log_values(
                {
                    names.SAMPLES_PER_SECOND: samples / seconds,
                    names.STEPS_PER_SECOND: 1 / seconds,
                    names.STEP_TIME: 1000 * seconds,
                },
                step,
            )

    # --- 06 and 07: diffusion, noise ----------------------------------------------------------------------------------

    def log_noise_prediction(
        self,
        predicted: Tensor,
        actual: Tensor,
        timesteps: Tensor | None = None,
        step: int | None = None,
        *,
        denoised: Tensor | None = None,
        samples: Tensor | None = None,
    ) -> None:
        """Log how well noise is predicted, and at diagnostic steps how well at which timesteps.

        Args:
            predicted, actual: noise, ``[batch, ...]``.
            timesteps: ``[batch]``, from 0.
            step: ``global_step`` by default.
            denoised, samples: what the noisy samples were taken for and what they were: the same error on the scale of
                the samples.
        """
        at = self.global_step if step is None else step
        errors = generation.mse_per_sample(predicted, actual)
        values: Values = {names.NOISE_MSE: errors.mean()}
        if denoised is not None and samples is not None:
            values[names.DENOISED_MSE] = generation.mse_per_sample(denoised, samples).mean()
        if self.is_diagnostic(at):
            found = generation.noise_prediction_metrics(predicted, actual)
            values[names.NOISE_CORRELATION] = found["correlation"]
            for name in ("predicted_mean", "predicted_std", "actual_mean", "actual_std"):
                values[names.NOISE_STATISTIC.format(name=name.title())] = found[name]
            if timesteps is not None:
                values[names.TIMESTEP_MEAN] = timesteps.float().mean()
                self.writer.add_histograms({names.TIMESTEPS: timesteps}, at)
        if timesteps is not None and self._schedule is not None:
            values |= self._by_timestep(self._schedule, errors, timesteps, self.is_diagnostic(at))
        self.log_values(values, at)

    def log_video_data(self, videos: Tensor, step: int | None = None) -> None:
        """Log what the training videos look like as numbers, at diagnostic steps."""
        if self.is_diagnostic(self.global_step if step is None else step):
            self._log_named(names.VIDEO_STATISTIC, generation.video_statistics(videos), step)

    # --- 08 to 11: model, parameters, gradients -------------------------------------------------------------------

    def log_model(self, model: nn.Module, step: int | None = None) -> None:
        """Log how large the model is, as numbers and as a table; once at the start, or after a first ``backward``."""
        parameters = list(model.parameters())
        trained = [p for p in parameters if p.requires_grad]
        total, trainable = sum(p.numel() for p in parameters), sum(p.numel() for p in trained)
        values: Values = {
            names.PARAMETERS_TOTAL: float(total),
            names.PARAMETERS_TRAINABLE: float(trainable),
            names.TRAINABLE_PERCENT: 100 * trainable / max(1, total),
            names.PARAMETER_MEMORY: sum(p.numel() * p.element_size() for p in parameters) / GIB,
        }
        used = [(p.grad != 0).sum() for p in trained if p.grad is not None]
        if used:
            values[names.USED_PERCENT] = 100 * torch.stack(used).sum() / trainable
        self.log_values(values, step)
        self.log_text(names.MODEL_TABLE, model_table(model), step)

    def log_parameters(self, model: nn.Module, step: int | None = None) -> None:
        """Log mean, deviation and norm of every layer and the distributions of all parameters, at diagnostic steps."""
        at = self.global_step if step is None else step
        if not (self.config.enable_parameter_tracking and self.is_diagnostic(at)):
            return
        tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
        values: Values = {}
        for layer, places in by_layer(list(tensors)).items():
            own = list(tensors.values())
            flat = torch.cat([own[place].float().reshape(-1) for place in places])
            for statistic, value in (("Mean", flat.mean()), ("Std", flat.std(correction=0)), ("Norm", flat.norm())):
                values[names.PARAMETER_STATISTIC.format(statistic=statistic, layer=layer)] = value
        self.log_values(values, at)
        histograms = {names.PARAMETER_HISTOGRAM.format(parameter=name): tensor for name, tensor in tensors.items()}
        self.writer.add_histograms(histograms, at)

    def log_gradients(
        self, model: nn.Module, step: int | None = None, clipped_by: Tensor | float | None = None
    ) -> None:
        """Log gradient norms, all together at every 100th step, by layer and as distributions at diagnostic steps.

        Args:
            model: after ``backward``.
            step: ``global_step`` by default.
            clipped_by: what clipping has multiplied the gradients with already; norms are those from before.
        """
        at = self.global_step if step is None else step
        if at % self.log_gradients_every and not self.is_diagnostic(at):
            return
        found = gradient_norms(model)
        if not found:
            return
        norms = torch.stack(list(found.values()))
        if clipped_by is not None:
            norms = norms / clipped_by
        total = torch.linalg.vector_norm(norms)
        values: Values = {names.GRADIENT_NORM_TOTAL: total, names.TRAINING_NORM: total}
        if self.is_diagnostic(at):
            layers = {layer: torch.linalg.vector_norm(norms[places]) for layer, places in by_layer(list(found)).items()}
            for layer, norm in layers.items():
                values[names.GRADIENT_NORM_LAYER.format(layer=layer)] = norm
            stacked = torch.stack(list(layers.values()))
            values[names.GRADIENT_NORM_SMALLEST], values[names.GRADIENT_NORM_LARGEST] = stacked.min(), stacked.max()
            if self.config.enable_gradient_histograms:
                gradients = {
                    names.GRADIENT_HISTOGRAM.format(parameter=name): parameter.grad
                    for name, parameter in model.named_parameters()
                    if parameter.grad is not None
                }
                self.writer.add_histograms(gradients, at)
        self.log_values(values, at)

    # --- 12 to 15: videos, system, configuration --------------------------------------------------------------------

    def log_generated(
        self,
        videos: Tensor,
        reference: Tensor | None = None,
        step: int | None = None,
        fps: float = 8,
        value_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Log generated videos and how good they are; at most four side by side are shown.

        Args:
            videos: what the model made.
            reference: true videos of the same shape to compare with.
            step: ``global_step`` by default.
            fps: frames per second.
            value_range: least and greatest value of a pixel, e.g. (-1, 1).

        Raises:
            UserError: if the shape is another one.
        """
        if not self.config.enable_video_logging:
            return
        low, high = value_range
        unit = (videos.detach().float() - low) / (high - low)
        self.log_video(names.GENERATED_VIDEOS, _side_by_side(unit), step, fps)
        self._log_named(names.GENERATED_STATISTIC, generation.video_statistics(videos), step)
        if reference is not None:
            found = generation.video_quality(unit, (reference.detach().float() - low) / (high - low))
            self.log_values({names.GENERATED_MSE: found["mse"], names.GENERATED_PSNR: found["psnr"]}, step)

    def log_noise_videos(self, predicted: Tensor, actual: Tensor, step: int | None = None, fps: float = 8) -> None:
        """Log predicted noise at the left of the actual one, both videos of one shape; grey is 0.

        Raises:
            UserError: if the shape is another one.
        """
        if self.config.enable_noise_visualization:
            both = torch.cat([_few(predicted).detach().float(), _few(actual).detach().float()], dim=-1)
            self.log_video(names.NOISE_VIDEOS, _side_by_side(both / _NOISE_RANGE + 0.5), step, fps)

    def log_quality(self, values: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Log what generated clips are worth, by the names of ``metrics.generation_quality``; others are left out."""
        known = {tag: values[name] for name, tag in names.QUALITY_TAGS.items() if name in values}
        self.log_values(known, step)

    def log_system(self, step: int | None = None) -> None:
        """Log the memory of the process and, where there is one, of the GPU."""
        if not self.config.enable_performance_profiling:
            return
        import psutil

        found = self._memory_reader()
        tags = {
            "gpu_memory_allocated_gb": names.GPU_MEMORY,
            "peak_memory_gb": names.GPU_MEMORY_PEAK,
            "gpu_utilization_percent": names.GPU_UTILIZATION,
        }
        values: Values = {names.PROCESS_MEMORY: psutil.Process().memory_info().rss / GIB}
        values |= {tag: found[name] for name, tag in tags.items() if name in found}
        self.log_values(values, step)

    def log_configuration(
        self,
        settings: Mapping[str, Any],
        name: str = "Training",
        step: int | None = None,
        *,
        enter_hparams: bool = True,
    ) -> None:
        """Log settings as a table in the TEXT tab, with those of the logging, and enter them in the HPARAMS tab."""
        self.log_text(names.CONFIGURATION.format(name=name), _table(settings), step)
        self.log_text(names.CONFIGURATION.format(name="Logging"), _table(self.config.to_dict()), step)
        if enter_hparams:
            self.log_hparams(settings)

    def increment_step(self) -> None:
        """Count the step up; at every ``flush_every_steps``-th everything is written."""
        super().increment_step()
        if self.global_step % self.config.flush_every_steps == 0:
            self.flush()

    def is_diagnostic(self, step: int) -> bool:
        """Whether a step gets a detailed look."""
        return step == self.diagnostic_step or step % self.config.diagnostic_log_every_steps == 0

    def _by_timestep(
        self, schedule: generation.NoiseSchedule, errors: Tensor, timesteps: Tensor, detailed: bool
    ) -> Values:
        schedule.add(errors, timesteps)
        here = schedule.at(timesteps)
        values: Values = {names.SNR: here["snr"], names.BETA: here["beta"]}
        if detailed:
            templates = {"mse": names.NOISE_MSE_BUCKET, "share": names.TIMESTEP_SHARE, "snr": names.SNR_BUCKET}
            for name, buckets in schedule.by_bucket().items():
                for bucket, value in enumerate(buckets.unbind()):
                    values[templates[name].format(bucket=bucket)] = value
        return values

    def _log_named(self, template: str, values: Mapping[str, Tensor], step: int | None) -> None:
        self.log_values({template.format(name=name.title()): value for name, value in values.items()}, step)


def _few(videos: Tensor) -> Tensor:
    """The first samples of a batch; a single video as it is."""
    return videos[:_SAMPLES_SHOWN] if videos.ndim == 5 else videos


def _side_by_side(videos: Tensor) -> Tensor:
    """The first samples of a batch side by side, or a single video, large enough to be looked at, ``[time, ...]``.

    Raises:
        UserError: if the shape is none of a video.
    """
    if videos.ndim not in (4, 5):
        raise UserError(
            "a video must be [time, channels, height, width] or [batch, time, channels, height, width], but its shape "
            f"is {list(videos.shape)}; torch.movedim puts axes in order"
        )
    few = videos.detach().float().cpu()
    return clip_grid(enlarged(_few(few) if few.ndim == 5 else few.unsqueeze(0)), _SAMPLES_SHOWN)


def _table(settings: Mapping[str, Any]) -> str:
    rows = (f"| {name} | {value} |" for name, value in settings.items())
    return "\n".join(["| setting | value |", "|:--|:--|", *rows])
