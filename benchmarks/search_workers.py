"""A search shared by two workers through PostgreSQL, one of them killed again and again: nothing is lost or doubled.

    python benchmarks/search_workers.py [--trials 60] [--kills 5]

Starts a server of its own, a search, and a worker in another process. First the search is left alone; then it is done
again, and the worker is killed with SIGKILL in the middle of a trial, and started again, ``--kills`` times. In the end
every place of the search must have exactly one finished (complete or pruned) trial, every trial folder must belong to
a trial in the storage, and no trial may still be running.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.conftest_postgres import start_postgres  # noqa: E402
from tests.tuning.searching import kill_all, start, wait_until  # noqa: E402


def search(address: str, folder: Path, name: str, trials: int, kills: int) -> None:
    """One search to its end, and what the storage says of it."""
    import optuna

    from src.tuning.storage import open_storage

    shared = ("--storage", address, "--output", folder, "--name", name, "--jobs", 1)
    words = ("--models", "gru:basic", "--trials", trials, "--set", "hidden_size=16", "--window", 24, "--no-final")
    words += ("--epochs-random", 4, "--epochs-bayesian", 6, "--epochs-fine-tune", 6)
    began = time.monotonic()
    leader = start(*words, *shared)
    place = folder / name / "gru_basic"
    worker, killed = None, []
    try:
        wait_until(lambda: list(place.glob("trial_*/metrics.csv")))
        worker = start("--worker", *shared)
        while len(killed) < kills:
            number = len(killed)
            study = optuna.load_study(study_name=f"{name}/gru:basic", storage=open_storage(address))

            def in_trial(study: optuna.Study = study, pid: int = worker.pid) -> list[int]:
                running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
                return [t.number for t in running if t.user_attrs.get("owner", {}).get("pid") == pid and t.params]

            killed.append(wait_until(in_trial)[0])
            time.sleep(0.1 * number)
            kill_all(worker)
            worker = start("--worker", *shared)
        text, _ = leader.communicate(timeout=1200)
        worker.communicate(timeout=60)
    finally:
        kill_all(leader)
        if worker is not None:
            kill_all(worker)
    study = optuna.load_study(study_name=f"{name}/gru:basic", storage=open_storage(address))
    states = Counter(trial.state.name for trial in study.trials)
    finished = [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]
    slots = Counter(trial.user_attrs["slot"] for trial in finished)
    owners = Counter(trial.user_attrs["owner"]["pid"] for trial in finished)
    numbers = {int(folder.name.split("_")[1]) for folder in place.glob("trial_*")}
    print(f"{name}: {time.monotonic() - began:.0f} s, states {dict(states)}, killed in trials {killed}")
    print(f"  finished places {len(slots)} of {trials}, most trials of one place {max(slots.values())}")
    print(f"  finished by each process {sorted(owners.values(), reverse=True)}, trial folders {len(numbers)}")
    if leader.returncode or set(slots) != set(range(trials)) or max(slots.values()) > 1 or states["RUNNING"]:
        print(text)
        raise typer.Exit(1)
    if numbers != {trial.number for trial in study.trials if "owner" in trial.user_attrs}:
        print("  trial folders and trials differ")
        raise typer.Exit(1)


def main(
    trials: Annotated[int, typer.Option(help="trials of the search")] = 60,
    kills: Annotated[int, typer.Option(help="how often the worker is killed")] = 5,
) -> None:
    """Do it undisturbed, then with kills."""
    with tempfile.TemporaryDirectory() as folder, start_postgres(Path(folder) / "server") as address:
        search(address, Path(folder), "undisturbed", trials, 0)
        search(address, Path(folder), "disturbed", trials, kills)


if __name__ == "__main__":
    typer.run(main)
