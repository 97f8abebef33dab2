"""Whether data are texts or series, by a look at the beginning."""

import gzip
import io
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.data.options import ReadingOptions
from src.data.text_reading.detect import is_text
from src.data.text_reading.reader import read_texts

DATA = Path(os.environ.get("TRAINBOARD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))

WORDS = [
    "the",
    "film",
    "a",
    "plot",
    "was",
    "of",
    "good",
    "and",
    "bad",
    "with",
    "it",
    "story",
    "never",
    "seen",
    "again",
    "cast",
]
RANDOM = random.Random(0)
SENTENCES = [" ".join(RANDOM.choice(WORDS) for _ in range(RANDOM.randint(4, 20))) for _ in range(60)]
LABELS = [RANDOM.choice(["pos", "neg"]) for _ in SENTENCES]
DAYS = [str(day) for day in np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")]
PRICES = [f"{100 + n / 7:.2f}" for n in range(60)]


def written(columns: dict[str, list[str]], **style) -> str:
    return pd.DataFrame(columns).to_csv(index=False, **style)


def parquet(columns) -> bytes:
    content = io.BytesIO()
    pd.DataFrame(columns).to_parquet(content)
    return content.getvalue()


TEXTS: dict[str, str | bytes] = {
    "numbered.txt": "".join(f"{n % 6} {text}\n" for n, text in enumerate(SENTENCES)),
    "words.txt": "".join(f"{label} {text}\n" for label, text in zip(LABELS, SENTENCES, strict=True)),
    "tabs.txt": "".join(f"{label}\t{text}\n" for label, text in zip(LABELS, SENTENCES, strict=True)),
    "fasttext.txt": "".join(f"__label__{label} {text}\n" for label, text in zip(LABELS, SENTENCES, strict=True)),
    "long.txt": "".join(f"{label} {text}\n" for label, text in zip(LABELS * 90, SENTENCES * 90, strict=True)),
    "latin.txt": "".join(f"{n % 2} café {text}\n" for n, text in enumerate(SENTENCES)).encode("latin-1"),
    "utf16.csv": written({"text": SENTENCES, "label": LABELS}).encode("utf-16"),
    "comma.csv": written({"text": SENTENCES, "label": LABELS}),
    "semicolon.csv": written({"text": SENTENCES, "label": LABELS}, sep=";"),
    "tab.tsv": written({"sentence": SENTENCES, "label": LABELS}, sep="\t"),
    "bare.csv": written({"3": SENTENCES, "label": LABELS}, header=False),
    "packed.csv.gz": gzip.compress(written({"text": SENTENCES, "label": LABELS}).encode()),
    "long.csv": written({"text": [text + "\n" + text for text in SENTENCES] * 90, "label": LABELS * 90}),
    "reviews.csv": written({"id": DAYS, "stars": PRICES, "review": SENTENCES, "rating": LABELS}),
    "chinese.csv": written(
        {
            "内容": ["这部电影非常好看我很喜欢" + "一二三四五六七八九十"[n % 10] * (n % 7) for n in range(60)],
            "类": LABELS,
        }
    ),
    "tweets.csv": written({"date": DAYS, "tweet": SENTENCES}),
    "texts.parquet": parquet({"text": SENTENCES, "label": [label == "pos" for label in LABELS]}),
    "texts.parquet.gz": gzip.compress(parquet({"text": SENTENCES, "label": LABELS})),
}

NO_TEXTS: dict[str, str | bytes] = {
    "prices.csv": written({"Date": DAYS, "Close": PRICES}),
    "spaces.txt": "".join(f"{day} {price} {price}\n" for day, price in zip(DAYS, PRICES, strict=True)),
    "ticker.txt": "".join(f"AAPL {day} {price}\n" for day, price in zip(DAYS, PRICES, strict=True)),
    "names.csv": written({"date": DAYS, "name": ["Apple Inc. Common", "Ford Motor Co. Shares"] * 30, "x": PRICES}),
    "companies.csv": written({"date": DAYS[:1] * 60, "name": SENTENCES, "close": PRICES}),
    "remarks.csv": written({"date": DAYS, "temperature": PRICES, "comment": SENTENCES}),
    "weather.csv": written({"date": DAYS, "temperature": PRICES, "Daily Summary": SENTENCES, "kind": LABELS}),
    "sparse.csv": written({"date": DAYS, "count": list(map(str, range(60))), "remark": SENTENCES[:9] + [""] * 51}),
    "numbers.parquet": parquet({"date": pd.to_datetime(DAYS), "close": np.arange(60) / 7}),
    "numbers.txt": "1 2 3\n4 5 6\n",
    "prose.txt": "".join(f"{text}.\n" for text in SENTENCES),
    "log.txt": "".join(f"{DAYS[n // 30]} INFO {text}\n" for n, text in enumerate(SENTENCES)),
    "words.csv": "Open\nClose\nPointer\n",
    "preamble.csv": "https://www.of-the-prices.org/all/of/them\n" + written({"date": DAYS, "close": PRICES}),
    "images.csv": written({"x": PRICES, "file": [f"left_camera_of_car_{n}.png" for n in range(60)]}),
    "one_column.csv": written({"text": SENTENCES}),
    "empty.txt": "",
    "blank.txt": "\n\n",
    "zeros.csv": b"\0" * 5000,
    "random.bin": random.Random(1).randbytes(70_000),
    "cut.csv.gz": gzip.compress(b"text,label\n" * 1000)[:30],
    "bad.parquet": b"PAR1" + b"x" * 50,
    "bad.zip": b"PK\x03\x04" + b"x" * 50,
    "page.html": "<html><body>A page of text that goes on</body></html>",
    "rows.json": '[{"text": "A good film it was", "label": 1}]',
}


def asked(tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ReadingOptions(data=str(path), **options)


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name, tmp_path):
    options = asked(tmp_path, name, TEXTS[name])
    assert is_text(options)
    assert len(read_texts(options, with_labels=name != "tweets.csv").texts) in (60, 5400)


@pytest.mark.parametrize("name", NO_TEXTS)
def test_no_texts(name, tmp_path):
    assert not is_text(asked(tmp_path, name, NO_TEXTS[name]))


@pytest.mark.parametrize(
    "data",
    [
        "",
        " ",
        "-",
        "sample:goog",
        "postgresql://host/texts",
        "https://x.org/a",
        "no/such.csv",
        "no/*.csv",
        "a\0b",
        "x" * 5000,
    ],
)
def test_what_is_no_file(data):
    assert not is_text(ReadingOptions(data=data))


def test_folders_and_patterns(tmp_path):
    assert not is_text(ReadingOptions(data=str(tmp_path)))
    options = asked(tmp_path, "a.txt", TEXTS["words.txt"])
    assert is_text(ReadingOptions(data=str(tmp_path)))
    assert is_text(ReadingOptions(data=str(tmp_path / "*.txt")))
    assert is_text(options)


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_text(ReadingOptions(data=str(tmp_path / "pipe")))


def test_options_that_are_wrong_are_left_to_the_readers(tmp_path):
    for wrong in ({"encoding": "utf9"}, {"separator": "xy"}, {"header": "first"}, {"header": "900"}):
        assert not is_text(asked(tmp_path, "a.csv", TEXTS["comma.csv"], **wrong))


def test_options_help(tmp_path):
    content = "made by hand\n\n" + written({"text": SENTENCES, "label": LABELS}, sep="#")
    assert is_text(asked(tmp_path, "a.csv", content, separator="#", header="3"))


def test_an_open_quote_at_the_end_of_the_beginning(tmp_path):
    cells = [f"{text}\n" * 50 for text in SENTENCES]
    content = written({"text": cells, "label": LABELS})
    assert is_text(asked(tmp_path, "a.csv", content))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
def test_real_files():
    for folder in ("stocks", "forecasting", "messy", "motion", "images"):
        for path in sorted((DATA / folder).iterdir()):
            assert not is_text(ReadingOptions(data=str(path))), path
    for path in sorted((DATA / "text").iterdir()):
        assert is_text(ReadingOptions(data=str(path))), path


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder of real files")
def test_real_texts(tmp_path):
    found = read_texts(ReadingOptions(data=str(DATA / "text" / "sst2_train.txt")))
    lines = (DATA / "text" / "sst2_train.txt").read_text().splitlines()
    assert [f"{label} {text}" for label, text in zip(found.labels or (), found.texts, strict=True)] == lines
    assert "9 texts occur more than once (18 rows)" in [note.text for note in found.notes]
    stripped = tmp_path / "questions.txt"
    lines = (DATA / "text" / "trec6_train.txt").read_text("cp1252").splitlines()
    stripped.write_text("\n".join(line[2:] for line in lines))
    assert not is_text(ReadingOptions(data=str(stripped)))
    alone = read_texts(ReadingOptions(data=str(stripped)), with_labels=False)
    assert alone.texts == tuple(line[2:].strip() for line in lines)
    questions = read_texts(ReadingOptions(data=str(DATA / "text" / "trec6_train.txt")))
    assert len(questions.texts) == 5452 and sorted(set(questions.labels or ())) == list("012345")
    assert any(note.topic == "encoding" for note in questions.notes)
