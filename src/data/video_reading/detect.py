"""Whether ``--data`` names captioned clips, by a look at names and heads."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..options import ReadingOptions
from ..reading.sources import local_path
from .captions import holds_clips
from .landmark_files import LONG_COLUMNS, heading


def is_videos(options: ReadingOptions) -> bool:
    """Whether ``--data`` names captioned clips.

    That is a folder of clips or with a file of captions, an ``.npz`` with clips and captions, or a table of landmarks,
    which is one with ``--landmarks``, with ``--labels``, or with columns clip, frame, x and y.

    Returns:
        False also for whatever cannot be read: the readers say better why.
    """
    if getattr(options, "task", None) not in (None, "generate"):
        return False
    if options.captions is not None or options.landmarks is not None or getattr(options, "task", None) == "generate":
        return True
    try:
        path = local_path(options.data)
        if path is None:
            return False
        if path.is_dir():
            return holds_clips(path)
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
