"""From one clip in a file or a folder of frames to its frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from ...errors import DataError, UserError
from ..image_reading.pictures import bytes_of, is_picture_name, read_picture
from ..image_reading.shapes import resized

ANIMATION_SUFFIXES = (".gif", ".webp", ".apng")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".webm", ".mkv", ".m4v")
ARRAY_SUFFIXES = (".npz", ".npy")
POSE_SUFFIX = ".pose"
CLIP_SUFFIXES = (*ANIMATION_SUFFIXES, *VIDEO_SUFFIXES, *ARRAY_SUFFIXES, POSE_SUFFIX)


@dataclass(frozen=True)
class Frames:
    """A clip: uint8 ``[frames, height, width, 1 or 3]``, and frames per second where it says so."""

    pixels: np.ndarray
    rate: float | None = None


def is_clip(path: Path) -> bool:
    """Whether a path is a clip by its name: a file of one, or a folder of nothing but pictures."""
    if path.is_dir():
        names = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
        return bool(names) and all(map(is_picture_name, names))
    return path.suffix.lower() in CLIP_SUFFIXES


def read_clip(path: Path, location: str, side: int | None = None) -> Frames:
    """All frames of a clip.

    Args:
        path: of the file or folder.
        location: the same, for messages.
        side: of the square that frames are resized to; None leaves them as they are.

    Raises:
        DataError: if it is damaged, or has no frames.
        UserError: if a library is missing.
    """
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            found = _of_pictures(path, side)
        elif suffix in VIDEO_SUFFIXES:
            found = _of_video(path, side)
        elif suffix in ARRAY_SUFFIXES:
            found = _of_array(path, location, side)
        else:
            found = _of_animation(path, side)
    except (DataError, UserError):
        raise
    except Exception as error:  # libraries answer damage with errors of nearly every type
        raise DataError(
            f"every clip must be readable, but {location} is damaged: {error or type(error).__name__}; make it again, "
            "or leave it out"
        ) from None
    if not len(found.pixels):
        raise DataError(f"every clip must have frames, but {location} has none; leave it out")
    return found


def natural_order(name: str) -> list[Any]:
    """A key that puts frame 10 behind frame 9."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", name)]


def _of_pictures(path: Path, side: int | None) -> Frames:
    names = sorted((entry.name for entry in path.iterdir() if is_picture_name(entry.name)), key=natural_order)
    frames = []
    for name in names:
        file = path / name
        picture = read_picture(lambda file=file: file.open("rb"), str(file), side)[0]  # type: ignore[misc]
        frames.append(picture if picture.ndim == 3 else picture[..., None])
    return Frames(_stacked(frames, path))


def _of_animation(path: Path, side: int | None) -> Frames:
    with Image.open(path) as opened:
        durations, frames = [], []
        for frame in ImageSequence.Iterator(opened):
            durations.append(frame.info.get("duration", 0))
            frames.append(_sized(np.asarray(frame.convert("RGB")), side))
    mean = float(np.mean(durations)) if durations else 0.0
    return Frames(np.stack(frames), 1000 / mean if mean > 0 else None)


def _of_video(path: Path, side: int | None) -> Frames:
    try:
        import av
    except ImportError:
        raise UserError(f"{path.suffix} files need av, which is not installed; pip install av") from None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate) if stream.average_rate else None
        frames = [_sized(frame.to_ndarray(format="rgb24"), side) for frame in container.decode(stream)]
    return Frames(np.stack(frames) if frames else np.empty((0, 1, 1, 3), dtype=np.uint8), rate)


def _of_array(path: Path, location: str, side: int | None) -> Frames:
    found = np.load(path, allow_pickle=False)
    if path.suffix.lower() == ".npz":
        with found:
            names = list(found.files)
            values = found[next((name for name in ("clip", "frames", "video") if name in names), names[0])]
    else:
        values = found
    return Frames(_all_sized(bytes_of(as_frames(values, location), location), side))


def as_frames(values: np.ndarray, location: str) -> np.ndarray:
    """An array of a clip as ``[frames, height, width, channels]``.

    Raises:
        DataError: if it has other axes.
    """
    if values.ndim == 3:
        return values[..., None]
    if values.ndim == 4 and values.shape[3] in (1, 3):
        return values
    if values.ndim == 4 and values.shape[1] in (1, 3):
        return values.transpose(0, 2, 3, 1)
    raise DataError(
        "a clip must have the axes frames, height, width and perhaps 1 or 3 channels (last or second), but that of "
        f"{location} has {' x '.join(map(str, values.shape))}; reshape it"
    )


def _stacked(frames: list[np.ndarray], path: Path) -> np.ndarray:
    """Frames as one array, greys among colours as colours."""
    sizes = {frame.shape[:2] for frame in frames}
    if len(sizes) > 1:
        raise DataError(
            f"frames of a clip must be of one size, but {path} has several; resize them, or use --image-size"
        )
    if any(frame.shape[2] == 3 for frame in frames):
        frames = [np.repeat(frame, 3, 2) if frame.shape[2] == 1 else frame for frame in frames]
    return np.stack(frames) if frames else np.empty((0, 1, 1, 1), dtype=np.uint8)


def _all_sized(frames: np.ndarray, side: int | None) -> np.ndarray:
    return frames if side is None else np.stack([_sized(frame, side) for frame in frames])


def _sized(frame: np.ndarray, side: int | None) -> np.ndarray:
    if side is None:
        return frame
    flat = frame[..., 0] if frame.shape[2] == 1 else frame
    sized = resized(flat, side)
    return sized if sized.ndim == 3 else sized[..., None]
