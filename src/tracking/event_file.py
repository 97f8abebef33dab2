"""One TensorBoard event file, written without a thread and without ever raising a disk error.

Every event is one ``write`` to a file opened for appending, so it is in the operating system's hands at once: a process
that is killed loses nothing, a failure shows where it happens, and the file always ends at a whole event.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboard.compat.proto import event_pb2
from torch.utils.tensorboard import FileWriter

PREFIX = "events.out.tfevents."
_SECONDS = re.compile(re.escape(PREFIX) + r"(\d{10})\.")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)  # the last on Windows
_CHECKSUM_BLOCK = 1024
_logger = logging.getLogger(__name__)


class EventFile(FileWriter):
    """The event file of one folder, under the interface of PyTorch's ``FileWriter``.

    The file is made when the object is made, and again, under a later name, when something is written after ``close``.
    The first ``OSError`` (disk full, folder gone, no permission) is reported once; from then on nothing is written.
    """

    def __init__(self, log_dir: str | Path) -> None:
        self._folder = Path(log_dir)
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self.failed = False
        self.event_writer = self
        self.reopen()

    def get_logdir(self) -> str:
        """The folder of the file."""
        return str(self._folder)

    def add_event(self, event: event_pb2.Event, step: int | None = None, walltime: float | None = None) -> None:
        """Write one event; ``walltime`` is in seconds since 1970 and defaults to now."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        record = _record(event.SerializeToString())
        with self._lock:
            try:
                self._write(record)
            except OSError as error:
                self._fail(error)

    def reopen(self) -> None:
        """Open the next file unless one is open."""
        with self._lock:
            try:
                self._open()
            except OSError as error:
                self._fail(error)

    def flush(self) -> None:
        """Nothing waits in memory, so this only notices a file that has been deleted under us."""
        with self._lock:
            if self._descriptor is not None and self._path is not None and not self._path.exists():
                self._fail(FileNotFoundError(f"{self._path} has been deleted"))

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                try:
                    os.close(descriptor)
                except OSError as error:
                    self._fail(error)

    def __del__(self) -> None:
        # Not every owner of a writer closes it; a long search over many runs must not use up the file descriptors.
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def _open(self) -> None:
        if self._descriptor is not None or self.failed:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = _next_path(self._folder)
        self._descriptor = os.open(self._path, _NEW_FILE, 0o666)
        source = event_pb2.SourceMetadata(writer="trainboard")
        first = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2", source_metadata=source)
        _write_all(self._descriptor, _record(first.SerializeToString()))

    def _write(self, record: bytes) -> None:
        self._open()
        if self._descriptor is not None:
            _write_all(self._descriptor, record)

    def _fail(self, error: OSError) -> None:
        if not self.failed:
            _logger.warning(
                "TensorBoard events are no longer written to %s: %s. Training goes on.", self._folder, error
            )
        self.failed = True
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # the failure that matters has been reported
                os.close(descriptor)


def event_paths(log_dir: str | Path) -> list[Path]:
    """The event files of this folder (not of its sub-folders), in the order in which TensorBoard reads them."""
    return sorted(path for path in Path(log_dir).glob(f"{PREFIX}*") if path.is_file())


def byte_lengths(log_dir: str | Path) -> dict[str, int]:
    """File name to size in bytes, for every event file of this folder."""
    return {path.name: path.stat().st_size for path in event_paths(log_dir)}


def cut_event_files(log_dir: str | Path, byte_lengths: Mapping[str, int]) -> None:
    """Put the event files of a folder back to an earlier state: what a checkpoint needs on resume.

    Files named in ``byte_lengths`` are cut to that length, all others are newer and are deleted. A file that is shorter
    than noted (the machine lost power before it was on disk) stays as it is.

    Args:
        log_dir: the folder of the run; sub-folders are left alone.
        byte_lengths: what ``EventWriter.byte_lengths`` gave when the checkpoint was written.

    Raises:
        OSError: if a file cannot be cut or deleted; going on would draw steps twice.
    """
    for path in event_paths(log_dir):
        length = byte_lengths.get(path.name)
        if length is None:
            path.unlink()
        elif path.stat().st_size > length:
            os.truncate(path, length)


def _next_path(folder: Path) -> Path:
    """A new name that sorts after every event file of the folder, even within one second or after a clock went back."""
    taken = [int(match[1]) for path in event_paths(folder) if (match := _SECONDS.match(path.name))]
    seconds = max([int(time.time()), *(second + 1 for second in taken)])
    return folder / f"{PREFIX}{seconds:010d}.{socket.gethostname()}.{os.getpid()}.0"


def _write_all(descriptor: int, record: bytes) -> None:
    """Write all bytes; if the disk is full after some of them, take those back: the file ends at a whole event."""
    written = os.write(descriptor, record)
    try:
        while written < len(record):
            written += os.write(descriptor, record[written:])
    except OSError:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise


# ---- the record format of event files: length, checksum of the length, data, checksum of the data


def _record(data: bytes) -> bytes:
    header = struct.pack("<Q", len(data))
    return b"".join((header, _masked_checksum(header), data, _masked_checksum(data)))


def _masked_checksum(data: bytes) -> bytes:
    checksum = crc32c(data)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _checksum_tables() -> np.ndarray:
    """``[place, byte]``: what a byte adds to the checksum at this place of a block of ``_CHECKSUM_BLOCK`` bytes."""
    single = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        single = np.where(single & 1, single >> 1 ^ np.uint32(0x82F63B78), single >> 1).astype(np.uint32)
    tables = [single]
    for _ in range(_CHECKSUM_BLOCK - 1):
        tables.append(tables[-1] >> np.uint32(8) ^ single[tables[-1] & 0xFF])
    return np.stack(tables[::-1])


_TABLES = _checksum_tables().reshape(-1)
_BYTE_TABLE: list[int] = _TABLES[-256:].tolist()
_ROWS = np.arange(_CHECKSUM_BLOCK, dtype=np.intp) * 256


def crc32c(data: bytes) -> int:
    """The CRC-32C checksum of ``data``.

    A CRC is linear over exclusive-or, so the parts that the single bytes contribute are looked up by position and
    combined all at once. TensorBoard's own loop over bytes costs about 80 ns a byte, ten times as much.
    """
    state = 0xFFFFFFFF
    for start in range(0, len(data), _CHECKSUM_BLOCK):
        block = data[start : start + _CHECKSUM_BLOCK]
        if len(block) < 32:  # below this, calling NumPy costs more than the loop
            for byte in block:
                state = state >> 8 ^ _BYTE_TABLE[(state ^ byte) & 0xFF]
        else:
            first = int.from_bytes(block[:4], "little") ^ state
            values = np.frombuffer(first.to_bytes(4, "little") + block[4:], dtype=np.uint8)
            state = int(np.bitwise_xor.reduce(_TABLES[_ROWS[-len(block) :] + values]))
    return state ^ 0xFFFFFFFF
