"""Images as a data module: parts, scale, batches, test sets of their own, and what goes with which task."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.base import DataSpec
from src.data.image_reading.images import LabelledImages
from src.data.image_reading.reader import read_images
from src.data.image_samples import IMAGE_SAMPLES, load_image_sample
from src.data.images import ImageData, ImageSplit, new_images
from src.data.loading import is_image_data, load_data
from src.data.options import DataOptions
from src.data.series import SeriesData
from src.data.text import TextData
from src.errors import DataError, OptionError
from tests.data.image_reading.picture_files import class_files, fill, noise, packed, write_idx

PARTS = ("train", "validation", "test")


def made(labels: list[str] | None, count: int = 0, channels: int = 1, seed: int = 0) -> LabelledImages:
    count = len(labels) if labels is not None else count
    names = tuple(f"made #{number}" for number in range(1, count + 1))
    pixels = noise(count, 6, 5, channels, seed=seed)
    return LabelledImages(pixels, names, None if labels is None else tuple(labels))


def load(images: LabelledImages, test_images: LabelledImages | None = None, **options: Any) -> ImageData:
    return ImageData(images, DataOptions(data="made", **options), test_images)


def splits(data: ImageData) -> list[ImageSplit]:
    return [getattr(data, part) for part in PARTS]


def labels_of(data: ImageData, split: ImageSplit) -> list[str]:
    return [data.spec.class_names[number] for number in split.targets()]


LABELS = ["b"] * 40 + ["a"] * 20 + ["10"] * 20 + ["9"] * 20


# --- parts ------------------------------------------------------------------------------------------------------------


def test_every_class_has_its_share_of_each_part() -> None:
    data = load(made(LABELS))
    assert data.spec.class_names == ("9", "10", "a", "b")
    for split, share in zip(splits(data), (0.7, 0.15, 0.15), strict=True):
        assert Counter(labels_of(data, split)) == {
            name: round(share * count) for name, count in Counter(LABELS).items()
        }
    assert data.spec.class_shares == pytest.approx((0.2, 0.2, 0.2, 0.4))
    names = [name for split in splits(data) for name in split.names()]
    assert sorted(names) == sorted(made(LABELS).names)
    assert names != list(made(LABELS).names)


def test_images_keep_their_labels_and_names() -> None:
    images = made(LABELS)
    data = load(images)
    for split in splits(data):
        places = [images.names.index(name) for name in split.names()]
        assert labels_of(data, split) == [LABELS[place] for place in places]
        np.testing.assert_array_equal(split.pixels(), images.pixels[places])
        np.testing.assert_array_equal(split.pixels([2, 0]), images.pixels[[places[2], places[0]]])
        assert split.names(torch.tensor([1])) == [images.names[places[1]]]


def test_the_cut_is_the_same_in_every_run_but_not_the_same_numbers_of_each_class() -> None:
    labels = [str(number // 20) for number in range(200)]
    first, again = load(made(labels)), load(made(labels))
    assert first.test.names() == again.test.names()
    within: dict[int, set[int]] = {}
    for name, number in zip(first.test.names(), first.test.targets().tolist(), strict=True):
        within.setdefault(number, set()).add(int(name.rpartition("#")[2]) % 20)
    assert len(set(map(frozenset, within.values()))) > 5


@settings(max_examples=30)
@given(
    st.lists(st.integers(3, 12), min_size=2, max_size=6),
    st.sampled_from(["0.7,0.15,0.15", "0.4,0.3,0.3", "0.9,0.05,0.05"]),
)
def test_every_class_is_in_every_part(counts: list[int], split: str) -> None:
    labels = [f"class {number}" for number, count in enumerate(counts) for _ in range(count)]
    data = load(made(labels), split=split)
    assert all(set(part.targets()) == set(range(len(counts))) for part in splits(data))
    assert sum(map(len, splits(data))) == len(labels)


def test_images_that_are_alike_are_in_the_same_part() -> None:
    images = made(["a", "b"] * 30)
    pixels = images.pixels[np.arange(60) // 6 * 6 + np.arange(60) % 2]  # three of each
    data = load(replace(images, pixels=pixels))
    where = [{image.tobytes() for image in split.pixels()} for split in splits(data)]
    assert sum(map(len, where)) == len(set.union(*where)) == 20


def test_without_labels_the_cut_is_random() -> None:
    data = load(made(None, 100))
    assert [len(split) for split in splits(data)] == [70, 15, 15]
    assert data.spec.task == "represent" and data.spec.target_shape == (0,) and data.spec.class_names == ()
    assert (data.train.targets() == -1).all() and (data.test.select([0, 3]).targets == -1).all()
    numbers = [int(name.rpartition("#")[2]) for name in data.test.names()]
    assert min(numbers) < 50 < max(numbers)


def test_too_few_of_a_class_are_refused() -> None:
    with pytest.raises(
        DataError, match="every class needs at least 3 different images, some for each part, but b has 2"
    ):
        load(made(["a"] * 10 + ["b"] * 2))
    images = made(None, 10)
    with pytest.raises(DataError, match="at least 3 different images, some for each part, but made has 1"):
        load(replace(images, pixels=np.zeros_like(images.pixels)))


def test_the_split_must_be_fractions() -> None:
    with pytest.raises(OptionError, match="--split of images must be fractions"):
        load(made(LABELS), split="2020-01-01,2021-01-01")
    with pytest.raises(OptionError, match="needs a share for the test part"):
        load(made(LABELS), split="0.8,0.2")


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_represent_leaves_labels_out() -> None:
    data = load(made(LABELS), task="represent")
    assert data.spec.task == data.options.task == "represent" and (data.train.targets() == -1).all()


@pytest.mark.parametrize(("images", "found"), [(made(None, 20), "no labels"), (made(["a"] * 20), "one class alone")])
def test_classify_needs_labels(images: LabelledImages, found: str) -> None:
    with pytest.raises(OptionError, match=f"needs images of at least two classes, but made has {found}"):
        load(images, task="classify")
    assert load(images).spec.task == "represent"


@pytest.mark.parametrize("task", ["forecast", "direction"])
def test_other_tasks_are_refused(task: str) -> None:
    with pytest.raises(OptionError, match=f"the tasks classify and represent, but got --task {task}"):
        load(made(LABELS), task=task)


# --- scale and batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_the_scale_is_that_of_the_training_part(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.data.images.IMAGES_AT_ONCE", 7)
    images = made(LABELS, channels=channels)
    images.pixels[..., -1] //= 4
    data = load(images)
    pixels = data.train.pixels() / 255
    assert data.spec.input_shape == (channels, 6, 5)
    assert data.spec.pixel_mean == pytest.approx(pixels.mean(axis=(0, 1, 2)))
    assert data.spec.pixel_deviation == pytest.approx(pixels.std(axis=(0, 1, 2)))
    median = np.sort(pixels.reshape(-1, channels), axis=0)[(pixels.size // channels - 1) // 2]
    assert data.spec.background == pytest.approx(
        (median - np.array(data.spec.pixel_mean)) / np.array(data.spec.pixel_deviation)
    )
    batch = data.test.select([3, 1])
    expected = (data.test.pixels([3, 1]) / 255 - data.spec.pixel_mean) / data.spec.pixel_deviation
    assert batch.inputs.dtype == torch.float32
    np.testing.assert_allclose(batch.inputs.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    assert batch.index.tolist() == [3, 1] and batch.targets.tolist() == data.test.targets()[[3, 1]].tolist()


def test_a_channel_that_never_changes_has_a_scale() -> None:
    images = made(["a", "b"] * 20)
    images.pixels[:] = 9
    every = np.arange(40)
    images.pixels[every, every % 6, every // 6 % 5] = np.where(every < 30, 10, 8)[:, None]  # so that no two are alike
    data = load(images)
    assert data.spec.pixel_deviation == (1 / 255,)
    assert data.train.select([0]).inputs.abs().max() < 1.1


def test_a_scale_that_was_learnt_before_is_used_again() -> None:
    data = load(made(LABELS))
    stored = json.loads(json.dumps(data.fitted()))
    assert stored == {"pixel_mean": list(data.spec.pixel_mean), "pixel_deviation": list(data.spec.pixel_deviation)}
    again = ImageData(made(LABELS), DataOptions(data="made"), fitted=stored)
    assert again.spec == data.spec
    other = ImageData(made(LABELS), DataOptions(data="made"), fitted={"pixel_mean": [0.0], "pixel_deviation": [1.0]})
    np.testing.assert_allclose(other.test.select([0]).inputs[0, 0], other.test.pixels([0])[0, ..., 0] / 255, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 70, 1000])
def test_batches_have_every_image_once(size: int) -> None:
    data = load(made(LABELS))
    plain = list(data.train.batches(size))
    assert torch.cat([batch.index for batch in plain]).tolist() == list(range(70))
    assert all(len(batch.inputs) == size for batch in plain[:-1])
    drawn = list(data.train.batches(size, torch.Generator().manual_seed(1)))
    order = torch.cat([batch.index for batch in drawn]).tolist()
    assert sorted(order) == list(range(70)) and order != sorted(order)
    again = torch.cat([batch.index for batch in data.train.batches(size, torch.Generator().manual_seed(1))]).tolist()
    assert again == order
    known = data.train.select(order)
    torch.testing.assert_close(torch.cat([batch.inputs for batch in drawn]), known.inputs, rtol=0, atol=0)
    assert torch.cat([batch.targets for batch in drawn]).equal(known.targets)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_are_gathered_on_the_device() -> None:
    data = load(made(LABELS))
    known, before = data.test.select([4, 2]), data.fingerprint()
    assert data.to(torch.device("cuda", 0)) is data
    batch = next(data.train.batches(8, torch.Generator().manual_seed(1)))
    assert {part.device.type for part in (batch.inputs, batch.targets, batch.index)} == {"cuda"}
    torch.testing.assert_close(data.test.select([4, 2]).inputs.cpu(), known.inputs)
    assert data.fingerprint() == before and data.test.pixels([1]).shape == (1, 6, 5, 1)


def test_fingerprints_tell_data_apart() -> None:
    first, again = load(made(LABELS)).fingerprint(), load(made(LABELS)).fingerprint()
    assert first == again == json.loads(json.dumps(first))
    assert first["windows"] == {"train": 70, "validation": 15, "test": 15} and first["rows"] == 100
    other = load(made(LABELS, seed=1)).fingerprint()
    assert other["sha256"] != first["sha256"] and other["test_hash"] != first["test_hash"]
    relabelled = load(made([*LABELS[:-1], "a"])).fingerprint()
    assert relabelled["sha256"] != first["sha256"]


# --- test sets and new images -----------------------------------------------------------------------------------------


def test_a_test_set_of_its_own() -> None:
    test_images = made(["b", "9", "b"], seed=5)
    data = load(made(LABELS), test_images)
    assert data.test.names() == ["made #1", "made #2", "made #3"] and labels_of(data, data.test) == ["b", "9", "b"]
    np.testing.assert_array_equal(data.test.pixels(), test_images.pixels)
    assert len(data.train) + len(data.validation) == 100 and not any(note.warning for note in data.notes)
    assert load(made(LABELS), made(None, 3, seed=5), task="represent").test.targets().tolist() == [-1] * 3


def test_test_images_that_are_no_unseen_ones_are_reported() -> None:
    images = made(LABELS)
    test_images = replace(made(["b", "9", "b"], seed=5), pixels=images.pixels[[0, 90, 0]])
    test_images.pixels[2] += 1
    warned = [note for note in load(images, test_images).notes if note.warning]
    assert [note.text for note in warned] == ["2 of its 3 images are among the data as well: not unseen"]


@pytest.mark.parametrize(
    ("test_images", "message"),
    [
        (made(["b", "c", "8"]), r"among those trained with \(9, 10, a, b\), but it has 8, c; leave"),
        (made(None, 3), "test pictures must have labels"),
        (made(["b"] * 3, channels=3), "must be grey as the training pictures are"),
        (replace(made(["b"] * 3), pixels=noise(3, 5, 6, 1)), r"\(6 x 5 pixels\), but have 5 x 6"),
    ],
)
def test_test_sets_that_do_not_fit_are_refused(test_images: LabelledImages, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(made(LABELS), test_images)


def test_grey_test_images_go_with_colours() -> None:
    data = load(made(LABELS, channels=3), made(["b"] * 3, seed=5))
    np.testing.assert_array_equal(data.test.pixels(), np.repeat(made(["b"] * 3, seed=5).pixels, 3, axis=3))


def test_new_images_are_scaled_as_those_trained_with(tmp_path: Path) -> None:
    data = load_data(DataOptions(data=str(fill(tmp_path / "a", class_files({"x": 20, "y": 20}, (8, 8))))))
    assert isinstance(data, ImageData)
    schema = json.loads(json.dumps(data.schema()))
    assert DataSpec.from_dict(schema["spec"]) == data.spec
    reading = DataOptions.from_dict(schema["options"])
    again = new_images(read_images(reading), schema)
    places = [again.names().index(name) for name in data.test.names()]
    assert again.select(places).inputs.equal(data.test.select(np.arange(len(data.test))).inputs)
    assert (again.select(places).targets == -1).all()
    # Other sizes and colours are brought to those of the training.
    new = fill(tmp_path / "new", class_files({"": 1}, (16, 12, 3)))
    split = new_images(read_images(reading, data=str(new), with_labels=False, least=1), schema)
    assert split.pixels().shape == (1, 8, 8, 1)
    with pytest.raises(DataError, match="new pictures must be as large as the training pictures"):
        new_images(made(None, 3), schema)


# --- from options to data ---------------------------------------------------------------------------------------------


def test_the_sample_of_digits() -> None:
    data = load_data(DataOptions(data="sample:digits"))
    assert isinstance(data, ImageData) and data.spec.class_names == tuple("0123456789")
    assert len(data.test) == 450 and len(data.train) + len(data.validation) == 1347
    assert data.spec.input_shape == (1, 8, 8) and data.train.pixels().max() == 255
    assert data.test.names([0, 449]) == ["digits #1348", "digits #1797"]
    # The nearest of the classes' means tells most digits: labels belong to their images.
    pixels, targets = data.train.pixels().reshape(len(data.train), -1).astype(float), data.train.targets()
    means = np.stack([pixels[targets == number].mean(axis=0) for number in range(10)])
    distances = ((data.test.pixels().reshape(450, 1, -1) - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == data.test.targets()).mean() > 0.8
    assert load_data(DataOptions(data="sample:digits", image_size=12)).spec.input_shape == (1, 12, 12)


def test_samples_that_there_are_not() -> None:
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        load_image_sample("digit")
    with pytest.raises(DataError, match=", ".join(IMAGE_SAMPLES)):
        load_data(DataOptions(data="sample:x"))
    with pytest.raises(OptionError, match="a file of labels goes with files"):
        load_data(DataOptions(data="sample:digits", labels="a"))
    with pytest.raises(OptionError, match="--task represent goes with images"):
        load_data(DataOptions(data="sample:goog", task="represent"))


def test_files_with_a_test_set(tmp_path: Path) -> None:
    images, labels = noise(40, 6, 6), np.arange(40) % 2
    options = DataOptions(
        data=str(write_idx(tmp_path / "images", images)),
        labels=str(write_idx(tmp_path / "labels", labels)),
        test_data=str(write_idx(tmp_path / "test", noise(10, 6, 6, seed=1))),
        test_labels=str(write_idx(tmp_path / "test-labels", labels[:10])),
    )
    data = load_data(options)
    assert isinstance(data, ImageData) and data.spec.class_names == ("0", "1")
    assert data.test.targets().tolist() == labels[:10].tolist()
    np.testing.assert_array_equal(data.test.pixels()[..., 0], noise(10, 6, 6, seed=1))
    with pytest.raises(DataError, match="test pictures must have labels"):
        load_data(replace(options, test_labels=None))
    with pytest.raises(OptionError, match="--test-labels goes with --test-data"):
        load_data(replace(options, test_data=None))


def test_test_pictures_are_resized_if_those_trained_with_were(tmp_path: Path) -> None:
    alike = fill(tmp_path / "a", class_files({"x": 6, "y": 6}))
    mixed = fill(tmp_path / "b", {**class_files({"x": 6, "y": 6}), **class_files({"z": 6}, (7, 7))})
    test = fill(tmp_path / "test", class_files({"x": 5, "y": 5}, (9, 9), seed=1))
    chosen = load_data(DataOptions(data=str(mixed), test_data=str(test)))
    assert chosen.spec.input_shape == (1, 64, 64) and len(chosen.test) == 10 and chosen.options.image_size == 64
    asked = load_data(DataOptions(data=str(alike), test_data=str(test), image_size=4))
    assert asked.spec.input_shape == (1, 4, 4) and len(asked.test) == 10
    with pytest.raises(DataError, match="test pictures must be as large"):
        load_data(DataOptions(data=str(alike), test_data=str(test)))


def test_paths_hold_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_idx(tmp_path / name, noise(40, 6, 6, seed=ord(name)))
        write_idx(tmp_path / f"{name}-labels", np.arange(40) % 2)
    options = load_data(DataOptions(data="a", labels="a-labels", test_data="b", test_labels="b-labels")).options
    assert [options.data, options.labels, options.test_data, options.test_labels] == [
        str(tmp_path / name) for name in ("a", "a-labels", "b", "b-labels")
    ]


def test_which_kind_data_are(tmp_path: Path) -> None:
    pictures = packed(tmp_path / "a.zip", class_files({"x": 20, "y": 20}))
    for task in (None, "classify", "represent"):
        data = load_data(DataOptions(data=str(pictures), task=task))
        assert isinstance(data, ImageData) and data.spec.task == (task or "classify")
    with pytest.raises(OptionError, match="images have the tasks"):
        load_data(DataOptions(data=str(pictures), task="forecast"))
    texts = fill(tmp_path / "texts", {
        f"{name}/{number}.txt": f"{name} is what film number {number} was".encode()
        for name in ("good", "bad") for number in range(9)})  # fmt: skip
    for task in (None, "classify"):
        assert isinstance(load_data(DataOptions(data=str(texts), task=task)), TextData)
    lines = "\n".join(f"2020-01-{day:02},{day % 7}.5" for day in range(1, 32))
    series = fill(tmp_path, {"prices.csv": f"date,close\n{lines}\n".encode()}) / "prices.csv"
    assert isinstance(load_data(DataOptions(data=str(series), window=3)), SeriesData)
    with pytest.raises(DataError, match="images must be a folder or zip of pictures"):
        load_data(DataOptions(data=str(series), task="represent"))


@pytest.mark.parametrize("options", [{"labels": "x"}, {"image_size": 8}, {"colour": "grey"}, {"task": "represent"}])
def test_options_of_images_ask_for_images(options: dict[str, Any]) -> None:
    assert is_image_data(DataOptions(data="somewhere", **options))
    assert not is_image_data(DataOptions(data="somewhere"))


def test_representing_needs_no_labels_and_reads_none(tmp_path: Path) -> None:
    pictures = fill(tmp_path, {**class_files({"": 3}), **class_files({"x": 20}, seed=1)})
    with pytest.raises(DataError, match="beside its folders"):
        load_data(DataOptions(data=str(pictures)))
    assert load_data(DataOptions(data=str(pictures), task="represent")).spec.task == "represent"
