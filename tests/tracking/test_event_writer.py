"""EventWriter: what TensorBoard's own loader reads back, and that no trouble ends training."""

from __future__ import annotations

import copy
import logging
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as tensorboard_crc32c
from tensorboard.plugins.hparams import metadata
from torch.utils.tensorboard import SummaryWriter

from src.tracking.event_file import crc32c
from src.tracking.event_writer import EventWriter, SilentWriter, cut_event_files

EVERYTHING = {"scalars": 0, "tensors": 0, "histograms": 0}


def read(log_dir: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(log_dir), size_guidance=EVERYTHING)
    accumulator.Reload()
    return accumulator


def points(log_dir: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(log_dir).Scalars(tag)]


@given(st.binary(max_size=5000))
def test_the_checksum_is_tensorboards(data: bytes) -> None:
    assert crc32c(data) == tensorboard_crc32c(data)


def test_add_values_writes_all_values_at_their_step_into_one_file(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        assert isinstance(writer, SummaryWriter)
        writer.add_values({"Loss/train": 0.5, "Loss/validation": 0.25}, 0, wall_time=12.5)
        writer.add_values({"Loss/train": math.nan, "Loss/validation": math.inf}, 1)
        writer.add_values({}, 2)
        writer.add_scalar("Learning_Rate", 0.125, 7)
    assert points(tmp_path, "Loss/validation") == [(0, 0.25), (1, math.inf)]
    train = points(tmp_path, "Loss/train")
    assert train[0] == (0, 0.5) and train[1][0] == 1 and math.isnan(train[1][1])
    assert points(tmp_path, "Learning_Rate") == [(7, 0.125)]
    assert read(tmp_path).Scalars("Loss/train")[0].wall_time == 12.5
    assert len(list(tmp_path.iterdir())) == 1


def test_everything_is_on_disk_without_a_flush(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.add_values({"Loss/train": 0.5}, 3)
    assert points(tmp_path, "Loss/train") == [(3, 0.5)]
    writer.close()


def test_every_add_method_of_summary_writer_works(tmp_path: Path) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    with EventWriter(tmp_path) as writer:
        writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 0)
        writer.add_histogram("histogram", torch.arange(9.0), 0)
        writer.add_image("image", torch.zeros(3, 4, 4), 0)
        writer.add_figure("figure", figure_module.Figure(), 0)
        writer.add_text("text", "words", 0)
        writer.add_pr_curve("curve", torch.tensor([0, 1]), torch.tensor([0.25, 0.75]), 0)
        writer.add_graph(torch.nn.Linear(2, 1), torch.zeros(1, 2))
        writer.add_hparams({"a": 1}, {"m": 2.0}, run_name="child")
        writer.add_embedding(torch.zeros(3, 2))
    tags = read(tmp_path).Tags()
    assert tags["graph"] and {"histogram"} <= set(tags["histograms"]) and {"image", "figure"} <= set(tags["images"])
    assert points(tmp_path / "both_a", "both") == [(0, 1.0)]
    assert points(tmp_path / "child", "m")


def test_writing_goes_on_after_close_and_closing_twice_is_fine(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.add_values({"a": 1.0}, 0)
    writer.close()
    writer.close()
    writer.add_values({"a": 2.0}, 1)
    writer.close()
    assert points(tmp_path, "a") == [(0, 1.0), (1, 2.0)]


# ---- histograms


def test_histograms_count_every_value(tmp_path: Path) -> None:
    values = torch.randn(1000)
    with EventWriter(tmp_path) as writer:
        writer.add_histograms({"Weights/a": values.reshape(10, 100), "Weights/b": torch.full((5,), 2.0)}, 10)
    read_back = read(tmp_path).Histograms
    (event,) = read_back("Weights/a")
    histogram = event.histogram_value
    assert event.step == 10 and histogram.num == 1000 and sum(histogram.bucket) == 1000
    assert histogram.min == pytest.approx(values.min().item()) and histogram.max == pytest.approx(values.max().item())
    assert histogram.sum == pytest.approx(values.double().sum().item())
    assert histogram.sum_squares == pytest.approx(values.double().square().sum().item())
    expected, _ = np.histogram(values.numpy(), bins=[histogram.min, *histogram.bucket_limit])
    assert np.abs(expected - np.array(histogram.bucket)).sum() <= 4  # rounding at the edges of bins
    assert sum(read_back("Weights/b")[0].histogram_value.bucket) == 5
    assert "health/nonfinite_count" not in read(tmp_path).Tags()["scalars"]


@pytest.mark.parametrize(
    ("tensor", "finite"),
    [
        (torch.tensor([math.nan, 1.0, 2.0, math.inf]), 2),
        (torch.full((3,), math.nan), 0),
        (torch.zeros(0), 0),
        (torch.tensor(4.0), 1),
        (torch.tensor([True, False]), 2),
        (torch.tensor([1, 2**62]), 2),
        (torch.tensor([1.0, 2.0], dtype=torch.bfloat16), 2),
        (torch.tensor([1 + 1j, 0j]), 2),
        (torch.tensor([-3e38, 3e38]), 2),
        (torch.tensor([-1.7e308, 1.7e308], dtype=torch.float64), 2),
        (torch.tensor([0.0, 1e-44]), 2),
        (torch.eye(3).to_sparse(), 3),
        (torch.nn.Parameter(torch.ones(3)), 3),
        (torch.nn.parameter.UninitializedParameter(), 0),
    ],
    ids=str,
)
def test_no_tensor_makes_histograms_raise(tmp_path: Path, tensor: torch.Tensor, finite: int) -> None:
    with EventWriter(tmp_path) as writer:
        writer.add_histograms({"Weights/x": tensor, "Weights/good": torch.ones(2)}, 0)
    accumulator = read(tmp_path)
    assert sum(accumulator.Histograms("Weights/good")[0].histogram_value.bucket) == 2
    if finite:
        assert sum(accumulator.Histograms("Weights/x")[0].histogram_value.bucket) == finite
    else:
        assert "Weights/x" not in accumulator.Tags()["histograms"]


def test_nonfinite_values_are_counted_over_all_tensors(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.add_histograms({"a": torch.tensor([math.nan, 1.0]), "b": torch.full((3,), math.inf)}, 20)
    assert points(tmp_path, "health/nonfinite_count") == [(20, 4.0)]


def test_a_narrow_float_range_loses_no_value(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {f"w/{i}": torch.rand(50, generator=generator) * 0.1**i + 1.3 ** (i % 7) for i in range(60)}
    with EventWriter(tmp_path) as writer:
        writer.add_histograms(tensors, 0)
    accumulator = read(tmp_path)
    assert {sum(accumulator.Histograms(tag)[0].histogram_value.bucket) for tag in tensors} == {50}


def test_hparams_may_be_known_by_name_only(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.start_session(
            {"a": None, "b": [1, 2], "c": np.float64(0.5)}, group_name="g", metrics=[], known_hparams=["d", "a"]
        )
    content = read(tmp_path).summary_metadata
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG].plugin_data.content)
    assert [info.name for info in experiment.hparam_infos] == ["a", "b", "c", "d"]
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG].plugin_data.content)
    assert set(start.hparams) == {"b", "c"} and start.hparams["b"].string_value == "[1, 2]"
    assert start.hparams["c"].number_value == 0.5


# ---- trouble with the disk


def fill(writer: EventWriter, steps: int = 50) -> None:
    for step in range(steps):
        writer.add_values({"Loss/train": 1.0}, step)
        writer.add_scalar("Learning_Rate", 0.1, step)
    writer.add_histograms({"Weights/a": torch.ones(3)}, 0)
    writer.add_scalars("both", {"a": 1.0}, 0)
    writer.add_model_graph(torch.nn.Linear(2, 1), torch.zeros(1, 2))
    writer.start_session({"a": 1}, group_name="g", metrics=["Loss/train"])
    writer.end_session("failure")
    writer.flush()


def test_a_deleted_folder_ends_nothing_and_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log_dir = tmp_path / "run"
    writer = EventWriter(log_dir)
    fill(writer, 2)
    shutil.rmtree(log_dir)
    with caplog.at_level(logging.WARNING):
        writer.flush()
        fill(writer)
        assert writer.byte_lengths() == {}
        writer.close()
    about_this_file = [record for record in caplog.records if f"written to {log_dir}:" in record.getMessage()]
    assert len(about_this_file) == 1 and "deleted" in about_this_file[0].getMessage()
    writer.add_values({"a": 1.0}, 99)
    assert not list(log_dir.glob("events*")), "a silent writer makes no new file"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_nothing_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = EventWriter(tmp_path)
    writer.add_values({"Loss/train": 1.0}, 0)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._event_file._descriptor)
    with caplog.at_level(logging.WARNING):
        fill(writer)
        writer.close()
    os.close(full)
    assert [record.getMessage() for record in caplog.records if "No space" in record.getMessage()] == [
        f"TensorBoard events are no longer written to {tmp_path}: [Errno 28] No space left on device. Training goes on."
    ]
    assert points(tmp_path, "Loss/train") == [(0, 1.0)], "what was complete stays readable"


def test_a_disk_that_fills_within_an_event_leaves_whole_events(tmp_path: Path, child_environment: dict) -> None:
    # The kernel's limit on file size cuts a write short exactly as a full disk does.
    code = """
import resource, signal, sys, torch
from src.tracking.event_writer import EventWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = EventWriter(sys.argv[1])
writer.add_values({"Loss/train": 1.0}, 0)
size = sum(writer.byte_lengths().values())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
writer.add_values({f"tag/{i}": 1.0 for i in range(50)}, 1)
assert sum(writer.byte_lengths().values()) == size, "half an event stayed"
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=child_environment, timeout=60)
    assert points(tmp_path, "Loss/train") == [(0, 1.0)]


def test_a_folder_that_cannot_be_made_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING), EventWriter(tmp_path / "file" / "run") as writer:
        fill(writer)
        writer.add_embedding(torch.zeros(3, 2))
        writer.add_hparams({"a": 1}, {"m": 1.0})
    assert "no longer written" in caplog.records[0].getMessage()


# ---- byte lengths and cutting


def test_names_sort_in_order_of_making(tmp_path: Path) -> None:
    for step in range(4):  # all within one second
        with EventWriter(tmp_path) as writer:
            writer.add_values({"a": float(step)}, step)
    foreign = tmp_path / "events.out.tfevents.4102444800.zzz.99999.9"  # a clock far ahead
    foreign.touch()
    with EventWriter(tmp_path) as writer:
        writer.add_values({"a": 4.0}, 4)
        assert list(writer.byte_lengths())[-1] > foreign.name
    assert points(tmp_path, "a") == [(step, float(step)) for step in range(5)]


def test_cut_restores_the_state_of_the_lengths(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "events.out.tfevents.0000000001.other").write_bytes(b"other")
    (tmp_path / "metrics.csv").write_text("kept")
    writer = EventWriter(tmp_path)
    writer.add_values({"a": 0.0}, 0)
    lengths = writer.byte_lengths()
    assert len(lengths) == 1 and list(lengths.values()) == [path.stat().st_size for path in tmp_path.glob("events*")]
    writer.add_values({"a": 9.0}, 1)
    writer.close()
    with EventWriter(tmp_path) as writer:
        writer.add_values({"a": 9.0}, 2)
    cut_event_files(tmp_path, lengths)
    with EventWriter(tmp_path) as writer:
        writer.add_values({"a": 1.0}, 1)
        writer.add_values({"a": 2.0}, 2)
    assert points(tmp_path, "a") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert (tmp_path / "checkpoints" / "events.out.tfevents.0000000001.other").read_bytes() == b"other"
    assert (tmp_path / "metrics.csv").exists()


def test_cut_never_lengthens_a_file_and_does_not_miss_a_lost_one(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        (name, length), *_ = writer.byte_lengths().items()
    cut_event_files(tmp_path, {name: length + 1000, "events.out.tfevents.0000000001.lost": 5})
    assert (tmp_path / name).stat().st_size == length


# ---- SilentWriter


def test_silent_writer_takes_every_public_call_of_event_writer() -> None:
    silent = SilentWriter()
    public = [name for name in dir(EventWriter) if not name.startswith("_") and callable(getattr(EventWriter, name))]
    assert {"add_scalar", "add_values", "add_histograms", "start_session", "flush", "close"} <= set(public)
    for name in public:
        assert callable(getattr(silent, name)), name
    assert silent.add_scalar("a", 1.0, 0) is None and silent.byte_lengths() == {}
    assert silent.add_model_graph(torch.nn.Linear(1, 1), torch.zeros(1, 1)) is False
    with silent as entered:
        assert entered is silent
    with pytest.raises(AttributeError, match="add_scalr"):
        silent.add_scalr("a", 1.0, 0)


def test_silent_writer_survives_copy_and_pickle() -> None:
    copied = copy.deepcopy(SilentWriter())
    assert pickle.loads(pickle.dumps(copied)).byte_lengths() == {}
