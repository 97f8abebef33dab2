"""Promises of ``CheckpointManager``: go on to the same bits, keep newest and best, touch nobody else's files."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR, OneCycleLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

from src import CheckpointManager
from src.errors import OptionError, UserError

ROOT = Path(__file__).resolve().parents[2]


def small_model(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.3), nn.Linear(width, 1))


def save(manager: CheckpointManager, epoch: int, accuracy: float = 0.5, **options: Any) -> Path:
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, epoch)
    return manager.save_checkpoint(model, None, None, epoch, 10 * epoch, {"val_accuracy": accuracy}, **options)


def loaded_epoch(manager: CheckpointManager, path: str | Path | None = None) -> int:
    """The epoch as found in the weights, which must agree with the record."""
    model = nn.Linear(2, 1)
    loaded = manager.load_checkpoint(model, path=path)
    assert model.weight[0, 0] == loaded.epoch and loaded.global_step == 10 * loaded.epoch
    return loaded.epoch


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


class Loop:
    """A loop of one's own: dropout, shuffled batches, noise of all three generators, momentum, a schedule."""

    def __init__(self, schedule: str = "cycle") -> None:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(5)
        self.model = small_model()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=np.float64(0.01))
        self.scheduler = self.schedules(schedule)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
        inputs = torch.randn(40, 4)
        self.loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=8, shuffle=True)
        self.epoch, self.step = 0, 0

    def schedules(self, name: str) -> LRScheduler:
        first = MultiStepLR(self.optimizer, [3, 9], gamma=0.5)
        if name == "cycle":
            return OneCycleLR(self.optimizer, 0.02, total_steps=40)
        if name == "chain":
            return SequentialLR(self.optimizer, [LambdaLR(self.optimizer, lambda n: 0.9**n), first], [4])
        return first

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            for inputs, targets in self.loader:
                noise = random.random() + np.random.rand()  # noqa: NPY002
                loss = (self.model(inputs + noise) - targets).square().mean()
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.scheduler.step()
                self.step += 1
            self.epoch += 1

    def save(self, manager: CheckpointManager, **options: Any) -> Path:
        metrics = {"loss": torch.tensor(0.5), "val_accuracy": np.float32(0.25)}
        return manager.save_checkpoint(
            self.model, self.optimizer, self.scheduler, self.epoch, self.step, metrics, scaler=self.scaler, **options
        )

    def load(self, manager: CheckpointManager, **options: Any) -> Any:
        record = manager.load_checkpoint(self.model, self.optimizer, self.scheduler, scaler=self.scaler, **options)
        self.epoch, self.step = record.epoch, record.global_step
        return record

    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["cycle", "chain", "steps"])
def test_training_gone_on_with_ends_with_the_same_bits(tmp_path: Path, schedule: str) -> None:
    straight = Loop(schedule)
    straight.train(2)
    path = straight.save(CheckpointManager(tmp_path))
    straight.train(3)

    again = Loop(schedule)
    torch.rand(7), random.random(), np.random.rand()  # noqa: NPY002 - whatever a new process does before it loads
    record = again.load(CheckpointManager(tmp_path))
    assert (record.path, record.epoch, record.global_step) == (path, 2, 10)
    assert record.metrics == {"loss": 0.5, "val_accuracy": 0.25}
    again.train(3)
    assert again.step == straight.step == 25
    assert all(torch.equal(again.weights()[name], value) for name, value in straight.weights().items())
    assert again.scaler.state_dict() == straight.scaler.state_dict() != Loop().scaler.state_dict()
    assert again.scheduler.get_last_lr() == straight.scheduler.get_last_lr()


def test_without_the_random_states_the_bits_would_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: it sees it when one thing is not restored."""
    monkeypatch.setattr("src.training.checkpoint_manager.restore_random_states", lambda states: None)
    straight, again = Loop(), Loop()
    straight.train(1)
    straight.save(CheckpointManager(tmp_path))
    straight.train(1)
    again.load(CheckpointManager(tmp_path))
    again.train(1)
    assert any(not torch.equal(again.weights()[name], value) for name, value in straight.weights().items())


def test_the_file_holds_tensors_and_plain_values_only(tmp_path: Path) -> None:
    loop = Loop("chain")
    loop.train(1)
    path = loop.save(CheckpointManager(tmp_path), data_position={"file": "a.csv", "order": torch.arange(3)})
    content = torch.load(path, weights_only=True)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    assert content["epoch"] == 1 and content["model"].keys() == loop.model.state_dict().keys()


class Sampler:
    def __init__(self, position: int = 0) -> None:
        self.position = position

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


@pytest.mark.parametrize("value", [17, ("part", 3, None), {"file": 2, "rows": [1, 2]}, b"raw", 0.5])
def test_a_plain_position_in_the_data_comes_back_as_it_was(tmp_path: Path, value: Any) -> None:
    manager = CheckpointManager(tmp_path)
    save(manager, 1, data_position=value)
    back = manager.load_checkpoint(nn.Linear(2, 1)).data_position
    assert back == value and type(back) is type(value)


def test_numbers_of_numpy_are_kept_as_plain_ones(tmp_path: Path) -> None:
    save(CheckpointManager(tmp_path), 1, data_position={"row": np.int64(3), "share": np.float32(0.5)})
    assert CheckpointManager(tmp_path).load_checkpoint(nn.Linear(2, 1)).data_position == {"row": 3, "share": 0.5}


def test_an_object_with_a_state_is_put_back_where_it_was(tmp_path: Path) -> None:
    manager, sampler = CheckpointManager(tmp_path), Sampler()
    save(manager, 1, data_position=Sampler(29))
    assert manager.load_checkpoint(nn.Linear(2, 1), data_position=sampler).data_position == {"position": 29}
    assert sampler.position == 29


def test_loading_for_an_evaluation_changes_nothing_but_the_model(tmp_path: Path) -> None:
    save(CheckpointManager(tmp_path), 3)
    reader, model = CheckpointManager(tmp_path), nn.Linear(2, 1)
    states = torch.get_rng_state(), random.getstate()
    assert reader.load_checkpoint(model).epoch == model.weight[0, 0] == 3
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    save(reader, 4)  # and what is saved then is a run of its own
    assert len(CheckpointManager(tmp_path).all) == 1 and len(list(tmp_path.glob("*.pt"))) == 2


# --- the newest and the best ------------------------------------------------------------------------------------------


def test_the_seeds_call_keeps_the_newest_three(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path / "checkpoints", max_keep=3)
    assert (manager.all, manager.latest, manager.best) == ([], None, None)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    paths = [
        manager.save_checkpoint(model, optimizer, None, epoch, 10 * epoch, {"val_accuracy": 0.1 * epoch}, is_best=True)
        for epoch in range(5)
    ]
    assert manager.all == paths[2:] and manager.latest == manager.best == paths[4]
    assert {path.suffix for path in (tmp_path / "checkpoints").iterdir()} == {".pt", ".json"}
    assert set((tmp_path / "checkpoints").glob("*.pt")) == set(paths[2:])


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 3)])
def test_the_monitor_decides_what_is_best_and_the_best_is_never_deleted(tmp_path: Path, mode: str, best: int) -> None:
    manager = CheckpointManager(tmp_path, max_keep=3, monitor="val_accuracy", mode=mode)
    values = [0.5, 0.9, float("nan"), 0.2, 0.9, 0.4, 0.2, 0.8, 0.6]
    for epoch, value in enumerate(values):
        save(manager, epoch, value, is_best=True)  # not looked at
    assert loaded_epoch(manager, "best") == best
    assert [loaded_epoch(manager, path) for path in manager.all] == [best, 7, 8]
    assert loaded_epoch(manager) == loaded_epoch(manager, "latest") == 8


def test_is_best_counts_without_a_monitor(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, max_keep=1)
    for epoch in range(4):
        save(manager, epoch, is_best=epoch == 1)
        assert loaded_epoch(manager) == epoch
    assert loaded_epoch(manager, "best") == 1 and len(manager.all) == 2


def test_what_is_best_is_known_after_a_new_start(tmp_path: Path) -> None:
    options = {"max_keep": 2, "monitor": "val_accuracy"}
    first = CheckpointManager(tmp_path, **options)
    for epoch, value in enumerate([0.3, 0.9, 0.4, 0.5]):
        save(first, epoch, value)
    second = CheckpointManager(tmp_path, **options)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(UserError, match="holds no optimizer state, as none was given"):
        second.load_checkpoint(model, optimizer)
    first.save_checkpoint(model, optimizer, None, 4, 40, {"val_accuracy": 0.6})
    second.load_checkpoint(model, optimizer)
    save(second, 5, 0.7)
    assert loaded_epoch(second, "best") == 1 and len(list(tmp_path.glob("*.pt"))) == 2
    save(second, 6, 0.95)
    assert loaded_epoch(second, "best") == 6


def test_going_on_from_an_older_checkpoint_overwrites_nothing(tmp_path: Path) -> None:
    loop = Loop()
    manager = CheckpointManager(tmp_path, max_keep=9)
    paths = []
    for _ in range(3):
        loop.train(1)
        paths.append(loop.save(manager))
    before = paths[1].read_bytes()
    again, fresh = CheckpointManager(tmp_path, max_keep=9), Loop()
    fresh.load(again, path=paths[0].name)
    fresh.train(1)
    assert fresh.save(again) not in paths and paths[1].read_bytes() == before
    assert again.latest is not None and again.latest.stem.startswith(paths[1].stem + "_2") and len(again.all) == 4


# --- damage, crashes, neighbours --------------------------------------------------------------------------------------


def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = CheckpointManager(tmp_path)
    paths = [save(manager, epoch) for epoch in range(3)]
    damage(paths[2])
    with caplog.at_level(logging.WARNING):
        assert loaded_epoch(CheckpointManager(tmp_path)) == 1
    assert f"the checkpoint {paths[2]} is damaged; the one before it is used" in caplog.text
    with pytest.raises(UserError, match="is damaged"):
        loaded_epoch(manager, paths[2])
    paths[1].unlink()
    assert loaded_epoch(manager) == 0
    damage(paths[0])
    with pytest.raises(UserError, match=r"all 2 checkpoints in .* are damaged"):
        loaded_epoch(manager)


def test_other_files_and_other_runs_in_the_folder_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"mine": 1}, tmp_path / "mine.pt")
    (tmp_path / "checkpoint_notes_epoch_1.pt").write_text("not ours")
    (tmp_path / ".checkpoint_of_something.tmp").write_text("not ours")
    (tmp_path / "checkpoints_20200101_000000.json").write_text("{'broken'")
    managers = [CheckpointManager(tmp_path, max_keep=1) for _ in range(2)]
    (tmp_path / "checkpoints_20210101_000000.json").write_text(
        '{"checkpoints": [{"file": "mine.pt", "epoch": 0, "global_step": 0, "metrics": {}, "is_best": false,'
        ' "written": 0}, {"file": "../mine.pt"}]}'
    )
    foreign = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with caplog.at_level(logging.WARNING):
        for epoch in range(3):
            for manager in managers:
                save(manager, epoch)
    assert all((tmp_path / name).read_bytes() == content for name, content in foreign.items())
    assert [len(manager.all) for manager in managers] == [1, 1] and managers[0].all != managers[1].all
    assert len(names(tmp_path)) == len(foreign) + 4
    assert "holds 1 checkpoints of earlier runs, which are left alone" in caplog.text
    assert "checkpoints_20200101_000000.json is no list of checkpoints" in caplog.text


def test_an_index_that_names_somebody_elses_file_does_not_get_it_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    manager = CheckpointManager(folder, max_keep=1)
    path = save(manager, 0)
    victims = [tmp_path / path.name, folder / "mine.pt"]
    for victim in victims:
        victim.write_text("mine")
    index = next(folder.glob("*.json"))
    text = index.read_text()
    entry = text[text.index("{", 1) : text.rindex("]")]
    others = [entry.replace(path.name, name) for name in (f"../{path.name}", "mine.pt")]
    index.write_text(text.replace(entry, ",".join([*others, entry])))
    for epoch in (1, 2):
        save(manager, epoch)
    assert all(victim.read_text() == "mine" for victim in victims) and len(manager.all) == 1


def test_two_managers_in_sub_folders_do_not_disturb_each_other(tmp_path: Path) -> None:
    managers = [CheckpointManager(tmp_path, 2), *(CheckpointManager(tmp_path / name, 2) for name in ("a", "b"))]
    for epoch in range(4):
        for manager in managers:
            save(manager, epoch)
    managers.append(CheckpointManager(tmp_path / "b", 1))
    save(managers[-1], 9)
    assert [len(manager.all) for manager in managers] == [2, 2, 2, 1]
    assert len(list(tmp_path.rglob("*.pt"))) == 7


def test_a_failed_write_is_said_in_one_line_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = CheckpointManager(tmp_path, max_keep=1)
    path = save(manager, 0)
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 1:  # the index still has room
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"no checkpoint can be written in .* \(No space left on device\); make ro"):
            save(manager, 1)
    assert manager.all == [path] and loaded_epoch(manager) == 0
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
    save(manager, 2)
    assert loaded_epoch(manager) == 2 and len(manager.all) == 1


KILLED = """
    import os, random, signal, sys, time
    from pathlib import Path
    import torch
    from torch import nn
    torch.set_num_threads(1)
    from src.training.checkpoint_manager import CheckpointManager

    folder, draw = Path(sys.argv[1]), random.Random(1)
    torch.optim.SGD(nn.Linear(1, 1).parameters())  # imports much, once for all children
    newest, killed_inside, attempts = -1, 0, 0
    while attempts < 8 or (killed_inside < 3 and attempts < 60):
        attempts += 1
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            model = nn.Linear(200, 250)
            optimizer = torch.optim.SGD(model.parameters())
            manager = CheckpointManager(folder, max_keep=2, monitor="score")
            if manager.latest:
                manager.load_checkpoint(model, optimizer)
            for number in range(newest + 1, 10_000):
                nn.init.constant_(model.weight, number)
                manager.save_checkpoint(model, optimizer, None, number, number, {"score": -abs(number - 7)})
                os.write(writer, b"x")
        os.close(writer)
        os.read(reader, 1)
        time.sleep(draw.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = newest + 1
        while chunk := os.read(reader, 65536):
            done += len(chunk)
        os.close(reader)
        killed_inside += bool(list(folder.glob(".*.tmp")))
        model, manager = nn.Linear(200, 250), CheckpointManager(folder)
        latest = manager.load_checkpoint(model)
        assert latest.epoch >= done and bool((model.weight == latest.epoch).all()), (latest, done)
        newest = latest.epoch
        best = manager.load_checkpoint(model, path="best")
        assert best.epoch == min(newest, 7), best
        files = list(folder.glob("*.pt"))
        assert len(files) <= 3, files
    optimizer = torch.optim.SGD(model.parameters())
    manager.load_checkpoint(model, optimizer)
    manager.save_checkpoint(model, optimizer, None, newest, newest, {"score": -99.0})
    print("sound", newest, killed_inside, len(list(folder.glob(".*.tmp"))), len(list(folder.glob("*.json"))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_a_kill_at_any_moment_leaves_whole_files_and_no_rubbish(tmp_path: Path) -> None:
    script, folder = tmp_path / "killed.py", tmp_path / "checkpoints"
    script.write_text(textwrap.dedent(KILLED))
    ended = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    word, newest, killed_inside, leftovers, runs = ended.stdout.split()
    assert word == "sound" and int(newest) >= 7 and int(killed_inside) >= 3
    assert (leftovers, runs) == ("0", "1")


def test_leftovers_of_runs_nobody_goes_on_with_are_removed_when_they_are_old(tmp_path: Path) -> None:
    old, live = (tmp_path / f".checkpoint_2020010{day}_000000_epoch_0001_step_00000001.pt.77.tmp" for day in (1, 2))
    for path in (old, live):
        path.write_text("half a checkpoint")
    os.utime(old, (time.time() - 3600,) * 2)
    save(CheckpointManager(tmp_path), 0)
    assert not old.exists() and live.exists()


# --- what users are told ----------------------------------------------------------------------------------------------


def test_wrong_options_are_refused_when_the_manager_is_made(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="max_keep must be 1 or more, but got 0"):
        CheckpointManager(tmp_path, max_keep=0)
    with pytest.raises(OptionError, match=r"mode must be max or min, but got 'maxi'\. Did you mean 'max'\?"):
        CheckpointManager(tmp_path, mode="maxi")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        CheckpointManager(tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests may have all rights
    with pytest.raises(UserError, match="nothing can be written in the folder"):
        CheckpointManager(tmp_path)


def test_a_metric_that_is_not_there_or_no_number_is_refused(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path, monitor="val_acuracy")
    with pytest.raises(UserError, match=r"\(val_accuracy\), but got 'val_acuracy'\. Did you mean 'val_accuracy'\?"):
        save(manager, 0)
    with pytest.raises(UserError, match="metrics must be single numbers, but loss is a Tensor"):
        manager.save_checkpoint(nn.Linear(2, 1), None, None, 0, 0, {"loss": torch.zeros(3)})
    assert names(tmp_path) == set()


def test_what_only_code_could_read_back_is_refused(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    with pytest.raises(UserError, match=r"data_position\['a'\]\[1\] is a ndarray; use torch.from_numpy"):
        save(manager, 0, data_position={"a": [1, np.zeros(2)]})
    with pytest.raises(UserError, match="data_position is a object; leave it out or give its state_dict"):
        save(manager, 0, data_position=object())
    assert names(tmp_path) == set()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    manager.save_checkpoint(small_model(), None, None, 0, 0, {})
    with pytest.raises(UserError) as refused:
        manager.load_checkpoint(small_model(width=5))
    assert "do not fit the model: 0.weight is [3, 4] in the checkpoint and [5, 4] in the model" in str(refused.value)
    assert "and 4 more; build it with the options it was trained with" in str(refused.value)
    with pytest.raises(UserError, match=r"the model has no 3\.weight"):
        manager.load_checkpoint(small_model()[:3])


def test_states_that_do_not_fit_are_named(tmp_path: Path) -> None:
    manager, loop = CheckpointManager(tmp_path), Loop()
    loop.save(manager)
    fewer = torch.optim.AdamW(list(loop.model.parameters())[:2])
    with pytest.raises(UserError, match=r"the optimizer state in .* does not fit .*; build the same one as before"):
        manager.load_checkpoint(loop.model, fewer)
    with pytest.raises(UserError, match="holds no data_position state"):
        loop.load(manager, data_position=Sampler())


def test_files_that_are_not_there_or_not_ours_are_refused(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    with pytest.raises(UserError, match=r"there is no checkpoint in .* yet; save one first"):
        loaded_epoch(manager)
    path = save(manager, 0)
    with pytest.raises(UserError, match="was called the best; give the manager a monitor"):
        loaded_epoch(manager, "best")
    with pytest.raises(UserError, match=r"there is no checkpoint bst\. Did you mean 'best'\?"):
        loaded_epoch(manager, "bst")
    with pytest.raises(UserError, match=f"Did you mean '{path.name}'"):
        loaded_epoch(manager, tmp_path / path.name.replace("epoch", "epcoh"))
    torch.save({"format": 1, "model": {}}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="was not written by a CheckpointManager"):
        loaded_epoch(manager, "last.pt")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_a_gpu_is_gone_on_with(tmp_path: Path) -> None:
    loop = Loop()
    loop.model.cuda()
    noise_before = torch.rand(3, device="cuda")
    loop.save(CheckpointManager(tmp_path))
    expected = torch.rand(3, device="cuda")
    loop.load(CheckpointManager(tmp_path))
    assert torch.equal(torch.rand(3, device="cuda"), expected) and not torch.equal(noise_before, expected)
    assert next(loop.model.parameters()).is_cuda
