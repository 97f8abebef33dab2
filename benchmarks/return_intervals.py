"""How well intervals of daily log-returns are calibrated: Bayesian models against EWMA(.94), on real stocks.

    python benchmarks/return_intervals.py --data-dir DIR [--model transformer:bayesian] [--set method=dropout]

``DIR`` holds daily CSV files. Every stock is trained on by itself through ``train_models.py`` and scored on the last
15 % of its days; scores are of scaled log-returns, lower is better but for the coverage of the 90 % intervals.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parent.parent


def scores(
    file: Path, model: str, settings: list[str], epochs: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Test scores of the model and of EWMA on one stock."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train_models.py"), "--models", model, "baseline:ewma"]
        command += ["--data", str(file), "--transform", "log-return", "--epochs", str(epochs), "--seed", str(seed)]
        command += ["--output", folder, "--name", "runs", "--no-monitors", *(["--set", *settings] if settings else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        ours, theirs = (
            json.loads((Path(folder) / "runs" / name.replace(":", "_") / "results.json").read_text())["test"]
            for name in (model, "baseline:ewma")
        )
        return ours, theirs


def main(
    data_dir: Annotated[Path, typer.Option(exists=True, file_okay=False)],
    model: str = "transformer:bayesian",
    settings: Annotated[list[str] | None, typer.Option("--set")] = None,
    epochs: int = 15,
    seed: int = 0,
) -> None:
    """Print a row for each stock."""
    print("| | inside 90 % | CRPS | NLL | EWMA inside 90 % | CRPS | NLL |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    coverages = []
    for file in sorted(data_dir.glob("*daily*.csv")):
        ours, theirs = scores(file, model, settings or [], epochs, seed)
        coverages.append(ours["coverage_90"])
        cells = [
            f"{row['coverage_90']:.3f} | {row['crps']:.4f} | {'-' if row['nll'] is None else format(row['nll'], '.4f')}"
            for row in (ours, theirs)
        ]
        print(f"| {file.name.partition('_')[0]} | {' | '.join(cells)} |", flush=True)
    print(f"\nmean coverage {statistics.mean(coverages):.3f}")


if __name__ == "__main__":
    typer.run(main)
