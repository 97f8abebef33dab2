"""``JournalFile``: Optuna's journal in a file that survives the death of whoever writes it."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from ..errors import UserError
from ..tracking.run_folder import lock_file, unlock_file

_START = b'{"op_code":'  # of every journal's first entry


class JournalFile(JournalFileBackend):
    """A journal file for the processes of one machine, or of several on a shared file system.

    Two things are other than in Optuna's: the lock ends with the process that holds it, however that ends (there, a
    link stays behind that others wait for, half a minute or for ever), and a line that a full disk or a power cut has
    left unfinished is cut off before the next one is written. Nothing waits for the disk: after a power cut the last
    lines may be missing, and their trials are done again.

    Optuna's own backend (the dashboard's, for one) may write to the same file meanwhile: it locks by another name, and
    both only ever append.

    Raises:
        UserError: if the file is of another kind; otherwise its last line might be cut off.
        OSError: if it cannot be read or made.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._lock_path = path.with_name(f".{path.name}.lock")  # without the dot it would be the name of Optuna's link
        with open(path, "rb") as file:
            start = file.read(len(_START))
        if not _START.startswith(start):
            raise UserError(
                f"--storage must be an address or a journal file of studies, but {path} is another kind of file; "
                "a database file is named sqlite:///FILE"
            )

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries, each a line of JSON."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with _locked(self._lock_path), _open_to_append(self._file_path) as file:
            _cut_unfinished_line(file)
            _write_all(file, text.encode())


def _open_to_append(path: str) -> io.FileIO:
    """A file that exists, for reading and for writing at its end."""
    return open(path, "a+b", buffering=0, opener=lambda name, flags: os.open(name, flags & ~os.O_CREAT))


def _write_all(file: io.FileIO, content: bytes) -> None:
    """Write everything or raise OSError: a disk that becomes full takes a part first and says nothing."""
    written = 0
    while written < len(content):
        written += file.write(content[written:])


def _cut_unfinished_line(file: io.FileIO) -> None:
    """Cut off what is no whole line at the end of the file."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, for the threads of all processes; the system takes it from a process that dies."""
    with open(path, "a+b") as file:
        lock_file(file, wait=True)
        try:
            yield
        finally:
            unlock_file(file)
