"""Exported tables hold every point of any writer's event files, and figures are fit to print."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.util.tensor_util import make_tensor_proto
from torch.utils.tensorboard import SummaryWriter

from src.tracking import export_figures
from src.tracking.event_file import EventFile
from src.tracking.event_reader import Curve, RunEvents, event_folders, read_events, read_run
from src.tracking.event_writer import EventWriter
from src.tracking.export import FileNames, ScalarTable, choose_tags, read_scalars, wide_table, write_epoch_tables
from src.tracking.export_figures import FIGURE_FORMATS, FigureData, FigureStyle, save_figure, smooth


def read(folder: Path) -> RunEvents:
    (files,) = event_folders(folder).values()
    return read_run(files)


def curves(tags: Mapping[str, list[float]], steps: list[int] | None = None) -> dict[str, Curve]:
    filled = {}
    for tag, values in tags.items():
        curve = filled[tag] = Curve()
        curve.steps.extend(range(len(values)) if steps is None else steps)
        curve.wall_times.extend([1.5] * len(values))
        curve.values.extend(values)
    return filled


# ---- reading ----


def test_every_point_is_read_where_tensorboard_keeps_ten_thousand(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        for step in range(12_000):
            writer.add_values({"a/x": step * 0.5, "b": -step}, step, 1e9 + step)
    frame = read_scalars(tmp_path)
    assert len(frame) == 24_000 and list(frame.columns) == ["run", "tag", "step", "wall_time", "value"]
    a = frame[frame.tag == "a/x"]
    assert set(frame.run) == {"."} and a.step.tolist() == list(range(12_000))
    assert (a.value == a.step * 0.5).all() and (a.wall_time == 1e9 + a.step).all()


def test_what_summary_writer_writes_with_its_sub_runs(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 0.25, 3)
        writer.add_scalar("loss", math.nan, 4)
        writer.add_scalar("new", 0.5, 1, new_style=True)
        writer.add_scalars("both", {"one": 1.0, "two": 2.0}, 7)
        writer.add_histogram("weights", np.arange(5.0), 0)
        writer.add_text("note", "some *text*", 2)
        writer.add_hparams({"lr": 0.1}, {"metric": 9.0}, run_name="trial")
    frame = read_scalars(tmp_path).set_index(["run", "tag", "step"]).value
    assert frame["trial", "metric"].tolist() == [9.0]
    assert frame["both_one", "both", 7] == 1.0 and frame["both_two", "both", 7] == 2.0
    assert frame[".", "loss", 3] == 0.25 and math.isnan(frame[".", "loss", 4]) and frame[".", "new", 1] == 0.5
    events = read_run(event_folders(tmp_path)[tmp_path])
    assert events.texts == {"note/text_summary": [(2, "some *text*")]} and events.left_out == {"histograms": 1}


def test_scalars_that_tensorflow_2_writes_as_tensors(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    for step, value in enumerate([0.1, 0.2, 0.3]):
        # Only the first value of a tag needs to name the plugin.
        known = {"metadata": plugin} if step == 0 else {}
        tensor = make_tensor_proto(value, dtype=np.float64)
        file.add_event(Event(summary=Summary(value=[Summary.Value(tag="loss", tensor=tensor, **known)])), step)
    other = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="images"))
    image = Summary.Value(tag="picture", tensor=make_tensor_proto([b"1", b"1", b"png"]), metadata=other)
    file.add_event(Event(summary=Summary(value=[image])), 0)
    file.close()
    events = read(tmp_path)
    assert list(events.scalars["loss"].values) == [0.1, 0.2, 0.3] and events.left_out == {"images": 1}


def test_several_files_of_a_run_are_joined_and_withdrawn_points_left_out(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        for step in range(6):
            writer.add_values({"loss": step}, step)
    resumed = EventFile(tmp_path)  # what SummaryWriter(purge_step=4) writes
    resumed.add_event(Event(session_log={"status": "START"}), 4)
    resumed.add_event(Event(summary=Summary(value=[Summary.Value(tag="loss", simple_value=40)])), 4)
    resumed.close()
    events = read(tmp_path)
    assert list(events.scalars["loss"].values) == [0, 1, 2, 3, 40] and events.withdrawn == 2


@pytest.mark.parametrize(
    ("damage", "said", "left"),
    [
        (lambda data: data[:-3], "the last record is not whole", 9),
        (lambda data: data[:-20], "the last record is not whole", 9),
        (lambda data: data + b"\x07\0\0", "the last record is not whole", 10),
        (lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], "checksum", 9),
        (lambda data: data + b"\xff" * 12, "checksum", 10),
    ],
)
def test_a_damaged_file_is_read_up_to_the_damage(
    tmp_path: Path, damage: Callable[[bytes], bytes], said: str, left: int
) -> None:
    with EventWriter(tmp_path) as writer:
        for step in range(10):
            writer.add_values({"loss": step}, step)
    ((path,),) = event_folders(tmp_path).values()
    path.write_bytes(damage(path.read_bytes()))
    events = read(tmp_path)
    assert len(events.scalars["loss"]) == left
    assert [(found, said in reason) for found, reason in events.damaged] == [(path, True)]


def test_empty_files_and_folders_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "events.out.tfevents.1.host.profile-empty").touch()
    assert list(event_folders(tmp_path)) == [tmp_path]
    assert read(tmp_path) == RunEvents() and read_scalars(tmp_path).empty


def test_two_hundred_thousand_points_take_seconds(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        for step in range(10_000):
            writer.add_values({f"tag_{number}": step for number in range(20)}, step)
    ((path,),) = event_folders(tmp_path).values()
    assert sum(len(event.summary.value) for event in read_events(path)) == 200_000
    table = ScalarTable(tmp_path / "table.csv")
    table.add("a", read(tmp_path).scalars)
    table.close()
    assert table.points == 200_000 and len(pd.read_csv(table.path)) == 200_000


# ---- tables ----


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_read_back_as_they_were(tmp_path: Path, suffix: str) -> None:
    table = ScalarTable(tmp_path / f"table.{suffix}")
    table.add('a,"b"', curves({"Loss/train": [0.1, math.nan, math.inf], "x": [1 / 3]}))
    table.add("c", curves({"Loss/train": [5e-324]}, [-(2**62)]))
    table.close()
    frame = pd.read_csv(table.path) if suffix == "csv" else pd.read_parquet(table.path)
    assert frame.run.tolist() == ['a,"b"'] * 4 + ["c"] and frame.tag.tolist()[2:] == ["Loss/train", "x", "Loss/train"]
    assert frame.step.tolist() == [0, 1, 2, 0, -(2**62)] and frame.wall_time.tolist() == [1.5] * 5
    np.testing.assert_array_equal(frame.value, [0.1, math.nan, math.inf, 1 / 3, 5e-324])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_wide_form_has_one_column_a_tag(tmp_path: Path, suffix: str) -> None:
    table = ScalarTable(tmp_path / f"wide.{suffix}", wide=True)
    table.add("a", curves({"x": [1.0, 2.0, 3.0]}, [0, 5, 5]) | curves({"y": [7.0]}, [9]))
    table.add("b", curves({"z": [4.0]}))
    table.close()
    frame = pd.read_csv(table.path) if suffix == "csv" else pd.read_parquet(table.path)
    assert list(frame.columns) == ["run", "step", "x", "y", "z"]
    assert frame.step.tolist() == [0, 5, 9, 0] and frame.run.tolist() == ["a", "a", "a", "b"]
    nan = math.nan
    np.testing.assert_array_equal(frame[["x", "y", "z"]], [[1, nan, nan], [3, nan, nan], [nan, 7, nan], [nan, nan, 4]])
    assert (table.points, table.replaced) == (5, 1)


def test_a_value_that_is_no_number_is_not_the_same_as_none(tmp_path: Path) -> None:
    table, _ = wide_table("a", curves({"x": [math.nan, 1.0]}) | curves({"y": [2.0]}))
    assert table.column("x").null_count == 0 and table.column("y").null_count == 1


def test_tables_of_epochs_are_put_below_one_another(tmp_path: Path) -> None:
    for name, text in (("a", "epoch,loss\n0,0.5\n1,0.25\n"), ("b", "epoch,loss,more\n0,0.75,1\n"), ("c", "")):
        (tmp_path / f"{name}.csv").write_text(text)
    tables = {name: tmp_path / f"{name}.csv" for name in "abc"}
    assert write_epoch_tables(tables, tmp_path / "all.parquet") == 3
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert frame.run.tolist() == ["a", "a", "b"] and frame.loss.tolist() == [0.5, 0.25, 0.75]


def test_tags_are_chosen_by_name_or_wildcards() -> None:
    tags = ["Loss/train", "Loss/validation", "loss", "a[0]"]
    assert choose_tags(tags, []) == tags
    assert choose_tags(tags, ["Loss/*"]) == tags[:2]
    assert choose_tags(tags, ["loss", "a[0]"]) == ["loss", "a[0]"]


def test_names_of_files_are_safe_and_never_the_same() -> None:
    names = FileNames()
    made = [names.make(name) for name in ("Loss/train", "loss_train", "Loss:train", "../../x", ".", "é/ö", "x" * 300)]
    assert made[:5] == ["Loss_train", "loss_train_2", "Loss_train_3", "x", "root"]
    assert all("/" not in name and len(name) <= 125 for name in made)


# ---- figures ----


@pytest.fixture(scope="module")
def data() -> FigureData:
    found = FigureData()
    for model in range(3):
        for seed in range(2):
            values = [math.exp(-step / 9) + model + 0.1 * seed for step in range(40)]
            found.add(
                f"20250110/model_{model}/seed_{seed}", curves({"Loss/train": values, "test/rmse": [model + seed]})
            )
    return found


def test_figures_are_valid_and_the_same_bytes_every_time(tmp_path: Path, data: FigureData) -> None:
    style = FigureStyle(smoothing=0.6, logarithmic=True)
    for suffix in FIGURE_FORMATS:
        paths = [tmp_path / f"{attempt}.{suffix}" for attempt in range(2)]
        for path in paths:
            save_figure(data.draw("Loss/train", style), path)
        assert paths[0].read_bytes() == paths[1].read_bytes(), suffix
    png = (tmp_path / "0.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG") and width == 3.5 * 300 and 600 < height < 1200
    svg = ElementTree.parse(tmp_path / "0.svg").getroot()
    assert svg.tag.endswith("svg") and svg.attrib["width"] == "252pt"
    assert b"<dc:date>" not in (tmp_path / "0.svg").read_bytes()
    pdf = (tmp_path / "0.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and b"CreationDate" not in pdf and b"/Type3" not in pdf and b"FontFile2" in pdf


def test_no_label_is_cut_off(data: FigureData) -> None:
    odd = FigureData()
    for number in range(14):
        odd.add(f"{number}_{'long_name' * 9}", curves({"tag_" * 30: [number, 2 * number], "cost in $ of $x_1$": [1.0]}))
    for found in (data, odd):
        for tag in found.tags():
            figure = found.draw(tag)
            figure.draw_without_rendering()
            page = figure.bbox
            axes = figure.axes[0]
            low, high = sorted(axes.get_ylim())
            texts = [axes.xaxis.label, axes.yaxis.label, figure._suptitle]
            texts += [text for text in axes.get_yticklabels() if low <= text.get_position()[1] <= high]
            texts += [text for legend in figure.legends for text in legend.get_texts()]
            for text in texts:
                box = text.get_window_extent()
                inside = page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 - 1 <= box.y0
                assert box.width == 0 or (inside and box.y1 <= page.y1 + 1), (tag, text)


def test_seeds_become_their_mean_with_a_band(data: FigureData) -> None:
    figure = data.draw("Loss/train")
    (axes,) = figure.axes
    assert len(axes.lines) == len(axes.collections) == 3
    np.testing.assert_allclose(axes.lines[1].get_ydata(), np.exp(-np.arange(40) / 9) + 1.05)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [*(f"model_{n} (mean of 2 seeds)" for n in range(3)), "from the lowest to the highest seed"]
    assert axes.get_xlabel() == "epoch" and axes.get_ylabel() == "loss"


def test_seeds_that_share_few_steps_are_drawn_one_by_one() -> None:
    found = FigureData()
    found.add("m/seed_0", curves({"best": [3.0, 2.0, 1.0]}, [0, 1, 4]))
    found.add("m/seed_1", curves({"best": [3.0, 2.0, 1.0]}, [0, 2, 3]))
    figure = found.draw("best")
    assert len(figure.axes[0].lines) == 2 and not figure.axes[0].collections
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["m (2 seeds)"]


def test_smoothing_is_that_of_tensorboard_over_the_raw_curve() -> None:
    raw = [1.0, 3.0, math.nan, 2.0, 5.0]
    last, count, expected = 0.0, 0, []
    for value in raw:  # as TensorBoard's line chart computes it
        if math.isnan(value):
            expected.append(value)
            continue
        last, count = last * 0.7 + 0.3 * value, count + 1
        expected.append(last / (1 - 0.7**count))
    np.testing.assert_allclose(smooth(pd.Series(raw), 0.7), expected)
    found = FigureData()
    found.add("a", curves({"x": raw}))
    faint, line = found.draw("x", FigureStyle(smoothing=0.7)).axes[0].lines
    np.testing.assert_array_equal(faint.get_ydata(), raw)
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert faint.get_alpha() < 0.5 and line.get_alpha() is None


def test_more_runs_than_can_be_told_apart_get_a_median() -> None:
    found = FigureData()
    for number in range(21):
        found.add(f"run_{number}", curves({"x": [number, number + 1.0]}, [0, 10 + number % 2]))
    figure = found.draw("x")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["median of 21 runs", "middle 80 % of them"]
    assert figure.axes[0].lines[-1].get_ydata()[0] == 10


def test_a_logarithmic_axis_only_where_values_allow_it() -> None:
    found = FigureData()
    found.add("a", curves({"falls": [100.0, 1.0], "negative": [100.0, -1.0], "narrow": [2.0, 1.0]}))
    scales = [found.draw(tag, FigureStyle(logarithmic=True)).axes[0].get_yscale() for tag in found.tags()]
    assert scales == ["log", "linear", "linear"]


def test_values_that_are_not_finite_leave_a_gap() -> None:
    found = FigureData()
    found.add("a", curves({"gap": [1.0, math.inf, 3.0], "nothing": [math.nan, math.inf]}))
    assert found.tags() == ["gap"]
    np.testing.assert_array_equal(found.draw("gap").axes[0].lines[0].get_ydata(), [1.0, math.nan, 3.0])


def test_many_points_stay_a_small_vector_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FigureData()
    noise = np.random.default_rng(0).standard_normal(20_000)
    found.add("a", curves({"x": noise.tolist()}))
    sizes = []
    for limit in (10_000, 50_000):
        monkeypatch.setattr(export_figures, "_MOST_VECTOR_POINTS", limit)
        save_figure(found.draw("x"), tmp_path / "x.svg")
        sizes.append((tmp_path / "x.svg").stat().st_size)
    assert sizes[0] * 3 < sizes[1]
