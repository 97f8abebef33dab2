"""Which checkpoint files in a folder belong to which training run, so that nobody deletes another's."""

from __future__ import annotations

import itertools
import logging
import math
import re
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from ..errors import UserError
from ..tracking.run_folder import read_json, write_json

_STAMP = r"(\d{8}_\d{6}(?:_\d+)?)"
_INDEX = re.compile(rf"checkpoints_{_STAMP}\.json")
_TEMPORARY = re.compile(rf"\.checkpoints?_{_STAMP}(?:_epoch.*\.pt|\.json)\.\d+\.tmp")
_FORGOTTEN_SECONDS = 600  # a writer that lives touches its temporary file more often than that
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CheckpointEntry:
    """One file of a run: its name, what was saved with it, and when, in seconds since 1970."""

    file: str
    epoch: int
    global_step: int
    metrics: dict[str, float]
    is_best: bool
    written: float


def best_of(entries: list[CheckpointEntry]) -> CheckpointEntry | None:
    """The entry that was called the best last."""
    return next((entry for entry in reversed(entries) if entry.is_best), None)


class CheckpointRuns:
    """The runs in a folder: each has an index, ``checkpoints_<start time>.json``, that names its files.

    Args:
        folder: where they lie.

    Attributes:
        current: the run that is being written, or None before it has begun.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current: str | None = None

    def entries(self) -> list[CheckpointEntry]:
        """The files there are of the current run, or else of the one written to last, in the order of writing."""
        if self.current is not None:
            return self._entries_of(self.current)
        candidates = [entries for run in self._runs() if (entries := self._entries_of(run))]
        return max(candidates, key=lambda entries: entries[-1].written, default=[])

    def begin(self) -> None:
        """Begin a run under a name that no other has, not even one that starts in the same second."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        others = sum(len(self._entries_of(run)) for run in self._runs())
        if others:
            _logger.warning(
                "%s holds %d checkpoints of earlier runs, which are left alone; to go on with such a run, call "
                "load_checkpoint with the optimizer first",
                self.folder,
                others,
            )
        stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
        for run in itertools.chain([stamp], (f"{stamp}_{number}" for number in itertools.count(2))):
            try:
                self._index(run).touch(exist_ok=False)
            except FileExistsError:
                continue
            self.current = run
            return

    def go_on_with(self, path: Path) -> None:
        """Make the run that wrote ``path`` into this folder the current one."""
        if path.parent.resolve() != self.folder.resolve():
            return
        for run in self._runs():
            if any(entry.file == path.name for entry in self._entries_of(run)):
                self.current = run
                self._remove_leftovers()

    def free_path(self, epoch: int, step: int) -> Path:
        """A file that does not exist: training gone on with from an older checkpoint comes to the same step again."""
        stem = f"checkpoint_{self.current}_epoch_{epoch:04d}_step_{step:08d}"
        names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
        return next(path for name in names if not (path := self.folder / f"{name}.pt").exists())

    def announce(self, entry: CheckpointEntry) -> list[CheckpointEntry]:
        """Enter a file of the current run, before it is written, and return all entries.

        So a file that a crash leaves behind is known as this run's; an entry whose file never came does not count.
        """
        entries = [*self.entries(), entry]
        write_json(self._index(str(self.current)), {"checkpoints": [asdict(known) for known in entries]})
        return entries

    def _index(self, run: str) -> Path:
        return self.folder / f"checkpoints_{run}.json"

    def _runs(self) -> list[str]:
        found = (_INDEX.fullmatch(path.name) for path in sorted(self.folder.glob("checkpoints_*.json")))
        return [match[1] for match in found if match]

    def _entries_of(self, run: str) -> list[CheckpointEntry]:
        index = self._index(run)
        try:
            entries = [CheckpointEntry(**line) for line in read_json(index)["checkpoints"]]
            return [_with_numbers(entry) for entry in entries if self._is_here(entry.file, run)]
        except (UserError, TypeError, KeyError, AttributeError):
            if index.is_file() and index.stat().st_size:  # an empty one is a run that has only just begun
                _logger.warning("%s is no list of checkpoints; the files of that run are left alone", index)
            return []

    def _is_here(self, name: str, run: str) -> bool:
        # A name from a file is trusted no further than this folder and this run.
        own = name.startswith(f"checkpoint_{run}_epoch_") and name.endswith(".pt") and Path(name).name == name
        return own and (self.folder / name).is_file()

    def _remove_leftovers(self) -> None:
        """Delete temporary files of killed writers: at once in the current run, which nobody else writes to."""
        for path in self.folder.glob(".checkpoint*.tmp"):
            match = _TEMPORARY.fullmatch(path.name)
            try:
                if match and (match[1] == self.current or time.time() - path.stat().st_mtime > _FORGOTTEN_SECONDS):
                    path.unlink()
            except OSError as error:
                _logger.warning("the left-over file %s cannot be deleted (%s)", path, error.strerror)


def _with_numbers(entry: CheckpointEntry) -> CheckpointEntry:
    """JSON has no word for values that are not finite."""
    return replace(entry, metrics={name: math.nan if v is None else v for name, v in entry.metrics.items()})
