"""Clips as files that others read: frames, sizes, speed and content."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from src.errors import UserError
from src.tracking.clip_files import as_mp4_bytes, clip_file, clip_grid, enlarged, write_clip

ROOT = Path(__file__).resolve().parents[2]


def moving_dot(clips: int = 1, frames: int = 5, channels: int = 1, height: int = 16, width: int = 20) -> Tensor:
    """A white pixel that goes to the right; in clip number n in row n. Of three channels only the first is white."""
    video = torch.zeros(clips, frames, channels, height, width)
    for clip in range(clips):
        for frame in range(frames):
            video[clip, frame, 0, clip, frame] = 1.0
    return video


def decoded(data: bytes) -> tuple[np.ndarray, float]:
    """RGB frames ``[frames, height, width, 3]`` of a video, and frames per second."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate is not None
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


def test_an_mp4_holds_every_frame_large_enough_to_be_seen(tmp_path: Path) -> None:
    clip = moving_dot()
    write_clip(tmp_path / "clip.mp4", clip, 12.5)
    found, rate = decoded((tmp_path / "clip.mp4").read_bytes())
    assert (found.shape, rate) == ((5, 128, 160, 3), 12.5)
    expected = enlarged(clip)[0, :, 0].numpy() * 255
    assert np.abs(found.mean(-1) - expected).mean() < 2
    for frame in range(5):
        assert found[frame, 1:7, 8 * frame + 1 : 8 * frame + 7].min() > 230
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_sides_of_an_mp4_are_even_and_colours_stay() -> None:
    clip = torch.zeros(3, 3, 131, 133)
    for frame in range(3):
        clip[frame, frame] = 1.0  # red, green, blue
    found, rate = decoded(as_mp4_bytes(clip, 30000 / 1001))
    assert found.shape == (3, 132, 134, 3)
    assert rate == pytest.approx(29.97, abs=0.001)
    for frame in range(3):
        colour = found[frame, 64, 64]
        assert colour.argmax() == frame and colour.max() > 245 and np.sort(colour)[1] < 10
    assert as_mp4_bytes(clip, 5) == as_mp4_bytes((clip * 255).to(torch.uint8), 5)


def test_a_gif_shows_clips_side_by_side(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips.GIF", moving_dot(3), 10, columns=3)
    gif = Image.open(tmp_path / "clips.GIF")
    assert (gif.format, gif.size) == ("GIF", (3 * 160 + 2 * 2, 128))
    assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (5, 100, 0)  # type: ignore[attr-defined]
    gif.seek(4)
    frame = np.asarray(gif.convert("L"))
    for clip in range(3):
        left = clip * 162
        assert frame[8 * clip : 8 * clip + 8, left + 32 : left + 40].min() > 250
        assert (frame[:, left : left + 160] > 128).sum() == 64


@pytest.mark.parametrize("channels", [1, 3])
def test_a_strip_has_a_row_for_each_clip_and_a_column_for_each_frame(tmp_path: Path, channels: int) -> None:
    write_clip(tmp_path / "clips.png", moving_dot(2, channels=channels), 10)
    picture = Image.open(tmp_path / "clips.png")
    assert (picture.mode, picture.size) == ("RGB" if channels == 3 else "L", (5 * 80 + 4, 2 * 64 + 1))
    values = np.asarray(picture)
    values = values if channels == 1 else values[..., 0]
    for clip in range(2):
        for frame in range(5):
            tile = values[65 * clip : 65 * clip + 64, 81 * frame : 81 * frame + 80]
            expected = enlarged(moving_dot(2)[clip, frame, 0], 64) * 255
            assert (tile == expected.numpy()).all()


def test_npz_holds_the_values_themselves(tmp_path: Path) -> None:
    clips = torch.randint(0, 256, (2, 3, 3, 4, 5), dtype=torch.uint8)
    write_clip(tmp_path / "clips.npz", clips, 7.5, ["one", "the other"])
    with np.load(tmp_path / "clips.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"clips", "captions", "frame_rate"}
        assert arrays["clips"].dtype == np.uint8 and (arrays["clips"] == clips.permute(0, 1, 3, 4, 2).numpy()).all()
        assert arrays["captions"].tolist() == ["one", "the other"]
        assert arrays["frame_rate"] == 7.5


@given(count=st.integers(1, 7), columns=st.integers(1, 9) | st.none(), height=st.sampled_from([1, 3, 64, 130]))
def test_every_clip_of_a_grid_stands_at_its_place(count: int, columns: int | None, height: int) -> None:
    clips = torch.rand(count, 2, 1, height, 3)
    grid = clip_grid(clips, columns)
    across = min(columns or int(np.ceil(np.sqrt(count))), count)
    rows, line = -(-count // across), max(1, height // 64)
    assert grid.shape == (2, 1, rows * (height + line) - line, across * (3 + line) - line)
    rest = grid.clone()
    for number in range(count):
        top, left = number // across * (height + line), number % across * (3 + line)
        tile = (slice(None), slice(None), slice(top, top + height), slice(left, left + 3))
        assert torch.equal(grid[tile], clips[number])
        rest[tile] = 0.5
    assert (rest == 0.5).all()


@pytest.mark.parametrize(("height", "enlarged_to"), [(16, 128), (100, 200), (128, 128), (300, 300)])
def test_small_clips_grow_by_whole_numbers(height: int, enlarged_to: int) -> None:
    clip = torch.rand(2, 1, height, 5)
    larger = enlarged(clip)
    factor = enlarged_to // height
    assert larger.shape == (2, 1, enlarged_to, 5 * factor)
    assert torch.equal(larger[..., ::factor, ::factor], clip)
    assert torch.equal(larger[..., factor - 1 :: factor, factor - 1 :: factor], clip)


@pytest.mark.parametrize(
    ("name", "shape", "rate", "message"),
    [
        ("clip.avi", (1, 2, 1, 8, 8), 8, r"must end in .gif, .mp4, .png, .npz, but got one that ends in '.avi'"),
        ("clip.mp4", (2, 1, 8, 8), 8, r"clips must be \[clips, frames, .* their shape is \[2, 1, 8, 8\]"),
        ("clip.gif", (1, 2, 2, 8, 8), 8, r"with 1 or 3 channels, but their shape is \[1, 2, 2, 8, 8\]"),
        ("clip.png", (0, 2, 1, 8, 8), 8, r"their shape is \[0, 2, 1, 8, 8\]"),
        ("clip.mp4", (1, 2, 1, 8, 8), 0, r"frame rate above 0 frames per second, but got 0; 8 is usual"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...], rate: float, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write_clip(tmp_path / name, torch.zeros(shape), rate)
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_without_its_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"an .mp4 file needs av, .* pip install av, or write .gif"):
        clip_file(".mp4", moving_dot(), 8)


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".png", ".npz"])
def test_the_same_clips_are_the_same_bytes(suffix: str) -> None:
    clips = torch.rand(2, 3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert clip_file(suffix, clips, 8, ["a", "b"]) == clip_file(suffix, clips, 8, ["a", "b"])
    assert clip_file(suffix, clips, 8, ["a", "b"]) != clip_file(suffix, 1 - clips, 8, ["a", "b"])


PERTURBED = """
import ctypes, torch
from src.tracking.clip_files import clip_file
M_PERTURB, M_MMAP_MAX = -6, -4
libc = ctypes.CDLL(None)
libc.mallopt(M_MMAP_MAX, 0)  # memory of its own is empty at first
clips = torch.rand(4, 3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
found = set()
for held in (0x01, 0x55, 0x7F, 0xAA, 0xFE):
    libc.mallopt(M_PERTURB, held)
    found.add(clip_file(".mp4", clips, 8))
libc.mallopt(M_PERTURB, 0)
print(len(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc can be told what memory holds")
def test_an_mp4_is_the_same_bytes_whatever_memory_held_before() -> None:
    ended = subprocess.run([sys.executable, "-c", PERTURBED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "1\n", ended.stderr
