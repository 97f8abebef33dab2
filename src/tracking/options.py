"""What to log and to watch. Free of torch, so that ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options, option


@dataclass(frozen=True)
class MonitoringOptions(Options):
    """Options of monitors and diagnosis, the same for every architecture."""

    log_batches: bool = option(False, help="TensorBoard also gets every batch: losses, times, progress, system")
    monitors: bool = option(
        True, help="look inside the training (gradients, activations, attention, ...) and say what is wrong with it"
    )
    monitor: str = option("", help="Python files with monitors of your own", several=True)
    log_budget: float = option(5.0, minimum=0.0, help="percent of the training time that monitors may take")
    rules: str = option("", help="TOML file that changes the rules of the diagnosis")


@dataclass(frozen=True)
class DiffusionLoggingConfig(Options):
    """How much is logged of a diffusion model.

    Raises:
        OptionError: if an interval is below 1.
    """

    log_every_epochs: int = option(
        1, minimum=1, help="diffusion: epochs from one summary, and one set of generated clips, to the next"
    )
    diagnostic_log_every_steps: int = option(
        500,
        minimum=1,
        help="diffusion: steps from one detailed look (layers, histograms, timesteps, schedule) to the next; short "
        "trainings have twenty",
    )
    flush_every_steps: int = option(
        500, minimum=1, help="diffusion: steps after which everything is written; what is older than 2 s always is"
    )
    enable_gradient_histograms: bool = option(True, help="diffusion: distributions of gradients")
    enable_parameter_tracking: bool = option(True, help="diffusion: statistics and distributions of parameters")
    enable_video_logging: bool = option(True, help="diffusion: generated clips")
    enable_noise_visualization: bool = option(True, help="diffusion: clips of predicted and actual noise")
    enable_performance_profiling: bool = option(True, help="diffusion: speed and memory")


@dataclass(frozen=True)
class LoggingOptions(DiffusionLoggingConfig, MonitoringOptions):
    """Options of logging: those of all architectures, then the switches of the diffusion guide."""


@dataclass(frozen=True)
class Delivery(Options):
    """Where findings are sent to. Belongs to a command, not to a run: no file of a run holds an address."""

    notify: str = option("", help="program that gets every warning as JSON on its standard input")
    notify_url: str = option("", help="address that every warning is posted to as JSON")
