"""A large folder of runs in TensorBoard: seconds to the first curve and to the last, memory; and its export.

    python benchmarks/large_logdir.py [--runs 100] [--tags 20] [--steps 2000] [--repeats 3] [--only view_tensorboard.py]

The folder is written with ``EventWriter``, one event a step. Then ``view_tensorboard.py`` shows it, and TensorBoard
with other settings, each ``--repeats`` times in turn; medians are printed. A curve counts as there when TensorBoard
serves it over HTTP up to the last step. Memory is the largest sum of resident memory over the command and its children,
processor time their sum until all runs are complete: what matters where other programs use the machine meanwhile. The
operating system has the files in its cache, as after training.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TENSORBOARD = ["-m", "tensorboard.main", "--host", "localhost", "--logdir"]
SETTINGS: dict[str, list[str]] = {
    "view_tensorboard.py": [],
    "--reload_multifile=true": ["--reload_multifile=true"],
    "--samples_per_plugin=scalars=0": ["--samples_per_plugin=scalars=0"],
    "--samples_per_plugin=scalars=200": ["--samples_per_plugin=scalars=200"],
    "--load_fast=false": ["--load_fast=false"],
    "--load_fast=false, 4 reload threads": ["--load_fast=false", "--max_reload_threads=4"],
}
PATIENCE = 300.0  # seconds for one setting


def write_folder(folder: Path, runs: int, tags: int, steps: int) -> float:
    """Make the runs; returns the seconds it took."""
    from src.tracking.event_writer import EventWriter

    start = time.perf_counter()
    for run in range(runs):
        with EventWriter(folder / f"run_{run:03d}") as writer:
            for step in range(steps):
                decay = math.exp(-step / steps * (1 + run / runs))
                writer.add_values({f"group_{tag % 4}/tag_{tag}": decay + tag for tag in range(tags)}, step)
    return time.perf_counter() - start


class Memory:
    """The largest resident memory of a process and its children, in MiB, looked at twenty times a second."""

    def __init__(self, process: int) -> None:
        self.process, self.peak = psutil.Process(process), 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            with contextlib.suppress(psutil.Error):  # one of them has just ended
                self.peak = max(self.peak, sum(member.memory_info().rss for member in self._family()) / 2**20)

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def processor_seconds(self) -> float:
        """So far, of all of them."""
        return sum(times.user + times.system for times in (member.cpu_times() for member in self._family()))

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        return self.peak


def measure_view(folder: Path, setting: str, runs: int, tags: int, steps: int) -> dict[str, float]:
    """Seconds from the start of the command, and MiB."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if SETTINGS[setting]:
        command = [*TENSORBOARD, str(folder), "--port", str(port), *SETTINGS[setting]]
    else:
        command = [str(ROOT / "view_tensorboard.py"), "--logdir", str(folder), "--port", str(port), "--no-open"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder.parent
    )
    memory = Memory(process.pid)
    found: dict[str, float] = {}
    try:
        while "all runs complete" not in found:
            if process.poll() is not None:
                sys.exit(f"{setting}: TensorBoard has ended")
            if time.perf_counter() - start > PATIENCE:
                found |= {"all runs complete": math.inf, "memory, MiB": memory.peak}
                return found
            _look(port, runs, tags, steps, start, found)
            time.sleep(0.05)
        found["processor time"] = memory.processor_seconds()
        begin = time.perf_counter()
        _chart(port)
        found["one chart of all runs"] = time.perf_counter() - begin
        found["memory, MiB"] = memory.end()
    finally:
        memory.end()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return found


def _look(port: int, runs: int, tags: int, steps: int, start: float, found: dict[str, float]) -> None:
    """Note what is there by now."""
    try:
        known = _ask(port, "scalars/tags")
    except OSError:
        return
    found.setdefault("answers", time.perf_counter() - start)
    if "first curve" not in found and known:
        run = min(known)
        points = _ask(port, "scalars/scalars", run=run, tag=min(known[run])) if known[run] else []
        if points and points[-1][1] == steps - 1:
            found["first curve"] = time.perf_counter() - start
    if len(known) == runs and all(len(of_run) == tags for of_run in known.values()):
        found.setdefault("all runs named", time.perf_counter() - start)
        if sum(points[-1]["step"] == steps - 1 for points in _chart(port).values()) == runs:
            found["all runs complete"] = time.perf_counter() - start


def _chart(port: int) -> dict[str, Any]:
    """One chart with the curves of all runs, as the TIME SERIES tab asks for it."""
    wanted = json.dumps([{"plugin": "scalars", "tag": "group_0/tag_0"}])
    (chart,) = _ask(port, "timeseries/timeSeries", requests=wanted)
    curves: dict[str, Any] = chart["runToSeries"]
    return curves


def _ask(port: int, path: str, **query: str) -> Any:
    url = f"http://127.0.0.1:{port}/data/plugin/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())


def measure_export(folder: Path, options: list[str]) -> tuple[float, float, float]:
    """Seconds, MiB, and megabytes written."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place, "export")
        command = [sys.executable, str(ROOT / "manage_runs.py"), "export", str(folder), "--output", str(output)]
        start = time.perf_counter()
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        memory = Memory(process.pid)
        code = process.wait()
        seconds = time.perf_counter() - start
        peak = memory.end()
        if code:
            sys.exit(f"the export ended with code {code}")
        return seconds, peak, sum(file.stat().st_size for file in output.rglob("*") if file.is_file()) / 1e6


def main(
    runs: Annotated[int, typer.Option()] = 100,
    tags: Annotated[int, typer.Option()] = 20,
    steps: Annotated[int, typer.Option()] = 2000,
    repeats: Annotated[int, typer.Option()] = 3,
    only: Annotated[str, typer.Option(help="a part of the name of the settings to measure")] = "",
) -> None:
    """Write the folder and measure."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "runs")
        seconds = write_folder(folder, runs, tags, steps)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        values = runs * tags * steps
        print(f"{runs} runs x {tags} tags x {steps} steps: written in {seconds:.1f} s, {size:.0f} MB", flush=True)
        results: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS if only in setting}
        for _ in range(repeats):
            for setting, measured in results.items():
                measured.append(measure_view(folder, setting, runs, tags, steps))
        for setting, measured in results.items():
            names = [name for name in measured[0] if all(name in one for one in measured)]
            medians = {name: statistics.median(one[name] for one in measured) for name in names}
            print(f"{setting}: " + ", ".join(f"{name} {value:.3g}" for name, value in medians.items()), flush=True)
        for options in ([], ["--format", "parquet"], ["--wide"], ["--format", "parquet", "--figures", "png"]):
            seconds, peak, written = measure_export(folder, options)
            named = " ".join(["export", *options])
            print(
                f"{named}: {values:,} points in {seconds:.1f} s, {peak:.0f} MiB, {written:.0f} MB written", flush=True
            )


if __name__ == "__main__":
    typer.run(main)
