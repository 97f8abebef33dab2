"""From what ``--data`` names to captioned clips of one shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from .files import POSE_SUFFIX, read_clip
from .kept import clip_array
from .landmark_files import LandmarkSequences, read_landmark_table, read_pose
from .landmarks import LANDMARK_SIDE, Edges, draw_landmarks, usual_extent

__all__ = ["is_videos", "read_videos", "shaped_clips"]

MOST_FRAMES = 16
LARGEST_SIDE = 64
MULTIPLE = 4
"""Sides of clips are multiples of it, as models halve them twice."""
LEAST_CLIPS = 10


@dataclass(frozen=True)
class _Looks:
    """What a clip is like before it is brought into shape."""

    frames: int
    height: int
    width: int
    rate: float | None
    has_colours: bool


def read_videos(options: ReadingOptions, *, data: str | None = None, cache: str | None = None) -> CaptionedClips:
    """Read all clips with their captions.

    Args:
        options: where they are, and which shape they get.
        data: other clips than those of ``options.data``.
        cache: folder for large ones; by default the user's cache folder.

    Raises:
        DataError: if there are no clips, some are damaged or have no caption.
        OptionError: if an option does not go with them.
    """
    location = options.data if data is None else data
    path = _existing(location)
    if path.is_dir():
        captions = None if options.captions is None or data is not None else _existing(options.captions)
        files, notes = captioned_files(path, location, captions)
        _check_enough(len(files), location)
        poses = [file.path.suffix.lower() == POSE_SUFFIX for file in files]
        if all(poses):
            return _drawn(_poses(files, notes), options, location)
        if any(poses):
            raise DataError(
                f"clips must be of one kind, but {location} has {sum(poses)} .pose files among {len(files)}; put them "
                "into a folder of their own"
            )
        return _of_files(files, notes, options, cache)
    if path.suffix.lower() == ".npz":
        return shaped_clips(_of_archive(path, location), options)
    if is_table(path):
        labels = None if options.labels is None else _existing(options.labels)
        return _drawn(read_landmark_table(path, location, options.landmarks, labels), options, location)
    raise DataError(
        "captioned clips must be a folder of clips with captions, an .npz with clips and captions, or a CSV of "
        f"landmarks, but {location} is none; check it"
    )


def shaped_clips(clips: CaptionedClips, options: ReadingOptions) -> CaptionedClips:
    """Clips in memory, all of one shape, in the size, frames and colours asked for."""
    pixels = clips.clips
    grey = options.colour == "grey" or (options.colour is None and not has_colours(pixels))
    chosen, frame_notes = _chosen_frames([pixels.shape[1]], options.frames)
    pixels = pixels[:, _evenly(pixels.shape[1], chosen)]
    side, size_notes = _side([pixels.shape[2:4]], options.image_size)
    flat = pixels.reshape(-1, *pixels.shape[2:])
    flat = all_resized(_coloured(flat, "grey" if grey else "colour", options.colour), side)
    shaped = np.ascontiguousarray(flat.reshape(len(pixels), chosen, *flat.shape[1:]))
    notes = (*clips.notes, *frame_notes, *size_notes, _summary(shaped.shape, clips.frame_rate))
    return CaptionedClips(
        shaped, clips.captions, clips.names, clips.frame_rate, clips.parts, resized=side is not None, notes=notes
    )


def _existing(location: str) -> Path:
    path = Path(location).expanduser()
    if not path.exists():
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near)
        raise DataError(f"captioned clips must be a folder or file that exists, but there is no {location}.{hint}")
    return path


def _check_enough(count: int, location: str) -> None:
    if count < LEAST_CLIPS:
        raise DataError(f"there must be at least {LEAST_CLIPS} clips, but {location} has {count}; add some")


# --- clips of frames --------------------------------------------------------------------------------------------------


def _of_files(
    files: Sequence[CaptionedFile], notes: tuple[Note, ...], options: ReadingOptions, cache: str | None
) -> CaptionedClips:
    looks = [_look(file) for file in files]
    frames, frame_notes = _chosen_frames([look.frames for look in looks], options.frames)
    side, size_notes = _side([(look.height, look.width) for look in looks], options.image_size)
    in_colours = options.colour == "colour" or (options.colour is None and any(look.has_colours for look in looks))
    height, width = (side, side) if side else (looks[0].height, looks[0].width)
    shape = (len(files), frames, height, width, 3 if in_colours else 1)

    def fill(array: np.ndarray) -> None:
        for place, file in enumerate(files):
            pixels = read_clip(file.path, file.name, side).pixels
            pixels = pixels[_evenly(len(pixels), frames)]
            array[place] = in_colour(pixels) if in_colours else greys(pixels)

    paths = [inner for file in files for inner in ([file.path] if file.path.is_file() else sorted(file.path.iterdir()))]
    clips, kept = clip_array(shape, paths, [frames, side, in_colours], _cache_folder(cache), fill)
    rates = [look.rate for look in looks if look.rate]
    rate = float(np.median(rates)) if rates else FRAME_RATE
    mean_frames = float(np.mean([look.frames for look in looks]))
    rate = rate * frames / mean_frames if rates and mean_frames > frames else rate
    more = (*frame_notes, *size_notes, _summary(shape, rate))
    if kept is not None:
        more = (*more, Note("cache", f"{kept.stat().st_size / 1e6:,.0f} MB in {kept}, mapped into memory", "--cache"))
    names, captions = zip(*((file.name, file.caption) for file in files), strict=True)
    return CaptionedClips(clips, captions, names, round(rate, 3), resized=side is not None, notes=(*notes, *more))


def _look(file: CaptionedFile) -> _Looks:
    found = read_clip(file.path, file.name)
    frames, height, width, _ = found.pixels.shape
    return _Looks(frames, height, width, found.rate, has_colours(found.pixels[:: max(1, frames // 4)]))


def _of_archive(path: Path, location: str) -> CaptionedClips:
    if not is_clip_archive(path):
        raise DataError(
            f"an archive of captioned clips must have arrays named clips and captions, but {location} has not; rename "
            "them"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            clips, captions = file["clips"], file["captions"]
            rate = float(file["frame_rate"]) if "frame_rate" in file.files else FRAME_RATE
    except Exception as error:  # NumPy answers damage with errors of many types
        raise DataError(f"an archive of arrays must be whole, but {location} is not: {error}; save it again") from None
    if clips.ndim == 4:
        clips = clips[..., None]
    if clips.ndim == 5 and clips.shape[4] not in (1, 3) and clips.shape[2] in (1, 3):
        clips = clips.transpose(0, 1, 3, 4, 2)
    if clips.ndim != 5 or clips.shape[4] not in (1, 3) or not clips.size:
        raise DataError(
            "an array of clips must have the axes clips, frames, height, width and perhaps 1 or 3 channels, but that "
            f"of {location} has {' x '.join(map(str, clips.shape))}; reshape it"
        )
    texts = tuple(" ".join(str(text).split()) for text in captions.ravel().tolist())
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
    found: LandmarkSequences | tuple[LandmarkSequences, float | None], options: ReadingOptions, location: str
) -> CaptionedClips:
    """Landmarks as clips of white lines on black."""
    sequences, rate = found if isinstance(found, tuple) else (found, None)
    _check_enough(len(sequences.points), location)
    without = [name for name, text in zip(sequences.names, sequences.captions, strict=True) if not text]
    if without:
        raise DataError(
            f"every clip needs a caption, but {location} has none for {some(without, 3)}; add a column caption, or "
            "--labels"
        )
    if options.colour == "colour":
        raise OptionError("landmarks are drawn in white on black, but got --colour colour; leave it out")
    lengths = [len(points) for points in sequences.points]
    frames, frame_notes = _chosen_frames(lengths, options.frames)
    side = _rounded(options.image_size or LANDMARK_SIDE)
    extent = usual_extent(sequences.points)
    clips = np.empty((len(lengths), frames, side, side, 1), dtype=np.uint8)
    for place, points in enumerate(sequences.points):
        clips[place] = draw_landmarks(points[_evenly(len(points), frames)], side, extent, sequences.edges)
    rate = FRAME_RATE if rate is None else rate * min(1.0, frames / float(np.mean(lengths)))
    what = "drawn as a path with a fading trail" if sequences.points[0].shape[1] == 1 else "drawn as dots and lines"
    notes = (*sequences.notes, Note("drawing", what), *frame_notes, _summary(clips.shape, rate))
    return CaptionedClips(clips, sequences.captions, sequences.names, round(rate, 3), resized=True, notes=notes)


# --- shapes -----------------------------------------------------------------------------------------------------------


def _chosen_frames(lengths: Sequence[int], asked: int | None) -> tuple[int, tuple[Note, ...]]:
    """Frames that every clip is brought to, and what to say of it."""
    frames = asked or min(MOST_FRAMES, max(1, int(np.median(lengths))))
    if set(lengths) == {frames}:
        return frames, ()
    shortest, longest = min(lengths), max(lengths)
    what = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    return frames, (Note("frames", f"{frames} of each clip, evenly spaced, from {what}", "--frames"),)


def _coloured(pixels: np.ndarray, wanted: str, asked: str | None) -> np.ndarray:
    """Frames ``[frames, height, width, channels]`` in greys or colours; greys nobody asked for are greys already."""
    if wanted == "colour":
        return in_colour(pixels)
    return greys(pixels) if asked == "grey" else pixels[..., :1]


def _evenly(count: int, wanted: int) -> np.ndarray:
    """Numbers of the frames that are taken, of short clips some of them again."""
    return np.rint(np.linspace(0, count - 1, wanted)).astype(int)


def _side(sizes: Sequence[tuple[int, ...]], asked: int | None) -> tuple[int | None, tuple[Note, ...]]:
    """The side of the square that frames are resized to; None where they stay as they are."""
    counts = Counter(sizes)
    height, width = counts.most_common(1)[0][0]
    fits = len(counts) == 1 and height % MULTIPLE == 0 and width % MULTIPLE == 0 and max(height, width) <= LARGEST_SIDE
    if asked is None and fits:
        return None, ()
    side = _rounded(asked or min(LARGEST_SIDE, max(height, width)))
    if set(counts) == {(side, side)}:
        return side, ()
    kinds = "" if len(counts) == 1 else f"{len(counts):,} sizes, most often "
    return side, (Note("size", f"resized from {kinds}{height} x {width} to {side} x {side} pixels", "--image-size"),)


def _rounded(side: int) -> int:
    return max(MULTIPLE, -(-side // MULTIPLE) * MULTIPLE)


def _summary(shape: Sequence[int], rate: float) -> Note:
    colour = "in colour" if shape[4] == 3 else "grey"
    text = f"{shape[0]:,} of {plural(shape[1], 'frame')}, {shape[2]} x {shape[3]} pixels, {colour}, {rate:g} a second"
    return Note("clips", text, "--frames")


def _cache_folder(cache: str | None) -> Path:
    from ..cache import TableCache

    return TableCache(cache).folder
