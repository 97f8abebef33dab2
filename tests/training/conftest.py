"""Small data, toy models and the command as a process, for the tests of training."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from src.data.base import Batch, DataSpec
from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.series import SeriesData

ROOT = Path(__file__).resolve().parents[2]


class TensorSplit:
    """Samples held in two tensors."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        count = len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        for index in order.split(batch_size):
            yield Batch(self.inputs[index], self.targets[index], index)


class TensorData:
    """A linear relation with noise, ``[samples, 4]`` to ``[samples, 1]``."""

    def __init__(self, samples: int = 70, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(4, 1, generator=generator)
        for part, count in (("train", samples), ("validation", 30), ("test", 30)):
            inputs = torch.randn(count, 4, generator=generator)
            noise = torch.randn(count, 1, generator=generator)
            setattr(self, part, TensorSplit(inputs, inputs @ weights + 0.3 * noise))
        self.spec = DataSpec("series", "forecast", (1, 4), (1, 1))

    train: TensorSplit
    validation: TensorSplit
    test: TensorSplit

    def to(self, device: torch.device) -> TensorData:
        return self

    def fingerprint(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def make_data() -> Callable[..., TensorData]:
    return TensorData


@pytest.fixture(scope="session")
def walk() -> SeriesData:
    """A random walk in short windows."""
    return load_data(DataOptions(data="sample:walk", window=8))


@pytest.fixture
def start_command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``train_models.py`` as a process of its own; whatever is left of it is killed after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train_models.py"), *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # so that a signal can reach the whole group, as Ctrl-C in a terminal does
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run_command(start_command: Callable[..., subprocess.Popen[str]]) -> Callable[..., SimpleNamespace]:
    """Runs ``train_models.py`` to its end; the answer has ``code``, ``out`` and ``err``."""

    def run(*arguments: Any) -> SimpleNamespace:
        process = start_command(*arguments)
        out, err = process.communicate(timeout=240)
        return SimpleNamespace(code=process.returncode, out=out, err=err)

    return run


@pytest.fixture
def call_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """As ``run_command``, but in this process, which has paid for its imports already."""
    from src.cli.common import run_app
    from src.cli.train import app

    def call(*arguments: Any) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(app, list(map(str, arguments)), prog_name="train_models.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return call
