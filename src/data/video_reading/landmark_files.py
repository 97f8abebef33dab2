"""Landmark sequences in files: CSV with a sequence in a row or a landmark in a row, and ``.pose`` files."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError, OptionError, UserError
from ..reading.findings import plural, some
from ..tables import Note
from .landmarks import Edges, edges_of

LONG_COLUMNS = frozenset(("clip", "frame", "x", "y"))


@dataclass(frozen=True)
class LandmarkSequences:
    """Sequences of landmarks.

    Attributes:
        points: of each sequence ``[frames, landmarks, 2]``, NaN where missing.
        captions: what each shows; empty where nothing is said.
        names: where each comes from.
        edges: pairs of landmarks that lines join.
        notes: what was found.
    """

    points: Sequence[np.ndarray]
    captions: tuple[str, ...]
    names: tuple[str, ...]
    edges: Edges
    notes: tuple[Note, ...] = ()


def heading(path: Path) -> list[str]:
    """The cells of the first line of a CSV file, lower-cased; packed by gzip or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        return [cell.strip().strip('"').lower() for cell in file.readline().split(",")]


def read_landmark_table(path: Path, location: str, landmarks: int | None, labels: Path | None) -> LandmarkSequences:
    """The sequences of a CSV file.

    Either every row is a sequence: a class, then x and y of every landmark of every frame. Or every row is a landmark
    of a frame: columns ``clip``, ``frame``, ``x``, ``y`` and perhaps ``landmark`` and ``caption``.

    Args:
        path: of the file.
        location: the same, for messages.
        landmarks: how many there are in a frame; 1 by default.
        labels: file of the classes' names, one a line, which become captions; without it the classes themselves.

    Raises:
        DataError: if it has other columns, or values that are no numbers.
        OptionError: if rows are no whole number of frames.
    """
    import pandas as pd

    head = heading(path)
    if set(head) >= LONG_COLUMNS:
        return _of_long_table(path, location)
    has_names = not all(map(_is_number, head[1:]))
    try:
        table = pd.read_csv(path, header=0 if has_names else None, encoding="utf-8-sig")
        values = table.iloc[:, 1:].to_numpy(dtype=np.float64)
    except Exception as error:  # pandas answers with errors of many types
        raise DataError(
            f"landmarks must be numbers, a class and then x and y of each, but {location} is not so: {error}; check it"
        ) from None
    count = landmarks or 1
    if not values.shape[1] or values.shape[1] % (2 * count):
        raise OptionError(
            f"a row of landmarks must have x and y of {plural(count, 'landmark')} for each frame, but {location} has "
            f"{values.shape[1]} numbers behind the class; use another --landmarks"
        )
    captions = _class_captions([str(value) for value in table.iloc[:, 0]], labels, location)
    names = tuple(f"{path.name.partition('.')[0]} #{number}" for number in range(1, len(values) + 1))
    points = list(values.reshape(len(values), -1, count, 2))
    text = (
        f"{plural(len(points), 'sequence')} of {plural(points[0].shape[0], 'frame')}, {plural(count, 'landmark')} each"
    )
    return LandmarkSequences(points, captions, names, edges_of(count), (Note("landmarks", text, "--landmarks"),))


def _class_captions(classes: Sequence[str], labels: Path | None, location: str) -> tuple[str, ...]:
    if labels is None:
        return tuple(text.removesuffix(".0") for text in classes)
    names = [line.strip().lower() for line in labels.read_text("utf-8-sig", "replace").splitlines() if line.strip()]
    numbers = [int(float(text)) if _is_number(text) else -1 for text in classes]
    wrong = sorted({text for text, number in zip(classes, numbers, strict=True) if not 0 <= number < len(names)})
    if wrong:
        raise DataError(
            f"classes must be numbers of lines in {labels}, from 0 to {len(names) - 1}, but {location} has "
            f"{some(wrong)}; give the right file as --labels"
        )
    return tuple(names[number] for number in numbers)


def _of_long_table(path: Path, location: str) -> LandmarkSequences:
    import pandas as pd

    try:
        table = pd.read_csv(path, encoding="utf-8-sig")
        table.columns = [str(name).strip().lower() for name in table.columns]
        table[["x", "y"]] = table[["x", "y"]].astype(float)
        if "landmark" not in table:
            table["landmark"] = 0
        places = sorted(table["landmark"].unique().tolist())
        points, captions, names = [], [], []
        for name, rows in table.groupby("clip", sort=False):
            frames = sorted(rows["frame"].unique().tolist())
            found = np.full((len(frames), len(places), 2), np.nan)
            at = rows["frame"].map({frame: place for place, frame in enumerate(frames)}).to_numpy()
            which = rows["landmark"].map({number: place for place, number in enumerate(places)}).to_numpy()
            found[at, which] = rows[["x", "y"]].to_numpy()
            points.append(found)
            names.append(str(name))
            captions.append(str(rows["caption"].iloc[0]) if "caption" in rows else "")
    except Exception as error:  # pandas answers with errors of many types
        raise DataError(
            f"a table of landmarks must have numbers in x and y and whole frames, but {location} has not: {error}; "
            "check it"
        ) from None
    text = f"{plural(len(points), 'sequence')} of {plural(len(places), 'landmark')}, a row for each landmark"
    return LandmarkSequences(
        points, tuple(captions), tuple(names), edges_of(len(places)), (Note("landmarks", text, "--landmarks"),)
    )


def read_pose(path: Path, location: str) -> tuple[np.ndarray, Edges, float | None]:
    """The first person of a ``.pose`` file.

    Returns:
        landmarks ``[frames, landmarks, 2]``, NaN where missing; the lines between them; frames per second.

    Raises:
        DataError: if it is damaged.
        UserError: if pose-format is missing.
    """
    try:
        from pose_format import Pose
    except ImportError:
        raise UserError(".pose files need pose-format, which is not installed; pip install pose-format") from None
    try:
        pose = Pose.read(path.read_bytes())
        values = np.ma.filled(pose.body.data[:, 0, :, :2].astype(np.float64), np.nan)
        confidence = np.ma.filled(pose.body.confidence[:, 0], 0)
    except Exception as error:  # the library answers damage with errors of many types
        raise DataError(
            f"every clip must be readable, but {location} is damaged: {error or type(error).__name__}; make it again, "
            "or leave it out"
        ) from None
    values[confidence <= 0] = np.nan
    edges, first = [], 0
    for component in pose.header.components:
        edges += [(first + int(start), first + int(end)) for start, end in component.limbs]
        first += len(component.points)
    return values, tuple(edges), float(pose.body.fps) or None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
