"""Small captioned clips, and files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WORDS = ("left", "right", "up", "down")
STEPS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


def bar_clip(word: str, seed: int = 0, frames: int = 4, side: int = 8, channels: int = 1) -> np.ndarray:
    """A bright square that moves, uint8 ``[frames, side, side, channels]``, with some noise of its own."""
    random = np.random.default_rng([seed, WORDS.index(word)])
    clip = random.integers(0, 40, (frames, side, side, channels), dtype=np.uint8)
    rows, columns = STEPS[word]
    row, column = (
        int(random.integers(0, 2)) if move > 0 else side - 3 - int(random.integers(0, 2)) if move < 0 else 3
        for move in (rows, columns)
    )
    for frame in range(frames):
        at = row + frame * rows, column + frame * columns
        clip[frame, max(at[0], 0) : at[0] + 3, max(at[1], 0) : at[1] + 3] = 230
    return clip


def bar_clips(each: int, **options: int) -> tuple[np.ndarray, list[str]]:
    """So many clips of each word, and their captions."""
    captions = [f"going {word}" for word in WORDS for _ in range(each)]
    clips = [bar_clip(word, seed, **options) for word in WORDS for seed in range(each)]
    return np.stack(clips), captions


def write_gif(path: Path, clip: np.ndarray, milliseconds: int = 100) -> None:
    frames = [Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame) for frame in clip]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def write_mp4(path: Path, clip: np.ndarray, rate: int = 10) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = clip.shape[1], clip.shape[2], "yuv444p"
        for frame in clip:
            picture = av.VideoFrame.from_ndarray(np.repeat(frame, 3, 2) if frame.shape[2] == 1 else frame, "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_frames(folder: Path, clip: np.ndarray) -> None:
    """A folder of numbered pictures without leading zeros."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(clip):
        Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).save(folder / f"frame{number + 8}.png")


def write_pose(path: Path, points: np.ndarray, limbs: list[tuple[int, int]], rate: float = 10) -> None:
    """A ``.pose`` file of one person; ``points``: ``[frames, landmarks, 2]``, NaN where missing."""
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    names = [f"p{number}" for number in range(points.shape[1])]
    component = PoseHeaderComponent("body", names, limbs, [(255, 255, 255)] * len(limbs), "XYC")
    header = PoseHeader(0.2, PoseHeaderDimensions(100, 100, 0), [component])
    data = np.nan_to_num(points).astype(np.float32)[:, None]
    confidence = np.isfinite(points).all(2).astype(np.float32)[:, None]
    with path.open("wb") as file:
        Pose(header, NumPyPoseBody(rate, data, confidence)).write(file)


def write_archive(path: Path, each: int = 12, **options: int) -> Path:
    """An ``.npz`` with clips and captions."""
    clips, captions = bar_clips(each, **options)
    np.savez(path, clips=clips, captions=np.array(captions))
    return path
