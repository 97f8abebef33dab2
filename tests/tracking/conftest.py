"""A real TensorBoard, asked over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class TensorBoardClient:
    """Asks one TensorBoard process what it shows."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """The parsed JSON that a data address answers."""
        return json.loads(self._open(path, None, query))

    def get_text(self, path: str, **query: str) -> str:
        """The raw text that a data address answers."""
        return self._open(path, None, query).decode()

    def post(self, path: str, body: Any) -> Any:
        """The parsed answer to a JSON request."""
        return json.loads(self._open(path, json.dumps(body).encode(), {}))

    def scalars(self, run: str, tag: str) -> list[tuple[int, float]]:
        """Steps and values of one curve."""
        return [(int(step), value) for _, step, value in self.get("scalars/scalars", run=run, tag=tag)]

    def runs(self) -> list[str]:
        return self.get("../runs")

    def _open(self, path: str, data: bytes | None, query: dict[str, str]) -> bytes:
        url = urllib.parse.urljoin(f"{self.url}/data/plugin/", path)
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"} if data else {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()


@pytest.fixture
def tensorboard() -> Iterator[Callable[[Path], TensorBoardClient]]:
    """Call it with a folder to get a client of a TensorBoard that has read the folder."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(log_dir: Path) -> TensorBoardClient:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", str(port)]
        command += ["--host", "127.0.0.1", "--reload_interval", "1"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        client = TensorBoardClient(f"http://127.0.0.1:{port}")
        expected = {str(path.parent.relative_to(log_dir)) for path in log_dir.rglob("events.out.tfevents.*")}
        _wait_until_read(client, processes[-1], expected)
        return client

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_read(
    client: TensorBoardClient, process: subprocess.Popen[bytes], runs: set[str], seconds: float = 60.0
) -> None:
    """Wait until all runs are there and their scalars no longer change: TensorBoard answers before it has read all."""
    deadline = time.monotonic() + seconds
    before: Any = None
    while True:
        assert process.poll() is None, f"TensorBoard ended with code {process.returncode}"
        assert time.monotonic() < deadline, "TensorBoard did not show all runs in time"
        try:
            tags = client.get("scalars/tags")
            now = {(run, tag): client.scalars(run, tag) for run in tags for tag in tags[run]}
            if set(client.runs()) >= runs and now == before:
                return
            before = now
        except OSError:  # it does not listen yet
            pass
        time.sleep(0.3)


@pytest.fixture
def child_environment() -> dict[str, str]:
    """The environment of a child process that imports ``src`` from this checkout."""
    root = Path(__file__).resolve().parents[2]
    return {**os.environ, "PYTHONPATH": str(root)}
