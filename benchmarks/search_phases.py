"""Three phases against random search alone, with the same number of epochs, on real series.

    python benchmarks/search_phases.py --data-dir DIR [--repeats 5] [--trials 24] [--model tcn:residual]

``DIR`` holds ``stocks/`` and ``forecasting/``. Both sides search the same space with the same seed, and prune nothing;
random search has as many trials of the middle length as take the same epochs. The best configuration of each is then
trained from scratch with three seeds and scored once on the test part. Searches of a series share nothing but the data,
and each repeat has another seed. Errors are squared errors of scaled values; below 0 % the three phases are better.
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
SERIES = {
    "GOOG": ("stocks/GOOG_daily_2004_2018.csv", ()),
    "AAPL": ("stocks/AAPL_daily_2004_2018.csv", ()),
    "SPY": ("stocks/SPY_daily_1999_2020.csv", ()),
    "ETTh1": ("forecasting/ETTh1.csv.gz", ("--horizon", "24", "--epoch-fraction", "0.1")),
}
EPOCHS = {"random": 3, "bayesian": 6, "fine_tune": 9}


def phases(trials: int) -> tuple[list[str], list[str], int]:
    """Options of both sides, and the epochs each may spend."""
    counts = {"random": trials // 4, "bayesian": trials - trials // 4 - trials // 6, "fine_tune": trials // 6}
    epochs = sum(counts[phase] * EPOCHS[phase] for phase in EPOCHS)
    three, alone = [], []
    for phase in EPOCHS:
        flag = phase.replace("_", "-")
        three += [f"--n-{flag}-trials", str(counts[phase]), f"--epochs-{flag}", str(EPOCHS[phase])]
        count = round(epochs / EPOCHS["bayesian"]) if phase == "random" else 0
        alone += [f"--n-{flag}-trials", str(count), f"--epochs-{flag}", str(EPOCHS["bayesian"])]
    return three, alone, epochs


def search(data: Path, model: str, options: list[str], seed: int) -> dict[str, float]:
    """One search and its final runs: best validation value, test errors, epochs spent."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tune_models.py"), "--models", model, "--data", str(data), *options]
        command += [
            "--seed",
            str(seed),
            "--seeds",
            "3",
            "--epochs",
            "20",
            "--pruner",
            "none",
            "--jobs",
            "auto",
            "--threads",
            "1",
        ]
        command += ["--no-tensorboard", "--output", folder, "--name", "search"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        place = Path(folder) / "search" / model.replace(":", "_")
        study = json.loads((place / "study.json").read_text())
        results = {
            name: [json.loads(file.read_text()) for file in place.glob(f"{name}/seed_*/results.json")]
            for name in ("tuned", "default")
        }
        test = {
            name: statistics.mean(result["test"]["mse_scaled"] for result in runs) for name, runs in results.items()
        }
        return {
            "validation": study["best"]["value"],
            "epochs": sum(record["epochs"] for record in study["trials"]),
            **test,
        }


def main(
    data_dir: Annotated[Path, typer.Option(help="folder with stocks/ and forecasting/")],
    repeats: Annotated[int, typer.Option(help="searches of each side and series")] = 5,
    trials: Annotated[int, typer.Option(help="trials of the three phases")] = 24,
    model: Annotated[str, typer.Option(help="its name")] = "tcn:residual",
    series: Annotated[str, typer.Option(help="names, with commas between them")] = ",".join(SERIES),
) -> None:
    """Print a row per series and repeat, then the medians."""
    three, alone, epochs = phases(trials)
    print(f"{model}, {epochs} epochs planned on each side", flush=True)
    for name in series.split(","):
        file, options = SERIES[name]
        gains: dict[str, list[float]] = {"validation": [], "tuned": []}
        for seed in range(repeats):
            both = [search(data_dir / file, model, [*side, *options], seed) for side in (three, alone)]
            for value in gains:
                gains[value].append(100 * (both[0][value] / both[1][value] - 1))
            print(
                f"{name} seed {seed}: validation {both[0]['validation']:.5g} / {both[1]['validation']:.5g}, "
                f"test {both[0]['tuned']:.5g} / {both[1]['tuned']:.5g} (default {both[0]['default']:.5g}), "
                f"epochs {both[0]['epochs']:.0f} / {both[1]['epochs']:.0f}",
                flush=True,
            )
        for value, label in (("validation", "best validation value"), ("tuned", "test error of the winner")):
            wins = sum(gain < 0 for gain in gains[value])
            middle = statistics.median(gains[value])
            print(f"{name}: {label} {middle:+.2f} % (median), three phases better in {wins} of {repeats}", flush=True)


if __name__ == "__main__":
    typer.run(main)
