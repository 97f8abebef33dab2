"""Whether ``--data`` names images, by a look at names and first bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from PIL import Image

from ..options import ReadingOptions
from ..reading.compression import content_kind, zip_members
from ..reading.sources import local_path
from .idx import is_idx_of_images, unpacked_head
from .pictures import is_picture_name

_ENTRIES = 50  # of each folder that are looked at
_ALL_ENTRIES = 200
_DEPTH = 3


def is_images(options: ReadingOptions) -> bool:
    """Whether ``--data`` names images: a folder or zip of mostly pictures, one picture, an IDX file or an ``.npz``.

    Returns:
        False also for whatever cannot be read: the readers say better why.
    """
    try:
        path = local_path(options.data)
        return path is not None and image_kind(path, options.data) != ""
    except Exception:
        return False


def image_kind(path: Path, location: str) -> str:
    """``folder``, ``zip``, ``picture``, ``npz`` or ``idx``; "" for what holds no images.

    Raises:
        DataError, OSError: if it cannot be read.
    """
    if path.is_dir():
        return "folder" if _mostly_pictures(list(islice(_names_below(path, 0), _ALL_ENTRIES))) else ""
    if not path.is_file():  # a pipe can be read but once
        return ""
    with path.open("rb") as stream:
        head = stream.read(8)
    if content_kind(head) == "zip":
        if path.suffix.lower() == ".npz":
            return "npz"
        names = [member.filename for member in zip_members(lambda: path.open("rb"), location)]
        return "zip" if _mostly_pictures(names) else ""
    if is_picture_name(path.name):
        return "picture" if _is_picture(path) else ""
    return "idx" if is_idx_of_images(unpacked_head(path, location)) else ""


def _mostly_pictures(names: list[str]) -> bool:
    return 2 * sum(map(is_picture_name, names)) > len(names)


def _names_below(folder: Path, depth: int) -> Iterator[str]:
    """Names of files in a folder and, below it, in folders; not all of a large one."""
    with os.scandir(folder) as entries:
        seen = sorted(islice((entry for entry in entries if entry.name[0] != "."), _ENTRIES), key=lambda e: e.name)
    yield from (entry.name for entry in seen if not entry.is_dir())
    if depth < _DEPTH:
        for entry in seen:
            if entry.is_dir():
                yield from _names_below(Path(entry.path), depth + 1)


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except (OSError, zipfile.BadZipFile):
        return False
