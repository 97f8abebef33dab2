"""From one clip in a file or a folder of frames to its frames."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageSequence

from ...errors import DataError, UserError
from ..image_reading.npz import channels_last
from ..image_reading.pictures import bytes_of, is_picture_name, read_picture
from ..image_reading.shapes import all_resized

ANIMATION_SUFFIXES = (".gif", ".webp", ".apng")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".webm", ".mkv", ".m4v")
ARRAY_SUFFIXES = (".npz", ".npy")
POSE_SUFFIX = ".pose"
CLIP_SUFFIXES = (*ANIMATION_SUFFIXES, *VIDEO_SUFFIXES, *ARRAY_SUFFIXES, POSE_SUFFIX)


@dataclass(frozen=True)
class Frames:
    """A clip.

    Attributes:
        pixels: uint8 ``[frames, height, width, 1 or 3]``.
        size: height and width that it had in its file.
        rate: frames per second, where it says so.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    rate: float | None = None


@dataclass(frozen=True)
class Size:
    """What frames are brought to while they are read, so that large ones are never all in memory.

    Attributes:
        side: of a square.
        always: whether smaller ones are brought to it as well.
    """

    side: int
    always: bool = False

    def of(self, frame: np.ndarray) -> np.ndarray:
        """A frame ``[height, width, channels]`` in this size."""
        if not self.always and max(frame.shape[:2]) <= self.side:
            return frame
        return all_resized(frame[None], self.side)[0]


def is_clip(path: Path) -> bool:
    """Whether a path is a clip by its name: a file of one, or a folder of nothing but pictures that do not move."""
    if path.is_dir():
        names = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
        return bool(names) and all(map(is_picture_name, names)) and not moves(path / min(names))
    return path.suffix.lower() in CLIP_SUFFIXES


def moves(file: Path) -> bool:
    """Whether a picture has several frames; of one that is not there or damaged its name says so."""
    if file.suffix.lower() not in ANIMATION_SUFFIXES:
        return False
    try:
        with Image.open(file) as picture:
            return bool(getattr(picture, "is_animated", False))
    except Exception:  # the reader says better what is wrong
        return file.suffix.lower() == ".gif"


def read_clip(path: Path, location: str, size: Size) -> Frames:
    """All frames of a clip.

    Args:
        path: of the file or folder.
        location: the same, for messages.
        size: what frames are brought to.

    Raises:
        DataError: if it is damaged, or has no frames.
        UserError: if a library is missing.
    """
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            found = _of_pictures(path, location, size)
        elif suffix in VIDEO_SUFFIXES:
            found = _of_video(path, size)
        elif suffix in ARRAY_SUFFIXES:
            found = _of_array(path, location, size)
        else:
            found = _of_animation(path, size)
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


def _of_pictures(path: Path, location: str, size: Size) -> Frames:
    names = sorted((entry.name for entry in path.iterdir() if is_picture_name(entry.name)), key=natural_order)
    frames, sizes = [], []
    for name in names:
        picture = read_picture(functools.partial(_opened, path / name), f"{location}/{name}", None)[0]
        frame = picture if picture.ndim == 3 else picture[..., None]
        sizes.append(frame.shape[:2])
        frames.append(size.of(frame))
    if len(set(sizes)) > 1 and not size.always:
        raise DataError(
            f"frames of a clip must be of one size, but {location} has several; resize them, or use --image-size"
        )
    return _stacked(frames, sizes[0] if sizes else (0, 0))


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _of_animation(path: Path, size: Size) -> Frames:
    with Image.open(path) as opened:
        durations, frames = [], []
        for frame in ImageSequence.Iterator(opened):
            frames.append(size.of(np.asarray(frame.convert("RGB"))))
            durations.append(frame.info.get("duration", 0))  # known when the frame is read, not before
        width, height = opened.size
    mean = float(np.mean(durations)) if durations else 0.0
    return _stacked(frames, (height, width), 1000 / mean if mean > 0 else None)


def _of_video(path: Path, size: Size) -> Frames:
    try:
        import av
    except ImportError:
        raise UserError(f"{path.suffix} files need av, which is not installed; pip install av") from None
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("it has no pictures, only sound")
        stream = container.streams.video[0]
        rate = float(stream.average_rate) if stream.average_rate else None
        frames = [size.of(frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        return _stacked(frames, (stream.height, stream.width), rate)


def _of_array(path: Path, location: str, size: Size) -> Frames:
    found = np.load(path, allow_pickle=False)
    if path.suffix.lower() == ".npz":
        with found:
            names = list(found.files)
            values = found[next((name for name in ("clip", "frames", "video") if name in names), names[0])]
    else:
        values = found
    pixels = bytes_of(channels_last(values, location, "a clip", "frames"), location)
    return _stacked([size.of(frame) for frame in pixels], pixels.shape[1:3])


def _stacked(frames: list[np.ndarray], size: tuple[int, ...], rate: float | None = None) -> Frames:
    """Frames as one array, greys among colours as colours."""
    if any(frame.shape[2] == 3 for frame in frames):
        frames = [np.repeat(frame, 3, 2) if frame.shape[2] == 1 else frame for frame in frames]
    pixels = np.stack(frames) if frames else np.empty((0, 1, 1, 1), dtype=np.uint8)
    return Frames(pixels, (size[0], size[1]), rate)
