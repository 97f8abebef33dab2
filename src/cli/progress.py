"""Progress of several runs in a terminal, or in a log file where there is no terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

if TYPE_CHECKING:
    from ..fanout import Outcome
    from ..tracking.findings import Finding
    from ..training.observers import EpochProgress

SECONDS_BETWEEN_LINES = 30.0


class ProgressPrinter:
    """Shows one bar per running model in a terminal, and one line per finished model everywhere.

    In a log file a running model gets a line at most every 30 seconds.

    Args:
        names: all runs, to align columns and count.
        stream: where to print.
    """

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.total, self.done = len(names), 0
        self.width = max(map(len, names), default=0)
        self.live = self.stream.isatty()
        self.bars: dict[str, Any] = {}
        self.last_line: dict[str, float] = {}
        self.started: dict[str, float] = {}

    def report(self, key: str, value: EpochProgress | Finding) -> None:
        """Whatever run ``key`` reports."""
        from ..tracking.findings import Finding

        if isinstance(value, Finding):
            self.finding(key, value)
        else:
            self.epoch(key, value)

    def epoch(self, key: str, progress: EpochProgress) -> None:
        """An epoch of run ``key`` has ended."""
        self.started.setdefault(key, time.monotonic() - progress.seconds)
        value = progress.validation_loss if progress.selection == "loss" else progress.selected
        name = "val" if progress.selection == "loss" else progress.selection
        losses = f"{name} {value:.4g} best {progress.best:.4g} train {progress.train_loss:.4g}"
        if self.live:
            bar = self.bars.get(key) or self._open(key, progress)
            bar.n = progress.epoch + 1
            bar.set_postfix_str(losses, refresh=False)
            bar.refresh()
        elif time.monotonic() - self.last_line.get(key, self.started[key]) > SECONDS_BETWEEN_LINES:
            self.last_line[key] = time.monotonic()
            self._line(f"        {key:<{self.width}}  epoch {progress.epoch + 1}/{progress.epochs}  {losses}")

    def finding(self, key: str, finding: Finding) -> None:
        """The diagnosis found something in run ``key``; what is only worth knowing stays in the run's own files."""
        if finding.severity == "info":
            return
        indent = " " * (self.width + 10)
        first = f"        {key:<{self.width}}  "
        width = max(60, shutil.get_terminal_size((120, 24)).columns)
        self._line(textwrap.fill(finding.line(), width, initial_indent=first, subsequent_indent=indent))

    def _open(self, key: str, progress: EpochProgress) -> Any:
        used = {bar.pos for bar in self.bars.values()}
        place = next(number for number in range(self.total + 1) if -number not in used and number not in used)
        self.bars[key] = tqdm(
            total=progress.epochs,
            initial=progress.epoch,
            desc=f"{key:<{self.width}}",
            position=place,
            leave=False,
            file=self.stream,
            dynamic_ncols=True,
            bar_format="{desc} {bar:12} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
        )
        return self.bars[key]

    def ended(self, outcome: Outcome) -> None:
        """Run ``outcome.key`` has ended."""
        bar = self.bars.pop(outcome.key, None)
        if bar is not None:
            bar.close()
        self.done += 1
        count = f"[{self.done:>{len(str(self.total))}}/{self.total}]"
        if outcome.status != "done":
            self._line(f"{count} {outcome.key:<{self.width}}  {outcome.status}: {outcome.error or ''}".rstrip())
            return
        training = outcome.result["training"]
        name = training.get("selected_by", "val loss")
        value = f"best {name} {training['best_validation_loss']:.4g}"
        if training["epochs"]:
            value += f" at epoch {training['best_epoch']}, {training['epochs']} epochs"
        self._line(f"{count} {outcome.key:<{self.width}}  {value}, {training['seconds']:.1f} s")

    def close(self) -> None:
        """Take all bars away."""
        for bar in self.bars.values():
            bar.close()
        self.bars.clear()

    def _line(self, text: str) -> None:
        if self.live:
            if not self.bars:
                self.stream.write("\r")  # the last bar leaves the cursor at the end of its emptied line
            tqdm.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)
