"""Pictures in folders and in zips: which files they are, and which classes their folders make."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from ...errors import DataError
from ..reading.compression import unpacking, zip_members
from ..reading.findings import plural, some
from ..tables import Note
from .pictures import is_picture_name

_TRAINING = ("train", "training")
_OTHER_PARTS = frozenset(("test", "testing", "val", "valid", "validation", "dev"))


@dataclass(frozen=True)
class PictureFile:
    """One picture.

    Attributes:
        name: path below what holds all of them, with slashes.
        location: path, for messages.
        opener: opens its bytes.
    """

    name: str
    location: str
    opener: Callable[[], BinaryIO]


@contextmanager
def open_pictures(path: Path, location: str, kind: str) -> Iterator[tuple[list[PictureFile], tuple[Note, ...]]]:
    """The pictures of a folder or zip in the order of their names, or a single one, and what was left out.

    Args:
        path: where they are.
        location: the same as the user wrote it.
        kind: ``zip``, ``folder`` or ``picture``.

    Raises:
        DataError: if there are none, or the zip is damaged.
    """
    if kind == "picture":
        yield [PictureFile(path.name, location, lambda: path.open("rb"))], ()
    elif kind == "folder":
        yield _only_pictures(list(_files_below(path, location)), location)
    else:
        names = [member.filename for member in zip_members(lambda: path.open("rb"), location)]
        with unpacking(location, "zip"):
            archive = zipfile.ZipFile(path)
        with archive:
            files = [PictureFile(name, f"{location}:{name}", _member_opener(archive, name)) for name in names]
            yield _only_pictures(_without_top(files), location)


def _member_opener(archive: zipfile.ZipFile, name: str) -> Callable[[], BinaryIO]:
    # Whole, as Pillow goes back and forth in a file, for which packed ones are unpacked from their beginning each time.
    return lambda: cast(BinaryIO, io.BytesIO(archive.read(name)))


def _opener(path: str) -> Callable[[], BinaryIO]:
    return lambda: Path(path).open("rb")


def _files_below(path: Path, location: str) -> Iterator[PictureFile]:
    def refuse(error: OSError) -> None:
        raise DataError(f"data must be a readable folder, but {location} is not: {error.strerror}; check it")

    for folder, folders, files in os.walk(path, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        for name in files:
            if not name.startswith(".") and name.lower() != "thumbs.db":
                full = os.path.join(folder, name)
                yield PictureFile(Path(full).relative_to(path).as_posix(), full, _opener(full))


def _without_top(files: list[PictureFile]) -> list[PictureFile]:
    """The files of a zip; where all are in one folder, as if that were the zip."""
    tops = {file.name.partition("/")[0] if "/" in file.name else "" for file in files}
    if len(tops) != 1 or "" in tops:
        return files
    return [replace(file, name=file.name.partition("/")[2]) for file in files]


def _only_pictures(files: list[PictureFile], location: str) -> tuple[list[PictureFile], tuple[Note, ...]]:
    pictures = sorted((file for file in files if is_picture_name(file.name)), key=lambda file: file.name)
    others = sorted(file.name for file in files if not is_picture_name(file.name))
    if not pictures:
        raise DataError(
            f"images must be files such as PNG or JPEG, but {location} holds {some(others) or 'nothing'}; check the "
            "path"
        )
    return pictures, (Note("file", f"not read: {some(others)}", "--data"),) if others else ()


def training_pictures(files: list[PictureFile], location: str) -> tuple[list[PictureFile], tuple[Note, ...]]:
    """Those in the folder ``train`` where there are one of that name and others for the other parts, else all."""
    tops = {file.name.partition("/")[0] if "/" in file.name else "" for file in files}
    training = next((name for name in sorted(tops) if name.lower() in _TRAINING), None)
    others = sorted(tops - {training})
    if training is None or not others or any(name.lower() not in _OTHER_PARTS for name in others):
        return files, ()
    chosen = [replace(file, name=file.name.partition("/")[2]) for file in files if file.name.startswith(f"{training}/")]
    text = f"{training} of {location} is read; to score {' or '.join(others)} as well, give the folder as --test-data"
    return chosen, (Note("folder", text, "--test-data"),)


def labels_of_folders(names: Sequence[str], location: str) -> tuple[tuple[str, ...] | None, tuple[Note, ...]]:
    """The folder of every picture as its label; None where all pictures lie in one folder.

    Args:
        names: paths of the pictures below ``location``.
        location: for messages.

    Raises:
        DataError: if some pictures have a folder of their class and others have none.
    """
    folders = tuple(name.rpartition("/")[0] for name in names)
    classes = set(folders)
    if len(classes) == 1:
        return None, (Note("layout", f"{plural(len(names), 'picture')} in one folder, so without labels"),)
    if "" in classes:
        alone = folders.count("")
        raise DataError(
            f"pictures must lie either all in folders of their classes or all in one, but {location} has {alone:,} "
            f"beside its folders, such as {names[folders.index('')]}, and {len(names) - alone:,} in them; move those, "
            "or leave them out"
        )
    layout = f"{plural(len(names), 'picture')} in {plural(len(classes), 'folder')}, each a class"
    return folders, (Note("layout", layout),)
