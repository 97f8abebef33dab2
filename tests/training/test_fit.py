"""Promises of ``model.fit``: it works with no folder at all, and what it writes is what it did."""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from src.data.base import Batch, DataSpec
from src.data.series import SeriesData
from src.errors import TrainingError, UserError
from src.models import create_model
from src.models.base_model import BaseModel
from src.options import Options
from src.tracking.event_writer import SilentWriter
from src.tracking.options import LoggingOptions
from src.training.config import TrainingConfig
from src.training.loop import EpochReport, Observer


def options(**values: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 3, "lr": 0.01, "device": "cpu", "epoch_fraction": 0.2, **values})


def lstm(data: SeriesData, seed: int = 0) -> BaseModel:
    torch.manual_seed(seed)
    return create_model("lstm:basic", data.spec, {"hidden_size": 8})


class Talkative(BaseModel):
    """Logs from inside ``losses`` and knows the writer it had."""

    def __init__(self, spec: DataSpec, config: Options) -> None:
        super().__init__(spec, config)
        self.layer = nn.Linear(8, 1)
        self.name = "test:talkative"
        self.writers: list[Any] = []
        self.losses_seen: list[float] = []

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs[:, :, 0]).unsqueeze(1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().losses(batch)
        self.writers.append(self.writer)
        self.log("Custom/loss", losses["loss"])
        self.log("Custom/twice", 2)
        if self.training:
            self.losses_seen.append(losses["loss"].item())
            self.writer.add_scalar("Custom/step", losses["loss"], len(self.losses_seen))
        return losses


def talkative(data: SeriesData) -> Talkative:
    torch.manual_seed(0)
    return Talkative(data.spec, Talkative.Config())


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_no_folder_at_all_works_and_writes_nothing(
    walk: SeriesData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = lstm(walk)
    result = model.fit(walk, options())
    assert result.epochs == 3 and math.isfinite(result.best) and list(tmp_path.rglob("*")) == []
    assert not any(parameter.isnan().any() for parameter in model.parameters())


def test_a_folder_for_events_alone_holds_the_table_and_checkpoints_too(walk: SeriesData, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    model = lstm(walk)
    result = model.fit(walk, options(), tensorboard_log_dir=folder)
    assert [path.name for path in sorted((folder / "checkpoints").glob("*.pt"))] == ["best.pt", "last.pt"]
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    for tag, column in (
        ("Loss/train", "train_loss"),
        ("Loss/validation", "validation_loss"),
        ("Learning_Rate", "learning_rate"),
        ("Gradient/norm", "gradient_norm"),
    ):
        assert scalars(folder, tag) == [(int(r["epoch"]), pytest.approx(float(r[column]), rel=1e-6)) for r in rows]
    assert result.best == min(float(row["validation_loss"]) for row in rows) == float(rows[-1]["best"])


def test_a_run_folder_without_events_has_no_event_file(walk: SeriesData, tmp_path: Path) -> None:
    lstm(walk).fit(walk, options(epochs=1), run_dir=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "findings.json", "metrics.csv"]


def test_events_do_not_change_the_training(walk: SeriesData, tmp_path: Path) -> None:
    quiet, logged = lstm(walk), lstm(walk)
    quiet.fit(walk, options())
    logged.fit(walk, options(), tensorboard_log_dir=tmp_path)
    for name, value in quiet.state_dict().items():
        assert torch.equal(value, logged.state_dict()[name]), name


def test_the_best_epoch_is_what_the_model_ends_with(walk: SeriesData, tmp_path: Path) -> None:
    kept: list[dict[str, Tensor]] = []

    class Keep(Observer):
        def __init__(self, model: BaseModel) -> None:
            self.model = model

        def on_epoch_end(self, report: EpochReport) -> None:
            kept.append(copy.deepcopy(self.model.state_dict()))

    in_memory, on_disk = lstm(walk), lstm(walk)
    # The learning rate is so high that later epochs are worse than the first ones.
    config = options(epochs=6, lr=0.5, schedule="constant")
    result = in_memory.fit(walk, config, observers=[Keep(in_memory)])
    on_disk.fit(walk, config, run_dir=tmp_path)
    assert result.best_epoch < 5, "else restoring the best weights would not show"
    loaded = BaseModel.load(tmp_path / "checkpoints" / "best.pt")
    for name, value in kept[result.best_epoch].items():
        assert torch.equal(in_memory.state_dict()[name], value)
        assert torch.equal(on_disk.state_dict()[name], value)
        assert torch.equal(loaded.state_dict()[name], value)
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert last["progress"]["epoch"] == 6
    assert all(torch.equal(last["model"][name], value) for name, value in kept[-1].items())


def test_the_last_checkpoint_covers_the_epoch_that_early_stopping_ended(walk: SeriesData, tmp_path: Path) -> None:
    plain = LoggingOptions(monitors=False)  # which write what they have found after the last checkpoint
    result = lstm(walk).fit(walk, options(epochs=30, lr=0.5, patience=2), tensorboard_log_dir=tmp_path, logging=plain)
    assert result.epochs < 30 and result.reason == "no better value for 2 epochs"
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert last["progress"]["epoch"] == result.epochs
    assert last["progress"]["stop_reason"] == result.reason
    (event_file,) = tmp_path.glob("events*")
    assert last["event_files"] == {event_file.name: event_file.stat().st_size}


def test_the_writer_inside_a_model_is_real_during_fit_with_a_folder_and_silent_otherwise(
    walk: SeriesData, tmp_path: Path
) -> None:
    model = talkative(walk)
    assert isinstance(model.writer, SilentWriter)
    model.fit(walk, options(epochs=1), tensorboard_log_dir=tmp_path)
    assert model.writers and all(isinstance(writer, SummaryWriter) for writer in model.writers)
    assert isinstance(model.writer, SilentWriter), "after fit the file is closed"
    steps = scalars(tmp_path, "Custom/step")
    assert steps == [(n + 1, pytest.approx(loss, rel=1e-6)) for n, loss in enumerate(model.losses_seen)]

    silent = talkative(walk)
    silent.fit(walk, options(epochs=1))
    assert all(isinstance(writer, SilentWriter) for writer in silent.writers)
    assert silent.losses_seen == model.losses_seen


def test_what_a_model_logs_is_its_mean_over_the_training_steps_of_the_epoch(walk: SeriesData, tmp_path: Path) -> None:
    model = talkative(walk)
    model.fit(walk, options(epochs=2), tensorboard_log_dir=tmp_path)
    half = len(model.losses_seen) // 2
    means = [sum(part) / half for part in (model.losses_seen[:half], model.losses_seen[half:])]
    expected = [(epoch, pytest.approx(mean, rel=1e-5)) for epoch, mean in enumerate(means)]
    assert scalars(tmp_path, "Custom/loss") == expected == scalars(tmp_path, "Loss/train")
    assert scalars(tmp_path, "Custom/twice") == [(0, 2.0), (1, 2.0)]
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert [float(row["Custom/loss"]) for row in csv.DictReader(file)] == [
            pytest.approx(m, rel=1e-5) for m in means
        ]


def test_fit_resumes_to_the_same_bits_and_the_same_table(walk: SeriesData, tmp_path: Path) -> None:
    class Interrupt(Observer):
        def on_epoch_end(self, report: EpochReport) -> None:
            if report.epoch == 2:
                raise KeyboardInterrupt

    config = options(epochs=5, schedule="one-cycle", warmup=0.5)
    whole, stopped, resumed = lstm(walk), lstm(walk), lstm(walk, seed=99)
    whole.fit(walk, config, tensorboard_log_dir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(walk, config, tensorboard_log_dir=tmp_path / "parts", observers=[Interrupt()])
    resumed.fit(walk, config, tensorboard_log_dir=tmp_path / "parts", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for tag in ("Loss/train", "Loss/validation", "Learning_Rate", "Gradient/norm", "Best_Val_Loss"):
        assert scalars(tmp_path / "parts", tag) == scalars(tmp_path / "whole", tag)


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before_it(walk: SeriesData, tmp_path: Path) -> None:
    config = options(epochs=4)
    whole, first, resumed = lstm(walk), lstm(walk), lstm(walk, seed=5)
    whole.fit(walk, config, tensorboard_log_dir=tmp_path / "whole")
    first.fit(walk, options(epochs=3), tensorboard_log_dir=tmp_path / "parts")
    last = tmp_path / "parts" / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:-500])
    resumed.fit(walk, config, tensorboard_log_dir=tmp_path / "parts", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert scalars(tmp_path / "parts", "Loss/train") == scalars(tmp_path / "whole", "Loss/train")


def test_a_batch_that_breaks_a_run_is_kept_beside_it(walk: SeriesData, tmp_path: Path) -> None:
    class Overflowing(Talkative):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            factor = math.inf if self.training and len(self.losses_seen) >= 2 else 1.0
            return {name: value * factor for name, value in super().losses(batch).items()}

    model = Overflowing(walk.spec, Overflowing.Config())
    with pytest.raises(TrainingError, match="epoch 0, step 2: layer outputs are finite, the loss is not"):
        model.fit(walk, options(), tensorboard_log_dir=tmp_path)
    batch = torch.load(tmp_path / "nonfinite_batch.pt", weights_only=True)
    assert batch["inputs"].shape == (64, 8, 1) and batch["index"].shape == (64,)
    assert "epoch 0, step 2: layer outputs are finite" in batch["error"], "where it began is kept with it"
    assert isinstance(model.writer, SilentWriter)


def test_a_folder_that_cannot_be_made_is_one_clear_line(walk: SeriesData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be made .*name one you may write to"):
        lstm(walk).fit(walk, options(), run_dir=tmp_path / "file" / "run")


def test_a_model_that_is_fitted_directly_draws_a_level_line(walk: SeriesData, tmp_path: Path) -> None:
    result = create_model("baseline:ridge", walk.spec).fit(walk, options(epochs=5), tensorboard_log_dir=tmp_path)
    assert [step for step, _ in scalars(tmp_path, "Loss/validation")] == [0, 4]
    assert len({value for _, value in scalars(tmp_path, "Loss/train")}) == 1
    assert (result.epochs, result.steps) == (0, 0) and math.isfinite(result.best)


@pytest.mark.parametrize("make", [talkative, lstm])
def test_two_fits_with_one_seed_are_equal_and_with_two_seeds_are_not(
    walk: SeriesData, make: Callable[[SeriesData], BaseModel]
) -> None:
    models = [make(walk) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        model.fit(walk, options(epochs=1, seed=seed))
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())
