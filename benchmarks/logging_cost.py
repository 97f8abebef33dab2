"""What logging costs: everything on against nothing on, and a value by itself, with Lightning's logger beside it.

    python benchmarks/logging_cost.py training [--pairs 5] [--epochs 30] [--models lstm:basic ...]
    python benchmarks/logging_cost.py steps [--epochs 60] [--models lstm:basic ...]
    python benchmarks/logging_cost.py monitors [--models lstm:basic ...]
    python benchmarks/logging_cost.py values [--pairs 5]

``training``: the same training of each model (batch 64, window 96, default options, one thread) with TensorBoard, every
batch, monitors, diagnosis, histograms, figures and checkpoints of the graph at their default intervals, and without any
of them. Every measurement is a fresh process that times ``fit`` after its imports, in the order A B A B; medians are
compared. Both sides must end with the same weights.

``steps``: one training whose epochs take turns with everything that happens after a step on and off, so that no drift
of the machine comes between them; figures and histograms, which come after epochs, are not in it.

``monitors``: milliseconds that each monitor takes when it is asked, from the driver's own account.

``values``: twenty scalars a step through ``TrainingLogger``, and, where the package ``lightning`` is installed, through
its ``TensorBoardLogger``, and through torch's own ``SummaryWriter``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MODELS = ["lstm:basic", "tcn:residual", "transformer:basic"]
VALUES, STEPS = 20, 3000
Side = tuple[Callable[[int], None], Callable[[], None], Callable[[], None]]
"""What logs a step, what writes all that waits, what closes."""

app = typer.Typer(add_completion=False)


@app.command()
def training(
    pairs: Annotated[int, typer.Option(help="measurements of each side")] = 5,
    epochs: Annotated[int, typer.Option(help="epochs of each training")] = 30,
    models: Annotated[list[str], typer.Option(help="which models")] = MODELS,
) -> None:
    """Everything on against nothing on."""
    for model in models:
        sides: dict[str, list[dict[str, float]]] = {"on": [], "off": []}
        for _ in range(pairs):
            for side in sides:
                sides[side].append(_fresh_process("measure", side, model, str(epochs)))
        if len({answer["weights"] for answers in sides.values() for answer in answers}) > 1:
            sys.exit(f"{model}: the weights differ")
        seconds = {side: [answer["seconds"] for answer in answers] for side, answers in sides.items()}
        ratios = [on / off for on, off in zip(seconds["on"], seconds["off"], strict=True)]
        on, off = (statistics.median(seconds[side]) for side in ("on", "off"))
        steps = sides["on"][0]["steps"]
        print(
            f"{model:<20} off {off:6.2f} s ({1000 * off / steps:5.2f} ms a step)   on {on:6.2f} s   "
            f"ratio of medians {on / off:.3f}   single pairs {min(ratios):.3f} to {max(ratios):.3f}   "
            f"own measure {statistics.median(answer['overhead'] for answer in sides['on']):.1f} %",
            flush=True,
        )


def _fresh_process(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@app.command(hidden=True)
def measure(side: str, model: str, epochs: int) -> None:
    """Time one training, in this process."""
    print(json.dumps(_fit(model, epochs, is_on=side == "on")))


def _fit(model: str, epochs: int, *, is_on: bool, figures: bool = True, log_budget: float = 5.0) -> dict[str, float]:
    from src.comparison.forecast_figures import ForecastFigures
    from src.data.loading import load_data
    from src.data.options import DataOptions
    from src.models import create_model
    from src.tracking.options import LoggingOptions
    from src.training.config import TrainingConfig
    from src.training.device import prepare_process, seed_everything
    from src.training.fitting import fit, open_writer

    config = TrainingConfig(epochs=epochs, patience=epochs, device="cpu", schedule="constant")
    prepare_process(config)
    data = load_data(DataOptions(data="sample:seasonal"))
    seed_everything(0)
    network = create_model(model, data.spec)
    with tempfile.TemporaryDirectory() as folder:
        logging = LoggingOptions(log_batches=True, log_budget=log_budget) if is_on else LoggingOptions(monitors=False)
        started = time.perf_counter()
        writer = open_writer(folder if is_on else None)
        observers = [ForecastFigures(data, writer)] if is_on and figures else []
        result = fit(network, data, config, writer=writer, observers=observers, logging=logging)
        seconds = time.perf_counter() - started
        writer.close()
        overhead = _last_overhead(folder) if is_on else 0.0
    weights = float(sum(value.double().abs().sum() for value in network.state_dict().values()))
    return {"seconds": seconds, "steps": result.steps, "weights": weights, "overhead": overhead}


def _last_overhead(folder: str) -> float:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
    return float(events.Scalars("progress/logging_overhead_percent")[-1].value)


@app.command()
def steps(
    epochs: Annotated[int, typer.Option(help="epochs, half of them with logging")] = 60,
    models: Annotated[list[str], typer.Option(help="which models")] = MODELS,
) -> None:
    """Steps with and without logging, in turns."""
    for model in models:
        answer = _fresh_process("measure-steps", model, str(epochs))
        print(
            f"{model:<20} off {answer['off']:6.2f} ms a step   on {answer['on']:6.2f} ms   "
            f"ratio of medians {answer['on'] / answer['off']:.3f}",
            flush=True,
        )


@app.command(hidden=True)
def measure_steps(model: str, epochs: int) -> None:
    """Time one training whose odd epochs are left alone."""
    from src.training import loop, monitoring

    seconds: dict[int, list[float]] = {0: [], 1: []}
    train_epoch, on_step = loop._train_epoch, monitoring.Monitoring.on_step

    def timed_epoch(state, observers):
        started = time.perf_counter()
        train_epoch(state, observers)
        seconds[state.progress.epoch % 2].append(1000 * (time.perf_counter() - started) / state.steps_per_epoch)

    def every_other_epoch(self, report):
        first, driver = report.step_in_epoch == 0, self.driver
        if report.epoch % 2 == 0:
            if first:
                driver._arm(report.step)
            on_step(self, report)
        elif first:
            for monitor in driver.monitors:
                if hasattr(monitor, "_hooks"):
                    monitor._hooks.remove()

    loop._train_epoch, monitoring.Monitoring.on_step = timed_epoch, every_other_epoch
    _fit(model, epochs, is_on=True, figures=False)
    print(json.dumps({"on": statistics.median(seconds[0][2:]), "off": statistics.median(seconds[1][2:])}))


@app.command()
def monitors(models: Annotated[list[str], typer.Option(help="which models")] = MODELS) -> None:
    """What each monitor takes."""
    table: dict[str, dict[str, float]] = {}
    for model in models:
        for name, micros in _fresh_process("measure-monitors", model).items():
            table.setdefault(name, {})[model] = micros
    print(f"{'ms a look':<22}" + "".join(f"{model:>20}" for model in models))
    for name, row in table.items():
        print(f"{name:<22}" + "".join(f"{row.get(model, 0.0):>20.2f}" for model in models))


@app.command(hidden=True)
def measure_monitors(model: str) -> None:
    """One training with a budget that thins nobody; the costs of its monitors."""
    from src.training import monitoring

    costs: dict[str, float] = {}
    on_end = monitoring.Monitoring.on_end

    def keep_costs(self, reason):
        costs.update({name: 1000 * seconds for name, (_, seconds) in self.driver.costs().items()})
        on_end(self, reason)

    monitoring.Monitoring.on_end = keep_costs
    _fit(model, 12, is_on=True, figures=False, log_budget=1e6)
    print(json.dumps(costs))


@app.command()
def values(pairs: Annotated[int, typer.Option(help="measurements of each side")] = 5) -> None:
    """Twenty scalars a step."""
    names = [f"group_{number % 4}/metric_{number}" for number in range(VALUES)]
    sides: dict[str, Callable[[str], Side]] = {
        "TrainingLogger": lambda folder: _ours(folder, names),
        "SummaryWriter": lambda folder: _torch(folder, names),
    }
    try:
        import lightning  # noqa: F401

        sides["Lightning"] = lambda folder: _lightning(folder, names)
    except ImportError:
        print("Lightning is not installed; its side is left out")
    micros: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(pairs):
        for side, make in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                step, flush, close = make(folder)
                for number in range(100):
                    step(number)
                started = time.perf_counter()
                for number in range(100, 100 + STEPS):
                    step(number)
                flush()
                micros[side].append(1e6 * (time.perf_counter() - started) / STEPS)
                close()
    for side, measured in micros.items():
        median = statistics.median(measured)
        print(f"{side:<16} {median:7.1f} us a step of {VALUES} values, {median / VALUES:5.2f} us a value")


def _ours(folder: str, names: list[str]) -> Side:
    from src import TrainingLogger

    logger = TrainingLogger(folder, "run")

    def step(number: int) -> None:
        logger.log_values(dict.fromkeys(names, number * 0.5))
        logger.increment_step()

    return step, logger.flush, logger.close


def _torch(folder: str, names: list[str]) -> Side:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)

    def step(number: int) -> None:
        for name in names:
            writer.add_scalar(name, number * 0.5, number)

    return step, writer.flush, writer.close


def _lightning(folder: str, names: list[str]) -> Side:
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(folder)

    def step(number: int) -> None:
        logger.log_metrics(dict.fromkeys(names, number * 0.5), number)

    return step, logger.experiment.flush, logger.experiment.close


if __name__ == "__main__":
    app()
