"""Whether a transformer gains from starting with the encoder of a joint-embedding model, on a series of one's own.

    python benchmarks/pretraining.py --data FILE [--split 8640,2880,2880] [--horizon 96] [--seeds 3]

``jepa:hierarchical`` learns from the windows of the training part alone; then ``transformer:basic`` of the same shape
is trained with ``--init-from`` and without, with the same seeds and the same epochs: once with all steps of every
epoch, once with a share of them. Test errors of scaled values, mean and deviation over seeds; the frozen encoder with
its fitted head stands beside them.
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
SHAPE = ["hidden_size=64", "num_layers=2", "num_heads=4", "feed_forward=128"]


def train(output: Path, name: str, command: list[str]) -> Path:
    """Carry out ``train_models.py``. Returns the folder of its runs."""
    words = [sys.executable, str(ROOT / "train_models.py"), "--output", str(output), "--name", name, *command]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return output / name


def scores(folder: Path, model: str) -> tuple[str, float]:
    """Mean and deviation over seeds of the scaled test error, as text, and the mean."""
    files = sorted((folder / model).glob("**/results.json"))
    values = [json.loads(file.read_text())["test"]["mse_scaled"] for file in files]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} +- {spread:.4f}", statistics.mean(values)


def main(
    data: Annotated[Path, typer.Option(exists=True)],
    split: str = "8640,2880,2880",
    horizon: int = 96,
    window: int = 336,
    patch: int = 8,
    channels: str = "mixed",
    seeds: int = 3,
    pretraining_epochs: int = 10,
    epochs: int = 10,
    share: float = 0.1,
) -> None:
    """Print a row for each case."""
    common = ["--data", str(data), "--split", split, "--horizon", str(horizon), "--window", str(window)]
    common += ["--target", "all", "--transform", "level", "--batch-size", "64", "--no-monitors"]
    common += ["--set", *SHAPE, f"patch={patch}", f"channels={channels}"]
    print("| | test MSE of scaled values |")
    print("|:--|--:|")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        pretrained = train(
            output,
            "jepa",
            ["--models", "jepa:hierarchical", *common, "--epochs", str(pretraining_epochs), "--warmup", "1",
             "--schedule", "cosine", "--patience", str(pretraining_epochs)],
        )  # fmt: skip
        print(f"| frozen encoder and its head | {scores(pretrained, 'jepa_hierarchical')[0]} |", flush=True)
        for part in (1.0, share):
            for start in (None, pretrained / "jepa_hierarchical"):
                command = ["--models", "transformer:basic", *common, "--seeds", str(seeds), "--epochs", str(epochs)]
                command += ["--patience", str(epochs), "--epoch-fraction", str(part)]
                command += ["--init-from", str(start)] if start else []
                name = f"{'from' if start else 'without'}_{part:g}"
                text, _ = scores(train(output, name, command), "transformer_basic")
                how = "started from it" if start else "from scratch"
                print(f"| transformer {how}, {part:.0%} of the steps | {text} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
