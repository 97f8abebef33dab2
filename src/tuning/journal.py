"""``JournalFile``: Optuna's journal in a file that survives the death of whoever writes it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from ..tracking.run_folder import lock_file, unlock_file


class JournalFile(JournalFileBackend):
    """A journal file for the processes of one machine, or of several on a shared file system.

    Two things are other than in Optuna's: the lock ends with the process that holds it, however that ends (there, a
    link stays behind that others wait for, half a minute or for ever), and a line that a full disk or a power cut has
    left unfinished is cut off before the next one is written. Nothing waits for the disk: after a power cut the last
    lines may be missing, and their trials are done again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._lock_path = path.with_name(f"{path.name}.lock")

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries, each a line of JSON."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with _locked(self._lock_path), open(self._file_path, "r+b", buffering=0) as file:
            _to_end_of_last_line(file)
            file.write(text.encode())


def _to_end_of_last_line(file: io.FileIO) -> None:
    """Stand at the end of the file, what is no whole line cut off."""
    end = file.seek(0, 2)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)
    file.seek(whole)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, for the threads of all processes; the system takes it from a process that dies."""
    with open(path, "a+b") as file:
        lock_file(file, wait=True)
        try:
            yield
        finally:
            unlock_file(file)
