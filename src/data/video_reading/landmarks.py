"""Landmark sequences drawn as clips: paths of one point with a fading trail, skeletons of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LANDMARK_SIDE = 32
HAND = tuple(
    (0 if finger_start == first else first - 1, first)
    for finger_start in (1, 5, 9, 13, 17)
    for first in range(finger_start, finger_start + 4)
)
"""The lines of a hand of 21 landmarks: from the wrist along each finger."""

_TRAIL = 0.8
"""What is left of a path's brightness with every frame."""
_USUAL_EXTENT = 0.95
_MARGIN = 0.08
_THICKNESS = 0.022

Edges = Sequence[tuple[int, int]]


def edges_of(landmarks: int) -> Edges:
    """The lines between so many landmarks: of a hand if there are 21, else none."""
    return HAND if landmarks == 21 else ()


def usual_extent(sequences: Sequence[np.ndarray]) -> float:
    """The extent that nearly all sequences stay below.

    All are drawn on this scale, so that a hand at rest does not look like one that waves.
    """
    extents = [float(np.nan_to_num(_extent(points))) for points in sequences]
    return float(np.quantile(extents, _USUAL_EXTENT)) or 1.0


def draw_landmarks(points: np.ndarray, side: int, extent: float, edges: Edges = ()) -> np.ndarray:
    """A sequence as a clip of white on black.

    Args:
        points: ``[frames, landmarks, 2]``, x to the right and y downwards; NaN where a landmark is missing.
        side: of the square.
        extent: what shall fill it; a larger sequence gets a scale of its own.
        edges: pairs of landmarks that lines join. A single landmark leaves a fading trail.

    Returns:
        uint8 ``[frames, side, side, 1]``.
    """
    with np.errstate(all="ignore"):
        low, high = np.nanmin(points, (0, 1), initial=np.inf), np.nanmax(points, (0, 1), initial=-np.inf)
        centre = np.nan_to_num((low + high) / 2)
    scale = (1 - 2 * _MARGIN) * side / max(extent, float(np.nan_to_num(_extent(points))), 1e-9)
    placed = (points - centre) * scale + side / 2
    clip = np.zeros((len(points), side, side), dtype=np.float32)
    is_path = points.shape[1] == 1
    for frame, now in enumerate(placed):
        picture = clip[frame]
        if is_path and frame:
            np.maximum(picture, _TRAIL * clip[frame - 1], out=picture)
            _draw_line(picture, placed[frame - 1, 0], now[0])
        for first, second in edges:
            _draw_line(picture, now[first], now[second], brightness=0.7)
        for point in now:
            _draw_line(picture, point, point, width=2.0)
    return np.rint(clip * 255).astype(np.uint8)[..., None]


def _extent(points: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        spans = np.nanmax(points, (0, 1), initial=-np.inf) - np.nanmin(points, (0, 1), initial=np.inf)
    return float(max(spans.max(), 0.0)) if np.isfinite(spans).all() else 0.0


def _draw_line(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, brightness: float = 1.0, width: float = 1.0
) -> None:
    """A line with soft edges on a picture ``[rows, columns]``, where it is brighter than what is there."""
    if not np.isfinite(start + end).all():
        return
    side = len(picture)
    radius = max(0.6, width * _THICKNESS * side)
    low = np.maximum(np.floor(np.minimum(start, end) - radius - 1), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + radius + 1), side).astype(int)
    columns, rows = np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5
    if not len(columns) or not len(rows):
        return
    along = end - start
    length = float(along @ along)
    x, y = columns[None, :] - start[0], rows[:, None] - start[1]
    share = np.clip((x * along[0] + y * along[1]) / length, 0, 1) if length else 0.0
    distance = np.hypot(x - share * along[0], y - share * along[1])
    part = picture[low[1] : high[1], low[0] : high[0]]
    np.maximum(part, brightness * np.clip(radius + 0.5 - distance, 0, 1), out=part)
