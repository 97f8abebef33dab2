"""Whether a command that was killed (``kill -9``) and resumed leaves the bits of one that was not.

    python benchmarks/kill_and_resume.py [--kills 20] [--seed 0]

Every kill hits a command of its own at a random moment: half of them with ``--jobs 1``, the others with ``--jobs 2``,
of which every second one loses a worker instead of the command. ``--resume`` follows at once. Then all files of all
runs are compared bit for bit with those of an undisturbed command (times aside), and all steps in the event files.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "training")]

from comparing import different_files, different_steps, epochs_done, wait_for, workers_of  # noqa: E402

from src.tracking.run_folder import folder_name  # noqa: E402

MODELS = ("lstm:basic", "gru:residual", "tcn:residual", "transformer:basic", "linear:dlinear", "baseline:ridge")
# Checkpoints inside an epoch ten times a second, so that many kills hit one that is being written.
OPTIONS = (
    *("--data", "sample:walk", "--window", "24", "--set", "hidden_size=16", "--batch-size", "16", "--tensorboard"),
    *("--epochs", "5", "--patience", "20", "--warmup", "1.5", "--lr", "0.01", "--checkpoint-minutes", "0.0017"),
)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """``train_models.py`` as a process of its own."""
    command = [sys.executable, str(ROOT / "train_models.py"), *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, text=True, start_new_session=True, **quiet)


def undisturbed(folder: Path, jobs: int) -> float:
    """Train everything; returns the seconds from the plan to the end."""
    process = start(folder, "--models", *MODELS, *OPTIONS, "--jobs", str(jobs), "--name", "run")
    wait_for(lambda: (folder / "runs" / "run" / "plan.json").exists(), process)
    began = time.perf_counter()
    if process.wait() != 0:
        raise SystemExit("the undisturbed command failed")
    return time.perf_counter() - began


def kill_once(folder: Path, jobs: int, worker: bool, delay: float) -> str | None:
    """Start a command, kill it or one of its workers ``delay`` seconds after the plan; None if it was too late."""
    root = folder / "runs" / "run"
    process = start(folder, "--models", *MODELS, *OPTIONS, "--jobs", str(jobs), "--name", "run")
    wait_for(lambda: (root / "plan.json").exists(), process)
    time.sleep(delay)
    workers = workers_of(process.pid) if worker else [process.pid]
    if process.poll() is not None or not workers:
        process.wait()
        return None
    done = epochs_done(root)
    os.kill(random.Random(delay).choice(workers), signal.SIGKILL)
    process.wait()
    return f"{delay:.2f} s, {done} epochs"


def resume(folder: Path, jobs: int) -> bool:
    """Go on to the end; whether that worked."""
    return start(folder, "--resume", str(folder / "runs" / "run"), "--jobs", str(jobs)).wait() == 0


def compare(folder: Path, expected: Path) -> tuple[list[str], int, int]:
    """Files that differ; steps that stand in the events more than once; steps that are missing or differ."""
    files, twice, other = [], 0, 0
    for model in MODELS:
        run, undisturbed_run = (place / "runs" / "run" / folder_name(model) for place in (folder, expected))
        files += [f"{model} {difference}" for difference in different_files(run, undisturbed_run)]
        steps = different_steps(run, undisturbed_run)
        twice, other = twice + len(steps[0]), other + len(steps[1])
    return files, twice, other


def main(
    kills: Annotated[int, typer.Option(help="how many commands to kill")] = 20,
    seed: Annotated[int, typer.Option(help="of the moments")] = 0,
) -> None:
    """Print a table with a row per kill; ends with exit code 1 if anything differs."""
    draw, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as place:
        expected = Path(place) / "undisturbed"
        expected.mkdir()
        seconds = {1: undisturbed(expected, 1)}
        (Path(place) / "two_jobs").mkdir()
        seconds[2] = undisturbed(Path(place) / "two_jobs", 2)
        print(f"undisturbed: {seconds[1]:.1f} s with one job, {seconds[2]:.1f} s with two\n")
        print("| kill | jobs | killed | when | identical | steps twice | steps missing or other |", flush=True)
        print("|--:|--:|:--|:--|:--|--:|--:|")
        for number in range(1, kills + 1):
            jobs = 1 if number <= kills // 2 else 2
            worker = jobs == 2 and number % 2 == 0
            moment, attempt = None, 0
            while moment is None:
                attempt += 1
                folder = Path(place) / f"{number}_{attempt}"
                folder.mkdir()
                moment = kill_once(folder, jobs, worker, draw.random() * seconds[jobs])
            done = resume(folder, jobs)
            files, twice, other = compare(folder, expected) if done else (["the command failed"], 0, 0)
            same = "yes" if not files else "NO: " + "; ".join(files[:3])
            wrong += bool(files or twice or other)
            killed = "a worker" if worker else "the command"
            print(f"| {number} | {jobs} | {killed} | {moment} | {same} | {twice} | {other} |", flush=True)
    print(f"\n{kills - wrong} of {kills} are identical to the undisturbed command")
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
