"""Heat maps of attention weights, one for each head: painted by hand in a few milliseconds.

A matplotlib figure of the same takes as long as several training steps.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MOST_HEADS = 8
COLUMNS = 4
SIDE = 144
STRIP = 36
LEFT, TOP, GAP, BOTTOM = 52, 24, 14, 34
_SHARES = (0.0, 0.5, 1.0)
_COLOURS = ((247, 251, 255), (107, 174, 214), (8, 48, 107))


def attention_picture(weights: np.ndarray, title: str) -> np.ndarray:
    """What each query looks at, darker for more; the scale is the same for all heads.

    Args:
        weights: ``[heads, queries, keys]``, rows that sum to 1; the first 8 heads are painted.
        title: heading.

    Returns:
        ``[height, width, 3]``, bytes.
    """
    heads, queries, keys = weights.shape
    weights = weights[:MOST_HEADS]
    most = float(weights.max())
    columns = min(len(weights), COLUMNS)
    rows = math.ceil(len(weights) / columns)
    height = SIDE if queries > 1 else STRIP  # a single query makes a strip
    font = ImageFont.load_default(size=11)
    heading = f"{title}: share of attention, white 0 to dark {most:.2g}; mean over samples"
    if heads > MOST_HEADS:
        heading += f"; heads 0 to {MOST_HEADS - 1} of {heads}"
    width = max(LEFT + columns * (SIDE + GAP), int(font.getlength(heading)) + 16)
    image = Image.new("RGB", (width, TOP + rows * (height + BOTTOM + 14)), "white")
    draw = ImageDraw.Draw(image)
    draw.text((8, 5), heading, "black", font)
    for number, head in enumerate(weights):
        row, column = divmod(number, columns)
        x, y = LEFT + column * (SIDE + GAP), TOP + 14 + row * (height + BOTTOM + 14)
        image.paste(_coloured(head / max(most, 1e-12), (SIDE, height)), (x, y))
        draw.rectangle((x - 1, y - 1, x + SIDE, y + height), outline="grey")
        draw.text((x + SIDE // 2, y - 3), f"head {number}", "black", font, anchor="ms")
        draw.text((x, y + height + 3), "0", "black", font)
        draw.text((x + SIDE, y + height + 3), str(keys - 1), "black", font, anchor="ra")
        draw.text((x + SIDE // 2, y + height + 3), "key", "black", font, anchor="ma")
        if column == 0:
            draw.text((x - 5, y - 1), "0", "black", font, anchor="ra")
            if queries > 1:
                draw.text((x - 5, y + height), str(queries - 1), "black", font, anchor="rs")
                draw.text((x - 5, y + height // 2), "query", "black", font, anchor="rm")
    return np.asarray(image)


def _coloured(shares: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Shares from 0 to 1 in shades of blue, every entry a block, or blocks of entries their mean."""
    fits = shares.shape[0] <= size[1] and shares.shape[1] <= size[0]
    filter = Image.Resampling.NEAREST if fits else Image.Resampling.BOX
    values = np.asarray(Image.fromarray(shares.astype(np.float32)).resize(size, filter))
    channels = [np.interp(values, _SHARES, [colour[channel] for colour in _COLOURS]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))
