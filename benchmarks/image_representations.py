"""What joint-embedding models learn from pictures without labels: probes on held-apart pictures, beside raw pixels and
the same encoder untrained.

    python benchmarks/image_representations.py --data IMAGES --test-data IMAGES [--epochs 30] [--seeds 3]

Runs ``train_models.py`` with the options of the script. ``linear`` and ``5-NN`` are accuracies on the test set of
readers fitted to at most 20,000 training pictures; ``seconds`` is training with everything that is watched and probed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
TRAINING = ["--batch-size", "128", "--lr", "2e-3", "--weight-decay", "0.05", "--warmup", "1", "--schedule", "cosine",
            "--clip", "3"]  # fmt: skip


def mean_and_spread(values: list[float]) -> str:
    """In percent."""
    if not values:
        return "-"
    spread = f" +- {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"


def main(
    data: Annotated[str, typer.Option()],
    test_data: Annotated[str | None, typer.Option()] = None,
    models: str = "jepa:hierarchical,jepa:flat,jepa:untrained,pixels:linear,pixels:neighbours",
    settings: Annotated[list[str] | None, typer.Option("--set")] = None,
    epochs: int = 30,
    seeds: int = 3,
) -> None:
    """Print a row for each model."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train_models.py"), "--data", data, "--models", models, *TRAINING]
        command += ["--test-data", test_data, "--split", "0.95,0.05"] if test_data else []
        command += ["--epochs", str(epochs), "--patience", str(epochs), "--seeds", str(seeds)]
        command += ["--output", folder, "--name", "runs", *(["--set", *settings] if settings else [])]
        subprocess.run(command, check=True)
        print("\n| model | linear, % | 5-NN, % | seconds |\n|:--|--:|--:|--:|")
        for run in sorted((Path(folder) / "runs").iterdir()):
            found = [json.loads(file.read_text()) for file in sorted(run.glob("**/results.json"))]
            if not found:
                continue
            accuracy = [result["test"]["accuracy"] for result in found]
            neighbours = [result["test"]["knn_accuracy"] for result in found if "knn_accuracy" in result["test"]]
            seconds = statistics.mean(result["training"]["seconds"] for result in found)
            name = found[0]["model"]
            cells = (mean_and_spread(accuracy), mean_and_spread(neighbours))
            linear, nearest = ("-", cells[0]) if name == "pixels:neighbours" else cells
            print(f"| `{name}` | {linear} | {nearest} | {seconds:.0f} |")


if __name__ == "__main__":
    typer.run(main)
