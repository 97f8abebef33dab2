"""Which clips there are, and what their captions say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..reading.findings import plural, some
from ..tables import Note
from .files import CLIP_SUFFIXES, is_clip, natural_order

CAPTION_FILES = ("captions.csv", "captions.tsv", "captions.txt", "metadata.csv")
_FILE_COLUMNS = ("file", "file_name", "filename", "clip", "video", "path", "name", "id")
_CAPTION_COLUMNS = ("caption", "text", "label", "sentence", "description", "gloss", "translation")


@dataclass(frozen=True)
class CaptionedFile:
    """A clip's path, its name below the folder, and its caption."""

    path: Path
    name: str
    caption: str


def captioned_files(folder: Path, location: str, captions: Path | None) -> tuple[list[CaptionedFile], tuple[Note, ...]]:
    """The clips of a folder with their captions, in the order of their names.

    Captions stand in a file of captions, in a text file beside each clip, or are the names of folders.

    Args:
        folder: where the clips are.
        location: the same, for messages.
        captions: the file of captions; by default one of the usual names in the folder.

    Raises:
        DataError: if clips or captions are missing.
    """
    captions = captions or caption_file(folder)
    if captions is not None:
        return _of_table(folder, location, captions)
    clips = _clips_below(folder)
    if not clips:
        raise DataError(
            f"captioned clips must be files such as GIF, MP4, .npz or .pose, or folders of frames, but {location} has "
            "none; check the path"
        )
    beside = [clip.with_suffix(".txt") if clip.is_file() else clip.parent / f"{clip.name}.txt" for clip in clips]
    if any(file.is_file() for file in beside):
        return _of_texts(folder, location, clips, beside)
    found = [CaptionedFile(clip, _name(clip, folder), _folder_caption(clip, folder)) for clip in clips]
    without = [clip.name for clip in found if not clip.caption]
    if without:
        raise DataError(
            f"every clip needs a caption, but {location} has none for {plural(len(without), 'clip')}, such as "
            f"{some(without, 3)}; write captions.csv with the columns file and caption, a .txt beside each clip, or "
            "put clips into folders named by their captions"
        )
    count = len({clip.caption for clip in found})
    return found, (
        Note("layout", f"{plural(len(found), 'clip')} in {plural(count, 'folder')}, whose names are captions"),
    )


def caption_file(folder: Path) -> Path | None:
    """The file of captions in a folder, if there is one."""
    return next((folder / name for name in CAPTION_FILES if (folder / name).is_file()), None)


def _of_table(folder: Path, location: str, file: Path) -> tuple[list[CaptionedFile], tuple[Note, ...]]:
    rows = read_caption_rows(file)
    entries = {entry.name: entry for entry in _clips_below(folder)}
    known: dict[str, Path] = {}
    for entry in entries.values():
        name = _name(entry, folder)
        known |= {name: entry, entry.name: entry, entry.stem: entry, os.path.splitext(name)[0]: entry}
    found, missing = [], []
    for name, caption in rows:
        path = known.get(name) or known.get(name.removeprefix("./"))
        if path is None:
            missing.append(name)
        else:
            found.append(CaptionedFile(path, name, caption))
    if missing:
        raise DataError(
            f"every row of {file} must name a clip in {location}, but {plural(len(missing), 'clip')} cannot be found, "
            f"such as {some(missing, 3)}; add them, or take the rows out"
        )
    named = {clip.path for clip in found}
    alone = [_name(entry, folder) for entry in entries.values() if entry not in named]
    notes = [Note("captions", f"{plural(len(found), 'clip')} by {file.name}", "--captions")]
    if alone:
        text = f"{plural(len(alone), 'clip')} without a caption left out: {some(alone, 3)}"
        notes.append(Note("captions", text, "--captions", warning=True))
    return found, tuple(notes)


def read_caption_rows(file: Path) -> list[tuple[str, str]]:
    """Names of clips and their captions, of a table with or without names of columns.

    Raises:
        DataError: if it cannot be read, or has no such columns.
    """
    import pandas as pd

    separator = "\t" if file.suffix.lower() in (".tsv", ".txt") else None
    try:
        table = pd.read_csv(
            file, sep=separator, engine="python", dtype=str, keep_default_na=False, header=None, encoding="utf-8-sig"
        )
    except Exception as error:  # pandas answers with errors of many types
        raise DataError(f"captions must be a table of text, but {file} is not: {error}; save it as CSV") from None
    heads = [str(cell).strip().lower() for cell in table.iloc[0]] if len(table) else []
    clip = next((heads.index(name) for name in _FILE_COLUMNS if name in heads), None)
    caption = next((heads.index(name) for name in _CAPTION_COLUMNS if name in heads), None)
    if clip is not None and caption is not None:
        table = table.iloc[1:]
    elif table.shape[1] == 2:
        clip, caption = 0, 1
    else:
        raise DataError(
            f"a file of captions must have a column {' or '.join(_FILE_COLUMNS[:4])} and a column "
            f"{' or '.join(_CAPTION_COLUMNS[:3])}, but {file} has {some(heads) or 'nothing'}; rename them"
        )
    rows = [(str(row[clip]).strip(), " ".join(str(row[caption]).split())) for row in table.itertuples(index=False)]
    empty = [name for name, text in rows if not text]
    if empty:
        raise DataError(f"every clip needs a caption, but {file} has none for {some(empty, 3)}; fill it in")
    return rows


def _of_texts(
    folder: Path, location: str, clips: list[Path], beside: list[Path]
) -> tuple[list[CaptionedFile], tuple[Note, ...]]:
    found, without = [], []
    for clip, file in zip(clips, beside, strict=True):
        text = " ".join(file.read_text("utf-8-sig", "replace").split()) if file.is_file() else ""
        if text:
            found.append(CaptionedFile(clip, _name(clip, folder), text))
        else:
            without.append(_name(clip, folder))
    notes = [Note("captions", f"{plural(len(found), 'clip')}, each by a text file beside it", "--captions")]
    if without:
        text = f"{plural(len(without), 'clip')} without a caption left out: {some(without, 3)}"
        notes.append(Note("captions", text, "--captions", warning=True))
    return found, tuple(notes)


def _clips_below(folder: Path) -> list[Path]:
    """Clips in a folder and in those below it, in natural order; a folder of frames is one clip."""
    found: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: natural_order(entry.name)):
        if entry.name.startswith("."):
            continue
        if is_clip(entry):
            found.append(entry)
        elif entry.is_dir():
            found += _clips_below(entry)
    return found


def _name(clip: Path, folder: Path) -> str:
    return clip.relative_to(folder).as_posix()


def _folder_caption(clip: Path, folder: Path) -> str:
    parent = clip.parent
    return "" if parent == folder else " ".join(parent.name.replace("_", " ").replace("-", " ").split())


def holds_clips(folder: Path) -> bool:
    """Whether a folder is one of captioned clips: with a file of captions, or files that move."""
    if caption_file(folder) is not None and _clips_below(folder):
        return True
    moving = tuple(suffix for suffix in CLIP_SUFFIXES if suffix not in (".webp", ".npy", ".npz"))
    seen = 0
    for _, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))[:50]
        shown = [name for name in files if not name.startswith(".")]
        if any(name.lower().endswith(moving) for name in shown):
            return True
        seen += len(shown)
        if seen > 200:
            break
    return False
