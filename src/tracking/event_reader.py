"""Event files read back: any writer's, every point, one run in memory at a time.

TensorBoard's own readers keep at most 10,000 points of a tag, or stop at a damaged record without a word.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

from .event_file import crc32c

_IS_EVENT_FILE = "tfevents"  # anywhere in the name, as TensorBoard has it
_BUFFER = 1 << 20
_KINDS = {
    "histo": "histograms",
    "image": "images",
    "audio": "audio clips",
    "histograms": "histograms",
    "images": "images",
    "pr_curves": "PR curves",
    "hparams": "hyperparameter records",
    "custom_scalars": "dashboard layouts",
    "mesh": "meshes",
}


class DamagedRecord(Exception):
    """From here on an event file cannot be read; the message says why."""


@dataclass
class Curve:
    """All points of one tag of one run, in the order in which they were written."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    wall_times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def drop_from(self, step: int) -> int:
        """Take out the points at and after ``step``. Returns how many there were."""
        kept = [place for place, at in enumerate(self.steps) if at < step]
        dropped = len(self.steps) - len(kept)
        if dropped:
            self.steps = array("q", (self.steps[place] for place in kept))
            self.wall_times = array("d", (self.wall_times[place] for place in kept))
            self.values = array("d", (self.values[place] for place in kept))
        return dropped


@dataclass
class RunEvents:
    """What the event files of one folder hold.

    Attributes:
        scalars: by tag, in the order in which tags appear.
        texts: by tag, pairs of step and text.
        left_out: how many entries of which kind are neither.
        withdrawn: points that the writer itself declared void (``SummaryWriter``'s ``purge_step``).
        damaged: files that could not be read to their end, with the reason.
    """

    scalars: dict[str, Curve] = field(default_factory=dict)
    texts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    withdrawn: int = 0
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    _plugins: dict[str, str] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Take in one event."""
        if event.HasField("summary"):
            step, wall_time = event.step, event.wall_time
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    self._add_scalar(value.tag, step, wall_time, value.simple_value)
                else:
                    self._add_other(value, step, wall_time)
        elif event.HasField("graph_def"):
            self.left_out["graphs"] += 1
        elif event.HasField("session_log") and event.session_log.status == SessionLog.START:
            self._withdraw(event.step)

    def _add_scalar(self, tag: str, step: int, wall_time: float, number: float) -> None:
        curve = self.scalars.get(tag)
        if curve is None:
            curve = self.scalars[tag] = Curve()
        curve.steps.append(step)
        curve.wall_times.append(wall_time)
        curve.values.append(number)

    def _add_other(self, value: Summary.Value, step: int, wall_time: float) -> None:
        """TensorFlow 2 writes everything as a tensor and names the plugin, often with the first value of a tag only."""
        kind = value.WhichOneof("value")
        if kind != "tensor":
            self.left_out[_KINDS.get(str(kind), "other entries")] += 1
            return
        name = value.metadata.plugin_data.plugin_name or self._plugins.get(value.tag, "")
        self._plugins[value.tag] = name
        if name in ("scalars", "text"):
            from tensorboard.util.tensor_util import make_ndarray

            content = make_ndarray(value.tensor).ravel()
            if name == "text":
                joined = "\n\n".join(item.decode("utf-8", "replace") for item in content.tolist())
                self.texts.setdefault(value.tag, []).append((step, joined))
                return
            if content.size == 1:
                self._add_scalar(value.tag, step, wall_time, float(content[0]))
                return
        self.left_out[_KINDS.get(name, "other entries")] += 1

    def _withdraw(self, step: int) -> None:
        self.withdrawn += sum(curve.drop_from(step) for curve in self.scalars.values())
        for tag, entries in self.texts.items():
            self.texts[tag] = [entry for entry in entries if entry[0] < step]


def event_folders(folder: Path) -> dict[Path, list[Path]]:
    """Every folder at or below ``folder`` that holds event files, with those in the order of their names."""
    found = {}
    for place, below, files in os.walk(folder, followlinks=True):
        below.sort()
        events = [Path(place, file) for file in sorted(files) if _IS_EVENT_FILE in file]
        if events:
            found[Path(place)] = events
    return found


def read_run(files: list[Path]) -> RunEvents:
    """Read the event files of one run; one that is damaged or still being written is read as far as it goes.

    Raises:
        OSError: if a file cannot be opened.
    """
    run = RunEvents()
    for path in files:
        try:
            for event in read_events(path):
                run.add(event)
        except DamagedRecord as damage:
            run.damaged.append((path, str(damage)))
    return run


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file, one after the other.

    Raises:
        DamagedRecord: at a record that is cut off or does not fit its checksum, after all those before it.
        OSError: if the file cannot be opened.
    """
    with open(path, "rb", buffering=_BUFFER) as file:
        while (record := _read_record(file)) is not None:
            try:
                yield Event.FromString(record)
            except DecodeError:
                raise DamagedRecord(f"the record that ends at byte {file.tell()} is no event") from None


def _read_record(file: BinaryIO) -> bytes | None:
    """The next record: length, checksum of the length, data, checksum of the data; None at the end of the file."""
    header = file.read(12)
    if not header:
        return None
    if len(header) == 12:
        if not _fits(header[:8], header[8:]):
            raise DamagedRecord(f"the checksum at byte {file.tell() - 4} does not fit")
        (length,) = struct.unpack("<Q", header[:8])
        data, checksum = file.read(length), file.read(4)
        if len(checksum) == 4:
            if not _fits(data, checksum):
                raise DamagedRecord(f"the checksum at byte {file.tell() - 4} does not fit")
            return data
    raise DamagedRecord("the last record is not whole")


def _fits(data: bytes, checksum: bytes) -> bool:
    crc = crc32c(data)
    return struct.unpack("<I", checksum)[0] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
