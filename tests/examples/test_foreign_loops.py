"""Promises to loops written without this project: three lines are enough, and they change no bit of the training."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import typer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
STEPS = 23
MARK = re.compile(r"  # trainboard (\d)$", re.MULTILINE)
TAGS = {
    "small_gpt": {"train/loss", "gradient_norm/total", "update_ratio/head", "attention/entropy/blocks.0.attention"},
    "cnn_digits": {
        "train/loss",
        "train/accuracy",
        "gradient_norm/total",
        "update_ratio/0",
        "activation/dead_units_percent/2",
    },
}


def without_the_lines(name: str) -> str:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not MARK.search(line))


def call_main(source: str, /, **options: Any) -> str:
    """Run a script's ``main`` in this process, which has paid for its imports already; returns what it prints."""
    script: dict[str, Any] = {"__name__": "script", "__file__": str(EXAMPLES / "script.py")}
    path = list(sys.path)
    printed = io.StringIO()
    try:
        exec(compile(source, "script.py", "exec"), script)
        with redirect_stdout(printed):
            script["main"](**options)
    finally:
        sys.path[:] = path
    return printed.getvalue()


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=list(TAGS))
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A script as it stands, run for a few steps as users run it; nobody closes its logger."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [sys.executable, str(EXAMPLES / f"{request.param}.py"), "--steps", str(STEPS), "--save", "weights.pt"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        command, cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return SimpleNamespace(name=request.param, folder=folder, out=ended.stdout, err=ended.stderr)


@pytest.mark.parametrize("name", list(TAGS))
def test_three_lines_are_added_and_everything_else_knows_nothing_of_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert MARK.findall(text) == ["1", "2", "3"]
    code = without_the_lines(name).split('"""', 2)[2]
    assert not re.search(r"src|trainboard|logg", code, re.IGNORECASE)


def test_the_event_file_is_whole_though_nobody_closed_the_logger(watched: SimpleNamespace) -> None:
    folder = watched.folder / "runs" / watched.name
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = set(events.Tags()["scalars"])
    assert tags >= TAGS[watched.name], sorted(tags)
    points = events.Scalars("train/loss")
    assert [point.step for point in points] == list(range(STEPS))
    printed = re.search(rf"step +{STEPS - 1}  loss (\d\.\d+)", watched.out)
    assert printed and f"{points[-1].value:.3f}" == printed[1]
    assert "tensorboard --logdir runs" in watched.out


def test_findings_are_kept_and_a_healthy_training_gets_no_warning(watched: SimpleNamespace) -> None:
    content = json.loads((watched.folder / "runs" / watched.name / "findings.json").read_text())
    findings = content["findings"] if isinstance(content, dict) else content
    assert [finding for finding in findings if finding["severity"] != "info"] == []
    assert "failed" not in watched.err, "a monitor that fails is left out with a warning"


def test_the_trained_weights_are_the_same_bits_without_the_three_lines(
    watched: SimpleNamespace, tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = call_main(without_the_lines(watched.name), steps=STEPS, save=tmp_path / "weights.pt")
    assert out == watched.out and not (tmp_path / "runs").exists()
    plain, other = (torch.load(at / "weights.pt", weights_only=True) for at in (tmp_path, watched.folder))
    assert plain.keys() == other.keys()
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def test_a_text_of_ones_own_is_learned_and_too_short_a_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog. " * 3, encoding="utf-8")
    out = call_main(without_the_lines("small_gpt"), steps=2, text=file)
    assert len(re.findall("loss", out)) == 2
    file.write_text("short", encoding="utf-8")
    with pytest.raises(typer.BadParameter, match="must have more than 64 characters, but has 5"):
        call_main(without_the_lines("small_gpt"), steps=2, text=file)


def test_the_readme_names_every_example_and_its_checkpoints_work(tmp_path: Path, monkeypatch: Any) -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `python examples/(\w+\.py)", readme, re.MULTILINE)) == {
        path.name for path in EXAMPLES.glob("*.py")
    }
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    block = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    names = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "step": 3, "accuracy": 0.5}
    for epochs in (2, 3):
        exec(block, names | {"epochs": epochs})
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 3
