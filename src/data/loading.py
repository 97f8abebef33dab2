"""From the options to data: series, texts or images; samples, files, databases; a cache on disk for large inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, OptionError, did_you_mean
from .cache import TableCache
from .image_samples import IMAGE_SAMPLES, load_image_sample
from .images import ImageData
from .options import DataOptions, ReadingOptions
from .rows import InMemory, RowStore
from .samples import CUT_IN_TIME, SAMPLES, Sample, load_sample
from .scaling import Scaler
from .series import SeriesData
from .tables import Note, StackedTables, Table, date_text, infer_period, release, stack_tables
from .text import TextData
from .text_samples import TEXT_SAMPLES, load_text_sample
from .tokenizer import TextTokenizer
from .video_samples import VIDEO_SAMPLES, load_video_sample
from .videos import CaptionedClips, VideoData

LARGE_BYTES = 64 * 2**20
"""Inputs with more text than this are read once, into the cache, and mapped into memory from there."""

_SAMPLE_PREFIX = "sample:"


Data = SeriesData | TextData | ImageData | VideoData


def load_data(options: DataOptions, seed: int = 0, fitted: Mapping[str, Any] | None = None) -> Data:
    """Read what ``options.data`` names: series, cut into scaled windows, texts, as numbers of tokens, or images.

    Args:
        options: which data, columns, windows and parts.
        seed: of samples that are drawn at random; files do not depend on it.
        fitted: what was learnt from these data before (``fitted()`` of what was loaded), to be used again.

    Raises:
        DataError: if the data cannot be read, or are not enough for the windows and parts asked for.
        OptionError: if an option names what the data do not have.
    """
    if options.test_data is not None and (options.test_data == "-" or "://" in options.test_data):
        raise OptionError(f"--test-data must be a file, folder or glob, but got {options.test_data}; save it as a file")
    for flag, text in (("--data", options.data), ("--test-data", options.test_data or "")):
        if text.startswith(_SAMPLE_PREFIX) and options.test_data is not None:
            raise OptionError(
                f"a separate test set goes with files, as a sample has a test part, but got {flag} {text}; "
                "leave --test-data out"
            )
    if options.data.startswith(_SAMPLE_PREFIX):
        if options.query is not None:
            raise OptionError(
                f"--query needs a database in --data, but that is {options.data}; give an address such as "
                "sqlite:///prices.db"
            )
        name = options.data.removeprefix(_SAMPLE_PREFIX)
        known = (*SAMPLES, *TEXT_SAMPLES, *IMAGE_SAMPLES, *VIDEO_SAMPLES)
        if name not in known:
            raise DataError(f"there is no sample '{name}'.{did_you_mean(name, known)} Known: {', '.join(known)}")
        if name in IMAGE_SAMPLES:
            return _load_image_sample(name, options, fitted)
        if name in VIDEO_SAMPLES:
            return _load_video_sample(name, options, fitted)
        if name in TEXT_SAMPLES:
            return TextData(load_text_sample(name), options, tokenizer=_tokenizer(fitted))
        goes_with = {"represent": "images", "generate": "captioned clips"}.get(options.task or "")
        if goes_with is not None:
            raise OptionError(
                f"--task {options.task} goes with {goes_with}, but {options.data} is a series; leave it out"
            )
        scaler = _scaler(fitted)
        return SeriesData(load_sample(name, window=options.window, seed=seed), options, scaler)
    if is_video_data(options):
        return _load_videos(options, fitted)
    if is_image_data(options):
        return _load_images(options, fitted)
    if is_text_data(options):
        return _load_texts(options, fitted)
    stacked, training_series, store = _load_files(options)
    options = _resolved_paths(options)
    parts = None
    if training_series < len(stacked.names):
        parts = np.full(len(stacked.names), CUT_IN_TIME)
        parts[training_series:] = 2
        stacked = replace(stacked, notes=(*stacked.notes, *_overlap(stacked, training_series)))
    period = infer_period(stacked.dates[: stacked.bounds[1]])
    data = SeriesData(Sample(stacked, period=period, parts=parts), options, _scaler(fitted), store)
    release(stacked.dates)
    return data


def is_image_data(options: DataOptions) -> bool:
    """Whether images are asked for, or what ``options.data`` names looks like images."""
    asked = (options.labels, options.test_labels, options.image_size, options.colour)
    if options.task == "represent" or any(value is not None for value in asked):
        return True
    if options.text_column is not None or options.label_column is not None:
        return False
    from .image_reading.detect import is_images

    return is_images(options)


def is_text_data(options: DataOptions) -> bool:
    """Whether texts are asked for, or what ``options.data`` names looks like labelled texts."""
    from .text_reading.detect import is_text

    asked = options.task == "classify" or options.text_column is not None or options.label_column is not None
    return asked or (options.task is None and is_text(options))


def _load_texts(options: DataOptions, fitted: Mapping[str, Any] | None) -> TextData:
    from .text_reading.reader import read_texts

    texts = read_texts(options)
    test_texts = None if options.test_data is None else read_texts(replace(options, data=options.test_data))
    return TextData(texts, _resolved_paths(options), test_texts, _tokenizer(fitted))


def _load_images(options: DataOptions, fitted: Mapping[str, Any] | None) -> ImageData:
    from .image_reading.reader import read_images

    if options.test_labels is not None and options.test_data is None:
        raise OptionError(
            f"--test-labels goes with --test-data, but got {options.test_labels} alone; give the test images as well"
        )
    with_labels = options.task != "represent"
    images = read_images(options, with_labels=with_labels)
    test_images = None
    if options.test_data is not None:
        side = images.pixels.shape[1] if images.resized else None
        alike = replace(options, image_size=side)
        test_images = read_images(alike, data=options.test_data, labels=options.test_labels, with_labels=with_labels)
    return ImageData(images, _resolved_paths(options), test_images, fitted)


def _load_image_sample(name: str, options: DataOptions, fitted: Mapping[str, Any] | None) -> ImageData:
    from .image_reading.reader import shaped

    if options.labels is not None or options.test_labels is not None:
        raise OptionError(
            "a file of labels goes with files, as a sample has its own, but got "
            f"{options.labels or options.test_labels} for {options.data}; leave it out"
        )
    images, test_images = (shaped(part, options) for part in load_image_sample(name))
    return ImageData(images, options, test_images, fitted)


def _load_video_sample(name: str, options: DataOptions, fitted: Mapping[str, Any] | None) -> VideoData:
    from .video_reading.reader import shaped_clips

    for flag, value in (("--captions", options.captions), ("--labels", options.labels)):
        if value is not None:
            raise OptionError(
                f"{flag} goes with files, as a sample has its own captions, but got {value}; leave it out"
            )
    found = load_video_sample(name)
    note = Note("sample", "handwritten digits of scikit-learn (UCI) in made motion")
    clips = CaptionedClips(found.clips, found.captions, found.names, parts=found.parts, notes=(note,))
    return VideoData(shaped_clips(clips, options), options, tokenizer=_tokenizer(fitted))


def is_video_data(options: DataOptions) -> bool:
    """Whether captioned clips are asked for, or what ``options.data`` names looks like some."""
    from .video_reading.detect import is_videos

    return is_videos(options)


def _load_videos(options: DataOptions, fitted: Mapping[str, Any] | None) -> VideoData:
    from .video_reading.reader import read_videos

    clips = read_videos(options, cache=options.cache)
    test_clips = None
    if options.test_data is not None:
        frames, side = clips.clips.shape[1:3]
        colour = "colour" if clips.clips.shape[4] == 3 else "grey"
        alike = replace(
            options,
            frames=frames,
            image_size=side if clips.resized else None,
            colour=colour,
            labels=options.test_labels or options.labels,
        )
        test_clips = read_videos(alike, data=options.test_data, cache=options.cache, extent=clips.extent)
    return VideoData(clips, _resolved_paths(options), test_clips, _tokenizer(fitted))


def _resolved_paths(options: DataOptions) -> DataOptions:
    paths = (options.test_data, options.labels, options.test_labels, options.captions)
    test_data, labels, test_labels, captions = (None if path is None else resolved(path) for path in paths)
    return replace(
        options,
        data=resolved(options.data),
        test_data=test_data,
        labels=labels,
        test_labels=test_labels,
        captions=captions,
    )


def _scaler(fitted: Mapping[str, Any] | None) -> Scaler | None:
    return Scaler.from_dict(dict(fitted["scaler"])) if fitted else None


def _tokenizer(fitted: Mapping[str, Any] | None) -> TextTokenizer | None:
    return TextTokenizer(fitted["tokenizer"]) if fitted else None


def resolved(data: str) -> str:
    """What ``--data`` names, in a form that holds in any working directory."""
    return data if data == "-" or "://" in data else str(Path(data).expanduser().absolute())


def _load_files(options: DataOptions) -> tuple[StackedTables, int, RowStore]:
    """The series of ``--data`` and, after them, those of ``--test-data``; how many are the former; where rows go."""
    from .readers import read_tables
    from .reading.sources import open_sources

    sources = open_sources(options)
    test_sources = [] if options.test_data is None else open_sources(replace(options, data=options.test_data))

    def read(workspace: Path | None) -> tuple[list[Table], int]:
        tables = read_tables(sources, options, workspace and _made(workspace / "data"))
        test_tables = (
            read_tables(test_sources, options, workspace and _made(workspace / "test")) if test_sources else []
        )
        return _in_common(tables, test_tables), len(tables)

    every = [*sources, *test_sources]
    if sum(source.size for source in every) > LARGE_BYTES:
        entry = TableCache(options.cache).entry(every, options, read)
        return entry.tables, entry.training_series, entry
    tables, training_series = read(None)
    return stack_tables(tables), training_series, InMemory()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _in_common(tables: list[Table], test_tables: list[Table]) -> list[Table]:
    """All tables with the columns that training and test data share."""
    if not test_tables or list(tables[0].columns) == list(test_tables[0].columns):
        return [*tables, *test_tables]
    shared = [name for name in tables[0].columns if name in test_tables[0].columns]
    left_out = sorted({*tables[0].columns, *test_tables[0].columns} - set(shared))
    if not shared:
        raise DataError(
            f"test data need the columns of the data, but --data has {', '.join(tables[0].columns)} and --test-data "
            f"{', '.join(test_tables[0].columns)}; make them alike"
        )
    note = Note("columns", f"only in --data or only in --test-data, left out: {', '.join(left_out)}")
    chosen = [
        replace(table, columns={name: table.columns[name] for name in shared}) for table in [*tables, *test_tables]
    ]
    return [replace(chosen[0], notes=(*chosen[0].notes, note)), *chosen[1:]]


def _overlap(stacked: StackedTables, training_series: int) -> list[Note]:
    """A warning where a series of that name is both in the data and in the test data at the same time."""
    last = {stacked.names[number]: stacked.dates[stacked.bounds[number + 1] - 1] for number in range(training_series)}
    found = []
    for number in range(training_series, len(stacked.names)):
        name, first = stacked.names[number], stacked.dates[stacked.bounds[number]]
        known = last.get(name, next(iter(last.values())) if len(last) == 1 else None)
        if known is not None and first <= known:
            text = (
                f"{name} begins on {date_text(first)}, before the data end on {date_text(known)}: it is no unseen time"
            )
            found.append(Note("test data", text, "--test-data", warning=True))
    return found[:1]


def read_series(options: ReadingOptions) -> list[Table]:
    """All series that ``options.data`` names, in memory."""
    from .readers import read_tables
    from .reading.sources import open_sources

    return read_tables(open_sources(options), options)
