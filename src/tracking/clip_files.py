"""Clips as files to look at (GIF, MP4, a strip of frames as PNG) and to compute with (NPZ)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import UserError
from .pictures import animated_gif
from .run_folder import write_atomically

CLIP_SUFFIXES = (".gif", ".mp4", ".png", ".npz")
TOGETHER_SUFFIXES = (".png", ".npz")
"""Of files that hold many clips, each for itself, where others show them side by side."""

LEAST_HEIGHT = 128
LEAST_HEIGHT_IN_STRIP = 64
"""Pixels that a clip, or a frame of a strip, is high at least: players show small ones as they are."""

_CHANNELS = (1, 3)
_QUALITY = "18"
"""x264's constant rate factor: 0 loses nothing, 23 is its default, 18 looks the same as the original."""
_REPRODUCIBLE = {"threads": "1", "x264-params": "mbtree=0"}
"""The same clip is the same file: on any number of cores, and always. x264's macroblock tree reads memory that nobody
has written; with it, of pictures of 272 x 272 pixels now and then one in three was another file."""


def write_clip(
    path: Path, clips: Tensor, frame_rate: float, captions: Sequence[str] = (), columns: int | None = None
) -> None:
    """Write clips, whole or not at all, as the file's name says.

    ``.gif`` and ``.mp4`` show several clips side by side in one. ``.png`` is a strip with a row for each clip and a
    column for each frame. All of them are enlarged until clips can be looked at. ``.npz`` holds the values themselves:
    ``clips``, uint8 ``[clips, frames, height, width, channels]``, ``captions`` and ``frame_rate``.

    Args:
        path: of the file.
        clips: ``[clips, frames, channels, height, width]`` with 1 or 3 channels; bytes, or numbers from 0 to 1.
        frame_rate: frames per second.
        captions: of the clips, for ``.npz``.
        columns: clips side by side in a row of ``.gif`` and ``.mp4``; by default about as many as rows.

    Raises:
        UserError: for another suffix, other shapes, a frame rate of 0 or less, or an MP4 where ``av`` is missing.
        OSError: if it cannot be written.
    """
    write_atomically(path, clip_file(path.suffix, clips, frame_rate, captions, columns))


def clip_file(
    suffix: str, clips: Tensor, frame_rate: float, captions: Sequence[str] = (), columns: int | None = None
) -> bytes:
    """What ``write_clip`` writes into a file of that suffix."""
    clips, suffix = _as_bytes(clips, 5), suffix.lower()
    if suffix == ".npz":
        return _as_npz(clips, frame_rate, captions)
    if suffix == ".png":
        return _as_png(clips)
    if suffix not in CLIP_SUFFIXES:
        raise UserError(f"a file of clips must end in {', '.join(CLIP_SUFFIXES)}, but got one that ends in '{suffix}'")
    side_by_side = clip_grid(enlarged(clips), columns)
    if suffix == ".mp4":
        return as_mp4_bytes(side_by_side, frame_rate)
    return animated_gif(side_by_side, float(_checked_rate(frame_rate)))[0]


def clip_grid(clips: Tensor, columns: int | None = None) -> Tensor:
    """Clips side by side in one, row by row, with thin grey lines between them; places that stay empty are grey.

    Args:
        clips: ``[clips, frames, channels, height, width]``; bytes, or numbers from 0 to 1.
        columns: clips in a row; by default about as many as rows.

    Returns:
        ``[frames, channels, height, width]`` of the same type.
    """
    count, frames, channels, height, width = clips.shape
    line = max(1, height // 64)
    grey = 128 if clips.dtype == torch.uint8 else 0.5
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = -(-count // columns)
    places = pad(clips, (0, 0) * 4 + (0, rows * columns - count), value=grey)
    places = pad(places, (0, line, 0, line), value=grey).unflatten(0, (rows, columns))
    grid = places.permute(2, 3, 0, 4, 1, 5).reshape(frames, channels, rows * (height + line), columns * (width + line))
    return grid[..., :-line, :-line]


def enlarged(clips: Tensor, least: int = LEAST_HEIGHT) -> Tensor:
    """Clips ``[..., height, width]`` of at least so many pixels in height, every pixel as a square of them."""
    factor = -(-least // clips.shape[-2])
    return clips.repeat_interleave(factor, -2).repeat_interleave(factor, -1) if factor > 1 else clips


def as_mp4_bytes(clip: Tensor, frame_rate: float) -> bytes:
    """A clip as an MP4 file that browsers play: H.264, enlarged, and with even sides, as its colours want.

    Args:
        clip: ``[frames, channels, height, width]`` with 1 or 3 channels; bytes, or numbers from 0 to 1.
        frame_rate: frames per second.

    Raises:
        UserError: for other shapes, a frame rate of 0 or less, or where ``av`` is missing.
    """
    try:
        import av
    except ImportError:
        raise UserError("an .mp4 file needs av, which is not installed; pip install av, or write .gif") from None
    rate = _checked_rate(frame_rate)
    pictures = enlarged(_as_bytes(clip, 4))
    height, width = pictures.shape[2:]
    pictures = pad(pictures, (0, width % 2, 0, height % 2)).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate, options={"crf": _QUALITY, **_REPRODUCIBLE})
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "yuv420p"
        for picture in pictures.contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _as_png(clips: Tensor) -> bytes:
    from PIL import Image

    frames = enlarged(clips, LEAST_HEIGHT_IN_STRIP).flatten(0, 1).unsqueeze(1)
    picture = clip_grid(frames, clips.shape[1])[0]
    file = io.BytesIO()
    Image.fromarray((picture[0] if len(picture) == 1 else picture.movedim(0, -1)).numpy()).save(file, "PNG")
    return file.getvalue()


def _as_npz(clips: Tensor, frame_rate: float, captions: Sequence[str]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        clips=clips.movedim(2, -1).numpy(),
        captions=np.asarray(captions, dtype=str),
        frame_rate=np.float64(frame_rate),
    )
    return file.getvalue()


def _as_bytes(clips: Tensor, axes: int) -> Tensor:
    """uint8 of the same shape, on the CPU.

    Raises:
        UserError: if it has not so many axes, the third from the end with 1 or 3 channels, or is empty.
    """
    if clips.ndim != axes or clips.shape[-3] not in _CHANNELS or not clips.numel():
        wanted = "[clips, frames, channels, height, width]" if axes == 5 else "[frames, channels, height, width]"
        raise UserError(f"clips must be {wanted} with 1 or 3 channels, but their shape is {list(clips.shape)}")
    clips = clips.detach().cpu()
    if clips.is_floating_point():
        return (clips.float().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    return clips.clamp(0, 255).to(torch.uint8)


def _checked_rate(frame_rate: float) -> Fraction:
    if not 0 < frame_rate < float("inf"):
        raise UserError(f"a clip needs a frame rate above 0 frames per second, but got {frame_rate}; 8 is usual")
    return Fraction(frame_rate).limit_denominator(1000)
