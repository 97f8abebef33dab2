"""Texts in lines: which style they are of, and that label and text come back as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.options import ReadingOptions
from src.data.text_reading.lines import line_style, read_lines
from src.data.text_reading.reader import read_texts
from src.errors import DataError, OptionError

POLAR = "1 a good film\n0 a bad film\n1 a fine plot , well told\n0 dull\n"


@pytest.fixture
def read(tmp_path):
    def read_content(content, name="texts.txt", with_labels=True, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_texts(ReadingOptions(data=str(path), **options), with_labels=with_labels)

    return read_content


def notes(found):
    return " | ".join(note.text for note in found.notes)


def refusal(read, *args, error=DataError, **options):
    with pytest.raises(error) as raised:
        read(*args, **options)
    message = str(raised.value)
    assert "\n" not in message and ", but " in message and ("; " in message or "Did you mean" in message)
    return message


def test_lines_with_a_number_first(read):
    found = read(POLAR)
    assert found.texts == ("a good film", "a bad film", "a fine plot , well told", "dull")
    assert found.labels == ("1", "0", "1", "0")
    assert "in each line a number of a class and a text" in notes(found) and "2 classes: 1 2, 0 2" in notes(found)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_and_blank_lines(read, end):
    assert read(POLAR.replace("\n", end + end)).labels == ("1", "0", "1", "0")


def test_lines_with_a_word_first(read):
    found = read(
        "DESC:manner How did it begin ?\nENTY What films are there ?\n" * 2 + "ENTY Who ?\nENTY Where is it ?\n"
    )
    assert found.labels is not None and set(found.labels) == {"DESC:manner", "ENTY"}
    assert found.texts[0] == "How did it begin ?"


def test_a_tab_between_label_and_sentence(read):
    found = read("pos\ta good film, really\nneg\ta bad film\npos\tfine \n")
    assert found.texts == ("a good film, really", "a bad film", "fine")
    assert found.labels == ("pos", "neg", "pos")


def test_sentence_before_the_label(read):
    found = read("So there is no way for me to plug it in here.\t0\nGood case, Excellent value.\t1\nGreat for it.\t1\n")
    assert found.labels == ("0", "1", "1") and found.texts[2] == "Great for it."


def test_fasttext_lines(read):
    found = read("__label__pos a good film\n__label__neg a bad film\n__label__neg __label__pos mixed feelings\n")
    assert found.labels == ("pos", "neg", "neg")
    assert found.texts == ("a good film", "a bad film", "mixed feelings")
    assert any(
        note.warning and "1 text with more than one label: the first counts" in note.text for note in found.notes
    )


def test_fasttext_lines_with_a_tab_or_a_comma(read):
    tabbed = read("__label__pos\ta good film\n__label__neg\ta bad film\n")
    assert tabbed.labels == ("pos", "neg") and tabbed.texts == ("a good film", "a bad film")
    assert read("__label__1 , a good film\n__label__2 , a bad film\n").labels == ("1", "2")


def test_missing_labels_and_empty_texts_are_left_out(read):
    found = read("".join(f"{n % 2} text number {'abcdefghijklm'[n]}\n" for n in range(13)) + "1\nno label here\n")
    assert len(found.texts) == 13
    assert "left out 1 empty text" in notes(found) and "left out 1 text without a label" in notes(found)


def test_whole_numbers_lose_their_point(read):
    assert read("1.0 good film\n0 bad film\n1 fine film\n").labels == ("1", "0", "1")


def test_latin_1_is_noted(read):
    found = read("1 caf\xe9 life\n0 na\xefve\n".encode("latin-1"))
    assert found.texts == ("café life", "naïve")
    assert any(note.topic == "encoding" and "cp1252" in note.text for note in found.notes)


def test_utf_8_with_and_without_its_mark(read):
    assert read("1 café life\n0 naïve\n").texts == ("café life", "naïve")
    found = read(b"\xef\xbb\xbf" + "1 café life\n0 naïve\n".encode())
    assert found.labels == ("1", "0") and found.texts[0] == "café life"


def test_an_encoding_that_is_named(read):
    assert read("1 живой текст\n0 плохой\n".encode("cp1251"), encoding="cp1251").texts[0] == "живой текст"
    with pytest.raises(OptionError, match="there is no 'utf9'"):
        read(POLAR, encoding="utf9")
    assert "is not utf-8" in refusal(read, "1 caf\xe9 life\n".encode("latin-1"), encoding="utf-8")


def test_repeated_texts_are_counted_and_contradictions_warned_of(read):
    found = read("1 good film\n1 good film\n0 bad film\n1 bad film\n0 dull film\n")
    assert len(found.texts) == 5
    assert "2 texts occur more than once (4 rows)" in notes(found)
    warnings = [note.text for note in found.notes if note.warning]
    assert warnings == ["1 text occurs with different labels ('bad film' as 0, 1)"]


def test_a_class_with_one_text_is_warned_of(read):
    found = read("1 good film\n1 fine film\n0 bad film\n")
    assert [note.text for note in found.notes if note.warning] == ["1 class with just one text: 0"]


def test_prediction_strips_labels_where_there_are_some(read):
    assert read(POLAR, with_labels=False).texts == read(POLAR).texts
    assert read(POLAR, with_labels=False).labels is None
    assert read("1 one line alone\n", with_labels=False).texts == ("one line alone",)


def test_a_sentence_may_end_in_what_is_a_usual_name(read):
    found = read("1 a fine comment , overall\n0 a bad one\n1 good , long , but good\n0 dull\n1 fine\n")
    assert found.labels == ("1", "0", "1", "0", "1")


def test_blanks_as_separator_are_those_after_labels(read):
    assert read(POLAR, separator="space").texts == read(POLAR).texts


def test_questions_that_begin_alike_keep_their_first_word(read):
    words = ["What"] * 90 + ["How"] * 50 + ["Who"] * 40 + ["Why"] * 9 + ["Name", "Is", "Can", "Where"]
    questions = tuple(f"{word} did it begin with ?" for word in words)
    assert read("\n".join(questions), with_labels=False).texts == questions
    assert "begin with 8 different words" in refusal(read, "\n".join(questions))


def test_prediction_of_sentences_alone(read):
    sentences = "The film is good, really.\nThe plot is bad, sadly.\nThe end.\nA man walks.\n"
    found = read(sentences, with_labels=False)
    assert found.texts == tuple(sentences.splitlines()) and found.labels is None
    assert read("A good film, really\n", with_labels=False).texts == ("A good film, really",)


def test_prediction_can_keep_what_seems_to_be_a_label(read):
    found = read("2 men walk\n3 women run\n", with_labels=False, label_column="none")
    assert found.texts == ("2 men walk", "3 women run")
    assert "with --label-column none, the text is the whole line" in notes(read("2 men walk\n", with_labels=False))


def test_one_class_is_refused(read):
    message = refusal(read, "1 good film\n1 fine film\n")
    assert "at least two classes" in message and "have the label '1'" in message


def test_nothing_but_numbers_is_refused(read):
    assert "nothing but numbers, such as '1 2.5 3.5'" in refusal(read, "1 2.5 3.5\n0 4.5 5.5\n")


def test_lines_without_labels_are_refused(read):
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    message = refusal(read, "".join(f"{word} went home\n" for word in words))
    assert "begin with 6 different words, the first is 'alpha went home'" in message


def test_too_many_classes_are_refused(read):
    message = refusal(read, "".join(f"{n} a text of it\n" for n in range(1001)))
    assert "has 1,001, more than 1,000; name another with --label-column" in message
    assert "a label column has few distinct values" in message


def test_only_empty_texts_are_refused(read):
    assert "only 2 empty texts" in refusal(read, "__label__a\n__label__b\n")


def test_empty_and_binary_files_are_refused(read):
    assert "is empty" in refusal(read, "")
    assert "is empty" in refusal(read, " \n\n")
    assert "holds binary data" in refusal(read, bytes(range(1, 32)) * 50)
    assert "zero byte" in refusal(read, b"1 good film\n0 bad film\n" * 30 + b"1 good\0film\n")


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "train.txt").write_text(POLAR)
    with pytest.raises(DataError, match=r"Did you mean 'train\.txt'"):
        read_texts(ReadingOptions(data=str(tmp_path / "trian.txt")))


def test_standard_input(monkeypatch):
    import io
    import sys

    class Piped(io.TextIOWrapper):
        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Piped(io.BytesIO(POLAR.encode())))
    assert read_texts(ReadingOptions(data="-")).labels == ("1", "0", "1", "0")


@pytest.mark.parametrize(
    ("lines", "style"),
    [
        ([], ""),
        (["1 good film", "0 bad film"], "number"),
        (["pos good film", "neg bad film", "pos fine", "neg dull"], "word"),
        (["__label__a x", "__label__b y"], "fasttext"),
        (["2004-08-19 good", "2004-08-19 bad", "2004-08-19 ugly"], ""),
        (["1 2 3", "4 5 6"], ""),
        (["2020 Mon 5.0 7.25 8.125", "2021 Tue 6.0 7.25 8.125"], ""),
        (['"a", b c', '"a", d e'], ""),
        (["only", "single", "words"], ""),
    ],
)
def test_style(lines, style):
    assert line_style(lines) == style


def test_words_that_begin_sentences_are_no_labels():
    openings = ["The", "A", "It", "He", "She", "We", "They", "But", "And", "When", "If", "This", "That", "So", "Now"]
    lines = [f"{openings[n * n % 15]} walks home" for n in range(8)] + [f"{word} runs" for word in openings * 3]
    assert line_style(lines) == ""


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1).map(
    lambda text: "word " + " ".join(text.split())
)


@given(st.lists(st.tuples(st.integers(0, 30).map(str), TEXT.map(str.strip)), min_size=1, max_size=20))
def test_round_trip_of_lines(pairs):
    found = read_lines([f"{label} {text}\n" for label, text in pairs], "texts", True, False)
    assert list(zip(found.labels or (), found.texts, strict=True)) == pairs
