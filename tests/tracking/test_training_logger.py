"""``TrainingLogger`` in somebody else's loop: what TensorBoard's own loader reads back, and what goes wrong safely."""

from __future__ import annotations

import errno
import gc
import logging
import math
import re
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from torch import nn

from src import TrainingLogger
from src.errors import UserError
from src.tracking import event_file, pending_values
from src.tracking.event_reader import event_folders, read_events

EVERYTHING = {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0}


def read(log_dir: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(log_dir), size_guidance=EVERYTHING)
    accumulator.Reload()
    return accumulator


def points(log_dir: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(log_dir).Scalars(tag)]


def last_values(log_dir: Path) -> dict[str, float]:
    accumulator = read(log_dir)
    return {tag: accumulator.Scalars(tag)[-1].value for tag in accumulator.Tags()["scalars"]}


def model_with_gradients() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    model(torch.randn(5, 3)).square().mean().backward()
    return model


# ---- where and when


def test_by_default_the_run_is_named_after_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with TrainingLogger() as logger:
        logger.log_metrics({"loss": 0.5})
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}_\d{6}", folder.name) and logger.log_dir == Path("runs") / folder.name
    assert points(folder, "train/loss") == [(0, 0.5)]


def test_values_of_a_step_are_one_event_at_their_step_in_their_order(tmp_path: Path) -> None:
    with TrainingLogger(tmp_path, "a") as logger:
        for step in range(3):
            logger.log_metrics({"loss": torch.tensor(float(step)), "accuracy": 0.25})
            logger.log_metrics({"f1_score": np.float64(0.5)}, prefix="val")
            logger.log_metrics({"plain": 1}, prefix="", step=step + 100)
            logger.increment_step()
        assert logger.global_step == 3
    assert points(tmp_path / "a", "train/loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert points(tmp_path / "a", "val/f1_score") == [(0, 0.5), (1, 0.5), (2, 0.5)]
    assert points(tmp_path / "a", "plain") == [(100, 1.0), (101, 1.0), (102, 1.0)]
    (files,) = event_folders(tmp_path).values()
    numbers = [
        [value for value in event.summary.value if value.HasField("simple_value")] for event in read_events(files[0])
    ]
    sizes = [len(values) for values in numbers if values]
    assert sorted(sizes) == [1, 1, 1, 3, 3, 3]


def test_what_is_logged_is_written_on_an_exception_and_the_run_has_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), TrainingLogger(tmp_path, "a") as logger:
        logger.log_hparams({"lr": 0.1})
        logger.log_metrics({"loss": 0.5})
        raise RuntimeError("boom")
    assert points(tmp_path / "a", "train/loss") == [(0, 0.5)]
    content = read(tmp_path / "a").SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(content).status == 2  # failure


def test_a_logger_that_nobody_closes_is_closed_when_the_program_ends(tmp_path: Path) -> None:
    run_python(f"TrainingLogger({str(tmp_path)!r}, 'a').log_metrics({{'loss': 0.5}})")
    assert points(tmp_path / "a", "train/loss") == [(0, 0.5)]


def test_a_killed_program_loses_at_most_what_is_younger_than_the_interval(tmp_path: Path) -> None:
    assert pending_values.FLUSH_SECONDS == 2.0
    child = run_python(
        f"""
        import time
        from src.tracking import pending_values
        pending_values.FLUSH_SECONDS = 0.4
        logger = TrainingLogger({str(tmp_path)!r}, 'a')
        while True:
            logger.log_metrics({{'time': time.time() % 100000}})
            logger.increment_step()
            print(logger.global_step, flush=True)
            time.sleep(0.01)
        """,
        wait=False,
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(1.2)
    child.send_signal(signal.SIGKILL)
    last_step = int(child.stdout.read().split()[-1]) - 1
    child.wait()
    written = points(tmp_path / "a", "train/time")
    assert [step for step, _ in written] == list(range(len(written)))
    assert len(written) > 10 and (last_step - written[-1][0]) * 0.01 <= 0.45


def test_a_loop_that_only_gives_steps_is_written_on_the_way_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_values, "FLUSH_SECONDS", 0.0)
    logger = TrainingLogger(tmp_path, "a")
    logger.log_metrics({"loss": 3.0}, step=7)
    logger.log_metrics({"accuracy": 0.5}, step=7)
    logger.log_metrics({"loss": 2.0}, step=8)
    assert points(tmp_path / "a", "train/loss") == [(7, 3.0)]
    logger.close()
    logger.close()
    assert points(tmp_path / "a", "train/loss") == [(7, 3.0), (8, 2.0)]


def test_many_steps_never_wait_together(tmp_path: Path) -> None:
    logger = TrainingLogger(tmp_path, "a")
    for step in range(1000):
        logger.log_values({"x": 1.0}, step)
    assert len(points(tmp_path / "a", "x")) > 500
    logger.close()


def test_a_full_disk_is_reported_once_and_never_ends_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with caplog.at_level(logging.WARNING), TrainingLogger(tmp_path, "a") as logger:
        monkeypatch.setattr(event_file, "_write_all", full)
        for _ in range(3):
            logger.log_metrics({"loss": 1.0})
            logger.log_text("note", "words")
            logger.log_image("image", torch.zeros(2, 2))
            logger.log_video("video", torch.zeros(2, 1, 2, 2))
            logger.log_histogram("histogram", [1.0, 2.0])
            logger.increment_step()
            logger.flush()
    assert sum("No space left" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("option", ["log_gradients_every", "log_histograms_every"])
def test_intervals_below_1_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"{option} must be at least 1 step, but got 0"):
        TrainingLogger(tmp_path, **{option: 0})


def test_a_folder_that_cannot_be_made_and_a_value_that_is_no_number_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="log_dir must be a folder that can be written"):
        TrainingLogger(tmp_path / "file", "a")
    with (
        TrainingLogger(tmp_path, "a") as logger,
        pytest.raises(UserError, match="must be a number or a tensor, but 'train/loss' is None"),
    ):
        logger.log_metrics({"loss": None})  # type: ignore[dict-item]


# ---- tensors


def test_tensors_of_any_kind_count_by_their_mean_and_nonfinite_ones_are_kept(tmp_path: Path) -> None:
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_metrics(
            {
                "half": torch.tensor(0.5, dtype=torch.bfloat16),
                "many": torch.tensor([[1, 2], [3, 4]]),
                "one": torch.tensor([7]),
                "flag": torch.tensor(True),
                "nan": torch.tensor(math.nan),
                "inf": math.inf,
            }
        )
    found = last_values(tmp_path / "a")
    assert math.isnan(found.pop("train/nan"))
    assert found == {"train/half": 0.5, "train/many": 2.5, "train/one": 7, "train/flag": 1, "train/inf": math.inf}


class Kept:
    """Something that an autograd graph holds."""


class Holding(torch.autograd.Function):
    """Keeps an object in the graph."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, kept: Kept) -> torch.Tensor:
        ctx.kept = kept
        return values.sum()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient, None


def test_a_logged_loss_does_not_keep_its_graph_and_is_what_it_was_when_logged(tmp_path: Path) -> None:
    kept = Kept()
    alive = weakref.ref(kept)
    loss = Holding.apply(torch.ones(3, requires_grad=True), kept)
    weights = torch.tensor([1.0, 3.0])
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_metrics({"loss": loss, "weights": weights})
        weights.zero_()
        del kept, loss
        gc.collect()
        assert alive() is None
    assert last_values(tmp_path / "a") == {"train/loss": 3.0, "train/weights": 2.0}


def test_listeners_hear_what_is_written_and_what_is_only_observed(tmp_path: Path) -> None:
    heard: list[tuple[int, dict[str, float]]] = []
    with TrainingLogger(tmp_path, "a") as logger:
        logger.listeners.append(lambda step, values: heard.append((step, dict(values))))
        logger.log_values({"x": torch.tensor(1.0)}, 4)
        logger.observe({"y": torch.tensor(2.0)}, 4)
    assert heard == [(4, {"x": 1.0, "y": 2.0})]
    assert last_values(tmp_path / "a") == {"x": 1.0}


# ---- the methods


def test_learning_rates(tmp_path: Path) -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [{"params": first.parameters(), "lr": 0.5}, {"params": second.parameters(), "lr": 0.25}]
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_learning_rate(torch.optim.SGD(first.parameters(), lr=0.125), step=3)
        logger.log_learning_rate(torch.optim.SGD(groups), step=5)
    assert points(tmp_path / "a", "learning_rate/current") == [(3, 0.125), (5, 0.5)]
    assert points(tmp_path / "a", "learning_rate/group_1") == [(5, 0.25)]


def test_gradient_norms_are_right_and_throttled(tmp_path: Path) -> None:
    model = model_with_gradients()
    with TrainingLogger(tmp_path, "a", log_gradients_every=5) as logger:
        for _ in range(11):
            logger.log_gradients(model)
            logger.increment_step()
        logger.log_gradients(nn.Linear(1, 1), step=20)  # no gradients: nothing to log
    assert [step for step, _ in points(tmp_path / "a", "gradient_norm/total")] == [0, 5, 10]
    found = last_values(tmp_path / "a")
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    assert found["gradient_norm/total"] == pytest.approx(math.hypot(*norms.values()), rel=1e-5)
    assert found["gradient_norm/parameter/0.weight"] == pytest.approx(norms["0.weight"], rel=1e-5)
    assert found["gradient_norm/layer_mean/1"] == pytest.approx((norms["1.weight"] + norms["1.bias"]) / 2, rel=1e-5)


def test_parameter_and_gradient_histograms_are_throttled(tmp_path: Path) -> None:
    model = model_with_gradients()
    with TrainingLogger(tmp_path, "a", log_histograms_every=500) as logger:
        for step in (0, 250, 500):
            logger.log_model_histograms(model, step=step)
        logger.log_histogram("own", np.arange(10), step=1)
        logger.log_histogram("empty", [], step=1)
    accumulator = read(tmp_path / "a")
    expected = {f"{kind}/{n}" for n, _ in model.named_parameters() for kind in ("parameters", "parameter_gradients")}
    assert set(accumulator.Tags()["histograms"]) == expected | {"own"}
    assert [event.step for event in accumulator.Histograms("parameters/0.weight")] == [0, 500]
    assert accumulator.Histograms("parameter_gradients/0.weight")[0].histogram_value.num == 12


def test_attention_of_one_layer_and_of_several(tmp_path: Path) -> None:
    uniform, sharp = torch.full((2, 3, 4, 4), 0.25), torch.eye(4).expand(2, 3, 4, 4)
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_attention_stats(uniform, step=0)
        logger.log_attention_stats(uniform, attention_entropy=torch.tensor([1.0, 2.0]), step=1)
        logger.log_attention_stats({"first": uniform, "second": sharp}, step=2)
        logger.log_attention_stats([sharp], step=3)
        logger.log_attention_stats([], step=4)
    entropies = dict(points(tmp_path / "a", "attention/mean_entropy"))
    assert entropies == pytest.approx({0: math.log(4), 1: 1.5, 2: math.log(4) / 2, 3: 0}, abs=1e-6)
    found = last_values(tmp_path / "a")
    assert found["attention/weight_mean"] == 0.25 and found["attention/weight_std"] == pytest.approx(0.4353, abs=1e-4)
    assert found["attention/entropy/first"] == pytest.approx(math.log(4)) and found["attention/entropy/second"] == 0
    assert "attention/weight_std/layer_0" in found


def test_uncertainties(tmp_path: Path) -> None:
    with TrainingLogger(tmp_path, "a", log_gradients_every=10) as logger:
        for _ in range(11):
            logger.log_uncertainty_metrics(torch.tensor([0.1, 0.3]), torch.tensor([[0.5], [1.5]]))
            logger.increment_step()
    assert len(points(tmp_path / "a", "uncertainty/epistemic_mean")) == 11
    found = last_values(tmp_path / "a")
    assert found["uncertainty/epistemic_mean"] == pytest.approx(0.2) and found["uncertainty/aleatoric_mean"] == 1
    histograms = read(tmp_path / "a").Histograms("uncertainty/aleatoric")
    assert [event.step for event in histograms] == [0, 10]


def test_texts_images_figures_and_videos(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=50)
    figure.subplots()
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_text("predictions", "Sample: great -> Positive", step=2)
        logger.log_image("array", np.zeros((5, 6, 3)), 3)
        logger.log_image("figure", figure, 4)
        logger.log_video("video", torch.rand(5, 3, 4, 6), step=5)
        with pytest.raises(UserError, match="an image must be"):
            logger.log_image("batch", torch.zeros(2, 3, 4, 5))
    accumulator = read(tmp_path / "a")
    text = accumulator.Tensors("predictions/text_summary")[0]
    assert text.step == 2 and text.tensor_proto.string_val == [b"Sample: great -> Positive"]
    sizes = {tag: accumulator.Images(tag)[0] for tag in accumulator.Tags()["images"]}
    assert {tag: (image.step, image.height, image.width) for tag, image in sizes.items()} == {
        "array": (3, 5, 6),
        "figure": (4, 50, 50),
        "video": (5, 4, 6),
    }
    assert figure.axes == []  # it was closed


def test_hyperparameters_stand_in_the_run_itself(tmp_path: Path) -> None:
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_hparams({"lr": 1e-3, "batch_size": 32, "name": "x"})
        logger.log_hparams({}, {"final_accuracy": 0.93, "final_loss": torch.tensor(0.25)})
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and len(list((tmp_path / "a").iterdir())) == 1
    assert last_values(tmp_path / "a") == pytest.approx({"final_accuracy": 0.93, "final_loss": 0.25})
    accumulator = read(tmp_path / "a")

    def content(tag: str) -> bytes:
        return accumulator.SummaryMetadata(tag).plugin_data.content

    experiment = metadata.parse_experiment_plugin_data(content("_hparams_/experiment"))
    assert [info.name.tag for info in experiment.metric_infos] == ["final_accuracy", "final_loss"]
    assert [info.name for info in experiment.hparam_infos] == ["lr", "batch_size", "name"]
    start = metadata.parse_session_start_info_plugin_data(content("_hparams_/session_start_info"))
    assert start.group_name == "a" and start.hparams["batch_size"].number_value == 32
    assert metadata.parse_session_end_info_plugin_data(content("_hparams_/session_end_info")).status == 1


def test_hyperparameters_without_results_leave_the_columns_to_tensorboard(tmp_path: Path) -> None:
    with TrainingLogger(tmp_path, "a") as logger:
        logger.log_hparams({"lr": 1e-3})
    assert "_hparams_/experiment" not in read(tmp_path / "a").Tags()["tensors"]


def run_python(program: str, wait: bool = True) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    code = "from src import TrainingLogger\n" + textwrap.dedent(program)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    if wait:
        assert child.wait(60) == 0
    return child
