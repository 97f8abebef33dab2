"""From the bytes of one picture to pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ...errors import DataError
from .shapes import resized

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip

_TURNED = (5, 6, 7, 8)  # values of the tag that says that a photograph lies on its side
_ORIENTATION = 0x0112


def is_picture_name(name: str) -> bool:
    """Whether a file's name ends like that of a picture."""
    return name.lower().endswith(SUFFIXES)


def picture_size(opener: Callable[[], BinaryIO], location: str) -> tuple[int, int]:
    """Height and width of a picture, by its header.

    Raises:
        DataError: if it is damaged or no picture.
    """
    try:
        with opener() as stream, Image.open(stream) as picture:
            width, height = picture.size
            turned = _is_photograph(picture) and picture.getexif().get(_ORIENTATION) in _TURNED
    except Exception as error:  # Pillow answers damage with errors of nearly every type
        raise _damaged(location, error) from None
    return (width, height) if turned else (height, width)


def read_picture(
    opener: Callable[[], BinaryIO], location: str, side: int | None, grey: bool = False
) -> tuple[np.ndarray, bool]:
    """The pixels of a picture, of its first frame if there are several.

    Args:
        opener: opens its bytes.
        location: for messages.
        side: of the square it is resized to; None leaves it as it is.
        grey: whether colours are turned into greys.

    Returns:
        uint8 ``[height, width]`` for greys or ``[height, width, 3]`` where it has colours, and whether it had any
        transparent parts, which are put on white.

    Raises:
        DataError: if it is damaged, no picture, or has values that are no brightness.
    """
    try:
        with opener() as stream, Image.open(stream) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened) if _is_photograph(opened) else opened
            transparent = upright.has_transparency_data
            plain = _plain(upright, location)
    except DataError:
        raise
    except Exception as error:
        raise _damaged(location, error) from None
    if grey:
        plain = plain.convert("L")
    pixels = np.asarray(plain)
    if pixels.ndim == 3 and not has_colours(pixels):
        pixels = pixels[:, :, 0]
    return (pixels if side is None else resized(pixels, side)), transparent


def has_colours(pixels: np.ndarray) -> bool:
    """Whether red, green and blue differ anywhere; of ``[..., channels]``, False for a single channel."""
    return pixels.shape[-1] == 3 and not (
        np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
    )


def bytes_of(values: np.ndarray, location: str) -> np.ndarray:
    """Brightness of any number type as uint8: fractions up to 1 are scaled, values up to 255 are taken as they are.

    Raises:
        DataError: if values are missing, or lie outside both ranges.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise DataError(
            f"pixels must be numbers, but {location} holds values of type {values.dtype}; save them as uint8"
        )
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite(low) or not np.isfinite(high):
        raise DataError(f"pixels must be finite numbers, but {location} has NaN or infinite ones; fill them first")
    if low < 0 or high > 255:
        raise DataError(
            f"pixels must be fractions from 0 to 1 or values from 0 to 255, but those of {location} go from {low:g} to "
            f"{high:g}; scale them to 0 to 255"
        )
    if values.dtype.kind == "f":
        return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)
    return values.astype(np.uint8)


def _plain(picture: Image.Image, location: str) -> Image.Image:
    """The picture in greys of 8 bits or in red, green and blue, with nothing transparent."""
    if picture.mode.startswith("I"):  # greys of 16 bits; Pillow itself would cut them off at 255
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DataError(
                f"greys must have at most 16 bits, but those of {location} go from {values.min()} to {values.max()}; "
                "save it with 8 or 16 bits"
            )
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "F":
        return Image.fromarray(bytes_of(np.asarray(picture), location))
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _is_photograph(picture: Image.Image) -> bool:
    """Whether its header may say that it lies on its side; others would have to be read whole to know."""
    return picture.format in ("JPEG", "MPO")


def _damaged(location: str, error: Exception) -> DataError:
    reason = "it is no picture, or not whole" if type(error).__name__ == "UnidentifiedImageError" else str(error)
    return DataError(
        f"every picture must be readable, but {location} is damaged: {reason or type(error).__name__}; fetch it again, "
        "or leave it out"
    )
