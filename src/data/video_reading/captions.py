"""Which clips there are, and what their captions say."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..reading.findings import plural, some
from ..tables import Note
from .files import is_clip, natural_order

CAPTION_FILES = ("captions.csv", "captions.tsv", "captions.txt")
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
    clips = clips_below(folder)
    if not clips:
        raise DataError(
            f"captioned clips must be files such as GIF, MP4, .npz or .pose, or folders of frames, but {location} has "
            "none; check the path"
        )
    beside = list(map(text_beside, clips))
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
    clips = clips_below(folder)
    known, unclear = _known_names(clips, folder)
    places = [(name.replace("\\", "/").removeprefix("./"), name, caption) for name, caption in rows]
    several = [name for place, name, _ in places if place in unclear]
    if several:
        raise DataError(
            f"every row of {file} must name one clip, but {some(several, 3)} may be any of several in {location}; "
            "write the folder as well, such as left/1.gif"
        )
    missing = [name for place, name, _ in places if place not in known]
    if missing:
        raise DataError(
            f"every row of {file} must name a clip in {location}, but {plural(len(missing), 'clip')} cannot be found, "
            f"such as {some(missing, 3)}; add them, or take the rows out"
        )
    found = [CaptionedFile(known[place], _name(known[place], folder), caption) for place, _, caption in places]
    named = {clip.path for clip in found}
    alone = [_name(clip, folder) for clip in clips if clip not in named]
    return found, (
        Note("captions", f"{plural(len(found), 'caption')} by {file.name}", "--captions"),
        *_left_out(alone),
    )


def _known_names(clips: Sequence[Path], folder: Path) -> tuple[dict[str, Path], set[str]]:
    """The clips by what a table may call them, and which of these names could mean several of them.

    A path below the folder is clear; a file's name alone, or a name without its ending, is so if no other has it.
    """
    paths = {_name(clip, folder): clip for clip in clips}
    shorter = [
        (short, clip)
        for name, clip in paths.items()
        for short in {clip.name, clip.stem, name.removesuffix(clip.suffix)} - {name}
    ]
    counts = Counter(short for short, _ in shorter)
    return dict(shorter) | paths, {short for short, count in counts.items() if count > 1} - set(paths)


def _left_out(names: Sequence[str]) -> tuple[Note, ...]:
    if not names:
        return ()
    text = f"{plural(len(names), 'clip')} without a caption left out: {some(names, 3)}"
    return (Note("captions", text, "--captions", warning=True),)


def read_caption_rows(file: Path) -> list[tuple[str, str]]:
    """Names of clips and their captions, of a table with or without names of columns.

    Raises:
        DataError: if it cannot be read, has no such columns, or lacks a caption.
    """
    try:
        rows = _cells(file.read_text("utf-8-sig"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"captions must be a table of text, but {file} is not: {error}; save it as CSV in UTF-8"
        ) from None
    heads = [cell.lower() for cell in rows[0]] if rows else []
    clip = next((heads.index(name) for name in _FILE_COLUMNS if name in heads), None)
    caption = next((heads.index(name) for name in _CAPTION_COLUMNS if name in heads), None)
    if clip is not None and caption is not None:
        rows = rows[1:]
    elif len(heads) == 2:
        clip, caption = 0, 1
    else:
        raise DataError(
            f"a file of captions must have a column {' or '.join(_FILE_COLUMNS[:4])} and a column "
            f"{' or '.join(_CAPTION_COLUMNS[:3])}, but {file} has {some(heads) or 'nothing'}; rename them"
        )
    width = len(heads)
    torn = [number for number, row in enumerate(rows, 1) if len(row) > width]
    if torn:
        raise DataError(
            f"rows of captions must have {width} cells as the first row has, but row {torn[0]} below the names of "
            f'{file} has {len(rows[torn[0] - 1])}; put captions with commas into double quotes, "like, this"'
        )
    found = [(row[clip], " ".join(row[caption].split())) for row in (row + [""] * width for row in rows)]
    empty = [name for name, text in found if not text]
    if empty:
        raise DataError(f"every clip needs a caption, but {file} has none for {some(empty, 3)}; fill it in")
    return found


def _cells(text: str) -> list[list[str]]:
    """The rows of a table that are not empty; what stands between cells is what ends the first one."""
    first_line = next((line for line in text.splitlines() if line.strip()), "")
    places = {first_line.find(separator): separator for separator in "\t,;" if separator in first_line}
    separator = places[min(places)] if places else ","
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]


def _of_texts(
    folder: Path, location: str, clips: list[Path], beside: list[Path]
) -> tuple[list[CaptionedFile], tuple[Note, ...]]:
    found: list[CaptionedFile] = []
    without: list[str] = []
    empty: list[str] = []
    for clip, file in zip(clips, beside, strict=True):
        name = _name(clip, folder)
        text = " ".join(file.read_text("utf-8-sig", "replace").split()) if file.is_file() else None
        if text:
            found.append(CaptionedFile(clip, name, text))
        else:
            (without if text is None else empty).append(name)
    if empty:
        raise DataError(
            f"every clip needs a caption, but the text file beside {some(empty, 3)} in {location} is empty; fill it in"
        )
    note = Note("captions", f"{plural(len(found), 'clip')}, each by a text file beside it", "--captions")
    return found, (note, *_left_out(without))


def clips_below(folder: Path) -> list[Path]:
    """Clips in a folder and in those below it, in natural order; a folder of frames is one clip."""
    found: list[Path] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: natural_order(entry.name)):
        if entry.name.startswith("."):
            continue
        if is_clip(entry):
            found.append(entry)
        elif entry.is_dir():
            found += clips_below(entry)
    return found


def text_beside(clip: Path) -> Path:
    """The text file that would be a clip's caption."""
    return clip.parent / f"{clip.name if clip.is_dir() else clip.stem}.txt"


def _name(clip: Path, folder: Path) -> str:
    return clip.relative_to(folder).as_posix()


def _folder_caption(clip: Path, folder: Path) -> str:
    parent = clip.parent
    return "" if parent == folder else " ".join(parent.name.replace("_", " ").replace("-", " ").split())
