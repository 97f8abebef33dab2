"""Captioned clips in files: what counts as some, what is in them, and what is said where something is wrong."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.data.images import ImageData
from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.text import TextData
from src.data.video_reading import reader
from src.data.video_reading.detect import is_videos
from src.data.video_reading.landmarks import HAND, draw_landmarks
from src.data.video_reading.reader import read_videos
from src.data.videos import CaptionedClips, VideoData
from src.errors import DataError, OptionError
from tests.data.clip_files import bar_clips, write_archive, write_frames, write_gif, write_mp4, write_pose

DATA = Path(os.environ.get("TRAINBOARD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLIPS, CAPTIONS = bar_clips(3)
NAMES = [f"clip{number}" for number in range(len(CLIPS))]

WRITERS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    ".gif": write_gif,
    ".webp": lambda path, clip: Image.fromarray(clip[0, ..., 0]).save(
        path, save_all=True, append_images=[Image.fromarray(frame[..., 0]) for frame in clip[1:]], lossless=True
    ),
    ".mp4": write_mp4,
    ".npy": lambda path, clip: np.save(path, clip[..., 0]),
    ".npz": lambda path, clip: np.savez(path, frames=clip.transpose(0, 3, 1, 2) / 255),
    "": write_frames,
}


def written(folder: Path, suffix: str = ".gif", names: list[str] = NAMES) -> Path:
    for name, clip in zip(names, CLIPS, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        WRITERS[suffix](folder / f"{name}{suffix}", clip)
    return folder


def with_texts(folder: Path) -> Path:
    for name, caption in zip(NAMES, CAPTIONS, strict=True):
        (folder / f"{name}.txt").write_text(f"{caption}\n", encoding="utf-8")
    return folder


def read(path: Path, **options: Any) -> CaptionedClips:
    return read_videos(DataOptions(data=str(path), **options))


def by_caption_and_pixels(found: CaptionedClips) -> list[tuple[str, bytes]]:
    return sorted((caption, clip.tobytes()) for caption, clip in zip(found.captions, found.clips, strict=True))


EXPECTED = sorted((caption, clip.tobytes()) for caption, clip in zip(CAPTIONS, CLIPS, strict=True))

# ---- every kind of clip


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_kind_of_clip(tmp_path: Path, suffix: str) -> None:
    folder = with_texts(written(tmp_path / "clips", suffix))
    found = load_data(DataOptions(data=str(folder)))
    assert isinstance(found, VideoData) and found.spec.input_shape == (4, 1, 8, 8)
    clips = read(folder)
    if suffix == ".mp4":  # red, green and blue are rounded on the way to brightness and back
        assert clips.captions == tuple(CAPTIONS)
        assert np.abs(clips.clips.astype(int) - CLIPS).max() <= 2
    else:
        assert by_caption_and_pixels(clips) == EXPECTED
    assert clips.frame_rate == (10 if suffix in (".gif", ".mp4") else 8 if suffix != ".webp" else clips.frame_rate)


def test_frames_go_by_number_and_are_spread_over_the_clip(tmp_path: Path) -> None:
    long = [np.full((30, 8, 8, 1), 8 * number, dtype=np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
            for number in range(10)]  # fmt: skip
    for number, clip in enumerate(long):
        write_frames(tmp_path / "frames" / str(number), clip)
        write_mp4(tmp_path / f"{number}.mp4", clip, rate=15)
    names = "".join(f"{number},clip {number}\n" for number in range(10))
    (tmp_path / "frames" / "captions.csv").write_text(names)
    found = read(tmp_path / "frames")
    assert found.clips.shape == (10, 16, 8, 8, 1) and found.frame_rate == 8
    assert found.clips[2, :, 0, 0, 0].tolist() == [16 + round(frame) for frame in np.linspace(0, 29, 16)]
    assert read(tmp_path / "frames", frames=2).clips[1, :, 0, 0, 0].tolist() == [8, 37]
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("a clip")
    (tmp_path / "captions.csv").write_text("\n".join(f"{number}.mp4,a clip" for number in range(10)))
    assert read(tmp_path).frame_rate == 8  # 16 of 30 frames, 15 a second: as long as before
    data = load_data(DataOptions(data=str(tmp_path), frame_rate=5.0))
    assert data.spec.frame_rate == 5


def test_clips_of_several_sizes_become_squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        side = (8, 30, 100)[number % 3]
        clip = np.random.default_rng(number).integers(0, 255, (4, side, 2 * side, 3), dtype=np.uint8)
        np.save(tmp_path / f"{number}.npy", clip)
        (tmp_path / f"{number}.txt").write_text("noise")
    found = read(tmp_path)
    assert found.clips.shape == (12, 4, 16, 16, 3) and found.resized  # the first of sizes that are equally frequent
    asked = read(tmp_path, image_size=30, colour="grey")
    assert asked.clips.shape == (12, 4, 32, 32, 1)
    assert any("32 instead of 30 pixels" in note.text for note in asked.notes)
    monkeypatch.setattr(reader, "HELD_BYTES", 5000)
    assert np.array_equal(read(tmp_path).clips, found.clips)  # those that are not held are read again


# ---- captions


def table(text: str, name: str = "captions.csv", encoding: str = "utf-8") -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        rows = [text.format(name=each, caption=caption) for each, caption in zip(NAMES, CAPTIONS, strict=True)]
        head = {"{name}.gif;{caption};7": "Clip;Label;views\n", '{name},"{caption}"': "File,Caption\n"}.get(text, "")
        (folder / name).write_text(head + "\n".join(rows) + "\n", encoding=encoding)
        return {} if name.startswith("captions.") else {"captions": str(folder / name)}

    return write


TABLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "header": table('{name},"{caption}"', encoding="utf-8-sig"),
    "no header": table("./{name}.gif,{caption}"),
    "tabs": table("{name}.gif\t{caption}", "captions.tsv"),
    "semicolons": table("{name}.gif;{caption};7"),
    "named": table("{name}.gif,{caption}", "words.txt"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_captions(tmp_path: Path, kind: str) -> None:
    folder = written(tmp_path / "clips")
    options = TABLES[kind](folder)
    assert is_videos(DataOptions(data=str(folder), **options))
    assert by_caption_and_pixels(read(folder, **options)) == EXPECTED


def test_folders_as_captions(tmp_path: Path) -> None:
    names = [f"{caption.replace(' ', '_')}/{name}" for name, caption in zip(NAMES, CAPTIONS, strict=True)]
    folder = written(tmp_path / "clips", names=names)
    assert is_videos(DataOptions(data=str(folder))) and by_caption_and_pixels(read(folder)) == EXPECTED


def test_a_clip_may_have_several_captions_or_be_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path / "clips")
    rows = [f"{name},{caption}\n{name},it moves\n" for name, caption in zip(NAMES[1:], CAPTIONS[1:], strict=True)]
    (folder / "captions.csv").write_text("".join(rows))
    data: Any = load_data(DataOptions(data=str(folder)))
    assert len(data.train) + len(data.validation) + len(data.test) == 22
    parts: dict[str, set[str]] = {}
    for part in ("train", "validation", "test"):
        for name in getattr(data, part).names():
            parts.setdefault(name, set()).add(part)
    assert all(len(found) == 1 for found in parts.values())
    assert any(note.warning and "1 clip without a caption left out: clip0.gif" in note.text for note in data.notes)


# ---- what is wrong


def broken(change: Callable[[Path], Any], captions: bool = True) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        folder = written(tmp_path / "clips", ".mp4")
        if captions:
            rows = "".join(f"{name}.mp4,{caption}\n" for name, caption in zip(NAMES, CAPTIONS, strict=True))
            (folder / "captions.csv").write_text(rows)
        change(folder)
        return folder

    return make


def add(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "captions.csv").open("a").write(text)


def cut(folder: Path) -> None:
    (folder / "clip7.mp4").write_bytes(b"no film at all" * 9)


def twice(folder: Path) -> None:
    (folder / "a").mkdir(), (folder / "b").mkdir()
    for name in "ab":
        write_mp4(folder / name / "same.mp4", CLIPS[0])
    add("same.mp4,again\n")(folder)


def empty_text(folder: Path) -> None:
    with_texts(folder)
    (folder / "clip3.txt").write_text(" \n")


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (broken(add("gone.mp4,a dog\nlost.mp4,a cat\n")), r"2 clips cannot be found, such as gone.mp4, lost"),
    "no caption": (broken(add("clip1.mp4, \n")), "captions.csv has none for clip1.mp4"),
    "unclear": (broken(twice), "same.mp4 may be any of several"),
    "commas": (broken(add("clip1.mp4,a dog, a cat\n")), "put captions with commas into double quotes"),
    "columns": (
        broken(lambda folder: (folder / "captions.csv").write_text("clip,who,when\n1,2,3")),
        "has clip, who, when; rename them",
    ),
    "encoding": (broken(lambda folder: (folder / "captions.csv").write_bytes(b"a,\xff")), "CSV in UTF-8"),
    "none": (broken(lambda folder: None, captions=False), r"none for 12 clips, such as clip0.mp4"),
    "empty text": (broken(empty_text, captions=False), "beside clip3.mp4 in .* is empty"),
    "damaged": (broken(cut), "clip7.mp4 is damaged"),
    "few": (broken(lambda folder: (folder / "captions.csv").write_text("clip1.mp4,a\n")), "at least 10 clips"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, kind: str) -> None:
    make, said = WRONG[kind]
    with pytest.raises(DataError, match=said):
        load_data(DataOptions(data=str(make(tmp_path))))


def test_options_that_do_not_go_with_clips(tmp_path: Path) -> None:
    folder = with_texts(written(tmp_path / "clips"))
    with pytest.raises(OptionError, match=r"--landmarks goes with a table of landmarks, but .*clips is none"):
        load_data(DataOptions(data=str(folder), landmarks=1))
    archive = write_archive(tmp_path / "clips.npz")
    (tmp_path / "words.csv").write_text("a,b")
    with pytest.raises(OptionError, match="--captions goes with a folder of clips"):
        load_data(DataOptions(data=str(archive), captions=str(tmp_path / "words.csv")))
    with pytest.raises(DataError, match="--captions must be a file that exists"):
        load_data(DataOptions(data=str(folder), captions=str(tmp_path / "word.csv")))
    with pytest.raises(OptionError, match="--task generate goes with captioned clips, but sample:goog is a series"):
        load_data(DataOptions(data="sample:goog", task="generate"))


# ---- archives


def test_archives(tmp_path: Path) -> None:
    file = write_archive(tmp_path / "clips.npz", each=3, channels=3)
    assert is_videos(DataOptions(data=str(file))) and read(file).clips.shape == (12, 4, 8, 8, 3)
    clips, captions = bar_clips(3)
    np.savez(file, clips=clips[..., 0] / 255, captions=np.array(captions, dtype="S"), frame_rate=6)
    found = read(file)
    assert by_caption_and_pixels(found) == EXPECTED and found.frame_rate == 6
    np.savez(file, clips=clips, captions=captions[1:])
    with pytest.raises(DataError, match="has 12 clips and 11 captions"):
        load_data(DataOptions(data=str(file)))
    np.savez(file, clips=clips, captions=["", *captions[1:]])
    with pytest.raises(DataError, match=r"number 1 of .*clips.npz has none"):
        load_data(DataOptions(data=str(file)))


# ---- what is left to other kinds


def pictures(folder: Path, suffix: str) -> Path:
    for place in range(24):
        path = folder / "ab"[place % 2] / f"{place}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(place).integers(0, 255, (8, 8), dtype=np.uint8)).save(path)
    return folder


def with_prices(path: Path) -> Path:
    rows = (f"2020-{1 + day // 28:02}-{1 + day % 28:02},{day},{day % 7}\n" for day in range(330))
    path.write_text("date,x,y\n" + "".join(rows))
    return path


def texts(folder: Path) -> Path:
    for place in range(24):
        path = folder / ("bad", "good")[place % 2] / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text number {place} of all")
    write_mp4(folder / "about.mp4", CLIPS[0])
    return folder


def captioned_pictures(folder: Path) -> Path:
    pictures(folder, ".png")
    (folder / "captions.csv").write_text("file,caption\n" + "".join(f"a/{place}.png,a\n" for place in range(0, 24, 2)))
    return folder


OTHERS: dict[str, tuple[Callable[[Path], Path], type]] = {
    "pictures": (lambda p: pictures(p / "a", ".png"), ImageData),
    "pictures that do not move": (lambda p: pictures(p / "a", ".gif"), ImageData),
    "pictures that move, without captions": (lambda p: written(p / "a"), ImageData),
    "pictures with captions": (lambda p: captioned_pictures(p / "a"), ImageData),
    "pictures and a film": (
        lambda p: (pictures(p / "a", ".png"), write_mp4(p / "a" / "b.mp4", CLIPS[0]))[0],
        ImageData,
    ),
    "prices": (lambda p: with_prices(p / "a.csv"), SeriesData),
    "texts and a film": (lambda p: texts(p / "a"), TextData),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_stay_what_they_were(tmp_path: Path, kind: str) -> None:
    make, expected = OTHERS[kind]
    assert type(load_data(DataOptions(data=str(make(tmp_path)), window=5))) is expected


# ---- landmarks


def rows_of_paths(count: int = 12) -> str:
    """A class, then eight frames of a point: class 1 to the right, class 0 downwards."""
    ways = [np.linspace(0, 1, 8) ** (1 + number / 20) for number in range(count)]
    points = [
        np.stack([way, 0 * way] if number % 2 else [0 * way, way], 1).ravel() + number
        for number, way in enumerate(ways)
    ]
    return "".join(f"{number % 2}," + ",".join(map(str, row)) + "\n" for number, row in enumerate(points))


def test_a_table_with_a_sequence_in_each_row(tmp_path: Path) -> None:
    file, labels = tmp_path / "paths.csv.gz", tmp_path / "labels.csv"
    file.write_bytes(gzip.compress(rows_of_paths().encode()))
    labels.write_text("Going Down\r\nGoing Right\r\n", encoding="utf-8-sig")
    data: Any = load_data(DataOptions(data=str(file), labels=str(labels)))
    assert data.spec.input_shape == (8, 1, 32, 32)
    found = read(file, labels=str(labels))
    assert found.captions == ("going down", "going right") * 6
    right = found.clips[1, :, :, :, 0].astype(int)
    brightest = right.max(1).argmax(1)
    assert (np.diff(brightest) >= 1).any() and brightest[-1] > 24 and right[0].max(1).argmax() == 15
    assert right[-1, 15, 26] > right[-1, 15, 20] > right[-1, 15, 10] > 0  # the way it came fades
    assert right[:, :, 0].max() == right[:, :, -1].max() == 0  # a margin
    (tmp_path / "head.csv").write_text(
        "class," + ",".join("xy"[n % 2] + str(n) for n in range(16)) + "\n" + rows_of_paths()
    )
    assert np.array_equal(read(tmp_path / "head.csv", landmarks=1).clips, found.clips)
    labels.write_text("Going Down")
    with pytest.raises(DataError, match=r"from 0 to 0, but .* has 1; give the right file as --labels"):
        read(file, labels=str(labels))
    with pytest.raises(OptionError, match="has 16 numbers behind the class; use another --landmarks"):
        read(file, landmarks=3)
    (tmp_path / "empty.csv").write_text(rows_of_paths().replace("0,", ",", 1))
    with pytest.raises(DataError, match="none for empty #1"):
        read(tmp_path / "empty.csv", landmarks=1)


def test_a_table_with_a_landmark_in_each_row(tmp_path: Path) -> None:
    rows = [
        f"c{clip},{frame},{landmark},{frame + landmark},{clip},{'a b' if clip % 2 else 'c'}"
        for clip in range(12) for frame in range(3) for landmark in range(2)
    ]  # fmt: skip
    file = tmp_path / "long.csv"
    file.write_text("clip,frame,landmark,x,y,caption\n" + "\n".join(reversed(rows)))
    found = read(file)
    assert is_videos(DataOptions(data=str(file)))
    assert found.clips.shape == (12, 3, 32, 32, 1) and found.names[:2] == ("c11", "c10")
    assert found.captions[:2] == ("a b", "c") and all(
        clip[0].sum() and not (clip[0] == clip[2]).all() for clip in found.clips
    )
    file.write_text("clip,frame,landmark,x,y\n" + "\n".join(row.rpartition(",")[0] for row in rows))
    with pytest.raises(DataError, match="none for c0, c1, c2 and 9 more"):
        read(file)
    (tmp_path / "said.csv").write_text("\n".join(f"c{clip},number {clip}" for clip in range(12)))
    assert read(file, captions=str(tmp_path / "said.csv")).captions[3] == "number 3"
    file.write_text(file.read_text() + "\nc0,,0,1,1")
    with pytest.raises(DataError, match="a clip, frame or landmark is missing"):
        read(file)


def test_poses_are_drawn_with_their_limbs(tmp_path: Path) -> None:
    for number in range(10):
        points = np.array([[[10, 10], [50, 10 + 4 * frame], [np.nan, np.nan]] for frame in range(5)], dtype=float)
        write_pose(tmp_path / f"{number}.pose", points, [(0, 1), (1, 2)], rate=20)
        (tmp_path / f"{number}.txt").write_text("an arm falls")
    assert is_videos(DataOptions(data=str(tmp_path)))
    found = read(tmp_path)
    assert found.clips.shape == (10, 5, 32, 32, 1) and found.frame_rate == 20
    first = found.clips[0, 0, :, :, 0]
    row = first.sum(1).argmax()
    assert (first[row, 4:27] > 150).all() and not first[row + 4 :].any()  # one limb, the other ends nowhere
    (tmp_path / "3.pose").write_bytes((tmp_path / "3.pose").read_bytes()[:40])
    with pytest.raises(DataError, match=r"3\.pose is damaged"):
        read(tmp_path)


def test_other_landmarks_are_drawn_on_the_scale_of_the_first(tmp_path: Path) -> None:
    for name, scale in (("train", 1.0), ("test", 0.5)):
        ways = [scale * np.linspace(0, 1, 4) ** (1 + number / 20) for number in range(12)]
        lines = [",".join(map(str, [0, *np.stack([way, 0 * way], 1).ravel()])) for way in ways]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    data: Any = load_data(
        DataOptions(data=str(tmp_path / "train.csv"), test_data=str(tmp_path / "test.csv"), landmarks=1)
    )
    widths = [int((part.clips()[0, -1].max((0, 2)) > 0).sum()) for part in (data.train, data.test)]
    assert widths[1] < 0.7 * widths[0]


def test_a_hand_keeps_its_proportions() -> None:
    assert sorted({landmark for edge in HAND for landmark in edge}) == list(range(21)) and len(HAND) == 20
    box = np.array([[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]])
    clip = draw_landmarks(box, 64, 2.0, [(0, 1), (1, 2), (2, 3), (3, 0)])[0, :, :, 0]
    rows, columns = (np.flatnonzero(clip.max(axis) > 100) for axis in (1, 0))
    assert 1.7 < (np.ptp(columns)) / np.ptp(rows) < 2.1
    assert not draw_landmarks(np.full((2, 3, 2), np.nan), 16, 1.0, [(0, 1)]).any()


@pytest.mark.skipif(not (DATA / "motion").is_dir(), reason="the motion files are not there")
def test_the_hand_gestures_of_the_real_files(tmp_path: Path) -> None:
    def tenth(name: str) -> str:
        lines = gzip.decompress((DATA / "motion" / f"{name}.csv.gz").read_bytes()).splitlines(keepends=True)
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(b"".join(lines[::10])))
        return str(tmp_path / f"{name}.csv.gz")

    labels = str(DATA / "motion" / "point_history_labels.csv")
    data: Any = load_data(DataOptions(data=tenth("point_history"), labels=labels))
    assert data.spec.input_shape == (16, 1, 32, 32)
    assert set(data.train.captions()) == {"stop", "clockwise", "counter clockwise", "move"}
    assert len(data.train) + len(data.validation) + len(data.test) == 530
    labels = str(DATA / "motion" / "hand_keypoints_labels.csv")
    hands = read(Path(tenth("hand_keypoints")), labels=labels, landmarks=21)
    assert hands.clips.shape == (445, 1, 32, 32, 1) and set(hands.captions) == {"open", "close", "pointer"}
    lit = (hands.clips > 100).mean((1, 2, 3, 4))
    assert lit.min() > 0.02 and lit.max() < 0.6
