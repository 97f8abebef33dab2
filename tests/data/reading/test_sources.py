"""What `--data` can name: files packed in any way, folders, patterns and standard input; and the likely mistakes."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.data.options import ReadingOptions
from src.data.reading.sources import open_sources
from src.errors import DataError, OptionError

CLEAN = "Date,Open,Close\n2024-01-01,1,2.5\n2024-01-02,3,4\n2024-01-03,5,6\n"
CONTENT = CLEAN.encode()
ROOT = Path(__file__).resolve().parents[3]


def sources(data, **options):
    return open_sources(ReadingOptions(data=str(data), **options))


def only(data, **options):
    (source,) = sources(data, **options)
    return source


def notes(source):
    return " | ".join(note.text for note in source.read().notes)


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def parquet(frame: pd.DataFrame, **options) -> bytes:
    packed = io.BytesIO()
    frame.to_parquet(packed, **options)
    return packed.getvalue()


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="GOOG.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


@pytest.mark.parametrize(
    ("pack", "name", "note"),
    [
        (bytes, "GOOG.csv", ""),
        (bytes, "GOOG.TXT", ""),
        (gzip.compress, "GOOG.csv.gz", "unpacked with gzip"),
        (gzip.compress, "GOOG", "unpacked with gzip"),
        (lzma.compress, "GOOG.tsv.xz", "unpacked with xz"),
        (bz2.compress, "GOOG.csv.bz2", "unpacked with bzip2"),
        (lambda content: zipped({"GOOG.csv": content}), "prices.zip", "unpacked from"),
        (
            lambda content: zipped({"in/GOOG.csv.gz": gzip.compress(content, mtime=0)}),
            "prices.zip",
            "unpacked with gzip",
        ),
    ],
)
def test_a_file_packed_or_not_whatever_its_name(write, pack, name, note):
    source = only(write(pack(CONTENT), name))
    assert source.name == "GOOG" and source.size == len(CONTENT)
    assert source.read().cells["Close"].tolist() == ["2.5", "4", "6"] and note in notes(source)
    assert [len(block.cells) for block in source.blocks(2)] == [2, 1]
    assert source.read().cells.index.tolist() == [2, 3, 4]


def test_identity_changes_with_the_content(write):
    path = write(CONTENT)
    before = only(path).identity()
    assert before == only(path).identity() and str(path) in before
    os.utime(path, ns=(1, 1))
    assert only(path).identity() != before
    packed = write(zipped({"a.csv": CONTENT, "b.csv": CONTENT}), "two.zip")
    assert len({source.identity() for source in sources(packed)}) == 2


def test_a_zip_of_several_tables_is_several_series(write):
    junk = {"__MACOSX/._a.csv": b"x", ".DS_Store": b"x", "README.md": b"x", "docs/": b""}
    found = sources(write(zipped({"p/b.csv": CONTENT, "p/a.csv": CONTENT, **junk}), "x.zip"))
    assert [source.name for source in found] == ["a", "b"]
    assert "not read: README.md" in notes(found[0]) and "not read" not in notes(found[1])
    assert "x.zip:p/a.csv" in found[0].read().location


def test_the_size_of_a_large_packed_file_is_about_right(write):
    values = np.random.default_rng(0).normal(100, 1, 300_000).round(4)
    content = ("date,x\n" + "\n".join(f"2024-01-01,{value}" for value in values)).encode()
    assert only(write(gzip.compress(content, mtime=0), "x.csv.gz")).size == pytest.approx(len(content), rel=0.3)


def test_parquet_brings_types_and_pandas_own_index(write):
    frame = pd.DataFrame(
        {
            "close": [1.5, 2.5, np.nan],
            "number": [Decimal("1.25"), Decimal("2.25"), None],
            "day": [pd.Timestamp("2024-01-01").date()] * 3,
            "word": pd.Categorical(["a", "b", "a"]),
        },
        index=pd.date_range("2024-01-01", periods=3, tz="UTC"),
    )
    source = only(write(parquet(frame), "GOOG.parquet"))
    table = source.read()
    assert list(table.cells.columns) == ["close", "number", "day", "word", "column_5"]
    assert table.cells["number"].dtype == np.float64 and table.cells["number"][2] == 2.25
    assert table.cells["word"].tolist() == ["a", "b", "a"]
    assert str(table.cells["day"].dtype).startswith("datetime64") and str(table.cells["column_5"].dtype).endswith(
        "UTC]"
    )
    assert table.cells.index.tolist() == [1, 2, 3] and source.size == 3 * 5 * 8 and source.name == "GOOG"
    parts = list(source.blocks(2))
    pd.testing.assert_frame_equal(pd.concat([part.cells for part in parts]), table.cells, check_index_type=False)
    assert only(write(parquet(frame), "no_suffix")).read().cells.shape == (3, 5)
    assert only(write(gzip.compress(parquet(frame), mtime=0), "x.parquet.gz")).read().cells.shape == (3, 5)
    assert only(write(zipped({"x.parquet": parquet(frame)}), "x.zip")).read().cells.shape == (3, 5)
    with pytest.raises(OptionError, match="--separator is for text files"):
        only(write(parquet(frame), "x.parquet"), separator="tab").read()


def test_a_folder_gives_its_data_files_in_order_and_says_what_it_leaves(write, tmp_path):
    for name in ("b.csv", "a.tsv.gz", "c.parquet"):
        content = parquet(pd.DataFrame({"x": [1]})) if "parquet" in name else CONTENT
        write(gzip.compress(content, mtime=0) if name.endswith("gz") else content, f"in/{name}")
    write(zipped({"d.csv": CONTENT, "e.csv": CONTENT}), "in/more.zip")
    for name in ("README.md", "x.json", "make.py", ".hidden.csv", "LICENSE.txt", "deeper/z.csv"):
        write("nothing", f"in/{name}")
    found = sources(tmp_path / "in")
    assert [source.name for source in found] == ["a", "b", "c", "d", "e"]
    assert "not read: LICENSE.txt, README.md, deeper/, make.py, x.json" in notes(found[0])
    assert "not read" not in notes(found[1])


def test_a_pattern_and_files_of_the_same_name(write, tmp_path):
    for name in ("2023/GOOG.csv", "2024/GOOG.csv", "2024/AAPL.csv", "2024/x.md"):
        write(CONTENT, name)
    assert [source.name for source in sources(tmp_path / "2024" / "*")] == ["AAPL", "GOOG"]
    assert [source.name for source in sources(tmp_path / "**" / "*.csv")] == ["2023_GOOG", "AAPL", "2024_GOOG"]
    assert only(write(CONTENT, "odd[1].csv")).name == "odd[1]"
    assert only(tmp_path / "2024" / "*.md").name == "x.md"


def test_standard_input_of_a_process():
    script = (
        "from src.data.reading.sources import open_sources; from src.data.options import ReadingOptions\n"
        "(s,) = open_sources(ReadingOptions(data='-'))\n"
        "print(s.name, s.identity(), s.size > 0, s.read().cells.shape, [len(b.cells) for b in s.blocks(2)])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=gzip.compress(CONTENT, mtime=0), capture_output=True, cwd=ROOT, check=False)
    assert done.stdout.split(b"\n")[0].strip() == b"stdin None True (3, 3) [2, 1]", done.stderr


@pytest.mark.parametrize(
    "content",
    [CONTENT, gzip.compress(CONTENT, mtime=0), parquet(pd.read_csv(io.StringIO(CLEAN))), zipped({"x.csv": CONTENT})],
)
def test_standard_input(content, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    source = only("-")
    assert source.name == ("x" if content.startswith(b"PK") else "stdin") and source.identity() is None
    assert [block.cells.shape for block in source.blocks(2)] == [(2, 3), (1, 3)]
    assert source.read().cells.shape == (3, 3) and source.size > 0


def test_standard_input_that_is_a_keyboard(monkeypatch):
    monkeypatch.setattr("sys.stdin", type("Keyboard", (), {"closed": False, "isatty": lambda self: True})())
    with pytest.raises(DataError, match="that is the keyboard; pipe a file in"):
        sources("-")


def test_a_pipe_is_read_once_and_kept(tmp_path):
    pipe = tmp_path / "GOOG.csv"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write({CONTENT!r})"]):
        source = only(pipe)
    assert source.read().cells.shape == source.read().cells.shape == (3, 3) and source.identity() is None


ENCRYPTED = zipped({"a.csv": CONTENT})
ENCRYPTED = bytes(ENCRYPTED[:6] + b"\x01" + ENCRYPTED[7:])
_DIRECTORY = ENCRYPTED.index(b"PK\x01\x02")
ENCRYPTED = ENCRYPTED[: _DIRECTORY + 8] + b"\x01" + ENCRYPTED[_DIRECTORY + 9 :]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", ["is empty"]),
        (
            "x.xlsx",
            zipped({"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"}),
            ["Excel workbook", "save it as CSV"],
        ),
        ("x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), ["Excel workbook", "save it as CSV"]),
        ("x.ods", zipped({"mimetype": b"x", "content.xml": b"x"}), ["an office document"]),
        ("x.pdf", b"%PDF-1.7\n" + bytes(99), ["a PDF document"]),
        ("x.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["an image"]),
        ("x.csv", b"\n<!DOCTYPE html><html><body>404</body></html>", ["a web page", "failed download"]),
        ("x.csv", b"404: Not Found", ["failed download"]),
        ("x.csv", b'{"chart": {"result": []}}', ["JSON"]),
        ("x.json", b'[{"date": "2024-01-01", "close": 1}]', ["JSON"]),
        ("x.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["git lfs pull"]),
        ("x.db", b"SQLite format 3\0" + bytes(99), ["sqlite:///"]),
        ("x.csv.gz", gzip.compress(CONTENT * 500, mtime=0)[:-9], ["(gzip) must be whole", "damaged"]),
        ("x.csv.gz", gzip.compress(CONTENT * 9, mtime=0)[:60], ["damaged"]),
        ("x.csv.gz", b"\x1f\x8bnot gzip", ["damaged"]),
        ("x.csv.xz", lzma.compress(CONTENT)[:-9], ["(xz) must be whole", "damaged"]),
        ("x.csv.bz2", bz2.compress(CONTENT)[:-9], ["damaged"]),
        ("x.zip", zipped({"a.csv": CONTENT})[:-9], ["(zip) must be whole", "damaged"]),
        ("x.zip", zipped({}), ["holds nothing"]),
        ("x.zip", zipped({"a.md": b"x", "b.py": b"x"}), ["holds a.md, b.py"]),
        ("x.zip", ENCRYPTED, ["needs a password"]),
        ("x.zip", zipped({"a.csv": CONTENT}).replace(b"\x08\0", b"\x63\0"), ["a common method"]),
        ("x.parquet", b"PAR1" + bytes(99), ["Parquet file must be whole", "damaged"]),
        ("x.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(99), ["zstd", "unpack it"]),
    ],
)
def test_what_is_no_data_is_one_line(write, name, content, words):
    path = write(content, name)
    with pytest.raises(DataError) as caught:
        only(path).read()
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 500
    for word in words:
        assert word in message


def test_what_is_not_there(write, tmp_path):
    write(CONTENT, "GOOG.csv")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "words").mkdir()
    write("x", "words/README.md")
    for data, words in (
        ("GOOGL.csv", r"there is no .*GOOGL\.csv; check the path\. Did you mean 'GOOG\.csv'\?"),
        ("nowhere/GOOG.csv", "nor the folder"),
        ("nothing", "the folder .* holds nothing"),
        ("words", r"the folder .* holds README\.md"),
        ("", r"the folder .* holds .*FOLDER/\*\*/\*\.csv"),
        ("*.tsv", "the pattern .* holds nothing"),
        ("GOOG.csv/x", "there is no"),
        ("x" * 300, "there is no"),
    ):
        if data == "":
            (tmp_path / "GOOG.csv").unlink()
        with pytest.raises(DataError, match=words):
            sources(tmp_path / data)
    with pytest.raises(DataError, match="must name a file"):
        sources("")
    for address in ("https://user:secret@example.org/x.csv", "file:///x.csv"):
        with pytest.raises(DataError, match="must be a file, folder, database or -") as caught:
            sources(address)
        assert "secret" not in str(caught.value)


def test_a_file_that_may_not_be_read(write, monkeypatch):
    path = write(CONTENT)

    def refuse(self, *arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"GOOG\.csv cannot be read: Permission denied"):
        only(path).read()


def test_a_query_needs_a_database(write):
    with pytest.raises(OptionError, match=r"--query needs a database in --data, but that is .*GOOG\.csv"):
        sources(write(CONTENT), query="SELECT 1")
