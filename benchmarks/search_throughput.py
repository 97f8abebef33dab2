"""Trials per minute of ``tune_models.py --jobs 2`` against plain Optuna: two processes around a bare loop.

    python benchmarks/search_throughput.py [--pairs 3] [--trials 24] [--epochs 10] [--model lstm:attention]

Both sides train the same module on the same windows of the embedded prices, with the same numbers of trials, epochs,
steps and threads (one a process), and validate after every epoch; learning rate, weight decay and dropout are searched,
which change no trial's work. The plain side proposes with Optuna's TPE through a journal file and writes nothing else;
ours writes what it always does: events of every batch, checkpoints, tables. Whole commands are timed, start-up
included, in the order A B A B; medians are compared.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SEARCHED = ("lr", "weight_decay", "dropout")
BATCH, CLIP = 64, 1.0


def ours(folder: Path, model: str, trials: int, epochs: int) -> None:
    """Our command, random phase only, without pruning and final runs."""
    from src.data.loading import load_data
    from src.data.options import DataOptions
    from src.models import create_model
    from src.training.config import TrainingConfig

    config = create_model(model, load_data(DataOptions()).spec, {}).config.to_dict()
    fixed = {name: value for name, value in config.items() if name not in SEARCHED and value is not None}
    space = folder / "space.json"
    space.write_text(json.dumps({**fixed, "batch_size": TrainingConfig().batch_size, "window": DataOptions().window}))
    command = [sys.executable, str(ROOT / "tune_models.py"), "--models", model, "--space", str(space), "--jobs", "2"]
    command += ["--n-random-trials", str(trials), "--n-bayesian-trials", "0", "--n-fine-tune-trials", "0"]
    command += ["--epochs-random", str(epochs), "--pruner", "none", "--no-final", "--threads", "1"]
    command += ["--patience", str(epochs), "--output", str(folder / "runs")]
    subprocess.run(command, capture_output=True, check=True)


def plain(folder: Path, model: str, trials: int, epochs: int) -> None:
    """Two processes of ``plain_worker`` on one study."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    journal = str(folder / "journal.log")
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(storage=JournalStorage(JournalFileBackend(journal)), study_name="plain")
    command = [sys.executable, __file__, "--plain-worker", journal, "--model", model, "--epochs", str(epochs)]
    shares = [trials // 2, trials - trials // 2]
    workers = [
        subprocess.Popen([*command, "--trials", str(share)], env=environment, stdout=subprocess.DEVNULL)
        for share in shares
    ]
    if any(worker.wait() for worker in workers):
        raise RuntimeError("a process of the plain side failed")


def plain_worker(journal: str, model: str, trials: int, epochs: int) -> None:
    """What somebody would write by hand: an objective around a bare loop over tensors that lie in memory."""
    import optuna
    import torch
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from src.data.loading import load_data
    from src.data.options import DataOptions
    from src.models import create_model

    torch.set_num_threads(1)
    data = load_data(DataOptions())
    train, validation = (next(iter(part.batches(len(part)))) for part in (data.train, data.validation))

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(0)
        network = create_model(model, data.spec, {"dropout": trial.suggest_float("dropout", 0.0, 0.5)})
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=trial.suggest_float("lr", 1e-5, 1e-1, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 0.1, log=True),
        )
        best = float("inf")
        for _epoch in range(epochs):
            network.train()
            for chosen in torch.randperm(len(train.inputs)).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                loss = torch.nn.functional.mse_loss(network(train.inputs[chosen]), train.targets[chosen])
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
                optimizer.step()
            network.eval()
            with torch.no_grad():
                total = 0.0
                for start in range(0, len(validation.inputs), BATCH):
                    outputs = network(validation.inputs[start : start + BATCH])
                    targets = validation.targets[start : start + BATCH]
                    total += float(torch.nn.functional.mse_loss(outputs, targets)) * len(targets)
            best = min(best, total / len(validation.inputs))
        return best

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(journal))
    optuna.load_study(storage=storage, study_name="plain").optimize(objective, n_trials=trials)


def main(
    pairs: Annotated[int, typer.Option(help="measurements of each side")] = 3,
    trials: Annotated[int, typer.Option(help="trials of each search")] = 24,
    epochs: Annotated[int, typer.Option(help="epochs of every trial")] = 10,
    model: Annotated[str, typer.Option(help="its name")] = "lstm:attention",
    worker: Annotated[str, typer.Option("--plain-worker", hidden=True)] = "",
) -> None:
    """Print both medians and the ratio."""
    if worker:
        plain_worker(worker, model, trials, epochs)
        return
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(pairs):
        for name, side in (("ours", ours), ("plain", plain)):
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                side(Path(folder), model, trials, epochs)
                rates[name].append(60 * trials / (time.perf_counter() - started))
    ratios = [one / other for one, other in zip(rates["ours"], rates["plain"], strict=True)]
    print(f"{model}, {trials} trials of {epochs} epochs, trials per minute:")
    for name, values in rates.items():
        print(f"  {name:<6}{statistics.median(values):7.1f}   ({', '.join(f'{value:.1f}' for value in values)})")
    print(f"  ratio {statistics.median(ratios):.2f}   ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")


if __name__ == "__main__":
    typer.run(main)
