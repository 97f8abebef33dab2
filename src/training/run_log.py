"""``train.log``: what happened in a run, for people to read."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from .observers import EpochProgress

_PACKAGE = __name__.partition(".")[0]  # whose warnings are meant


class RunLog:
    """``train.log``: what happened when, line by line.

    Args:
        path: the file.
        fresh: begin anew rather than go on.
    """

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path = path
        if fresh:
            path.unlink(missing_ok=True)

    def line(self, text: str) -> None:
        """Append a line with the time; a full disk is no reason to end a run."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError:
            pass

    @contextlib.contextmanager
    def warnings(self) -> Iterator[None]:
        """Append what this package warns of meanwhile (a damaged checkpoint, events that cannot be written) as well."""
        logger, handler = logging.getLogger(_PACKAGE), _LineHandler(self)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def epoch(self, progress: EpochProgress) -> None:
        """Append an epoch's line."""
        selected = "" if progress.selection == "loss" else f" {progress.selection} {progress.selected:.6g}"
        self.line(
            f"epoch {progress.epoch} train {progress.train_loss:.6g} validation {progress.validation_loss:.6g}"
            f"{selected}{' best' if progress.is_best else ''} ({progress.seconds:.2f} s)"
        )


class _LineHandler(logging.Handler):
    """Hands warnings to a ``RunLog``, and to stderr as without it."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Append the message."""
        self.log.line(f"warning: {record.getMessage()}")
        if logging.lastResort is not None:
            logging.lastResort.handle(record)
