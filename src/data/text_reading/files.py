"""From the bytes of a source to one text."""

from __future__ import annotations

from typing import BinaryIO

from ..reading.compression import HEAD_BYTES, Opener, content_kind, open_unpacked, refuse_other_content
from ..reading.text_encoding import survey_text, text_blocks
from ..tables import Note


def opened_kind(opener: Opener, location: str) -> tuple[str, tuple[Note, ...]]:
    """``parquet`` or ``text``, and how the file is packed.

    Raises:
        DataError: if it is a workbook, a picture, a web page, JSON or the like.
    """
    stream, packing = open_unpacked(opener, location)
    with stream:
        head = stream.read(HEAD_BYTES)
    notes = (Note("file", f"unpacked with {packing}"),) if packing else ()
    if content_kind(head) == "parquet":
        return "parquet", notes
    refuse_other_content(head, location)
    return "text", notes


def whole_text(opener: Opener, location: str, encoding: str | None) -> tuple[str, tuple[Note, ...]]:
    """All of a text file, and what to say of its encoding.

    Args:
        opener: opens the bytes, packed or not.
        location: for messages.
        encoding: what the user names, or None.

    Raises:
        OptionError: if there is no such encoding.
        DataError: if the file is empty, not text, or not in that encoding.
    """

    def unpacked() -> BinaryIO:
        return open_unpacked(opener, location)[0]

    survey = survey_text(unpacked, location, encoding, head_lines=1)
    with unpacked() as stream:
        return "".join(text_blocks(stream, survey.encoding, location)), survey.notes
