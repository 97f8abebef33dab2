"""What a real TensorBoard serves over HTTP of what the writer wrote."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import nn

from src.tracking.event_writer import EventWriter, cut_event_files
from src.tracking.layout import custom_scalars_layout

StartTensorBoard = Callable[[Path], Any]


class DictOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> dict[str, Any]:
        return {"forecast": self.layer(inputs), "note": None}


MODELS: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "lstm": (nn.LSTM(3, 8, batch_first=True), torch.zeros(1, 5, 3)),
    "transformer": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 4, 16, batch_first=True), 2),
        torch.zeros(1, 5, 12),
    ),
    "dict_output": (DictOutput(), torch.zeros(1, 3)),
}


def test_scalars_histograms_graphs_text_and_layout(tmp_path: Path, tensorboard: StartTensorBoard) -> None:
    for name, (model, inputs) in MODELS.items():
        with EventWriter(tmp_path / name) as writer:
            writer.add_custom_scalars(custom_scalars_layout())
            assert writer.add_model_graph(model, inputs)
            for epoch in range(21):
                writer.add_values({"Loss/train": 1 / (epoch + 1), "Loss/validation": 2.0, "Custom/a": 1.0}, epoch)
                if epoch % 10 == 0:
                    writer.add_histograms({"Weights/layer": torch.randn(100), "Weights/same": torch.ones(4)}, epoch)
    client = tensorboard(tmp_path)
    assert sorted(client.runs()) == sorted(MODELS)
    for name in MODELS:
        assert client.scalars(name, "Loss/train") == [(epoch, pytest.approx(1 / (epoch + 1))) for epoch in range(21)]
        for tag, count in (("Weights/layer", 100), ("Weights/same", 4)):
            histograms = client.get("histograms/histograms", run=name, tag=tag)
            assert [step for _, step, _ in histograms] == [0, 10, 20]
            assert all(sum(bucket[2] for bucket in buckets) == count for _, _, buckets in histograms)
            assert len(client.get("distributions/distributions", run=name, tag=tag)) == 3
        assert client.get("graphs/info")[name]["run_graph"] is True
        assert client.get_text("graphs/graph", run=name).count("node {") > 3
        assert "Model/summary/text_summary" in client.get("text/tags")[name]
        (text,) = client.get("text/text", run=name, tag="Model/summary/text_summary")
        assert "<table>" in text["text"] and "total" in text["text"]
    layout = client.get("custom_scalars/layout")
    assert [category["title"] for category in layout["category"]][:2] == ["01 Training", "02 Loss components"]
    chart = layout["category"][0]["chart"][0]
    assert chart["title"] == "Training and validation loss"
    answer = [client.get("custom_scalars/scalars", run="lstm", tag=tag) for tag in chart["multiline"]["tag"]]
    assert [list(curves["tag_to_events"]) for curves in answer] == [["Loss/train"], ["Loss/validation"]]
    assert all(curves["regex_valid"] for curves in answer)


def session_groups(client: Any) -> list[dict[str, Any]]:
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    request = {"startIndex": 0, "sliceSize": 100, "colParams": [], "allowedStatuses": statuses}
    return client.post("hparams/session_groups", request)["sessionGroups"]


def test_hparams_group_the_seeds_of_a_model_without_stray_runs(tmp_path: Path, tensorboard: StartTensorBoard) -> None:
    known = {"model": "", "hidden_size": 1, "kernel_size": 1, "bidirectional": True, "lr": 0.1}
    runs = {
        "gru_basic": ({"model": "gru:basic", "hidden_size": 16, "bidirectional": False, "lr": 0.01}, [5.0]),
        "lstm_basic/seed_0": ({"model": "lstm:basic", "hidden_size": 32, "lr": 0.01, "kernel_size": None}, [9.0, 1.0]),
        "lstm_basic/seed_1": ({"model": "lstm:basic", "hidden_size": 32, "lr": 0.01}, [4.0, 3.0]),
        "tcn_basic": ({"model": "tcn:basic", "kernel_size": 3, "lr": 0.01}, []),
    }
    for name, (hparams, best) in runs.items():
        with EventWriter(tmp_path / name) as writer:
            metrics = ["best/val_loss", "test/rmse"]
            writer.start_session(hparams, group_name=hparams["model"], metrics=metrics, known_hparams=known)
            for epoch, value in enumerate(best):
                writer.add_values({"Loss/train": value, "best/val_loss": value}, epoch)
            if name != "gru_basic":
                writer.end_session("success" if best else "failure")
    client = tensorboard(tmp_path)
    assert sorted(client.runs()) == ["gru_basic", "lstm_basic/seed_0", "lstm_basic/seed_1", "tcn_basic"]

    experiment = client.post("hparams/experiment", {})
    infos = {info["name"]: info for info in experiment["hparamInfos"]}
    assert set(infos) == set(known), "columns of all models, whichever run is read first"
    assert infos["hidden_size"]["type"] == "DATA_TYPE_FLOAT64" and infos["model"]["type"] == "DATA_TYPE_STRING"
    assert infos["bidirectional"]["type"] == "DATA_TYPE_BOOL"
    assert [info["displayName"] for info in experiment["metricInfos"]] == ["best/val_loss", "test/rmse"]
    assert "best validation value" in experiment["metricInfos"][0]["description"]

    groups = {group["name"]: group for group in session_groups(client)}
    assert set(groups) == {"gru:basic", "lstm:basic", "tcn:basic"}
    lstm = groups["lstm:basic"]
    assert [session["name"] for session in lstm["sessions"]] == ["lstm_basic/seed_0", "lstm_basic/seed_1"]
    (best_value,) = [m["value"] for m in lstm["metricValues"] if m["name"]["tag"] == "best/val_loss"]
    assert best_value == 2.0, "the mean over seeds of the last, that is the best, value"
    assert lstm["hparams"] == {"model": "lstm:basic", "hidden_size": 32.0, "lr": 0.01}
    assert groups["gru:basic"]["hparams"]["bidirectional"] is False
    statuses = {name: {session["status"] for session in group["sessions"]} for name, group in groups.items()}
    expected = {"gru:basic": "STATUS_UNKNOWN", "lstm:basic": "STATUS_SUCCESS", "tcn:basic": "STATUS_FAILURE"}
    assert statuses == {name: {status} for name, status in expected.items()}


# ---- killed and resumed

KILLED = """
import sys
from src.tracking.event_writer import EventWriter
writer = EventWriter(sys.argv[1])
step = 0
while True:
    writer.add_values({"Loss/train": float(step), "Loss/validation": -float(step)}, step)
    for batch in range(3):
        writer.add_scalar("batch/loss", 0.5, 3 * step + batch)
    if step in (40, 60):
        print(step, *writer.byte_lengths().items(), sep="\\n", flush=True)
    step += 1
"""


def run_and_kill(log_dir: Path, environment: dict[str, str], checkpoint_step: int) -> dict[str, int]:
    """Let a process write until long after a step, kill it amid writing; return the lengths noted at that step."""
    command = [sys.executable, "-c", KILLED, str(log_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    lengths: dict[str, int] = {}
    for line in process.stdout:
        if line.strip() == str(checkpoint_step):
            name, length = re.findall(r"'(.+)', (\d+)", process.stdout.readline())[0]
            lengths = {name: int(length)}
            break
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return lengths


def all_points(log_dir: Path, tag: str) -> list[tuple[int, float]]:
    """Every point in the files, also those that TensorBoard would hide, by TensorBoard's own loader."""
    found = []
    for path in sorted(log_dir.glob("events*")):
        for event in EventFileLoader(str(path)).Load():
            found += [(event.step, value.tensor.float_val[0]) for value in event.summary.value if value.tag == tag]
    return found


@pytest.mark.parametrize("cut_in_the_middle", [False, True], ids=["after an event", "within an event"])
def test_a_killed_run_goes_on_with_every_step_once(
    tmp_path: Path, tensorboard: StartTensorBoard, child_environment: dict[str, str], cut_in_the_middle: bool
) -> None:
    log_dir = tmp_path / "run"
    lengths = run_and_kill(log_dir, child_environment, 40)
    (path,) = log_dir.glob("events*")
    assert path.stat().st_size > lengths[path.name]
    if cut_in_the_middle:
        os.truncate(path, path.stat().st_size - 7)
    live = tensorboard(tmp_path)  # a TensorBoard that has seen what is about to be cut
    cut_event_files(log_dir, lengths)
    with EventWriter(log_dir) as writer:
        for step in range(41, 80):
            writer.add_values({"Loss/train": float(step), "Loss/validation": -float(step)}, step)
            for batch in range(3):
                writer.add_scalar("batch/loss", 0.5, 3 * step + batch)
    first_epochs = [(step, float(step)) for step in range(80)]
    assert all_points(log_dir, "Loss/train") == first_epochs
    assert all_points(log_dir, "batch/loss") == [(step, 0.5) for step in range(240)]
    accumulator = EventAccumulator(str(log_dir), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert [(event.step, event.value) for event in accumulator.Scalars("Loss/train")] == first_epochs
    assert tensorboard(tmp_path).scalars("run", "Loss/train") == first_epochs
    # The TensorBoard that saw more steps than were kept forgets them when the steps go back (it had thinned out the
    # others to its usual thousand points).
    deadline = time.monotonic() + 20
    while live.scalars("run", "Loss/train")[-1] != (79, 79.0) and time.monotonic() < deadline:
        time.sleep(0.2)
    shown = live.scalars("run", "Loss/train")
    assert shown[-39:] == first_epochs[-39:] and sorted(set(shown)) == shown


def test_a_new_step_reaches_a_running_tensorboard(tmp_path: Path, tensorboard: StartTensorBoard) -> None:
    with EventWriter(tmp_path / "run") as writer:
        writer.add_values({"Loss/train": 1.0}, 0)
        client = tensorboard(tmp_path)
        writer.add_values({"Loss/train": 0.5}, 1)
        deadline = time.monotonic() + 20
        while len(client.scalars("run", "Loss/train")) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert client.scalars("run", "Loss/train") == [(0, 1.0), (1, 0.5)]
