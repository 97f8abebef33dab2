"""Pictures on their way to TensorBoard's IMAGES tab: arrays of any usual layout, figures, videos as animated GIFs."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHANNELS = (1, 3, 4)
_VIDEO_CHANNELS = (1, 3)


def as_picture(image: Any) -> np.ndarray:
    """A picture as bytes ``[height, width, channels]``.

    Args:
        image: tensor or array ``[height, width]``, ``[channels, height, width]`` or ``[height, width, channels]`` with
            1, 3 or 4 channels; bytes, bools, or numbers from 0 to 1, beyond which they are cut off. Where both the
            first and the last axis could be the channels, it is the first, as in PyTorch.

    Raises:
        UserError: for any other shape.
    """
    array = _as_bytes(image)
    shape = array.shape
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim == 3 and shape[0] in _CHANNELS and array.size:
        return array.transpose(1, 2, 0)
    if array.ndim == 3 and shape[2] in _CHANNELS and array.size:
        return array
    raise UserError(
        "an image must be [height, width], [channels, height, width] or [height, width, channels] with 1, 3 or 4 "
        f"channels, but its shape is {list(shape)}; log the pictures of a batch one by one, or as one with "
        "torchvision.utils.make_grid"
    )


def close_figure(figure: Figure) -> None:
    """Free a figure: one of pyplot's is closed, any other one is emptied."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and getattr(figure, "number", None) in pyplot.get_fignums():
        pyplot.close(figure)
    else:
        figure.clear()


def png_of(figure: Figure) -> tuple[bytes, int, int, int]:
    """A figure as the bytes of a PNG file, its height, width and channels; packed lightly, which is much faster."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=2)
    return file.getvalue(), picture.height, picture.width, 3


def animated_gif(video: Any, fps: float = 8) -> tuple[bytes, int, int, int]:
    """A video as an animated GIF that repeats for ever.

    Args:
        video: tensor or array ``[time, channels, height, width]`` or ``[batch, time, channels, height, width]``, whose
            samples stand side by side; 1 or 3 channels; bytes, or numbers from 0 to 1, beyond which they are cut off.
        fps: frames per second; browsers show at most 50.

    Returns:
        the encoded file, its height, width and channels.

    Raises:
        UserError: for any other shape, or a rate below 1.
    """
    from PIL import Image

    array = _as_bytes(video)
    if array.ndim not in (4, 5) or array.shape[-3] not in _VIDEO_CHANNELS or not array.size:
        raise UserError(
            "a video must be [time, channels, height, width] or [batch, time, channels, height, width] with 1 or 3 "
            f"channels, but its shape is {list(array.shape)}; torch.movedim puts axes in order"
        )
    if fps < 1:
        raise UserError(f"fps must be at least 1 frame per second, but got {fps}; 8 is usual")
    if array.ndim == 5:
        batch, time, channels, height, width = array.shape
        array = array.transpose(1, 2, 3, 0, 4).reshape(time, channels, height, batch * width)
    frames = [Image.fromarray(frame[0] if len(frame) == 1 else frame.transpose(1, 2, 0)) for frame in array]
    # Browsers slow frames of less than 20 ms down to 100 ms.
    milliseconds = max(20, round(1000 / fps))
    file = io.BytesIO()
    frames[0].save(
        file, format="GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, optimize=False
    )
    return file.getvalue(), array.shape[2], array.shape[3], array.shape[1]


def _as_bytes(values: Any) -> np.ndarray:
    """Bytes from 0 to 255 of the same shape; values that are not finite become 0."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    array = np.asarray(values)
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        return np.clip(array, 0, 255).astype(np.uint8)
    unit = np.clip(np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    return np.round(unit * 255).astype(np.uint8)
