"""Whether ``--data`` names captioned clips, by a look at names and heads."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ...errors import DataError
from ..image_reading.pictures import is_picture_name
from ..options import ReadingOptions
from ..reading.sources import local_path
from .captions import caption_file, clips_below, read_caption_rows, text_beside
from .files import ARRAY_SUFFIXES, CLIP_SUFFIXES, POSE_SUFFIX, VIDEO_SUFFIXES, moves
from .landmark_files import LONG_COLUMNS, heading

_ENTRIES = 50  # of each folder that are looked at
_ALL_ENTRIES = 200


def is_videos(options: ReadingOptions) -> bool:
    """Whether ``--data`` names captioned clips.

    That is a folder of clips with captions, an ``.npz`` with clips and captions, or a table of landmarks, which is one
    with ``--landmarks``, with ``--labels``, or with columns clip, frame, x and y. Films and poses are clips in any
    folder, as nothing else reads them; pictures that move are so only with captions, as they may be images as well.

    Returns:
        False also for whatever cannot be read: the readers say better why.
    """
    task = getattr(options, "task", None)
    if task not in (None, "generate"):
        return False
    if task == "generate" or options.captions is not None or options.landmarks is not None:
        return True
    try:
        path = local_path(options.data)
        if path is None:
            return False
        if path.is_dir():
            return _holds_clips(path)
        if path.suffix.lower() == ".npz":
            return is_clip_archive(path)
        return is_table(path) and (options.labels is not None or set(heading(path)) >= LONG_COLUMNS)
    except Exception:
        return False


def is_clip_archive(path: Path) -> bool:
    """Whether an archive of arrays has clips and their captions."""
    with zipfile.ZipFile(path) as archive:
        return {"clips.npy", "captions.npy"} <= set(archive.namelist())


def is_table(path: Path) -> bool:
    """Whether a file is a CSV by its name, packed by gzip or not."""
    return path.is_file() and path.name.lower().removesuffix(".gz").endswith(".csv")


def _holds_clips(folder: Path) -> bool:
    """Whether there are clips and a table of their captions, or more clips than other files."""
    table = caption_file(folder)
    if table is not None:
        with contextlib.suppress(DataError):  # the reader says better what is wrong with it
            return not _is_of_pictures(table, folder) and bool(clips_below(folder))
    looked_at = list(islice(_files_below(folder), _ALL_ENTRIES))
    return 2 * sum(_is_captioned_clip(file, folder) for file in looked_at) > len(looked_at)


def _is_of_pictures(table: Path, folder: Path) -> bool:
    """Whether the first thing that a table of captions names is a picture that does not move."""
    name = next((name for name, _ in read_caption_rows(table)), "")
    return is_picture_name(name) and not moves(folder / name)


def _is_captioned_clip(file: Path, folder: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in (*VIDEO_SUFFIXES, POSE_SUFFIX):
        return True
    if is_picture_name(file.name) and file.parent != folder and text_beside(file.parent).is_file():
        return True  # a frame of a folder of frames
    has_caption = file.parent != folder or text_beside(file).is_file()
    return has_caption and (suffix in ARRAY_SUFFIXES or moves(file))


def _files_below(folder: Path) -> Iterator[Path]:
    """Files in a folder and those below it, but for texts beside clips; not all of a large one."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))[:_ENTRIES]
        shown = sorted(name for name in files if not name.startswith("."))[:_ENTRIES]
        clips = {os.path.splitext(name)[0] for name in shown if name.lower().endswith(CLIP_SUFFIXES)} | set(folders)
        yield from (
            Path(parent, name) for name in shown if not (name.endswith(".txt") and name.removesuffix(".txt") in clips)
        )
