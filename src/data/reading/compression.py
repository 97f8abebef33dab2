"""What the first bytes of a file say it is, and how packed files are read as a stream."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, cast

from ...errors import DataError

Opener = Callable[[], BinaryIO]
"""Opens the same bytes anew each time it is called."""

HEAD_BYTES = 4096
_BLOCK_BYTES = 1 << 20
_IN_MEMORY = 64 << 20

# By their first bytes. What is packed or a table can be read, the rest is refused with what to do instead.
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_OTHERS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", "save it as CSV"),
    (b"SQLite format 3\0", "an SQLite database", "give it as sqlite:///PATH with --query"),
    (b"%PDF", "a PDF document", "give the table as CSV"),
    (b"\x89PNG", "an image", "give the table as CSV"),
    (b"\xff\xd8\xff", "an image", "give the table as CSV"),
    (b"GIF8", "an image", "give the table as CSV"),
    (b"\x93NUMPY", "a NumPy array", "save it as CSV with a column of dates"),
    (b"\x89HDF", "an HDF5 file", "save it as CSV or Parquet"),
    (b"ARROW1", "a Feather file", "save it as Parquet"),
    (b"Obj\x01", "an Avro file", "save it as Parquet"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "packed with 7-Zip", "unpack it, or pack it as zip"),
    (b"Rar!\x1a", "packed with RAR", "unpack it, or pack it as zip"),
    (b"\x80\x04\x95", "a Python pickle", "save it as CSV or Parquet"),
    (b"\x80\x05\x95", "a Python pickle", "save it as CSV or Parquet"),
    (b"version https://git-lfs", "only the pointer to a file in Git LFS", "fetch it with: git lfs pull"),
)
_HTML = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|rss|table)", re.IGNORECASE)
_JSON = re.compile(rb"\s*(\{\s*[\"}]|\[\s*([\[{\"]|-?\d))")
_FAILED = re.compile(
    rb"\s*(40[0-9]|429|50[0-9])?:?\s*(not found|forbidden|unauthorized|too many requests)", re.IGNORECASE
)
_UNPACKING_ERRORS = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, OSError, ValueError)


def content_kind(head: bytes) -> str:
    """``gzip``, ``xz``, ``bzip2``, ``zip``, ``parquet``, or ``text`` for everything else."""
    if head.startswith(b"PAR1"):
        return "parquet"
    return next((kind for start, kind in _PACKED if head.startswith(start)), "text")


def refuse_other_content(head: bytes, location: str) -> None:
    """Refuse what is known not to be a table.

    Args:
        head: the first bytes, unpacked.

    Raises:
        DataError: if it is a workbook, a picture, a web page, JSON or the like.
    """
    found = next(((what, fix) for start, what, fix in _OTHERS if head.startswith(start)), None)
    bare = head.removeprefix(b"\xef\xbb\xbf")
    if head[257:262] == b"ustar":
        found = "a tar archive", "unpack it and give the folder"
    elif _HTML.match(bare):
        found = "a web page (HTML or XML), so perhaps a failed download", "fetch it again, or save the table as CSV"
    elif _JSON.match(bare):
        found = "JSON", "save it as CSV"
    elif _FAILED.match(bare) and len(bare) < 200:
        found = "only a server's refusal, so a failed download", "fetch it again"
    if found:
        raise DataError(
            f"data must be text in columns (such as CSV) or Parquet, but {location} is {found[0]}; {found[1]}"
        )


@contextmanager
def unpacking(location: str, kind: str) -> Iterator[None]:
    """Turn whatever the unpackers raise into one line that names the file."""
    try:
        yield
    except NotImplementedError:
        raise DataError(f"a zip must use a common method, but {location} does not; pack it again") from None
    except RuntimeError as error:  # zipfile's way to ask for a password
        if "password" not in str(error) and "encrypted" not in str(error):
            raise
        raise DataError(
            f"a packed file must be open to all, but {location} needs a password; unpack it first"
        ) from None
    except _UNPACKING_ERRORS as error:
        if kind == "text":
            raise DataError(f"data must be readable, but {location} is not: {error}; check it") from None
        reason = str(error) or type(error).__name__
        raise DataError(
            f"what is packed ({kind}) must be whole, but {location} is damaged: {reason}; fetch it again"
        ) from None


class _Guarded(io.RawIOBase):
    """A stream whose errors are those of ``unpacking``, and which closes what lies below it."""

    def __init__(self, stream: IO[bytes], below: BinaryIO | None, location: str, kind: str) -> None:
        self._stream, self._below, self._location, self._kind = stream, below, location, kind

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with unpacking(self._location, self._kind):
            content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            if self._below is not None:
                self._below.close()
        super().close()


def _buffered(stream: Any, below: BinaryIO | None, location: str, kind: str) -> io.BufferedReader:
    return io.BufferedReader(_Guarded(stream, below, location, kind), _BLOCK_BYTES)


def open_unpacked(opener: Opener, location: str) -> tuple[BinaryIO, str]:
    """Open a file and, where it is packed with gzip, xz or bzip2, unpack it as it is read.

    Returns:
        a stream whose errors are ``DataError``, and how the file is packed (``""`` where it is not).
    """
    with unpacking(location, "text"):
        plain = opener()
    stream = _buffered(plain, None, location, "text")
    kind = content_kind(stream.peek(HEAD_BYTES)[:HEAD_BYTES])
    if kind == "gzip":
        return cast(BinaryIO, _buffered(gzip.GzipFile(fileobj=stream), stream, location, kind)), kind
    if kind == "xz":
        return cast(BinaryIO, _buffered(lzma.LZMAFile(stream), stream, location, kind)), kind
    if kind == "bzip2":
        return cast(BinaryIO, _buffered(bz2.BZ2File(stream), stream, location, kind)), kind
    return cast(BinaryIO, stream), ""


def zip_members(opener: Opener, location: str) -> list[zipfile.ZipInfo]:
    """The files in a zip, in the order of their names, without folders and what file managers add.

    Raises:
        DataError: if it is damaged, locked with a password, or really a workbook or document.
    """
    with unpacking(location, "zip"), opener() as stream, zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
    names = {member.filename for member in members}
    if "[Content_Types].xml" in names or "mimetype" in names:
        what = "an Excel workbook" if any(name.startswith("xl/") for name in names) else "an office document"
        raise DataError(f"data must be text in columns or Parquet, but {location} is {what}; save it as CSV")
    files = [member for member in members if not member.is_dir() and not _is_junk(member.filename)]
    if any(member.flag_bits & 1 for member in files):
        raise DataError(f"a packed file must be open to all, but {location} needs a password; unpack it first")
    return sorted(files, key=lambda member: member.filename)


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts) or parts[-1].lower() == "thumbs.db"


def open_member(opener: Opener, name: str, location: str) -> BinaryIO:
    """One file of a zip as a stream."""
    with unpacking(location, "zip"):
        below = opener()
        archive = zipfile.ZipFile(below)
        return cast(BinaryIO, _buffered(archive.open(name), below, location, "zip"))


class SharedBytes:
    """A copy of what can be read but once, such as standard input; each call opens it anew.

    It is kept in memory, or on disk where it is larger than 64 MB.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._copy = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives as long as this object
        shutil.copyfileobj(stream, self._copy, _BLOCK_BYTES)
        self.size = self._copy.tell()

    def __call__(self) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_View(self, self._copy), _BLOCK_BYTES))


class _View(io.RawIOBase):
    """A place of its own in a shared copy, which stays open when the view is closed."""

    def __init__(self, owner: SharedBytes, copy: IO[bytes]) -> None:
        self._owner, self._copy, self._place = owner, copy, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._owner.size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._copy.seek(self._place)
        content = self._copy.read(len(buffer))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)
