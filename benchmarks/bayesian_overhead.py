"""What being Bayesian costs: training steps, and predictions with 30 samples, against the plain transformer.

    python benchmarks/bayesian_overhead.py [--device cpu] [--rounds 5]

Both sides in turn in one process (A B A B ...), one thread on a CPU; ratios of medians, below 1 is faster.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from src.data.loading import load_data  # noqa: E402
from src.data.options import DataOptions  # noqa: E402
from src.models import create_model  # noqa: E402
from src.training.config import TrainingConfig  # noqa: E402
from src.training.device import prepare_process, seed_everything  # noqa: E402

STEPS, BATCH = 30, 64
WAYS = {
    "MC dropout": {"method": "dropout"},
    "variational": {"method": "variational"},
    "ensemble of 5": {"method": "ensemble"},
    "Laplace": {"method": "laplace"},
}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(source: str, device: torch.device, rounds: int) -> None:
    """Print the table of one data set."""
    data = load_data(DataOptions(data=source)).to(device)
    batch = data.train.select(torch.arange(BATCH))
    models = {"plain": create_model("transformer:basic", data.spec, {})}
    for name, options in WAYS.items():
        models[name] = create_model("transformer:bayesian", data.spec, options)
    optimizers = {name: torch.optim.AdamW(model.to(device).parameters()) for name, model in models.items()}

    def train(name: str) -> None:
        model, optimizer = models[name].train(), optimizers[name]
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            model.losses(batch)["loss"].backward()
            optimizer.step()

    works = {"training": train, "prediction": lambda name: models[name].predict(batch.inputs)}
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for kind, work in works.items():
            for name in models:
                taken = seconds(partial(work, name), device)
                if number:  # the first round warms up
                    times.setdefault((kind, name), []).append(taken)
    medians = {key: statistics.median(values) for key, values in times.items()}
    print(f"\n{source}, batch of {BATCH}\n\n| | training step | prediction, 30 samples |\n|:--|--:|--:|")
    step, once = medians["training", "plain"], medians["prediction", "plain"]
    print(f"| plain | {1000 * step / STEPS:.2f} ms | {1000 * once:.2f} ms (one pass) |")
    for name in WAYS:
        ratios = medians["training", name] / step, medians["prediction", name] / once
        print(f"| {name} | {ratios[0]:.2f} x | {ratios[1]:.1f} x |")


def main(device: str = "cpu", rounds: int = 5) -> None:
    """Print a table for series and one for text."""
    prepare_process(TrainingConfig())  # as every run begins: one thread, memory kept
    place = torch.device(device)
    print(f"device: {torch.cuda.get_device_name() if place.type == 'cuda' else 'CPU, one thread'}")
    seed_everything(0)
    for source in ("sample:goog", "sample:reviews"):
        measure(source, place, rounds)


if __name__ == "__main__":
    typer.run(main)
