"""What ``--data`` names: files, folders, patterns, standard input and databases, each as a source of cells."""

from __future__ import annotations

import errno
import glob
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ...errors import DataError, OptionError, did_you_mean
from ..options import ReadingOptions
from ..tables import Note, RawTable
from .compression import (
    HEAD_BYTES,
    Opener,
    SharedBytes,
    content_kind,
    open_member,
    open_unpacked,
    refuse_other_content,
    zip_members,
)
from .parquet_files import ParquetTable, open_parquet
from .text_files import TextFile, open_text

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".dat", ".psv")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".pq")
PACKED_SUFFIXES = (".gz", ".gzip", ".xz", ".bz2", ".zip")

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NO_DATABASE = ("http", "https", "ftp", "s3", "gs", "file", "hdfs")
_NO_DATA = re.compile(
    r"(readme|licen[cs]e|notice|changelog|requirements|copying)|.*[_-](readme|licen[cs]e)$", re.IGNORECASE
)
_RATIO_SAMPLE = 1 << 20


class Source(Protocol):
    """One table that can be read, whole or in blocks, as often as wanted.

    Attributes:
        name: what to call the series.
        location: path or address, for messages; without passwords.
        size: about how many bytes its text or values take, unpacked; 0 where that is not known.
    """

    name: str
    location: str

    @property
    def size(self) -> int: ...

    def read(self) -> RawTable:
        """All rows."""

    def blocks(self, rows: int) -> Iterator[RawTable]:
        """The same rows in the same order, at most ``rows`` at a time; notes with the first only."""

    def identity(self) -> str | None:
        """A text that changes when the content does; None where nobody can tell."""


@dataclass
class FileSource:
    """A file, a file in a zip, or standard input: text in columns or Parquet, packed or not."""

    name: str
    location: str
    opener: Opener
    options: ReadingOptions
    path: Path | None = None
    member: str = ""
    packed_bytes: int = 0
    notes: tuple[Note, ...] = ()
    _opened: TextFile | ParquetTable | None = None

    @property
    def size(self) -> int:
        stream, packing = open_unpacked(self.opener, self.location)
        with stream:
            start = stream.read(_RATIO_SAMPLE if packing else HEAD_BYTES)
        if content_kind(start) == "parquet":
            return cast(ParquetTable, self._open()).size
        if not packing:
            return self.packed_bytes
        if len(start) < _RATIO_SAMPLE:
            return len(start)
        return int(self.packed_bytes * len(start) / len(zlib.compress(start)))  # as its first megabyte packs

    def read(self) -> RawTable:
        return next(self._blocks(None))

    def blocks(self, rows: int) -> Iterator[RawTable]:
        return self._blocks(rows)

    def _blocks(self, rows: int | None) -> Iterator[RawTable]:
        for number, table in enumerate(self._open().blocks(rows)):
            yield replace(table, notes=self.notes + table.notes) if number == 0 else table

    def identity(self) -> str | None:
        if self.path is None:
            return None
        found = self.path.stat()
        return f"{self.path.resolve()}|{self.member}|{found.st_size}|{found.st_mtime_ns}"

    def _open(self) -> TextFile | ParquetTable:
        if self._opened is None:
            stream, packing = open_unpacked(self.opener, self.location)
            with stream:
                head = stream.read(HEAD_BYTES)
            kind = content_kind(head)
            if packing:
                self.notes = (*self.notes, Note("file", f"unpacked with {packing}"))
            if kind == "parquet":
                self._opened = open_parquet(self.name, self.location, self._seekable, self.options)
            elif kind != "text":
                raise DataError(f"a file may be packed once, but {self.location} holds a {kind} file; unpack it first")
            else:
                refuse_other_content(head, self.location)
                self._opened = open_text(self.name, self.location, self._unpacked, self.options)
        return self._opened

    def _unpacked(self) -> BinaryIO:
        return open_unpacked(self.opener, self.location)[0]

    def _seekable(self) -> BinaryIO:
        if self.path is not None and not self.member:
            plain = self.opener()
            if content_kind(plain.read(HEAD_BYTES)) == "parquet":
                plain.seek(0)
                return plain
            plain.close()
        with self._unpacked() as stream:
            return SharedBytes(stream)()


def open_sources(options: ReadingOptions) -> list[Source]:
    """Everything that ``--data`` names, in the order of names; nothing is read yet but the beginnings.

    Raises:
        OptionError: if ``--query`` and ``--data`` do not belong together.
        DataError: if there is no such thing, or none of it is data.
    """
    data = options.data
    address = _ADDRESS.match(data)
    if address and address[1].lower() not in _NO_DATABASE:
        from .databases import open_database

        return [open_database(data, options.query)]
    if options.query is not None:
        raise OptionError(
            f"--query needs a database in --data, but that is {data}; give an address such as sqlite:///prices.db"
        )
    if address:
        what = "a path without file://" if address[1].lower() == "file" else "the path of a file you have fetched"
        raise DataError(f"--data must be a file, folder, database or -, but got {hide_password(data)}; give {what}")
    if data == "-":
        return list(_with_members([_standard_input(options)]))
    path = Path(os.path.expanduser(data))
    if not data.strip() or "\0" in data:
        raise DataError(f"--data must name a file, but got {data!r}; give a path")
    if _exists(path):
        if path.is_dir():
            return _from_many(sorted(path.iterdir()), f"the folder {data}", True, options)
        return list(_with_members([_file(path, data, options)]))
    if glob.has_magic(data):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        return _from_many(found, f"the pattern {data}", glob.has_magic(path.suffix) or not path.suffix, options)
    raise DataError(_not_there(path, data))


_USER = re.compile(r"://[^:/@\s]*(:\S*)?@")  # a password may hold / and, wrongly, @
_PASSWORD = re.compile(r"([?&](?:password|passwd|pwd|sslpassword)=)[^&\s]*", re.IGNORECASE)


def hide_password(address: str) -> str:
    """An address without the user and password in it, wherever the password stands."""
    return _PASSWORD.sub(r"\1***", _USER.sub("://***@", address))


def local_path(data: str) -> Path | None:
    """The path that ``--data`` names; None for standard input, addresses, samples and what no path can be."""
    if not data.strip() or data == "-" or "://" in data or data.startswith("sample:") or "\0" in data:
        return None
    return Path(os.path.expanduser(data))


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise DataError(
            f"data must be a readable file, but {path} cannot be read: {error.strerror}; check it"
        ) from None
    return True


def _not_there(path: Path, data: str) -> str:
    rule = f"data must be a file that exists, but there is no {data}"
    folder = path.parent
    if not folder.is_dir():
        return f"{rule}, nor the folder {folder}; check the path"
    if "," in data and all(Path(part.strip()).exists() for part in data.split(",")):
        return f"{rule}; for several files give a folder or a pattern such as 'data/*.csv'"
    try:
        hint = did_you_mean(path.name, [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")])
    except OSError:
        hint = ""
    return f"{rule}; check the path.{hint}"


def series_name(file_name: str) -> str:
    """The name of a file without what says how it is written and packed."""
    name = Path(file_name.replace("\\", "/")).name
    for suffixes in (PACKED_SUFFIXES, TABLE_SUFFIXES):
        for suffix in suffixes:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                name = name[: -len(suffix)]
                break
    return name


def _file(path: Path, location: str, options: ReadingOptions) -> FileSource:
    def opener() -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            reason = error.strerror
            raise DataError(
                f"data must be a readable file, but {location} cannot be read: {reason}; check it"
            ) from None

    name = series_name(path.name)
    if not path.is_file():  # a pipe, which can be read but once
        with opener() as stream:
            shared = SharedBytes(stream)
        return FileSource(name, location, shared, options, packed_bytes=shared.size)
    return FileSource(name, location, opener, options, path, packed_bytes=path.stat().st_size)


def _standard_input(options: ReadingOptions) -> FileSource:
    stream = sys.stdin
    if stream is None or stream.closed:
        raise DataError("--data - reads standard input, but that is closed; pipe a file in: cat prices.csv | ...")
    if stream.isatty():
        raise DataError("--data - reads standard input, but that is the keyboard; pipe a file in: cat prices.csv | ...")
    shared = SharedBytes(stream.buffer)
    return FileSource("stdin", "standard input", shared, options, packed_bytes=shared.size)


def _with_members(files: list[FileSource]) -> Iterator[FileSource]:
    """The files, zips replaced by what is in them."""
    for file in files:
        with open_unpacked(file.opener, file.location)[0] as stream:
            kind = content_kind(stream.read(HEAD_BYTES))
        if kind != "zip":
            yield file
            continue
        members = zip_members(file.opener, file.location)
        wanted = [member for member in members if _looks_like_data(member.filename)] or (
            members if len(members) == 1 else []
        )
        if not wanted:
            held = ", ".join(member.filename for member in members[:5]) or "nothing"
            raise DataError(
                f"a zip must hold files such as CSV, but {file.location} holds {held}; pack the table itself"
            )
        left = [member.filename for member in members if member not in wanted]
        notes = (*file.notes, Note("file", f"unpacked from {file.location}"), *_left_out(left))
        for member in wanted:
            yield replace(
                file,
                name=series_name(member.filename if len(wanted) > 1 or member.filename else file.name),
                location=f"{file.location}:{member.filename}",
                opener=_member_opener(file, member.filename),
                member=member.filename,
                packed_bytes=member.file_size,
                notes=notes,
            )
            notes = notes[:1]


def _member_opener(file: FileSource, member: str) -> Opener:
    return lambda: open_member(file.opener, member, f"{file.location}:{member}")


def _left_out(names: list[str]) -> tuple[Note, ...]:
    if not names:
        return ()
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")
    return (Note("file", f"not read: {some}", "--data"),)


def _looks_like_data(name: str) -> bool:
    path = Path(name)
    bare = path.name.lower()
    packed = next((suffix for suffix in PACKED_SUFFIXES if bare.endswith(suffix)), "")
    bare = bare.removesuffix(packed)
    return (bare.endswith(TABLE_SUFFIXES) or packed == ".zip") and not _NO_DATA.fullmatch(series_name(bare))


def _from_many(paths: list[Path], what: str, choose: bool, options: ReadingOptions) -> list[Source]:
    """One source a file; ``choose`` leaves out what does not look like data."""
    paths = [path for path in paths if not path.name.startswith(".")]
    wanted = [path for path in paths if not path.is_dir() and (not choose or _looks_like_data(path.name))]
    if not wanted:
        held = ", ".join(path.name + "/" * path.is_dir() for path in paths[:5]) or "nothing"
        nested = any(path.is_dir() for path in paths)
        fix = "name deeper ones by a pattern such as 'FOLDER/**/*.csv'" if nested else "check the path"
        raise DataError(f"data must be files such as CSV or Parquet, but {what} holds {held}; {fix}")
    files = list(_with_members([_file(path, str(path), options) for path in wanted]))
    left = [path.name + "/" * path.is_dir() for path in paths if path not in set(wanted)]
    files[0].notes += _left_out(left)
    return list(_distinct(files))


def _distinct(files: list[FileSource]) -> list[FileSource]:
    """Files of the same name in different folders get the folder's name before theirs."""
    twice = Counter(file.name for file in files)
    for file in files:
        if twice[file.name] > 1:
            parent = Path(file.member).parent.name or (file.path.parent.name if file.path else "")
            file.name = f"{parent}_{file.name}" if parent else file.name
    used: Counter[str] = Counter()
    for file in files:
        used[file.name] += 1
        if used[file.name] > 1:
            file.name = f"{file.name}.{used[file.name]}"
    return files
