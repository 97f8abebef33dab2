"""From what ``--data`` names to captioned clips of one shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import DataError, OptionError, did_you_mean
from ..image_reading.pictures import bytes_of, has_colours
from ..image_reading.shapes import all_resized, greys, in_colour
from ..options import ReadingOptions
from ..reading.findings import plural, some
from ..tables import Note
from ..videos import FRAME_RATE, CaptionedClips
from .captions import CaptionedFile, captioned_files
from .detect import is_clip_archive, is_table, is_videos
from .files import POSE_SUFFIX, Size, read_clip
from .kept import Allocate, ClipCache, in_memory
from .landmark_files import LandmarkSequences, read_landmark_table, read_pose
from .landmarks import LANDMARK_SIDE, Edges, draw_landmarks, usual_extent

__all__ = ["is_videos", "read_videos", "shaped_clips"]

MOST_FRAMES = 16
LARGEST_SIDE = 64
MULTIPLE = 4
"""Sides of clips are multiples of it, as models halve them twice."""
LEAST_CLIPS = 10
HELD_BYTES = 256 * 2**20
"""Frames are held until the shape of all clips is known; those beyond so many bytes are read a second time."""
CLIPS_AT_ONCE = 256


@dataclass(frozen=True)
class _Source:
    """What is read.

    Attributes:
        path: of the clips.
        location: the same, as the user named it.
        captions: table of captions, if one was named.
        labels: names of classes, if a file of them was named.
        extent: of landmarks, what fills the canvas; None to find it.
    """

    path: Path
    location: str
    captions: Path | None
    labels: Path | None
    extent: float | None


def read_videos(
    options: ReadingOptions, *, data: str | None = None, cache: str | None = None, extent: float | None = None
) -> CaptionedClips:
    """Read all clips with their captions; large ones are mapped from a file in the cache.

    Args:
        options: where they are, and which shape they get.
        data: other clips than those of ``options.data``, whose captions are not those of ``options.captions``.
        cache: folder for large ones; by default the user's cache folder.
        extent: of other landmarks, to draw these on the same scale.

    Raises:
        DataError: if there are no clips, some are damaged or have no caption.
        OptionError: if an option does not go with them.
    """
    location = options.data if data is None else data
    captions = options.captions if data is None else None
    source = _Source(
        _existing(location, "captioned clips must be a folder or file that exists"),
        location,
        None if captions is None else _existing(captions, "--captions must be a file that exists"),
        None if options.labels is None else _existing(options.labels, "--labels must be a file that exists"),
        extent,
    )
    named = [path for path in (source.path, source.captions, source.labels) if path is not None]
    reading = {
        name: getattr(options, name) for name in ("frames", "image_size", "colour", "landmarks", "captions", "labels")
    }
    return ClipCache(cache).clips(
        lambda allocate: _read(source, options, allocate), named, reading | {"extent": extent, "captions": captions}
    )


def shaped_clips(clips: CaptionedClips, options: ReadingOptions, allocate: Allocate = in_memory) -> CaptionedClips:
    """Clips in memory, all of one shape, in the size, frames and colours asked for."""
    pixels = clips.clips
    colour = "grey" if options.colour == "grey" or not (options.colour or has_colours(pixels)) else "colour"
    frames, frame_notes = _chosen_frames([pixels.shape[1]], options.frames)
    side, size_notes = _side([(pixels.shape[2], pixels.shape[3])], options.image_size)
    height, width = (side, side) if side else pixels.shape[2:4]
    shape = (len(pixels), frames, height, width, 3 if colour == "colour" else 1)
    shaped = allocate(shape)
    for first in range(0, len(pixels), CLIPS_AT_ONCE):
        part = pixels[first : first + CLIPS_AT_ONCE, _evenly(pixels.shape[1], frames)]
        flat = all_resized(part.reshape(-1, *part.shape[2:]), side)
        shaped[first : first + CLIPS_AT_ONCE] = _coloured(flat, colour).reshape(-1, *shape[1:])
    rate = _rate(clips.frame_rate, [pixels.shape[1]], frames)
    notes = (*clips.notes, *frame_notes, *size_notes, _summary(shape, options.frame_rate or rate))
    return replace(clips, clips=shaped, frame_rate=rate, resized=side is not None, notes=notes)


def _existing(location: str, rule: str) -> Path:
    path = Path(location).expanduser()
    try:
        found = path.exists()
        near = [] if found or not path.parent.is_dir() else [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError) as error:
        raise DataError(f"{rule}, but {location!r} is not: {error}; check the path") from None
    if not found:
        raise DataError(f"{rule}, but there is no {location}; check the path.{did_you_mean(path.name, near)}")
    return path


def _read(source: _Source, options: ReadingOptions, allocate: Allocate) -> CaptionedClips:
    path, location = source.path, source.location
    if path.is_dir():
        _refuse("a table of landmarks", location, {"--labels": source.labels, "--landmarks": options.landmarks})
        files, notes = captioned_files(path, location, source.captions)
        _check_enough(len(files), location)
        poses = [file.path.suffix.lower() == POSE_SUFFIX for file in files]
        if all(poses):
            return _drawn(*_poses(files, notes), options, source, allocate)
        if any(poses):
            raise DataError(
                f"clips must be of one kind, but {location} has {sum(poses)} .pose files among {len(files)}; put them "
                "into a folder of their own"
            )
        return _of_files(files, notes, options, allocate)
    if path.suffix.lower() == ".npz":
        _refuse("a table of landmarks", location, {"--labels": source.labels, "--landmarks": options.landmarks})
        _refuse("a folder of clips", location, {"--captions": source.captions})
        return shaped_clips(_of_archive(path, location), options, allocate)
    if is_table(path):
        found = read_landmark_table(path, location, options.landmarks, source.labels, source.captions)
        return _drawn(found, None, options, source, allocate)
    raise DataError(
        "captioned clips must be a folder of clips with captions, an .npz with clips and captions, or a CSV of "
        f"landmarks, but {location} is none; check it"
    )


def _refuse(goes_with: str, location: str, values: dict[str, object]) -> None:
    for flag, value in values.items():
        if value is not None:
            raise OptionError(f"{flag} goes with {goes_with}, but {location} is none; leave it out")


def _check_enough(count: int, location: str) -> None:
    if count < LEAST_CLIPS:
        raise DataError(f"there must be at least {LEAST_CLIPS} clips, but {location} has {count}; add some")


# --- clips of frames --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """What a clip is like before it is brought into shape."""

    frames: int
    size: tuple[int, int]
    rate: float | None
    has_colours: bool


def _of_files(
    files: Sequence[CaptionedFile], notes: tuple[Note, ...], options: ReadingOptions, allocate: Allocate
) -> CaptionedClips:
    asked = options.image_size
    size = Size(LARGEST_SIDE) if asked is None else Size(_rounded(asked), always=True)
    looks: list[_Look] = []
    held: list[np.ndarray | None] = []
    room = HELD_BYTES
    for file in files:
        found = read_clip(file.path, file.name, size)
        looks.append(_Look(len(found.pixels), found.size, found.rate, has_colours(found.pixels)))
        room -= found.pixels.nbytes
        held.append(found.pixels if room >= 0 else None)
    lengths = [look.frames for look in looks]
    frames, frame_notes = _chosen_frames(lengths, options.frames)
    side, size_notes = _side([look.size for look in looks], asked)
    colour = options.colour or ("colour" if any(look.has_colours for look in looks) else "grey")
    height, width = (side, side) if side else looks[0].size
    shape = (len(files), frames, height, width, 3 if colour == "colour" else 1)
    clips = allocate(shape)
    for place, file in enumerate(files):
        kept, held[place] = held[place], None
        pixels = read_clip(file.path, file.name, size).pixels if kept is None else kept
        clips[place] = _coloured(all_resized(pixels[_evenly(len(pixels), frames)], side), colour)
    rates = [look.rate for look in looks if look.rate]
    rate = _rate(float(np.median(rates)) if rates else None, lengths, frames)
    notes = (*notes, *frame_notes, *size_notes, _summary(shape, options.frame_rate or rate))
    names, captions = zip(*((file.name, file.caption) for file in files), strict=True)
    return CaptionedClips(clips, captions, names, rate, resized=side is not None, notes=notes)


def _arrays(path: Path, location: str) -> tuple[np.ndarray, np.ndarray, float | None]:
    """The clips of an archive, their captions and their frames per second, as they stand there."""
    try:
        if not is_clip_archive(path):
            raise DataError(
                f"an archive of captioned clips must have arrays named clips and captions, but {location} has not; "
                "rename them"
            )
        with np.load(path, allow_pickle=False) as file:
            rate = float(file["frame_rate"]) if "frame_rate" in file.files else None
            return file["clips"], file["captions"], rate
    except DataError:
        raise
    except Exception as error:  # NumPy answers damage with errors of many types
        fix = "save captions as np.array(list of texts)" if "pickle" in str(error) else "save it again"
        raise DataError(
            f"an archive of arrays must be whole and of plain values, but {location} is not: {error}; {fix}"
        ) from None


def _of_archive(path: Path, location: str) -> CaptionedClips:
    clips, captions, rate = _arrays(path, location)
    if clips.ndim == 4:
        clips = clips[..., None]
    if clips.ndim == 5 and clips.shape[4] not in (1, 3) and clips.shape[2] in (1, 3):
        clips = clips.transpose(0, 1, 3, 4, 2)
    if clips.ndim != 5 or clips.shape[4] not in (1, 3) or not clips.size:
        raise DataError(
            "an array of clips must have the axes clips, frames, height, width and perhaps 1 or 3 channels, but that "
            f"of {location} has {' x '.join(map(str, clips.shape))}; reshape it"
        )
    said = (text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in captions.ravel())
    texts = tuple(" ".join(text.split()) for text in said)
    if len(texts) != len(clips):
        raise DataError(
            f"there must be one caption for every clip, but {location} has {plural(len(clips), 'clip')} and "
            f"{plural(len(texts), 'caption')}"
        )
    if "" in texts:
        raise DataError(f"every clip needs a caption, but number {texts.index('') + 1} of {location} has none; add it")
    _check_enough(len(clips), location)
    names = tuple(f"{path.stem} #{number}" for number in range(1, len(clips) + 1))
    return CaptionedClips(bytes_of(clips, location), texts, names, rate)


# --- landmarks --------------------------------------------------------------------------------------------------------


def _poses(files: Sequence[CaptionedFile], notes: tuple[Note, ...]) -> tuple[LandmarkSequences, float | None]:
    """The sequences of ``.pose`` files, and their frames per second."""
    points: list[np.ndarray] = []
    rates: list[float] = []
    edges: Edges | None = None
    for file in files:
        found, lines, rate = read_pose(file.path, file.name)
        if points and found.shape[1] != points[0].shape[1]:
            raise DataError(
                f"poses must have the same landmarks, but {file.name} has {found.shape[1]} and {files[0].name} "
                f"{points[0].shape[1]}; leave one kind out"
            )
        points.append(found)
        rates += [rate] if rate else []
        edges = lines if edges is None else edges
    names, captions = zip(*((file.name, file.caption) for file in files), strict=True)
    return LandmarkSequences(points, captions, names, edges or (), notes), float(np.median(rates)) if rates else None


def _drawn(
    found: LandmarkSequences, rate: float | None, options: ReadingOptions, source: _Source, allocate: Allocate
) -> CaptionedClips:
    """Landmarks as clips of white lines on black; those that are not finite are missing."""
    found = replace(found, points=[np.where(np.isfinite(points), points, np.nan) for points in found.points])
    _check_enough(len(found.points), source.location)
    without = [name for name, text in zip(found.names, found.captions, strict=True) if not text]
    if without:
        raise DataError(
            f"every clip needs a caption, but {source.location} has none for {some(without, 3)}; add a column caption, "
            "--labels or --captions"
        )
    if options.colour == "colour":
        raise OptionError("landmarks are drawn in white on black, but got --colour colour; leave it out")
    lengths = [len(points) for points in found.points]
    frames, frame_notes = _chosen_frames(lengths, options.frames)
    side = _rounded(options.image_size or LANDMARK_SIDE)
    extent = usual_extent(found.points) if source.extent is None else source.extent
    clips = allocate((len(lengths), frames, side, side, 1))
    for place, points in enumerate(found.points):
        clips[place] = draw_landmarks(points[_evenly(len(points), frames)], side, extent, found.edges)
    rate = _rate(rate, lengths, frames)
    what = "drawn as a path with a fading trail" if found.points[0].shape[1] == 1 else "drawn as dots and lines"
    asked = options.image_size or side
    rounded = (_rounding(asked, side),) if asked != side else ()
    notes = (*found.notes, Note("drawing", what), *frame_notes, *rounded)
    notes = (*notes, _summary(clips.shape, options.frame_rate or rate))
    return CaptionedClips(clips, found.captions, found.names, rate, resized=True, extent=extent, notes=notes)


# --- shapes -----------------------------------------------------------------------------------------------------------


def _chosen_frames(lengths: Sequence[int], asked: int | None) -> tuple[int, tuple[Note, ...]]:
    """Frames that every clip is brought to, and what to say of it."""
    frames = asked or min(MOST_FRAMES, max(1, int(np.median(lengths))))
    if set(lengths) == {frames}:
        return frames, ()
    shortest, longest = min(lengths), max(lengths)
    what = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return frames, (Note("frames", f"{frames} of each clip, evenly spaced, from {what}", "--frames"),)


def _evenly(count: int, wanted: int) -> np.ndarray:
    """Numbers of the frames that are taken, of short clips some of them again."""
    return np.rint(np.linspace(0, count - 1, wanted)).astype(int)


def _rate(rate: float | None, lengths: Sequence[int], frames: int) -> float:
    """Frames per second at which clips take as long as before; the usual ones where nothing is known."""
    return FRAME_RATE if rate is None else round(rate * frames / float(np.mean(lengths)), 3)


def _coloured(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Frames ``[frames, height, width, channels]`` in greys or colours."""
    return in_colour(pixels) if colour == "colour" else greys(pixels)


def _side(sizes: Sequence[tuple[int, int]], asked: int | None) -> tuple[int | None, tuple[Note, ...]]:
    """The side of the square that frames are resized to; None where they stay as they are."""
    counts = Counter(sizes)
    height, width = counts.most_common(1)[0][0]
    fits = len(counts) == 1 and height % MULTIPLE == 0 and width % MULTIPLE == 0 and max(height, width) <= LARGEST_SIDE
    if asked is None and fits:
        return None, ()
    wanted = asked or min(LARGEST_SIDE, max(height, width))
    side = _rounded(wanted)
    notes = () if wanted == side else (_rounding(wanted, side),)
    if set(counts) == {(side, side)}:
        return side, notes
    kinds = "" if len(counts) == 1 else f"{len(counts):,} sizes, most often "
    resized = Note("size", f"resized from {kinds}{height} x {width} to {side} x {side} pixels", "--image-size")
    return side, (resized, *notes)


def _rounded(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def _rounding(wanted: int, side: int) -> Note:
    return Note("size", f"{side} instead of {wanted} pixels, as sides must be a multiple of {MULTIPLE}", "--image-size")


def _summary(shape: Sequence[int], rate: float) -> Note:
    colour = "in colour" if shape[4] == 3 else "grey"
    text = f"{shape[0]:,} of {plural(shape[1], 'frame')}, {shape[2]} x {shape[3]} pixels, {colour}, {rate:g} a second"
    return Note("clips", text, "--frames")
