"""Promises about storage that fails while training: full, read-only, gone. One clear line, and the others go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from comparing import content, table

from src.data.series import SeriesData
from src.models import create_model

Run = Callable[..., SimpleNamespace]
SMALL = ("--data", "sample:walk", "--window", 8, "--epoch-fraction", 0.2, "--jobs", 1, "--name", "run")
PLUGIN = """
import os, shutil
from pathlib import Path
import torch
from torch import nn
from src import BaseModel, Observer, register_model

def cut(file):
    file.write_bytes(file.read_bytes()[:-300])

@register_model('mine:basic', by_default=False)
class Mine(BaseModel):
    '''Does something at the end of an epoch, once.'''
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.layer = nn.Linear(spec.input_shape[0], 1)
        self.register_buffer('ballast', torch.zeros(BALLAST))
    def forward(self, inputs):
        return self.layer(inputs[:, :, 0]).unsqueeze(1)
    def monitors(self):
        return [Trouble()]

class Trouble(Observer):
    def on_start(self, state):
        self.state = state
    def on_epoch_end(self, report):
        self.now(report.epoch)
    def on_end(self, reason):
        self.now('end')
    def now(self, moment):
        done = Path(__file__).with_suffix('.done')
        self.folder = self.state.write_checkpoint.__self__.folder.parent
        if moment == MOMENT and not done.exists():
            done.touch()
            ACTION
"""


@pytest.fixture(autouse=True)
def registry_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from src import models, registry

    models.load_all()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def plugin_file(folder: Path, moment: int | str, action: str, ballast: int = 1) -> Path:
    file = folder / "mine.py"
    text = PLUGIN.replace("ACTION", action).replace("MOMENT", repr(moment)).replace("BALLAST", str(ballast))
    file.write_text(text)
    return file


@pytest.mark.parametrize("what", ["self.folder", "self.folder.parent"], ids=["the run's folder", "the whole folder"])
def test_a_folder_deleted_while_training_fails_that_run_in_one_line(
    call_command: Run, tmp_path: Path, what: str
) -> None:
    plugin = plugin_file(tmp_path, 2, f"shutil.rmtree({what})")
    models = ("--models", "mine:basic", "linear:nlinear", "baseline:naive", "--plugin", plugin)
    ended = call_command(*models, *SMALL, "--epochs", 4, "--tensorboard", "--output", tmp_path)
    assert ended.code == 1 and "Traceback" not in ended.err + ended.out
    lines = [line for line in ended.out.splitlines() if "mine:basic:" in line]
    assert len(lines) == 1 and "cannot be written or read" in lines[0] and "No such file or directory" in lines[0]
    for name in ("linear_nlinear", "baseline_naive"):
        results = json.loads((tmp_path / "run" / name / "results.json").read_text())
        assert results["status"] == "completed", "the others go on"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_fails_in_one_line_and_keeps_what_was_complete(
    call_command: Run, small_disk: Path, tmp_path: Path
) -> None:
    fill = "(self.folder / 'filler').write_bytes(bytes(shutil.disk_usage(self.folder).free - 150_000))"
    plugin = plugin_file(tmp_path, 2, fill, ballast=50_000)  # a checkpoint has 200 kB
    models = ("--models", "mine:basic", "baseline:naive", "--plugin", plugin)
    ended = call_command(*models, *SMALL, "--epochs", 5, "--tensorboard", "--output", small_disk)
    assert ended.code == 1 and "Traceback" not in ended.err + ended.out
    lines = [line for line in ended.out.splitlines() if "mine:basic:" in line]
    assert len(lines) == 1 and "cannot be written or read" in lines[0] and "No space left on device" in lines[0]
    folder = small_disk / "run" / "mine_basic"
    assert content(folder / "checkpoints" / "last.pt")["progress"]["epoch"] == 2
    assert content(folder / "checkpoints" / "best.pt")["progress"]["epoch"] <= 2
    assert len(table(folder / "metrics.csv")) == 3
    assert not list(folder.rglob("*.tmp"))
    (folder / "filler").unlink()
    again = call_command("--resume", small_disk / "run", "--jobs", 1)
    assert again.code == 0, again.out + again.err
    assert [int(row["epoch"]) for row in table(folder / "metrics.csv")] == list(range(5))


def test_a_disk_full_from_the_start_is_told_in_lines_without_a_traceback(
    call_command: Run, small_disk: Path, tmp_path: Path
) -> None:
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 60_000))
    models = ("--models", "linear:nlinear", "baseline:naive", "lstm:basic")
    ended = call_command(*models, *SMALL, "--epochs", 2, "--output", small_disk)
    assert ended.code == 1 and "Traceback" not in ended.err + ended.out
    assert "lstm:basic: TrainingError: a file of the run cannot be written" in ended.out
    assert "No space left on device" in ended.out


@pytest.mark.skipif(sys.platform == "win32", reason="rights as on POSIX")
def test_a_folder_that_may_not_be_written_is_refused_in_one_line(
    walk: SeriesData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.errors import UserError

    monkeypatch.setattr(os, "access", lambda path, mode: False)  # nothing is forbidden to who runs tests as root
    with pytest.raises(UserError, match=r"nothing can be written in the folder .*change its rights"):
        create_model("linear:nlinear", walk.spec).fit(walk, run_dir=tmp_path)


def test_best_weights_damaged_at_the_end_fail_the_run_in_one_line(call_command: Run, tmp_path: Path) -> None:
    plugin = plugin_file(tmp_path, "end", "cut(self.folder / 'checkpoints' / 'best.pt')")
    ended = call_command("--models", "mine:basic", *SMALL, "--epochs", 5, "--plugin", plugin, "--output", tmp_path)
    assert ended.code == 1 and "Traceback" not in ended.err + ended.out
    best = tmp_path / "run" / "mine_basic" / "checkpoints" / "best.pt"
    assert f"mine:basic: the checkpoint {best} is damaged" in ended.out
    again = call_command("--resume", tmp_path / "run", "--jobs", 1)
    assert again.code == 0, again.err + again.out
