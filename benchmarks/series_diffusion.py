"""How good the intervals of ``diffusion:series`` are, beside ``transformer:bayesian`` and EWMA(.94).

    python benchmarks/series_diffusion.py --stocks DIR --ett DIR [--only goog] [--seed 1]

``--stocks`` holds daily CSV files named after their stock, ``--ett`` holds ``ETTh1.csv.gz`` (zhouhaoyi/ETDataset). Each
model is trained through ``train_models.py`` with one job and one thread, and scored on all windows of the test part:
log-returns one day ahead on the last 15 % of the days, and levels 96 hours ahead in the published split of ETTh1.
Scores are of scaled values; lower is better but for the coverage of the 90 % intervals.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parent.parent
RETURNS = "--transform log-return --epochs 15"
LEVELS = "--split 8640,2880,2880 --transform level --horizon 96 --window 336 --schedule one-cycle --epoch-fraction 0.5"
PATCHED = "--set patch=24 dropout=0.3"
LONG = "--epochs 6"


@dataclass(frozen=True)
class Case:
    """Data, how they are forecast, and what each model is given beside that."""

    name: str
    file: str
    how: str
    models: dict[str, str]


def _stock(name: str) -> Case:
    return Case(
        name.lower(),
        f"stocks/{name}_daily*.csv",
        RETURNS,
        {"diffusion:series": "", "transformer:bayesian": "", "baseline:ewma": ""},
    )


CASES = (
    _stock("AAPL"),
    _stock("GOOG"),
    Case(
        "etth1-ot",
        "ett/ETTh1.csv.gz",
        f"{LEVELS} --target OT --features OT {LONG}",
        {"diffusion:series": "", "transformer:bayesian": PATCHED, "baseline:ewma": ""},
    ),
    Case(
        "etth1-all",
        "ett/ETTh1.csv.gz",
        f"{LEVELS} --target all {LONG}",
        {
            "diffusion:series": "--set channels=independent",
            "transformer:bayesian": f"{PATCHED} channels=independent samples=10",
            "baseline:ewma": "",
        },
    ),
)


def scores(file: Path, model: str, arguments: str, seed: int) -> tuple[dict[str, Any], float, float]:
    """Test scores of a model, the seconds of its training and those of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train_models.py"), "--models", model, "--data", str(file)]
        command += [*shlex.split(arguments), "--seed", str(seed), "--jobs", "1", "--output", folder, "--name", "runs"]
        started = time.perf_counter()
        done = subprocess.run([*command, "--no-monitors"], capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        found = json.loads((Path(folder) / "runs" / model.replace(":", "_") / "results.json").read_text())
        return found["test"], found["training"]["seconds"], seconds


def main(
    stocks: Annotated[Path, typer.Option(exists=True, file_okay=False, help="folder of daily prices")],
    ett: Annotated[Path, typer.Option(exists=True, file_okay=False, help="folder of ETTh1.csv.gz")],
    only: Annotated[str, typer.Option(help="names of cases, with commas")] = "",
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
) -> None:
    """Print a row for each case and model."""
    wanted = only.split(",") if only else [case.name for case in CASES]
    print("| data | model | CRPS | in 90 % | width | MSE | training, s | in all, s |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|")
    for case in CASES:
        if case.name not in wanted:
            continue
        folder, _, pattern = case.file.partition("/")
        file = next(iter(sorted((stocks if folder == "stocks" else ett).glob(pattern))))
        for model, settings in case.models.items():
            test, training, whole = scores(file, model, f"{case.how} {settings}", seed)
            numbers = " | ".join(f"{test[key]:.4f}" for key in ("crps", "coverage_90", "width_90", "mse_scaled"))
            print(f"| {case.name} | `{model}` | {numbers} | {training:.0f} | {whole:.0f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
