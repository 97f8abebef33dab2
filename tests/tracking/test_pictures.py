"""Pictures of any layout, figures, and videos as GIFs that play."""

from __future__ import annotations

import io
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import TrainingLogger
from src.errors import UserError
from src.tracking.event_writer import EventWriter, SilentWriter
from src.tracking.pictures import animated_gif, as_picture, close_figure


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 6), (4, 6, 1)),
        ((1, 4, 6), (4, 6, 1)),
        ((3, 4, 6), (4, 6, 3)),
        ((5, 6, 3), (5, 6, 3)),
        ((5, 6, 4), (5, 6, 4)),
        ((3, 3, 3), (3, 3, 3)),
    ],
)
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_every_usual_layout_becomes_height_width_channels(
    shape: tuple[int, ...], expected: tuple[int, ...], kind: str
) -> None:
    image = torch.rand(shape) if kind == "tensor" else np.random.default_rng(0).random(shape)
    picture = as_picture(image)
    assert picture.shape == expected and picture.dtype == np.uint8


def test_numbers_from_0_to_1_become_bytes_and_bytes_stay() -> None:
    values = [[0.0, 0.5, 1.0], [-3.0, 7.0, float("nan")]]
    assert as_picture(values)[..., 0].tolist() == [[0, 128, 255], [0, 255, 0]]
    assert as_picture(torch.tensor(values, dtype=torch.bfloat16))[..., 0].tolist() == [[0, 128, 255], [0, 255, 0]]
    assert as_picture(torch.tensor([[0, 7, 300]]))[..., 0].tolist() == [[0, 7, 255]]
    assert as_picture(np.array([[True, False]]))[..., 0].tolist() == [[255, 0]]
    first = torch.zeros(3, 2, 2)
    first[0] = 1  # red
    assert as_picture(first)[0, 0].tolist() == [255, 0, 0]
    assert as_picture(torch.ones(2, 2, requires_grad=True)).min() == 255


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5), (2, 3, 4, 4), (3, 0, 4)])
def test_another_shape_is_refused_with_a_way_out(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"an image must be .* but its shape is \[.*one by one"):
        as_picture(torch.zeros(shape))


def test_a_video_becomes_a_gif_with_its_frames_colours_and_speed() -> None:
    video = torch.zeros(3, 3, 4, 6)
    for time in range(3):
        video[time, time] = 1.0  # red, green, blue
    encoded, height, width, channels = animated_gif(video, fps=4)
    gif = Image.open(io.BytesIO(encoded))
    assert (gif.format, gif.size, height, width, channels) == ("GIF", (6, 4), 4, 6, 3)
    assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (3, 0, 250)  # type: ignore[attr-defined]
    colours = []
    for time in range(3):
        gif.seek(time)
        colours.append(np.asarray(gif.convert("RGB"))[2, 2].tolist())
    assert colours == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_samples_of_a_batch_stand_side_by_side_and_one_channel_is_grey() -> None:
    video = torch.zeros(2, 2, 1, 4, 5)
    video[1] = 1.0
    encoded, height, width, channels = animated_gif(video, fps=100)
    frame = np.asarray(Image.open(io.BytesIO(encoded)).convert("L"))
    assert (height, width, channels) == (4, 10, 1)
    assert frame[:, :5].max() == 0 and frame[:, 5:].min() == 255
    assert Image.open(io.BytesIO(encoded)).info["duration"] >= 20  # browsers slow down faster ones


@pytest.mark.parametrize(("shape", "fps"), [((3, 4, 4), 8), ((5, 2, 4, 4), 8), ((0, 3, 4, 4), 8)])
def test_another_video_is_refused(shape: tuple[int, ...], fps: int) -> None:
    with pytest.raises(UserError, match=r"a video must be .*torch\.movedim"):
        animated_gif(torch.zeros(shape), fps)


def test_a_rate_below_1_is_refused() -> None:
    with pytest.raises(UserError, match="fps must be at least 1 frame per second, but got 0"):
        animated_gif(torch.zeros(2, 1, 4, 4), 0)


def test_a_figure_is_emptied_and_pyplot_is_not_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    figure = Figure()
    figure.subplots()
    close_figure(figure)
    assert figure.axes == [] and "matplotlib.pyplot" not in sys.modules


def test_a_figure_of_pyplot_is_closed() -> None:
    from matplotlib import pyplot

    other, figure = pyplot.figure(), pyplot.figure()
    close_figure(figure)
    assert not pyplot.fignum_exists(figure.number) and pyplot.fignum_exists(other.number)
    pyplot.close(other)


def test_an_encoded_image_is_written_as_it_is(tmp_path: Path) -> None:
    encoded, *size = animated_gif(torch.rand(2, 3, 4, 6))
    with EventWriter(tmp_path) as writer:
        writer.add_encoded_image("video", encoded, *size, 7)
    accumulator = EventAccumulator(str(tmp_path))
    accumulator.Reload()
    (image,) = accumulator.Images("video")
    assert (image.step, image.height, image.width) == (7, 4, 6) and image.encoded_image_string == encoded
    assert SilentWriter().add_encoded_image("video", encoded, *size, 7) is None


@pytest.mark.slow
def test_tensorboard_serves_a_video_as_a_gif_and_hyperparameters_with_late_results(
    tmp_path: Path, tensorboard: Callable[[Path], Any]
) -> None:
    with TrainingLogger(tmp_path, "run") as logger:
        logger.log_hparams({"lr": 0.1})
        logger.log_video("video", torch.rand(3, 3, 8, 8))
        logger.log_hparams({}, {"final_loss": 0.25})
    client = tensorboard(tmp_path)
    (sample,) = client.get("images/images", run="run", tag="video", sample="0")
    address = f"{client.url}/data/plugin/images/individualImage?{sample['query']}"
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.headers["Content-Type"] == "image/gif"
        assert Image.open(io.BytesIO(answer.read())).n_frames == 3  # type: ignore[attr-defined]
    wanted = {"allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 9, "colParams": []}
    (group,) = client.post("hparams/session_groups", wanted)["sessionGroups"]
    assert group["hparams"] == {"lr": 0.1}
    assert [(metric["name"]["tag"], metric["value"]) for metric in group["metricValues"]] == [("final_loss", 0.25)]
