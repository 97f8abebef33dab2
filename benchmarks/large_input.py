"""Five million rows: resident memory, and seconds until training begins, with and without the cache.

    python benchmarks/large_input.py [--rows 5000000] [--model lstm:basic]

Writes a CSV of seven columns to a temporary folder (400 MB), trains on it twice in a process of its own with a window
of 256, and prints the peak resident memory less that of the same program after its imports. The raw tensor of float32
is 140 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = "import src.cli.train, src.experiment; from src.models import load_all; load_all()"
COLUMNS = 7
BLOCK = 250_000


def write_csv(path: Path, rows: int) -> None:
    """Minute bars of a random walk, with a volume and two further columns."""
    rng, price = np.random.default_rng(0), 100.0
    first = np.datetime64("2005-01-03T00:00", "m")
    with open(path, "w", encoding="utf-8") as file:
        file.write("timestamp,Open,High,Low,Close,Volume,Spread,Imbalance\n")
        for begin in range(0, rows, BLOCK):
            count = min(BLOCK, rows - begin)
            close = price * np.exp(np.cumsum(rng.normal(0, 1e-4, count)))
            opened = np.concatenate([[price], close[:-1]])
            price = float(close[-1])
            high = np.maximum(opened, close) * (1 + 1e-4 * rng.random(count))
            low = np.minimum(opened, close) * (1 - 1e-4 * rng.random(count))
            table = pd.DataFrame(
                {"t": first + np.arange(begin, begin + count), "o": opened, "h": high, "l": low, "c": close}
            )
            table["v"], table["s"] = rng.integers(1, 10**6, count), 0.001 + 0.01 * rng.random(count)
            table["i"] = rng.normal(size=count)
            table["t"] = table["t"].dt.strftime("%Y-%m-%d %H:%M")
            table.round(5).to_csv(file, header=False, index=False)


def peak_of(command: list[str], log: Path | None = None) -> tuple[float, float, float]:
    """Peak resident memory in MB, seconds until ``log`` exists, and seconds in all."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = float("nan")
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if log is not None and begun != begun and log.exists():
            begun = time.perf_counter() - started
        if ended:
            break
        time.sleep(0.01)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return usage.ru_maxrss / 1024, begun, time.perf_counter() - started


def main(
    rows: Annotated[int, typer.Option(help="rows of the file")] = 5_000_000,
    model: Annotated[str, typer.Option(help="what to train")] = "lstm:basic",
    share: Annotated[float, typer.Option(help="share of an epoch to train")] = 0.001,
) -> None:
    """Measure and print a table."""
    idle, _, _ = peak_of([sys.executable, "-c", IMPORTS])
    raw = rows * COLUMNS * 4 / 1e6
    print(f"idle after imports: {idle:.0f} MB; raw tensor: {raw:.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "large.csv")
        write_csv(data, rows)
        for name in ("first start", "with cache"):
            root = Path(folder, name.replace(" ", "_"))
            options = f"--models {model} --window 256 --epochs 1 --epoch-fraction {share} --jobs 1".split()
            places = ["--data", str(data), "--cache", f"{folder}/cache", "--output", folder, "--name", root.name]
            log = root / model.replace(":", "_") / "train.log"
            peak, begun, seconds = peak_of([sys.executable, "train_models.py", *options, *places], log)
            used = (peak - idle) * 1.048576
            print(
                f"{name}: peak less idle {used:.0f} MB = {used / raw:.2f} x raw; training begins after {begun:.1f} s; ",
                end="",
            )
            print(f"{seconds:.0f} s in all")


if __name__ == "__main__":
    typer.run(main)
