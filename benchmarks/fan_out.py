"""How much faster ``--jobs auto`` trains all neural models than ``--jobs 1``, one thread per model on both sides.

    python benchmarks/fan_out.py [--pairs 3] [--epochs 30]

Whole commands are timed, start-up and evaluation included, in the order A B A B; medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("lstm:*", "gru:*", "tcn:*", "transformer:*", "linear:*")


def seconds(jobs: str, epochs: int) -> float:
    """Wall time of one fan-out over all neural models on the embedded prices."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, str(ROOT / "train_models.py"), "--models", *MODELS, "--jobs", jobs]
        command += ["--epochs", str(epochs), "--patience", str(epochs), "--threads", "1", "--output", output]
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - started


def main(
    pairs: Annotated[int, typer.Option(help="measurements of each side")] = 3,
    epochs: Annotated[int, typer.Option(help="epochs of every model, without early stopping")] = 30,
) -> None:
    """Print both medians and the ratio."""
    times: dict[str, list[float]] = {"1": [], "auto": []}
    for _ in range(pairs):
        for jobs in times:
            times[jobs].append(seconds(jobs, epochs))
    ratio = statistics.median(one / auto for one, auto in zip(times["1"], times["auto"], strict=True))
    one, auto = statistics.median(times["1"]), statistics.median(times["auto"])
    print(f"--jobs 1: {one:.1f} s   --jobs auto: {auto:.1f} s   {ratio:.2f} times faster")


if __name__ == "__main__":
    typer.run(main)
