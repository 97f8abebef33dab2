"""What the documents show works as it stands: every command and every block of Python."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from src.data.samples import load_sample

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDING = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str, script: str) -> list[list[str]]:
    """The arguments of every command that starts ``script``."""
    lines = [line.partition("#")[0] for block in blocks(text, "bash") for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith(f"python {script}")]


def run(folder: Path, script: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of: a file of prices and an earlier run."""
    folder = tmp_path_factory.mktemp("workplace")
    goog = load_sample("goog", window=96, seed=0).tables
    table = pd.DataFrame(goog.values, columns=list(goog.columns))
    table.insert(0, "Date", goog.dates)
    table.to_csv(folder / "prices.csv", index=False)
    first = ["--models", "linear:dlinear", "--epochs", "1", "--name", "20250110_143022"]
    assert run(folder, "train_models.py", first).returncode == 0
    # The examples repeat a run of this model.
    earlier = folder / "runs" / "20250110_143022"
    made = run(folder, "train_models.py", ["--models", "lstm:basic", "--epochs", "1", "--name", "other"])
    assert made.returncode == 0
    (folder / "runs" / "other" / "lstm_basic").rename(earlier / "lstm_basic")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README, "train_models.py"), ids=" ".join)
def test_every_training_command_of_the_readme_runs(workplace: Path, arguments: list[str]) -> None:
    # One epoch is enough to see that a command works; the last value of a flag counts.
    shorter = [] if "--resume" in arguments or "--list" in arguments else ["--epochs", "1"]
    done = run(workplace, "train_models.py", [*arguments, *shorter])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = blocks(README, "python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([2, 24, 1])" in done.stdout


@pytest.mark.slow
def test_the_model_of_the_guide_trains_as_a_plugin(tmp_path: Path) -> None:
    (code,) = blocks(ADDING, "python")
    (tmp_path / "my_models.py").write_text(code, encoding="utf-8")
    (arguments,) = commands(ADDING, "train_models.py")
    done = run(tmp_path, "train_models.py", arguments)
    assert done.returncode == 0, done.stderr
    assert "pooling:wide" in done.stdout
    (table,) = tmp_path.glob("runs/*/pooling_basic/metrics.csv")
    assert "Custom/active_share" in pd.read_csv(table).columns


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
