"""Folders of documents: one folder a class, one file a text."""

from pathlib import Path

import pytest

from src.data.options import ReadingOptions
from src.data.text_reading.detect import is_text
from src.data.text_reading.reader import read_texts
from src.errors import DataError, OptionError


def fill(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


DOCUMENTS: dict[str, str | bytes] = {
    "pos/0_9.txt": "A good film, really.\nSecond paragraph of it.",
    "pos/1_8.txt": "A fine film it was.",
    "neg/0_1.txt": "A bad film, really.",
}


def read(root, with_labels=True, **options):
    return read_texts(ReadingOptions(data=str(root), **options), with_labels=with_labels)


def notes(found):
    return " | ".join(note.text for note in found.notes)


def test_folders_are_classes(tmp_path):
    found = read(fill(tmp_path, DOCUMENTS))
    assert found.labels == ("neg", "pos", "pos")
    assert found.texts == tuple(DOCUMENTS[name] for name in ("neg/0_1.txt", "pos/0_9.txt", "pos/1_8.txt"))
    assert "3 documents in 2 folders, each a class" in notes(found)
    assert is_text(ReadingOptions(data=str(tmp_path)))


def test_train_and_test_below(tmp_path):
    fill(tmp_path / "train", {**DOCUMENTS, "unsup/0_0.txt": "No label for this film."})
    fill(tmp_path / "test", DOCUMENTS)
    fill(tmp_path, {"README": "about it", "imdb.vocab": "the\na\n", ".hidden/x.txt": "hidden"})
    found = read(tmp_path)
    assert found.labels == ("neg", "pos", "pos")
    assert f"give it as --test-data {tmp_path / 'test'}" in notes(found)
    assert "left out unsup, whose texts have no label" in notes(found)
    assert is_text(ReadingOptions(data=str(tmp_path)))
    assert read(tmp_path / "test").texts == found.texts


def test_train_without_test(tmp_path):
    fill(tmp_path / "train", DOCUMENTS)
    assert "--test-data" not in notes(read(tmp_path)) and len(read(tmp_path).texts) == 3


def test_empty_documents_are_left_out(tmp_path):
    found = read(fill(tmp_path, {**DOCUMENTS, "neg/1_1.txt": "", "neg/2_1.txt": " \n"}))
    assert len(found.texts) == 3 and "left out 2 empty texts" in notes(found)


def test_encodings_are_counted(tmp_path):
    found = read(fill(tmp_path, {**DOCUMENTS, "neg/1_1.txt": "caf\xe9 life".encode("latin-1")}))
    assert "café life" in found.texts
    assert "read as cp1252, as it is not UTF-8 (1 of 4 files)" in notes(found)
    with pytest.raises(DataError, match="is not utf-8"):
        read(tmp_path, encoding="utf-8")
    with pytest.raises(OptionError, match="there is no 'utf9'"):
        read(tmp_path, encoding="utf9")


def test_other_files_do_not_matter(tmp_path):
    found = read(fill(tmp_path, {**DOCUMENTS, "pos/cover.png": b"\x89PNG", "pos/.x.txt": "hidden", "empty/x.md": "x"}))
    assert len(found.texts) == 3


def test_binary_documents_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds binary data"):
        read(fill(tmp_path, {**DOCUMENTS, "neg/1_1.txt": bytes(range(1, 26)) * 50}))


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ""])
def test_names_that_cannot_be(name):
    with pytest.raises(DataError):
        read(name)


def test_one_class_is_refused(tmp_path):
    fill(tmp_path, {name: text for name, text in DOCUMENTS.items() if name.startswith("pos")})
    with pytest.raises(DataError, match="at least two classes") as raised:
        read(tmp_path)
    assert "have the label 'pos'" in str(raised.value)
    assert not is_text(ReadingOptions(data=str(tmp_path)))


def test_folders_of_other_things_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds pos/"):
        read(fill(tmp_path, {"pos/a.png": b"\x89PNG", "pos/deep/b.txt": "A film"}))


def test_folders_of_numbers_are_no_texts(tmp_path):
    fill(tmp_path, {"a/1.txt": "1.5 2.5\n3.5 4.5\n", "b/1.txt": "5.5 6.5\n"})
    assert not is_text(ReadingOptions(data=str(tmp_path)))
    with pytest.raises(DataError, match="nothing but numbers"):
        read(tmp_path)


def test_prediction_of_documents(tmp_path):
    fill(tmp_path, DOCUMENTS)
    assert read(tmp_path, with_labels=False).labels is None
    assert len(read(tmp_path, with_labels=False).texts) == 3
    found = read(fill(tmp_path / "new", {"1.txt": "A film of one line.", "2.txt": "Another\n", "3.txt": ""}), False)
    assert found.texts == ("A film of one line.", "Another")
    assert "3 documents, each a text" in notes(found)


def test_prediction_of_a_folder_of_lines(tmp_path):
    fill(tmp_path, {"a.txt": "1 good film\n0 bad film\n", "b.txt": "1 fine film\n0 dull film\n"})
    assert read(tmp_path, with_labels=False).texts == ("good film", "bad film", "fine film", "dull film")
    assert read(tmp_path).labels == ("1", "0", "1", "0")
