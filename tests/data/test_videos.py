"""Captioned clips as a data module: parts, numbers of words, batches from memory and from a file, and the sample."""

from __future__ import annotations

import functools
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data.loading import load_data
from src.data.options import DataOptions
from src.data.tokenizer import TextTokenizer
from src.data.video_reading import kept, reader
from src.data.video_samples import DIRECTIONS, NUMBERS, load_video_sample
from src.data.videos import CaptionedClips, VideoData, caption_tokens
from src.errors import DataError, OptionError
from tests.data.clip_files import bar_clips, write_archive, write_gif

PARTS = ("train", "validation", "test")


def made(each: int = 20, **options: Any) -> VideoData:
    clips, captions = bar_clips(each)
    names = tuple(f"made #{number}" for number in range(len(captions)))
    return VideoData(CaptionedClips(clips, tuple(captions), names), DataOptions(data="made", **options))


# ---- parts and words


def test_every_caption_has_its_share_of_each_part() -> None:
    data = made(each=15)
    assert data.spec.kind == "captioned_video" and data.spec.task == "generate"
    assert data.spec.input_shape == (4, 1, 8, 8) and data.spec.target_shape == (2,)
    assert data.spec.vocabulary == 7 and data.spec.frame_rate == 8  # five words, padding and unknown
    for part, count in zip(PARTS, (10, 3, 2), strict=True):
        assert set(Counter(getattr(data, part).captions()).values()) == {count}
    names = [name for part in PARTS for name in getattr(data, part).names()]
    assert len(names) == len(set(names)) == 60


def test_clips_that_are_alike_are_in_one_part() -> None:
    clips, captions = bar_clips(10)
    twice = CaptionedClips(np.concatenate([clips, clips]), (*captions, *captions), tuple(map(str, range(80))))
    data = VideoData(twice, DataOptions(data="made"))
    parts = {name: part for part in PARTS for name in getattr(data, part).names()}
    assert all(parts[str(number)] == parts[str(number + 40)] for number in range(40))


def test_captions_that_do_not_repeat_are_cut_at_random() -> None:
    clips, _ = bar_clips(10)
    captions = tuple(f"clip number {number}" for number in range(40))
    data = VideoData(CaptionedClips(clips, captions, captions), DataOptions(data="made"))
    assert [len(getattr(data, part)) for part in PARTS] == [28, 6, 6]
    unknown = data.test.tokens()
    assert (unknown[:, 2] == 1).all()  # their numbers were not among the training captions
    with pytest.raises(DataError, match="at least 3 different clips, but made has 1"):
        VideoData(CaptionedClips(clips[:1], captions[:1], captions[:1]), DataOptions(data="made"))


def test_words_are_numbered_and_spelt() -> None:
    tokenizer = TextTokenizer.fit(["a one", "a two going up"], DataOptions())
    tokens = caption_tokens(["A TWO going", "a three", ""], tokenizer, 4)
    assert tokens.dtype == torch.int64 and tokens.shape == (3, 4)
    assert [tokenizer.spelt(row) for row in tokens.tolist()] == ["a two going", "a [UNK]", ""]
    assert caption_tokens(["a two going up"], tokenizer, 2).shape == (1, 2)


def test_clips_go_from_minus_1_to_1() -> None:
    data = made()
    batch = data.train.select([3, 0])
    raw = data.train.clips([3, 0])
    assert raw.dtype == np.uint8 and raw.shape == (2, 4, 8, 8, 1)
    assert torch.allclose(batch.inputs, torch.from_numpy(raw).permute(0, 1, 4, 2, 3) / 127.5 - 1)
    assert batch.index.tolist() == [3, 0]
    assert data.tokenizer.spelt(batch.targets[0].tolist()) == data.train.captions([3])[0]


def test_batches_hold_every_clip_once_in_an_order_of_the_generator() -> None:
    split = made().train
    in_order = torch.cat([batch.index for batch in split.batches(10)])
    assert in_order.tolist() == list(range(len(split)))
    shuffled = [
        torch.cat([b.index for b in split.batches(10, torch.Generator().manual_seed(seed))]) for seed in (1, 1, 2)
    ]
    assert torch.equal(shuffled[0], shuffled[1]) and not torch.equal(shuffled[0], shuffled[2])
    assert sorted(shuffled[0].tolist()) == in_order.tolist()


def test_what_identifies_the_data_and_what_a_model_keeps() -> None:
    data, again, other = made(), made(), made(each=21)
    assert data.fingerprint() == again.fingerprint() != other.fingerprint()
    assert data.fingerprint()["windows"] == {"train": 56, "validation": 12, "test": 12}
    schema = json.loads(json.dumps(data.schema()))
    assert TextTokenizer(schema["tokenizer"]).tokens == data.tokenizer.tokens
    assert sorted(schema["captions"]) == ["going down", "going left", "going right", "going up"]
    loaded = VideoData(CaptionedClips(*_raw(data)), data.options, tokenizer=TextTokenizer(data.fitted()["tokenizer"]))
    assert loaded.spec == data.spec


def _raw(data: VideoData) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    clips = np.concatenate([getattr(data, part).clips() for part in PARTS])
    captions = [caption for part in PARTS for caption in getattr(data, part).captions()]
    return clips, tuple(captions), tuple(captions)


def test_another_task_or_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="task generate, but got --task forecast"):
        made(task="forecast")
    write_archive(tmp_path / "train.npz"), write_archive(tmp_path / "test.npz", side=12)
    options = DataOptions(data=str(tmp_path / "train.npz"), test_data=str(tmp_path / "test.npz"))
    with pytest.raises(DataError, match="shape of the training clips"):
        load_data(options)


def test_a_separate_test_set(tmp_path: Path) -> None:
    write_archive(tmp_path / "train.npz", each=12), write_archive(tmp_path / "test.npz", each=14)
    data: Any = load_data(DataOptions(data=str(tmp_path / "train.npz"), test_data=str(tmp_path / "test.npz")))
    assert len(data.test) == 56 and len(data.train) + len(data.validation) == 48


# ---- large clips on disk


@pytest.fixture
def folder_of_gifs(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    clips, captions = bar_clips(6)
    for number, (clip, caption) in enumerate(zip(clips, captions, strict=True)):
        write_gif(folder / f"{number}.gif", clip)
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
    return folder


def test_clips_mapped_from_disk_are_those_in_memory(
    folder_of_gifs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DataOptions(data=str(folder_of_gifs), cache=str(tmp_path / "cache"))
    in_memory: Any = load_data(options)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(kept, "LARGE_BYTES", 1000)
    for _ in range(2):
        mapped: Any = load_data(options)
        assert len(list((tmp_path / "cache").glob("*"))) == 1  # made once, and found the second time
        assert any("mapped into memory" in message for message in mapped.messages)
        assert mapped.fingerprint()["sha256"] == in_memory.fingerprint()["sha256"]
        pairs = zip(
            *(data.train.batches(5, torch.Generator().manual_seed(3)) for data in (mapped, in_memory)), strict=True
        )
        for one, other in pairs:
            assert all(torch.equal(first, second) for first, second in zip(one[:3], other[:3], strict=True))
    write_gif(folder_of_gifs / "0.gif", bar_clips(1)[0][1])
    changed: Any = load_data(options)
    assert changed.fingerprint()["sha256"] != in_memory.fingerprint()["sha256"]
    assert len(list((tmp_path / "cache").glob("*"))) == 1  # in the place of what was made of the old clips


def test_clips_on_disk_are_not_read_again_and_stay_there_beside_a_test_set(
    folder_of_gifs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(tmp_path / "test.npz", each=4)
    cache, test_data = str(tmp_path / "cache"), str(tmp_path / "test.npz")
    options = DataOptions(data=str(folder_of_gifs), test_data=test_data, cache=cache, image_size=8)
    in_memory: Any = load_data(options)
    monkeypatch.setattr(kept, "LARGE_BYTES", 5000)
    first: Any = load_data(options)
    monkeypatch.setattr(reader, "read_clip", lambda *_: pytest.fail("a clip was read again"))
    mapped: Any = load_data(options)
    assert mapped._store.is_mapped and len(list((tmp_path / "cache").iterdir())) == 1
    assert mapped.spec == first.spec == in_memory.spec and mapped.fingerprint() == in_memory.fingerprint()
    assert np.array_equal(mapped.test.clips([3, 0, 15]), in_memory.test.clips([3, 0, 15]))
    assert any(note.warning and "are among the data as well" in note.text for note in mapped.notes)
    entry = next((tmp_path / "cache").iterdir())
    (entry / "clips.json").write_text("{", encoding="utf-8")
    monkeypatch.undo()
    monkeypatch.setattr(kept, "LARGE_BYTES", 5000)
    again: Any = load_data(options)  # what is damaged is made anew
    assert again.fingerprint() == in_memory.fingerprint()


def test_a_read_that_fails_leaves_nothing(
    folder_of_gifs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LARGE_BYTES", 1000)
    monkeypatch.setattr(reader, "_evenly", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_data(DataOptions(data=str(folder_of_gifs), cache=str(tmp_path / "cache")))
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "file").write_text("")
    monkeypatch.undo()
    monkeypatch.setattr(kept, "LARGE_BYTES", 1000)
    with pytest.raises(DataError, match="name another with --cache"):
        load_data(DataOptions(data=str(folder_of_gifs), cache=str(tmp_path / "file" / "cache")))


def test_fetching_ahead_ends_with_the_loop(
    folder_of_gifs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LARGE_BYTES", 1000)
    data: Any = load_data(DataOptions(data=str(folder_of_gifs), cache=str(tmp_path / "cache")))
    batches = data.train.batches(3)
    next(batches)
    assert any(thread.name.startswith("clips") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("clips") for thread in threading.enumerate())


# ---- the sample


@functools.cache
def sample() -> Any:
    return load_data(DataOptions(data="sample:moving-digits"))


def test_the_sample_has_each_digit_in_one_part_and_every_caption() -> None:
    data = sample()
    assert [len(getattr(data, part)) for part in PARTS] == [5028, 720, 1440]
    digits = [{name.rpartition(" #")[2].split()[0] for name in getattr(data, part).names()} for part in PARTS]
    assert [len(found) for found in digits] == [1257, 180, 360] and len(set.union(*digits)) == 1797
    captions = set(data.train.captions())
    articles = {number: "an" if number == "eight" else "a" for number in NUMBERS}
    assert captions == {f"{articles[n]} {n} moving {direction}" for n in NUMBERS for direction in DIRECTIONS}
    moves = Counter(caption.partition("moving ")[2] for caption in data.train.captions() + data.validation.captions())
    assert max(moves.values()) - min(moves.values()) <= 2
    assert any("made motion" in message for message in data.messages)


def test_digits_of_the_sample_move_as_their_captions_say_and_stay_whole() -> None:
    found = load_video_sample("moving-digits")
    mass = found.clips.astype(np.int64).sum((2, 3, 4))
    assert (mass == mass[:, :1]).all()  # nothing leaves the canvas
    rows, columns = np.mgrid[:16, :16]
    for clip, caption in zip(found.clips[::97, ..., 0], found.captions[::97], strict=True):
        total = clip.sum((1, 2), dtype=np.float64)
        centres = np.stack([(clip * axis).sum((1, 2)) / total for axis in (rows, columns)], 1)
        assert np.allclose(np.diff(centres, axis=0), DIRECTIONS[caption.partition("moving ")[2]])
    again = load_video_sample("moving-digits")
    assert np.array_equal(found.clips, again.clips) and found.captions == again.captions


def test_the_sample_in_another_shape() -> None:
    data: Any = load_data(DataOptions(data="sample:moving-digits", image_size=20, frames=4, colour="colour"))
    assert data.spec.input_shape == (4, 3, 20, 20)
    with pytest.raises(OptionError, match="--captions goes with files"):
        load_data(DataOptions(data="sample:moving-digits", captions="captions.csv"))
