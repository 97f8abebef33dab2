"""From bytes to text: which encoding, whole lines at a time, and where a text cannot be decoded."""

from __future__ import annotations

import codecs
import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ...errors import DataError, OptionError, did_you_mean
from ..tables import Note

_BLOCK_BYTES = 1 << 20
_MAX_LINE = 1 << 24
_PAIRED_BYTES = 4096  # looked at for the zero bytes of UTF-16
_TAIL_CHARACTERS = 1 << 16
_HEAD_CHARACTERS = 1 << 20
_MARKS = (  # byte-order marks; that of UTF-16 begins that of UTF-32
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_COMMON = ("utf-8", "utf-16", "cp1252", "latin-1", "cp1251", "shift_jis", "gbk", "big5")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x19\x1c-\x1f]")  # without line ends, tabs, form feeds and the DOS end of file
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Survey:
    """What a first pass over a whole text finds.

    Attributes:
        encoding: decodes every byte of it.
        head: the first lines.
        head_is_all: whether there are no others.
        tail: the last lines, at most 65,536 characters.
        tail_row: number of the first line of ``tail``, from 1.
        notes: about the encoding, where it is not UTF-8.
    """

    encoding: str
    head: tuple[str, ...]
    head_is_all: bool
    tail: tuple[str, ...]
    tail_row: int
    notes: tuple[Note, ...]


def split_lines(text: str) -> list[str]:
    """Lines with their ends: LF, CR LF or CR, and no other characters (as an editor counts lines)."""
    return io.StringIO(text, newline="").readlines()


def count_lines(text: str) -> int:
    """How many lines ``split_lines`` gives, without making them."""
    ends = text.count("\n")
    if "\r" in text:
        ends += text.count("\r") - text.count("\r\n")
    return ends + (not text.endswith(("\n", "\r")) and text != "")


def text_blocks(stream: BinaryIO, encoding: str, location: str) -> Iterator[str]:
    """The text in blocks of about a megabyte, each of whole lines.

    Raises:
        UnicodeDecodeError: where the bytes do not fit the encoding.
        DataError: if a line is longer than 16 million characters.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    rest, first = "", True
    while True:
        block = stream.read(_BLOCK_BYTES)
        text = rest + decoder.decode(block, final=not block)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        if not block:
            if text:
                yield text
            return
        cut = max(text.rfind("\n"), text.rfind("\r", 0, max(len(text) - 1, 0))) + 1  # a CR at the end may get its LF
        if cut:
            yield text[:cut]
        rest = text[cut:]
        if len(rest) > _MAX_LINE:
            raise DataError(
                f"a line may have at most {_MAX_LINE:,} characters, but {location} has a longer one; "
                "give text in lines, such as CSV"
            )


def survey_text(opener: Callable[[], BinaryIO], location: str, given: str | None, head_lines: int) -> Survey:
    """Read a text through once, to find its encoding, its first and its last lines.

    Args:
        opener: opens the unpacked bytes.
        given: the encoding that the user names, or None.
        head_lines: how many first lines to keep.

    Raises:
        OptionError: if the encoding does not exist.
        DataError: if the file is empty, no text or not in the given encoding.
    """
    with opener() as stream:
        head = stream.read(1 << 16)
    if not head.strip(b" \t\r\n\0\xef\xbb\xbf\xff\xfe"):
        raise DataError(f"a file needs a header and rows, but {location} is empty; check the path")
    candidates = [_given_encoding(given, head)] if given else _likely_encodings(head)
    failure: UnicodeError | None = None
    for encoding in candidates:
        try:
            with opener() as stream:
                return _survey(stream, encoding, location, head_lines, _encoding_notes(encoding, given))
        except UnicodeError as error:
            failure = error
    raise _undecodable(opener, candidates[-1], location, failure)


def _survey(stream: BinaryIO, encoding: str, location: str, head_lines: int, notes: tuple[Note, ...]) -> Survey:
    head: list[str] = []
    head_is_all = True
    kept: deque[str] = deque()
    lines = kept_characters = 0
    for text in text_blocks(stream, encoding, location):
        if len(head) < head_lines and sum(map(len, head)) < _HEAD_CHARACTERS:
            if not head:
                _refuse_binary(text, location)
            found = split_lines(text)
            head_is_all = len(head) + len(found) <= head_lines
            head += found[: head_lines - len(head)]
        else:
            head_is_all = False
        if "\0" in text:
            row = lines + count_lines(text[: text.index("\0")])
            raise DataError(f"data must be text, but {location} has a zero byte in row {row}; save it as CSV in UTF-8")
        lines += count_lines(text)
        kept.append(text)
        kept_characters += len(text)
        while kept_characters - len(kept[0]) >= _TAIL_CHARACTERS:
            kept_characters -= len(kept.popleft())
    tail = "".join(kept)
    if len(tail) > _TAIL_CHARACTERS:
        start = _LINE_END.search(tail, len(tail) - _TAIL_CHARACTERS)
        tail = tail[start.end() :] if start else ""
    tail_lines = tuple(split_lines(tail))
    return Survey(encoding, tuple(head), head_is_all, tail_lines, lines - len(tail_lines) + 1, notes)


def _given_encoding(given: str, head: bytes) -> str:
    try:
        name = codecs.lookup(given).name
        b"a".decode(name, "ignore")  # LookupError for codecs that are not of text, such as hex
    except LookupError:
        hint = did_you_mean(given, _COMMON) or f" Common ones: {', '.join(_COMMON)}"
        raise OptionError(f"--encoding must be a text encoding, but there is no '{given}'.{hint}") from None
    if name == "utf-8" and head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if name in ("utf-16", "utf-32") and not any(head.startswith(mark) for mark, encoding in _MARKS if encoding == name):
        return f"{name}-be" if head.startswith(b"\0") else f"{name}-le"
    return name


def _likely_encodings(head: bytes) -> list[str]:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return [encoding]
    even, odd = head[0:_PAIRED_BYTES:2], head[1:_PAIRED_BYTES:2]
    if odd.count(0) > 0.6 * len(odd) and even.count(0) < 0.1 * len(even):
        return ["utf-16-le"]
    if even.count(0) > 0.6 * len(even) and odd.count(0) < 0.1 * len(odd):
        return ["utf-16-be"]
    if b"\0" in head:
        return ["utf-8", "latin-1"]  # refused for its zero bytes, whatever the rest
    return ["utf-8", "cp1252", "latin-1"]


def _encoding_notes(encoding: str, given: str | None) -> tuple[Note, ...]:
    if encoding == "utf-8":
        return ()
    if encoding == "utf-8-sig":
        return (Note("encoding", "UTF-8 with a byte-order mark", "--encoding"),)
    text = f"{given}, as asked" if given else f"read as {encoding}"
    if not given and encoding in ("cp1252", "latin-1"):
        text += ", as it is not UTF-8"
    return (Note("encoding", text, "--encoding"),)


def _refuse_binary(text: str, location: str) -> None:
    sample = text[:4096]
    if len(_CONTROL.findall(sample)) > 0.01 * len(sample):
        raise DataError(
            f"data must be text in columns (such as CSV) or Parquet, but {location} holds binary data; save it as CSV"
        )


def _undecodable(
    opener: Callable[[], BinaryIO], encoding: str, location: str, failure: UnicodeError | None
) -> DataError:
    """Where the first byte stands that does not fit: decode byte block by byte block up to it."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = row = 0
    with opener() as stream:
        while True:
            block = stream.read(_BLOCK_BYTES)
            held = len(decoder.getstate()[0])
            try:
                row += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                offset += error.start - held
                row += error.object[: error.start].decode(encoding, "ignore").count("\n") + 1
                break
            offset += len(block)
            if not block:
                break
    return DataError(
        f"text must fit its encoding, but {location} is not {encoding}: byte {offset} in row {row} cannot be read "
        f"({getattr(failure, 'reason', failure)}); give another --encoding"
    )
