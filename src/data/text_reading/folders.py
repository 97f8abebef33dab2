"""Folders of documents: one folder a class, one file a text."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..reading.compression import Opener
from ..reading.findings import plural, some
from ..tables import Note
from .files import whole_text
from .texts import FoundTexts

_LEFT_OUT = ("unsup", "unlabeled", "unlabelled")
_SUFFIX = ".txt"


@dataclass(frozen=True)
class ClassFolders:
    """A folder whose folders are classes.

    Attributes:
        path: that folder.
        folders: those of the classes, in the order of their names.
        notes: what was decided.
    """

    path: Path
    folders: tuple[Path, ...]
    notes: tuple[Note, ...] = ()


def documents(folder: Path) -> list[Path]:
    """The text files right in a folder, in the order of their names."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(_SUFFIX) and entry.name[0] != "."]
    return [folder / name for name in sorted(names)]


def find_class_folders(data: str) -> ClassFolders | None:
    """The folders of the classes in what ``--data`` names, or in its folder ``train``; None where there are none."""
    path = Path(os.path.expanduser(data))
    if not os.path.isdir(path):
        return None
    try:
        return _find_class_folders(path)
    except OSError as error:
        raise DataError(f"data must be a readable folder, but {data} is not: {error.strerror}; check it") from None


def _find_class_folders(path: Path) -> ClassFolders | None:
    found = _with_documents(path)
    if found:
        return _without_unlabelled(path, found)
    train, test = path / "train", path / "test"
    found = _with_documents(train) if train.is_dir() else []
    if not found:
        return None
    text = f"{train} is read"
    if test.is_dir():
        text += f"; to score {test} as well, give it as --test-data {test}"
    return _without_unlabelled(train, found, Note("folder", text, "--test-data"))


def _with_documents(path: Path) -> list[Path]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [folder for folder in folders if documents(folder)]


def _without_unlabelled(path: Path, folders: list[Path], *notes: Note) -> ClassFolders:
    kept = [folder for folder in folders if folder.name.lower() not in _LEFT_OUT]
    left = [folder.name for folder in folders if folder not in kept]
    if left:
        notes = (*notes, Note("folder", f"left out {some(left)}, whose texts have no label", "--data"))
    return ClassFolders(path, tuple(kept), notes)


def read_class_folders(found: ClassFolders, encoding: str | None, with_labels: bool) -> FoundTexts:
    """Every document with the name of its folder as label.

    Raises:
        OptionError: if there is no such encoding.
        DataError: if a file cannot be read or is no text.
    """
    texts: list[str] = []
    labels: list[str] = []
    encodings: Counter[Note] = Counter()
    for folder in found.folders:
        read = read_documents(documents(folder), encoding, encodings)
        texts += read
        labels += [folder.name] * len(read)
    layout = f"{plural(len(texts), 'document')} in {plural(len(found.folders), 'folder')}, each a class"
    notes = (*found.notes, Note("layout", layout), *encoding_notes(encodings, len(texts)))
    return FoundTexts(texts, labels if with_labels else None, notes)


def read_documents(paths: list[Path], encoding: str | None, encodings: Counter[Note]) -> list[str]:
    """The whole text of each file; what is said of its encoding is counted."""
    texts = []
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"data must be readable files, but {path} cannot be read: {error.strerror}; check it"
            ) from None
        if not content.strip():
            texts.append("")
            continue
        text, notes = whole_text(_opener(content), str(path), encoding)
        encodings.update(notes)
        texts.append(text)
    return texts


def _opener(content: bytes) -> Opener:
    return lambda: io.BytesIO(content)


def encoding_notes(encodings: Counter[Note], files: int) -> tuple[Note, ...]:
    """One note for each encoding, with the number of files in it."""
    return tuple(
        Note(note.topic, f"{note.text} ({count:,} of {plural(files, 'file')})", note.option, note.warning)
        for note, count in encodings.items()
    )
