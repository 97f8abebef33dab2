"""Pictures in folders and zips: what their pixels are, which labels they have, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.image_reading.images import LabelledImages
from src.data.image_reading.reader import read_images
from src.data.options import ReadingOptions
from src.errors import DataError, OptionError
from tests.data.image_reading.picture_files import class_files, encoded, fill, noise, packed

PAIR = {"cats": 6, "dogs": 5}


def read(data: object, **options: object) -> LabelledImages:
    return read_images(ReadingOptions(data=str(data), **options))  # type: ignore[arg-type]


def read_one(data: Path, **options: object) -> np.ndarray:
    return read_images(ReadingOptions(data=str(data), **options), least=1).pixels[0]  # type: ignore[arg-type]


def notes(found: LabelledImages) -> str:
    return "; ".join(f"{note.topic}: {note.text}" for note in found.notes)


def test_folders_are_classes(tmp_path: Path) -> None:
    found = read(fill(tmp_path, class_files(PAIR)))
    assert found.labels == ("cats",) * 6 + ("dogs",) * 5
    assert found.names[0] == "cats/000.png" and found.names[-1] == "dogs/004.png"
    assert found.pixels.dtype == np.uint8
    np.testing.assert_array_equal(found.pixels[..., 0], noise(11, 6, 6))
    assert "11 pictures in 2 folders, each a class" in notes(found) and "11 of 6 x 6 pixels, grey" in notes(found)
    assert not found.resized


def test_a_zip_reads_as_its_folder_does(tmp_path: Path) -> None:
    files = class_files({"Greek/alpha": 5, "Greek/beta": 5, "Latin/a": 5})
    folder = read(fill(tmp_path / "folder", files))
    assert folder.labels is not None and set(folder.labels) == {"Greek/alpha", "Greek/beta", "Latin/a"}
    junk = {"__MACOSX/top/Latin/a/._000.png": b"x", "top/.DS_Store": b"x", "top/Latin/.hidden.png": b"x"}
    zipped = read(packed(tmp_path / "a.zip", {**{f"top/{name}": value for name, value in files.items()}, **junk}))
    assert (zipped.labels, zipped.names) == (folder.labels, folder.names)
    np.testing.assert_array_equal(zipped.pixels, folder.pixels)


def test_a_zip_without_a_common_folder_keeps_its_classes(tmp_path: Path) -> None:
    found = read(packed(tmp_path / "a.zip", class_files(PAIR)))
    assert found.labels is not None and set(found.labels) == {"cats", "dogs"}


@pytest.mark.parametrize("classes", [{"": 10}, {"cats": 10}])
def test_one_folder_has_no_labels(tmp_path: Path, classes: dict[str, int]) -> None:
    files = class_files(classes)
    assert read(fill(tmp_path / "folder", files)).labels is None
    assert read(packed(tmp_path / "a.zip", files)).labels is None


def test_hidden_and_other_files_are_no_pictures(tmp_path: Path) -> None:
    others = {"readme.md": b"x", "cats/.x.png": b"x", ".git/a.png": b"x", "cats/Thumbs.db": b"x"}
    found = read(fill(tmp_path, {**class_files(PAIR), **others}))
    assert len(found.names) == 11 and "not read: readme.md" in notes(found)


def test_the_training_part_of_a_folder_is_read(tmp_path: Path) -> None:
    fill(tmp_path, class_files({"train/cats": 6, "train/dogs": 6, "test/cats": 3, "test/dogs": 3}))
    found = read(tmp_path)
    assert found.labels == ("cats",) * 6 + ("dogs",) * 6
    assert "to score test as well" in notes(found)
    fill(tmp_path, class_files({"trains": 3}))  # a class, so that the others are classes as well
    assert set(read(tmp_path).labels or ()) == {"train/cats", "train/dogs", "test/cats", "test/dogs", "trains"}


def test_pictures_beside_class_folders_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {**class_files(PAIR), "cover.png": encoded(noise(1, 6, 6)[0])})
    with pytest.raises(DataError, match=r"has 1 beside its folders, such as cover\.png, and 11 in them"):
        read(tmp_path)
    assert read_images(ReadingOptions(data=str(tmp_path)), with_labels=False).labels is None


def test_a_file_of_labels_does_not_go_with_folders(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--labels goes with IDX files"):
        read(fill(tmp_path, class_files(PAIR)), labels="labels.txt")
    without = read_images(ReadingOptions(data=str(tmp_path), labels="labels.txt"), with_labels=False)
    assert without.labels is None and len(without.names) == 11


@pytest.mark.parametrize(("count", "refused"), [(9, True), (10, False)])
def test_there_must_be_ten(tmp_path: Path, count: int, refused: bool) -> None:
    fill(tmp_path, class_files({"": count}))
    if refused:
        with pytest.raises(DataError, match=r"at least 10 images, but .* has 9"):
            read(tmp_path)
    else:
        assert len(read(tmp_path).pixels) == 10


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"", b"no picture", encoded(noise(1, 40, 40)[0])[:-600]])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_picture_is_named(tmp_path: Path, content: bytes, zipped: bool) -> None:
    files = {**class_files(PAIR, (40, 40)), "cats/bad.png": content}
    data = packed(tmp_path / "a.zip", files) if zipped else fill(tmp_path / "folder", files)
    with pytest.raises(DataError, match=r"every picture must be readable, but .*cats/bad\.png is damaged"):
        read(data)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "there is no .*missing"),
        ("sheet.csv", "images must be a folder or zip of pictures"),
        ("empty", "holds nothing"),
        ("tables.zip", "images must be a folder or zip of pictures"),
        ("broken.zip", "damaged"),
        ("", "give a path"),
        ("-", "give a path"),
        ("a\0b", "give a path"),
    ],
)
def test_what_holds_no_images_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "sheet.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty").mkdir()
    packed(tmp_path / "tables.zip", {"a.csv": b"1,2\n"})
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataError, match=message):
        read(tmp_path / name if len(name) > 1 and "\0" not in name else name)


# --- pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_forms_without_loss_keep_every_pixel(tmp_path: Path, form: str) -> None:
    pixels = noise(1, 5, 7)[0]
    suffix = {"TIFF": "tif", "PPM": "pgm"}.get(form, form.lower())
    (tmp_path / f"a.{suffix}").write_bytes(encoded(pixels, form))
    np.testing.assert_array_equal(read_one(tmp_path)[..., 0], pixels)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_forms_with_loss_are_about_right(tmp_path: Path, form: str) -> None:
    pixels = np.full((16, 16, 3), (200, 40, 90), dtype=np.uint8)
    (tmp_path / f"a.{form.lower()}").write_bytes(encoded(pixels, form))
    assert np.abs(read_one(tmp_path).astype(int) - pixels).max() < 8


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:2] = (255, 0, 0, 255)
    pixels[2] = (0, 0, 0, 128)
    (tmp_path / "a.png").write_bytes(encoded(pixels))
    found = read_images(ReadingOptions(data=str(tmp_path)), least=1)
    assert found.pixels[0, :, 0].tolist() == [[255, 0, 0], [255, 0, 0], [127, 127, 127], [255, 255, 255]]
    assert "1 picture put on white" in notes(found)


def test_palettes_with_a_transparent_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [2, 2]], dtype=np.uint8), "P")
    picture.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    picture.save(tmp_path / "a.png", transparency=2)
    assert read_one(tmp_path).tolist() == [[[10, 20, 30], [200, 100, 50]], [[255] * 3, [255] * 3]]


def test_greys_of_one_and_of_sixteen_bits(tmp_path: Path) -> None:
    deep = np.array([[0, 200, 32896, 65535]], dtype=np.uint16)
    for name, content in {
        "1.png": encoded(np.array([[True, False, True, False]])),
        "2.png": encoded(deep),
        "3.tif": encoded(deep, "TIFF"),
        "4.pgm": b"P5 4 1 65535\n" + deep.byteswap().tobytes(),
        "5.tif": encoded(np.array([[0, 0.25, 0.5, 1]], dtype=np.float32), "TIFF"),
    }.items():
        (tmp_path / name).write_bytes(content)
    found = read_images(ReadingOptions(data=str(tmp_path)), least=1).pixels[:, 0, :, 0].tolist()
    assert found == [[255, 0, 255, 0], *[[0, 1, 128, 255]] * 3, [0, 64, 128, 255]]


def test_values_that_are_no_brightness_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(encoded(np.array([[0, -1]], dtype=np.int32), "TIFF"))
    with pytest.raises(DataError, match=r"at most 16 bits, but those of .* go from -1 to 0"):
        read_one(tmp_path)


def test_photographs_stand_upright(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    (tmp_path / "a.jpg").write_bytes(encoded(pixels, "JPEG", exif=exif))
    found = read_one(tmp_path)
    assert found.shape == (16, 8, 1) and found[:7].max() < 40 and found[9:].min() > 215


def test_colours_are_kept_if_any_picture_has_them(tmp_path: Path) -> None:
    files = class_files({"": 10})
    grey_as_colours = np.repeat(noise(1, 6, 6, 1, seed=2)[0], 3, axis=2)
    fill(tmp_path, {**files, "b.png": encoded(grey_as_colours)})
    assert read(tmp_path).pixels.shape == (11, 6, 6, 1)
    assert read(tmp_path, colour="colour").pixels.shape == (11, 6, 6, 3)
    red = np.zeros((6, 6, 3), dtype=np.uint8)
    red[..., 0] = 255
    fill(tmp_path, {"c.png": encoded(red)})
    found = read(tmp_path)
    assert found.pixels.shape == (12, 6, 6, 3) and "in colour" in notes(found)
    np.testing.assert_array_equal(found.pixels[-1], red)
    np.testing.assert_array_equal(found.pixels[0], np.repeat(noise(10, 6, 6)[0][..., None], 3, axis=2))
    greys = read(tmp_path, colour="grey").pixels
    assert greys.shape == (12, 6, 6, 1) and greys[-1].tolist() == [[[76]] * 6] * 6  # 0.299 * 255


def test_other_sizes_are_resized(tmp_path: Path) -> None:
    fill(tmp_path, class_files({"": 10}, (6, 8)))
    assert read(tmp_path).pixels.shape[1:3] == (6, 8)
    asked = read(tmp_path, image_size=3)
    assert asked.pixels.shape[1:3] == (3, 3) and asked.resized
    assert "resized from 6 x 8 to 3 x 3 pixels" in notes(asked)
    fill(tmp_path, {"b.png": encoded(np.full((9, 9), 7, dtype=np.uint8))})
    chosen = read(tmp_path)
    assert chosen.pixels.shape[1:3] == (64, 64) and chosen.resized and (chosen.pixels[-1] == 7).all()
    assert "resized from 2 sizes, most often 6 x 8 (10 of 11) to 64 x 64 pixels" in notes(chosen)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, class_files({"": 10}))
    monkeypatch.setattr("src.data.image_reading.idx.MOST_BYTES", 359)
    with pytest.raises(DataError, match="images must fit into memory"):
        read(tmp_path)
    monkeypatch.setattr("src.data.image_reading.idx.MOST_BYTES", 360)
    assert len(read(tmp_path).pixels) == 10
