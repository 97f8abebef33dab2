"""Calls ``train_models.py`` in this process or as one of its own, for the tests of the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src import models, registry
from src.cli.common import run_app
from src.cli.train import app

ROOT = Path(__file__).resolve().parents[2]

PLUGIN = """
import math
from torch import nn
from src import BaseModel, register_model


class Mean(BaseModel):
    '''One linear map of the window.'''

    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.layer = nn.Linear(spec.input_shape[0], 1)

    def forward(self, inputs):
        return self.layer(inputs[:, :, 0]).unsqueeze(1)


@register_model("mine:basic", by_default=False)
class Fine(Mean):
    '''A model of the user's own.'''

    def losses(self, batch):
        losses = super().losses(batch)
        self.log("Custom/weight", self.layer.weight.abs().mean())
        return losses


@register_model("mine:raising", by_default=False)
class Raising(Mean):
    '''Cannot compute.'''

    def forward(self, inputs):
        if self.training:
            raise RuntimeError("shapes do not fit\\nat all")
        return super().forward(inputs)


@register_model("mine:diverging", by_default=False)
class Diverging(Mean):
    '''Its loss is no number.'''

    def losses(self, batch):
        return {name: value * (math.nan if self.training else 1) for name, value in super().losses(batch).items()}
"""


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SimpleNamespace]:
    """Runs the command in this process, in an empty folder; the answer has ``code``, ``out`` and ``err``."""
    models.load_all()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))  # plugins go with the test
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> SimpleNamespace:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(app, list(map(str, arguments)), prog_name="train_models.py")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return run


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "plugins" / "my_models.py"
    file.parent.mkdir()
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A small price file with three columns."""
    file = tmp_path / "prices.csv"
    generator = torch.Generator().manual_seed(1)
    closes = 100 * torch.exp(torch.cumsum(0.01 * torch.randn(200, generator=generator, dtype=torch.float64), 0))
    start = datetime(2020, 1, 1).toordinal()
    rows = [
        f"{datetime.fromordinal(start + day):%Y-%m-%d},{close:.6f},{close * 1.01:.6f},{1000 + day}"
        for day, close in enumerate(closes.tolist())
    ]
    file.write_text("Date,Close,High,Volume\n" + "\n".join(rows) + "\n")
    return file


@pytest.fixture
def as_process(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """As ``call``, in a process of its own."""

    def run(*arguments: Any) -> SimpleNamespace:
        ended = subprocess.run(
            [sys.executable, str(ROOT / "train_models.py"), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        return SimpleNamespace(code=ended.returncode, out=ended.stdout, err=ended.stderr)

    return run
