"""Texts in columns: separators, quotes, headers, and which column is which."""

import csv
import gzip
import io
import lzma
import sqlite3
import zipfile

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src.data.options import ReadingOptions
from src.data.text_reading.cells import cut_cells, find_separator
from src.data.text_reading.names import bare_name
from src.data.text_reading.reader import read_texts
from src.data.text_reading.tabular import has_header
from src.errors import DataError, OptionError

ROWS = [
    ("A good film, really.", "pos"),
    ('He said "no" twice', "neg"),
    ("First line\nsecond line, longer", "pos"),
    ("Dull; and | long", "neg"),
]


def table(rows=ROWS, header=("text", "label"), separator=",", **style):
    written = io.StringIO()
    writer = csv.writer(written, delimiter=separator, lineterminator="\n", **style)
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return written.getvalue()


@pytest.fixture
def read(tmp_path):
    def read_content(content, name="texts.csv", with_labels=True, **options):
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


def pairs(found):
    return list(zip(found.texts, found.labels or (), strict=True))


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("header", [("text", "label"), None])
def test_quoted_cells_with_line_ends_and_separators(read, separator, header):
    assert pairs(read(table(separator=separator, header=header))) == ROWS


@pytest.mark.parametrize("header", [("Review_Text", "Sentiment"), ("tweet", "class"), ("words", "which")])
def test_names_of_columns(read, header):
    assert pairs(read(table(header=header))) == ROWS


def test_the_account_says_why(read):
    found = notes(read(table()))
    assert "text, by its name" in found and "label, by its name" in found and "row 1" in found
    found = notes(read(table(header=("a", "b"))))
    assert "a, as it has the most words" in found and "b, as it has the fewest distinct values" in found


def test_columns_by_name_among_many(read):
    rows = [(n, f"user{n}", f"Title {n}", text, f"http://x.org/{n}", label) for n, (text, label) in enumerate(ROWS)]
    content = table(rows, ("id", "user", "title", "text", "url", "airline_sentiment"))
    assert pairs(read(content)) == ROWS


def test_a_name_counts_only_if_the_column_fits_it(read):
    content = table([(1, *row) for row in ROWS], ("text", "what was said", "answer"))
    assert pairs(read(content)) == ROWS


def test_columns_by_content(read):
    rows = [(n * 37, text, label, 0.25 * n) for n, (text, label) in enumerate(ROWS * 3)]
    assert pairs(read(table(rows, ("a", "b", "c", "d")))) == ROWS * 3


def test_several_columns_could_be_labels(read):
    rows = [(text, label, "xyz"[n % 3]) for n, (text, label) in enumerate(ROWS * 3)]
    found = read(table(rows, ("a", "b", "c")))
    assert pairs(found) == ROWS * 3 and "(others: c)" in notes(found)


def test_news_without_a_header(read):
    rows = [
        (3, "Wall St. Bears Claw Back", "Short-sellers, Wall Street's band of ultra-cynics, are seeing green again."),
        (4, "Carlyle Looks Up", "Private investment firm Carlyle Group has placed its bets on another part."),
        (3, "Oil and Economy", "Soaring crude prices plus worries about the economy and the outlook."),
    ]
    found = read(table(rows, None, quoting=csv.QUOTE_ALL))
    assert found.labels == ("3", "4", "3") and found.texts[1].startswith("Private investment")
    assert "column_3, as it has the most words" in notes(found)


def test_columns_that_the_user_names(read):
    rows = [(text, text[::-1] + " and more of it", label, "xy"[n // 2]) for n, (text, label) in enumerate(ROWS)]
    content = table(rows, ("text", "reversed", "label", "Other Kind"))
    found = read(content, text_column="reversed", label_column="other_kind")
    assert found.labels == ("x", "x", "y", "y") and found.texts[0].startswith(".yllaer")
    assert "reversed, as asked" in notes(found)


def test_columns_named_by_their_place_where_there_is_no_header(read):
    found = read(table(header=None), header="none", text_column="column_1", label_column="column_2")
    assert pairs(found) == ROWS


def test_a_wrong_name_is_told_with_the_likely_one(read):
    message = refusal(read, table(), text_column="txt", error=OptionError)
    assert "--text-column must name a column" in message and "Did you mean 'text'?" in message
    message = refusal(read, table(), label_column="lable", error=OptionError)
    assert "--label-column must name a column" in message and "it has text, label. Did you mean 'label'?" in message


def test_one_column_for_both_is_refused(read):
    assert "must be two columns" in refusal(read, table(), label_column="text", error=OptionError)


def test_header_options(read):
    assert len(read(table(), header="none").texts) == 5
    assert pairs(read("made by hand\n\n" + table(), header="3")) == ROWS
    assert "must be the number of a row" in refusal(read, table(), header="first", error=OptionError)
    assert "must be a row of the file" in refusal(read, table(), header="99", error=OptionError)


def test_separator_options(read):
    assert pairs(read(table(separator="#"), separator="#")) == ROWS
    assert pairs(read(table(separator="\t"), separator="tab")) == ROWS
    assert "--separator must be" in refusal(read, table(), separator="xy", error=OptionError)


def test_quotes_with_backslashes(read):
    content = "id\tsentiment\treview\n" + "".join(
        f'"{n}_8"\t{n % 2}\t"He said \\"well, {word}\\" and left"\n' for n, word in enumerate(["no", "yes", "ah", "oh"])
    )
    found = read(content, "texts.tsv")
    assert found.texts[0] == 'He said "well, no" and left' and found.labels == ("0", "1", "0", "1")


def test_quotes_that_are_part_of_the_text(read):
    content = 'ham\t"Hello, said he\nspam\tWIN a prize\nham\t"Quoted" at first\nspam\tCall now "today\n'
    found = read(content, "sms.tsv")
    assert found.texts == ('"Hello, said he', "WIN a prize", '"Quoted" at first', 'Call now "today')


def test_quotes_may_join_lines_that_would_be_whole_without(read):
    rows = [(f'one, "two" of {n}\nthree', "ab"[n % 2]) for n in range(9)]
    assert pairs(read(table(rows))) == rows
    found = read('ham\t"Hello, said he\nspam\tWIN a prize\nham\tsaid she"\nspam\tCall now\n', "sms.tsv")
    assert found.labels == ("ham", "spam", "ham", "spam")


def test_labels_become_strings(read):
    content = table([("good film here", "1.0"), ("bad film here", " 0 "), ("fine film here", "1"), ("so so", "2.5")])
    assert read(content).labels == ("1", "0", "1", "2.5")


def test_empty_texts_and_missing_labels(read):
    content = table([*ROWS, ("  ", "pos"), ("no label", ""), ("none either", "NaN")])
    found = read(content)
    assert pairs(found) == ROWS
    assert "left out 1 empty text" in notes(found) and "left out 2 texts without a label" in notes(found)


def test_short_rows_lack_their_label(read):
    found = read("text,label\ngood film,pos\nbad film,neg\nno label\n")
    assert len(found.texts) == 2 and "left out 1 text without a label" in notes(found)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_tables(read, pack):
    found = read(pack(table().encode()), "texts.csv.xz")
    assert pairs(found) == ROWS and "unpacked with" in notes(found)


def test_a_zip_of_two_tables(read):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", table(ROWS[:2]))
        archive.writestr("b.csv", table(ROWS[2:]))
        archive.writestr("README.md", "about it")
    assert pairs(read(packed.getvalue(), "texts.zip")) == ROWS


def test_a_folder_of_tables(read, tmp_path):
    (tmp_path / "a.csv").write_text(table(ROWS[:2]))
    (tmp_path / "b.tsv").write_text(table(ROWS[2:], separator="\t"))
    assert pairs(read_texts(ReadingOptions(data=str(tmp_path)))) == ROWS
    assert pairs(read_texts(ReadingOptions(data=str(tmp_path / "*.csv")))) == ROWS[:2]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_parquet(read, pack):
    frame = pd.DataFrame({"text": [text for text, _ in ROWS] + [None], "label": [1.0, 0.0, None, 0.0, 1.0]})
    written = io.BytesIO()
    frame.to_parquet(written)
    found = read(pack(written.getvalue()), "texts.parquet")
    assert found.labels == ("1", "0", "0")
    assert "left out 1 empty text" in notes(found) and "left out 1 text without a label" in notes(found)
    assert "is for text files" in refusal(read, written.getvalue(), encoding="utf-8", error=OptionError).replace(
        "leave it out", "; "
    )


def test_parquet_of_categories_and_truth(read):
    frame = pd.DataFrame({"a": pd.Categorical([text for text, _ in ROWS]), "b": [True, False, True, False]})
    written = io.BytesIO()
    frame.to_parquet(written)
    assert read(written.getvalue(), "texts.parquet").labels == ("True", "False", "True", "False")


def test_a_database(tmp_path):
    with sqlite3.connect(tmp_path / "texts.db") as connection:
        connection.execute("create table reviews (text, label)")
        connection.executemany("insert into reviews values (?, ?)", ROWS)
    connection.close()
    options = ReadingOptions(data=f"sqlite:///{tmp_path}/texts.db", query="select * from reviews")
    assert pairs(read_texts(options)) == ROWS


def test_prediction_needs_no_labels(read):
    assert read(table(), with_labels=False).texts == tuple(text for text, _ in ROWS)
    assert read(table(), with_labels=False).labels is None
    content = table([(n, text) for n, (text, _) in enumerate(ROWS)], ("id", "review"))
    assert read(content, with_labels=False).texts == tuple(text for text, _ in ROWS)


def test_prediction_of_columns_with_many_commas(read):
    texts = tuple(f"one, two, three, four, {n}" for n in range(9))
    for header in (("id", "review"), ("id", "opinion"), None):
        assert read(table(list(enumerate(texts)), header), with_labels=False).texts == texts


def test_prediction_of_a_single_column(read):
    content = table([(text,) for text, _ in ROWS], ("text",))
    assert read(content, with_labels=False).texts == tuple(text for text, _ in ROWS)


def test_no_column_of_texts_is_refused(read):
    content = "name,nation\n" + "Ann,us\nBob,uk\nCid,us\nDan,uk\n"
    message = refusal(read, content)
    assert "a column must hold texts of several words" in message and "name it with --text-column" in message
    assert read(content, text_column="name").labels == ("us", "uk", "us", "uk")


def test_no_column_of_labels_is_refused(read):
    message = refusal(read, table([(n, text) for n, (text, _) in enumerate(ROWS)], ("id", "text")))
    assert "needs a column of labels" in message and "name it with --label-column" in message


def test_nothing_but_numbers_is_refused(read):
    content = "a,b\n" + "".join(f"{n},{n % 2}\n" for n in range(9))
    assert "nothing but numbers, such as '0'" in refusal(read, content)
    assert "nothing but numbers" in refusal(read, content, text_column="a", label_column="b")


def test_too_many_classes_are_refused(read):
    rows = [(f"text of {'abc'[n % 3]} kind", n) for n in range(5000)]
    message = refusal(read, table(rows))
    assert "a label column has few distinct values" in message and "has 5,000, more than 1,000" in message
    assert "name another with --label-column" in message


def test_one_class_is_refused(read):
    assert "all 4 texts of" in refusal(read, table([(text, "pos") for text, _ in ROWS]))
    assert "none of 4 texts in" in refusal(read, table([(text, "") for text, _ in ROWS]))


def test_unquoted_separators_are_refused(read):
    message = refusal(read, "text,label\ngood film,pos\nbad, very bad film,neg\n")
    assert "has 3 instead of 2 in row 3; quote texts that hold the separator (comma)" in message


def test_an_open_quote_is_refused(read):
    message = refusal(read, 'text,label\n"good, film,pos\nbad film,neg\nfine film,pos\n')
    assert "opens one in row 2 and never closes it" in message


def test_a_cell_too_long_is_refused(read):
    message = refusal(read, 'text,label\ngood film,pos\n"' + "bad, film\n\nwell " * 20_000)
    assert "at most 131,072 characters" in message and "in row 3" in message


def test_a_header_alone_is_refused(read):
    assert "has none after its header" in refusal(read, "text,label\n")


@pytest.mark.parametrize("content", ['{"text": "a"}\n', "<html><body>x</body></html>"])
def test_other_content_is_refused(read, content):
    assert "save" in refusal(read, content)


def test_damaged_parquet_is_refused(read):
    assert "is damaged" in refusal(read, b"PAR1" + b"x" * 100, "texts.parquet")


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["text", "label"], ["good film", "pos"]], True),
        ([["good film", "pos"], ["bad film", "neg"], ["so so", "pos"]], False),
        ([["What is a question?", "question"], ["Who asks it?", "question"]], False),
        ([["phrase", "x"], ["a film of long ago", "b"], ["a film of today", "b"]], True),
        ([["1", "a film of long ago"], ["2", "a film of today"]], False),
        ([["0", "1"], ["a film of long ago", "b"], ["a film of today", "b"]], True),
        ([["a film of yesterday", "c"], ["a film of long ago", "b"], ["a film of today", "b"]], False),
        ([["text", "label"]], True),
        ([["good film", "pos"]], False),
    ],
)
def test_header_or_not(rows, header):
    assert has_header(rows) is header


def test_separators():
    assert find_separator(table(separator=";"))[0] == ";"
    assert find_separator("1 a film , good\n0 a film\n1 bad , long , dull\n") == ("", False)
    assert bare_name("Review_Text (en)") == "reviewtexten"


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_round_trip_of_quoted_cells(rows, separator, end):
    if separator == "\t":  # a tab beside a line end may read as whole lines without quotes, and so it is read
        assume(not any("\t" in cell and {"\r", "\n"} & set(cell) for row in rows for cell in row))
    written = io.StringIO()
    csv.writer(written, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    assert [tuple(row) for row in cut_cells(written.getvalue(), separator, "texts")] == rows
