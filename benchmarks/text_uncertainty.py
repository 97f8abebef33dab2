"""Five ways to say how sure a classifier of texts is, on SST-2: accuracy, likelihood, calibration and time.

    python benchmarks/text_uncertainty.py --train sst2_train.txt --test sst2_dev.txt [--other trec6_train.txt]

Trains on the file's own sentences only, a tenth of them kept for validation, and scores the test file once per seed.
Everything runs through ``train_models.py`` with one thread a model; seconds are those of training, and of asking for
all test probabilities once. With ``--other``, sentences of another kind: how often the uncertainty of one of them is
larger than that of a test sentence (AUROC; 0.5 says nothing).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from src.comparison.evaluate import BATCH_SIZE  # noqa: E402
from src.data.options import ReadingOptions  # noqa: E402
from src.data.text import TextSplit, new_texts  # noqa: E402
from src.data.text_reading.reader import read_texts  # noqa: E402
from src.metrics.selective import out_of_distribution_auroc  # noqa: E402
from src.prediction import TrainedRun, load_run  # noqa: E402

TRANSFORMER = "num_layers=1 dropout=0.3 word_dropout=0.3"
LSTM = "num_layers=1 dropout=0.5 word_dropout=0.3 bidirectional=true"
KINDS: dict[str, tuple[str, str, str]] = {
    "transformer, one pass": ("transformer:basic", TRANSFORMER, "--epochs 8 --lr 1e-3"),
    "transformer, MC dropout": ("transformer:bayesian", f"{TRANSFORMER} method=dropout", "--epochs 8 --lr 1e-3"),
    "transformer, variational": ("transformer:bayesian", f"{TRANSFORMER} method=variational", "--epochs 8 --lr 1e-3"),
    "transformer, ensemble of 5": ("transformer:bayesian", f"{TRANSFORMER} method=ensemble", "--epochs 8 --lr 1e-3"),
    "transformer, Laplace": ("transformer:bayesian", f"{TRANSFORMER} method=laplace", "--epochs 8 --lr 1e-3"),
    "LSTM with attention, one pass": ("lstm:attention", LSTM, "--epochs 4 --lr 2e-3"),
    "LSTM with attention, MC dropout": ("lstm:bayesian", f"{LSTM} method=dropout", "--epochs 5 --lr 2e-3"),
    "LSTM with attention, ensemble of 5": ("lstm:bayesian", f"{LSTM} method=ensemble", "--epochs 5 --lr 2e-3"),
    "tf-idf and logistic regression": ("baseline:words", "", ""),
}


def train(model: str, settings: str, options: str, data: list[str], seeds: int, folder: str) -> list[Path]:
    """Train with several seeds; the folders of the runs."""
    command = [sys.executable, str(ROOT / "train_models.py"), "--models", model, *data, *options.split()]
    command += ["--seeds", str(seeds), "--schedule", "one-cycle", "--weight-decay", "0.05", "--batch-size", "64"]
    command += ["--patience", "100", "--output", folder, "--name", "runs", "--no-monitors"]
    command += ["--set", *settings.split()] if settings else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    place = Path(folder) / "runs" / model.replace(":", "_")
    return sorted(place.glob("seed_*")) or [place]


def uncertainties(run: TrainedRun, split: TextSplit) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Total and epistemic uncertainty of every text."""
    total, epistemic = [], []
    for batch in split.batches(BATCH_SIZE):
        said: Any = run.model.distribution(batch.inputs)
        total.append(said.total)
        if said.epistemic is not None:
            epistemic.append(said.epistemic)
    return torch.cat(total), torch.cat(epistemic) if epistemic else None


def measure(runs: list[Path], test: Path, other: Path | None) -> dict[str, float]:
    """Means over the seeds."""
    rows: list[dict[str, float]] = []
    for place in runs:
        results = json.loads((place / "results.json").read_text())
        row = {name: results["test"][name] for name in ("accuracy", "log_loss", "calibration_error", "aurc")}
        row["train"] = results["training"]["seconds"]
        trained = load_run(place)
        inside = new_texts(read_texts(ReadingOptions(data=str(test))).texts, trained.schema)
        started = time.perf_counter()
        total, epistemic = uncertainties(trained, inside)
        row["predict"] = time.perf_counter() - started
        if other is not None:
            outside = new_texts(read_texts(ReadingOptions(data=str(other))).texts[:1000], trained.schema)
            other_total, other_epistemic = uncertainties(trained, outside)
            row["auroc_total"] = float(out_of_distribution_auroc(total, other_total))
            if epistemic is not None and other_epistemic is not None:
                row["auroc_epistemic"] = float(out_of_distribution_auroc(epistemic, other_epistemic))
        rows.append(row)
    return {name: statistics.mean(row[name] for row in rows) for name in rows[0]}


def main(
    train_file: Annotated[Path, typer.Option("--train", exists=True)],
    test_file: Annotated[Path, typer.Option("--test", exists=True)],
    other: Annotated[Path | None, typer.Option(exists=True)] = None,
    seeds: int = 3,
    only: str = "",
) -> None:
    """Print a row for each way, with and without character n-grams."""
    torch.set_num_threads(1)
    print("| | accuracy | NLL | ECE | AURC | AUROC total / epistemic | training s | prediction s |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|")
    for name, (model, settings, options) in KINDS.items():
        if only not in name:
            continue
        data = ["--data", str(train_file), "--test-data", str(test_file), "--split", "0.9,0.1"]
        data += ["--char-ngrams", "3-5" if "LSTM" in name else "2-4"]
        with tempfile.TemporaryDirectory() as folder:
            row = measure(train(model, settings, options, data, seeds, folder), test_file, other)
        auroc = f"{row.get('auroc_total', float('nan')):.2f} / {row.get('auroc_epistemic', float('nan')):.2f}"
        print(
            f"| {name} | {100 * row['accuracy']:.1f} | {row['log_loss']:.3f} | {row['calibration_error']:.3f} | "
            f"{row['aurc']:.3f} | {auroc} | {row['train']:.0f} | {row['predict']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
