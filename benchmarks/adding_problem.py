"""The adding problem (Bai, Kolter, Koltun 2018, arXiv 1803.01271): who remembers two numbers over 200 steps?

    python benchmarks/adding_problem.py [--length 200] [--figure docs/adding_problem.png]

Always predicting 1 gives a loss of 1/6; below 0.001 the problem counts as solved.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {
    "tcn:residual": ["--set", "num_layers=6", "dropout=0"],
    "gru:basic": ["--set", "dropout=0"],
    "gru:residual": ["--set", "dropout=0"],
    "lstm:basic": ["--set", "dropout=0"],
}


def main(
    length: Annotated[int, typer.Option(help="steps of every sequence")] = 200,
    epochs: Annotated[int, typer.Option(help="epochs at most")] = 12,
    models: Annotated[str, typer.Option(help="with commas")] = ",".join(SETTINGS),
    figure: Annotated[Path | None, typer.Option(help="draw the validation losses into this file")] = None,
) -> None:
    """Train every model and print the loss it ends with."""
    curves = {}
    for model in models.split(","):
        curves[model] = train(model, length, epochs)
        losses = curves[model]["validation_loss"]
        solved = losses[losses < 1e-3].index
        when = f"under 0.001 after epoch {solved[0]}" if len(solved) else "not solved"
        print(f"{model:<14} best validation loss {losses.min():.2e}  {when}", flush=True)
    if figure is not None:
        draw(curves, figure)


def train(model: str, length: int, epochs: int) -> pd.DataFrame:
    """Train one model through the command line; its ``metrics.csv``."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, str(ROOT / "train_models.py"), "--data", "sample:adding", "--window", str(length)]
        command += ["--models", model, *SETTINGS[model], "--epochs", str(epochs), "--lr", "2e-3"]
        command += ["--output", output, "--name", "run", "--jobs", "1"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return pd.read_csv(Path(output, "run", model.replace(":", "_"), "metrics.csv"))


def draw(curves: dict[str, pd.DataFrame], file: Path) -> None:
    """Validation loss over epochs, logarithmic."""
    picture = Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained")
    axes = picture.subplots()
    for model, table in curves.items():
        axes.semilogy(table["epoch"], table["validation_loss"], marker="o", markersize=3, label=model)
    axes.axhline(1 / 6, color="grey", linestyle="--", linewidth=0.8, label="always predicting 1")
    axes.axhline(1e-3, color="grey", linestyle=":", linewidth=0.8, label="solved")
    axes.set(xlabel="epoch", ylabel="validation loss", title="Adding problem")
    axes.legend(fontsize=8, frameon=False)
    picture.savefig(file)


if __name__ == "__main__":
    typer.run(main)
