"""What to log and to watch. Free of torch, so that ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import Options, option


@dataclass(frozen=True)
class LoggingOptions(Options):
    """Options of logging, monitors and diagnosis, the same for every architecture."""

    log_batches: bool = option(False, help="TensorBoard also gets every batch: losses, times, progress, system")
    monitors: bool = option(
        True, help="look inside the training (gradients, activations, attention, ...) and say what is wrong with it"
    )
    monitor: str = option("", help="Python files with monitors of your own", several=True)
    log_budget: float = option(5.0, minimum=0.0, help="percent of the training time that monitors may take")
    rules: str = option("", help="TOML file that changes the rules of the diagnosis")


@dataclass(frozen=True)
class Delivery(Options):
    """Where findings are sent to. Belongs to a command, not to a run: no file of a run holds an address."""

    notify: str = option("", help="program that gets every warning as JSON on its standard input")
    notify_url: str = option("", help="address that every warning is posted to as JSON")
