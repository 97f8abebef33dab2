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
from .captions import read_caption_rows
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


def read_landmark_table(
    path: Path, location: str, landmarks: int | None, labels: Path | None, captions: Path | None = None
) -> LandmarkSequences:
    """The sequences of a CSV file.

    Either every row is a sequence: a class, then x and y of every landmark of every frame. Or every row is a landmark
    of a frame: columns ``clip``, ``frame``, ``x``, ``y`` and perhaps ``landmark`` and ``caption``.

    Args:
        path: of the file.
        location: the same, for messages.
        landmarks: how many there are in a frame; 1 by default.
        labels: file of the classes' names, one a line, which become captions; without it the classes themselves.
        captions: table of clips and their captions, where every row is a landmark.

    Raises:
        DataError: if it has other columns, or values that are no numbers.
        OptionError: if rows are no whole number of frames, or an option goes with the other kind of table.
    """
    import pandas as pd

    head = heading(path)
    if set(head) >= LONG_COLUMNS:
        if labels is not None or landmarks is not None:
            raise OptionError(
                f"{'--landmarks' if labels is None else '--labels'} goes with a sequence in each row, but {location} "
                "has a landmark in each row; leave it out"
            )
        return _of_long_table(path, location, captions)
    if captions is not None:
        raise OptionError(
            f"--captions goes with named clips, but {location} has a class and a sequence in each row; use --labels"
        )
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
    texts = _class_captions([str(value) for value in table.iloc[:, 0]], labels, location)
    names = tuple(f"{path.name.partition('.')[0]} #{number}" for number in range(1, len(values) + 1))
    points = list(values.reshape(len(values), -1, count, 2))
    text = (
        f"{plural(len(points), 'sequence')} of {plural(points[0].shape[0], 'frame')}, {plural(count, 'landmark')} each"
    )
    return LandmarkSequences(points, texts, names, edges_of(count), (Note("landmarks", text, "--landmarks"),))


def _class_captions(classes: Sequence[str], labels: Path | None, location: str) -> tuple[str, ...]:
    if labels is None:
        return tuple("" if text == "nan" else text.removesuffix(".0") for text in classes)
    try:
        lines = labels.read_text("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise DataError(f"--labels must be a readable file, but {labels} is not: {error.strerror}; check it") from None
    names = {str(number): " ".join(line.lower().split()) for number, line in enumerate(lines) if line.strip()}
    numbers = [text.removesuffix(".0") for text in classes]
    wrong = sorted(set(numbers) - set(names))
    if wrong:
        raise DataError(
            f"classes must be numbers of lines in {labels}, from 0 to {len(lines) - 1}, but {location} has "
            f"{some(wrong)}; give the right file as --labels"
        )
    return tuple(names[number] for number in numbers)


def _of_long_table(path: Path, location: str, captions: Path | None) -> LandmarkSequences:
    import pandas as pd

    try:
        table = pd.read_csv(path, encoding="utf-8-sig", dtype={"clip": str, "caption": str})
        table.columns = [str(name).strip().lower() for name in table.columns]
        table[["x", "y"]] = table[["x", "y"]].astype(float)
        if "landmark" not in table:
            table["landmark"] = 0
        if table[["clip", "frame", "landmark"]].isna().any(axis=None):
            raise ValueError("a clip, frame or landmark is missing")
        places = sorted(table["landmark"].unique().tolist())
        points, names, texts = [], [], []
        for name, rows in table.groupby("clip", sort=False):
            frames = sorted(rows["frame"].unique().tolist())
            found = np.full((len(frames), len(places), 2), np.nan)
            at = rows["frame"].map({frame: place for place, frame in enumerate(frames)}).to_numpy()
            which = rows["landmark"].map({number: place for place, number in enumerate(places)}).to_numpy()
            found[at, which] = rows[["x", "y"]].to_numpy()
            points.append(found)
            names.append(str(name))
            said = rows["caption"].dropna().tolist() if "caption" in rows else []
            texts.append(" ".join(str(said[0]).split()) if said else "")
    except Exception as error:  # pandas answers with errors of many types
        raise DataError(
            f"a table of landmarks must have numbers in x and y and whole frames, but {location} has not: {error}; "
            "check it"
        ) from None
    if captions is not None:
        by_name = dict(read_caption_rows(captions))
        texts = [by_name.get(name, "") for name in names]
    text = f"{plural(len(points), 'sequence')} of {plural(len(places), 'landmark')}, a row for each landmark"
    return LandmarkSequences(
        points, tuple(texts), tuple(names), edges_of(len(places)), (Note("landmarks", text, "--landmarks"),)
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
        # Masked where the confidence is zero.
        values = np.ma.filled(pose.body.data[:, 0, :, :2].astype(np.float64), np.nan)
    except Exception as error:  # the library answers damage with errors of many types
        raise DataError(
            f"every clip must be readable, but {location} is damaged: {error or type(error).__name__}; make it again, "
            "or leave it out"
        ) from None
    if not len(values):
        raise DataError(f"every clip must have frames, but {location} has none; leave it out")
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
