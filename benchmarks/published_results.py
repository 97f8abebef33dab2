"""Published forecasting results, reproduced with the command line anyone can type.

    python benchmarks/published_results.py --data-dir DIR [--only ett-lstm] [--seed 1]

DIR holds ``ETTh1.csv.gz``, ``ETTm1.csv.gz`` (zhouhaoyi/ETDataset) and ``exchange_rate.csv.gz``
(laiguokun/multivariate-time-series-data with a date column). Protocol as in thuml/Time-Series-Library: all channels in
and out, scaled by the training rows, every test window scored.
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
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
ETTH1 = "--data {dir}/ETTh1.csv.gz --split 8640,2880,2880"
ETTM1 = "--data {dir}/ETTm1.csv.gz --split 34560,11520,11520"
EXCHANGE = "--data {dir}/exchange_rate.csv.gz --split 0.7,0.1,0.2"
LONG = "--transform level --target all --horizon 96 --window 336"
ONE_CYCLE = "--epochs 10 --schedule one-cycle"
SHORT = "--epochs 6 --schedule one-cycle --epoch-fraction 0.5"
PATCHED = f"{SHORT} --set channels=independent patch=24 loss=mae"


@dataclass(frozen=True)
class Case:
    """One result: ``goal`` is the largest acceptable MSE on scaled values, ``published`` what a paper reports."""

    name: str
    published: str
    goal: float
    models: str
    data: str
    how: str

    @property
    def arguments(self) -> str:
        """What stands after ``python train_models.py``."""
        return f"--models {self.models} {self.data} {self.how}"


CASES = (
    Case("ett-naive", "1.295", 1.295, "baseline:naive", ETTH1, LONG),
    Case("ett-nlinear", ".374", 0.380, "linear:nlinear", ETTH1, f"{LONG} --lr 5e-3 {ONE_CYCLE}"),
    Case("ett-dlinear", ".375", 0.380, "linear:dlinear", ETTH1, f"{LONG} --lr 5e-3 {ONE_CYCLE}"),
    Case("ett-patch", ".375", 0.380, "transformer:patch", ETTH1, f"{LONG} {SHORT} --set dropout=0.3"),
    Case("ett-lstm", "-", 0.370, "lstm:basic", ETTH1, f"{LONG} {PATCHED} hidden_size=128 num_layers=1 dropout=0.3"),
    Case("ett-tcn", "-", 0.370, "tcn:residual", ETTH1, f"{LONG} {PATCHED} num_layers=3 kernel=2"),
    Case("ett-gru", "-", 0.385, "gru:basic", ETTH1, f"{LONG} {PATCHED} hidden_size=128 num_layers=1 dropout=0.3"),
    Case("ett-gru-residual", "-", 0.385, "gru:residual", ETTH1, f"{LONG} {PATCHED} hidden_size=96 dropout=0.3"),
    Case("ettm1-dlinear", ".299", 0.305, "linear:dlinear", ETTM1, f"{LONG} {ONE_CYCLE}"),
    Case(
        "exchange-dlinear",
        ".081",
        0.085,
        "linear:dlinear",
        EXCHANGE,
        f"{LONG} --lr 5e-4 --batch-size 8 --epochs 10 --patience 3",
    ),
    # Default model options and window, channels mixed, hour by hour.
    Case(
        "ett-defaults",
        "-",
        0.45,
        "lstm:* gru:* tcn:*",
        ETTH1,
        "--transform level --target all --horizon 96 --epochs 8 --patience 3",
    ),
)


def main(
    data_dir: Annotated[Path, typer.Option(help="folder with the data files")],
    only: Annotated[str, typer.Option(help="names of cases, with commas")] = "",
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
) -> None:
    """Run the cases one after the other and print what came out."""
    wanted = only.split(",") if only else [case.name for case in CASES]
    print(f"{'case':<18} {'model':<20} {'MSE':>6} {'MAE':>6} {'goal':>6} {'published':>9} {'train s':>7} {'wall s':>6}")
    for case in CASES:
        if case.name in wanted:
            run(case, data_dir, seed)


def run(case: Case, data_dir: Path, seed: int) -> None:
    """Run one case with one job and print a line per model."""
    with tempfile.TemporaryDirectory() as output:
        words = [word.replace("{dir}", str(data_dir)) for word in shlex.split(case.arguments)]
        extra = ["--seed", str(seed), "--jobs", "1", "--output", output, "--name", "run"]
        started = time.perf_counter()
        command = [sys.executable, str(ROOT / "train_models.py"), *words, *extra]
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            print(f"{case.name:<18} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        for file in sorted(Path(output).glob("run/*/results.json")):
            results = json.loads(file.read_text())
            test = results["test"]
            scores = f"{test['mse_scaled']:6.4f} {test['mae_scaled']:6.4f} {case.goal:6.3f} {case.published:>9}"
            times = f"{results['training']['seconds']:7.1f} {seconds:6.1f}"
            print(f"{case.name:<18} {results['model']:<20} {scores} {times}", flush=True)


if __name__ == "__main__":
    typer.run(main)
