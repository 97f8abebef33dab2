"""``StudyLog``: a study as a run of its own in TensorBoard, and as ``study.json`` and ``trials.csv``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from ..tracking.event_file import event_paths
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.layout import Dashboard
from ..tracking.run_folder import write_atomically, write_json
from ..tracking.tag_tables import studies as tags
from . import slots
from .config import PHASES, HyperparameterConfig
from .objective import is_better
from .reports import TrialRecord
from .study_summary import StudySummary, importances

if TYPE_CHECKING:
    import optuna

    from .space import SearchSpace

STUDY_FOLDER = "study"
STUDY_FILE = "study.json"
TRIALS_FILE = "trials.csv"
TRIALS_BETWEEN_FIGURES = 10
RATE_TRIALS = 10
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_logger = logging.getLogger(__name__)


class StudyLog:
    """Shows how a study stands: its own TensorBoard run, ``study.json`` and ``trials.csv`` in the model's folder.

    Everything is read from the storage, whichever worker wrote it. Events of an earlier log of the same study are
    replaced, so that the curves of a search that was interrupted have no seam. A step is the number of trials that
    have ended, in the order in which they did. Neither the storage nor the disk can make a method raise: trouble is
    reported once, and the next call tries again.

    Args:
        folder: the model's, ``runs/<search>/<model>``.
        study: where the trials are.
        space, config: what is searched, and the phases.
        objective: its resolved name.
        tensorboard: whether to write events; the files are written anyway.
    """

    def __init__(
        self,
        folder: Path,
        study: optuna.Study,
        space: SearchSpace,
        config: HyperparameterConfig,
        objective: str,
        *,
        tensorboard: bool = True,
    ) -> None:
        self.folder, self.study, self.space, self.config, self.objective = folder, study, space, config, objective
        self._trials: list[FrozenTrial] = []
        self._records: list[TrialRecord] = []
        self._best: int | None = None
        self._best_value = math.nan
        self._importances: dict[str, float] = {}
        self._writers = {
            "importances": self._weigh,
            "files": self._write_files,
            "texts": self._write_texts,
            "figures": self._draw,
        }
        self._shown = dict.fromkeys(self._writers, 0)  # how many trials each has taken in
        self._reported: set[str] = set()
        self._closed = False
        self.writer: EventWriter | SilentWriter = SilentWriter()
        self._try("making its folder", lambda: folder.mkdir(parents=True, exist_ok=True))
        if tensorboard:
            self._try("opening its events", self._open_writer)
        self._dashboard = Dashboard(self.writer)
        self.update()

    def update(self) -> None:
        """Take in what has ended since the last call. Cheap when nothing has; after ``close`` it does nothing."""
        if not self._closed:
            self._update(is_last=False)

    def close(self) -> None:
        """Take in the last trials, draw the whole, and close the event file."""
        if not self._closed:
            self._update(is_last=True)
            self._closed = True
            if isinstance(self.writer, EventWriter):
                self.writer.close()

    def _update(self, *, is_last: bool) -> None:
        self._try("reading its storage", self._read)
        for what in self._due(is_last):
            self._try(f"writing its {what}", self._writers[what])

    def _due(self, is_last: bool) -> list[str]:
        """What to work out and write now. The larger a table is, the rarer, because it takes up room each time.

        Figures take half a second, in which no trial is handed out: after 10, 20, 40, 80 trials and at the end.
        """
        count = len(self._records)
        rarely = max(1, count // 20)
        figures = max(TRIALS_BETWEEN_FIGURES, self._shown["figures"])
        waited_for = {"importances": rarely, "files": 1, "texts": rarely, "figures": figures}
        if isinstance(self.writer, SilentWriter):
            del waited_for["texts"], waited_for["figures"]
        return [what for what, trials in waited_for.items() if count - self._shown[what] >= (1 if is_last else trials)]

    def _try(self, what: str, action: Callable[[], Any]) -> None:
        """Do something that may fail, for whatever reason: a picture of the search is never worth the search."""
        try:
            action()
            self._reported.discard(what)
        except Exception as error:
            if what not in self._reported:
                _logger.warning(
                    "the search in %s goes on, but %s failed: %s", self.folder, what, str(error) or repr(error)
                )
            self._reported.add(what)

    # ---- reading ----

    def _read(self) -> None:
        """Find the trials that have ended since, and log them in the order in which they did."""
        if not self._new_trials():
            return
        # In this order whatever ends meanwhile is found in the later readings as well.
        best = slots.best_trial(self.study)
        records = {record.number: record for record in slots.records(self.study)}
        for trial in self._new_trials():
            if trial.number in records:
                self._add(trial, records[trial.number])
        self._best = None if best is None else best.number
        self._dashboard.update(len(self._records))

    def _new_trials(self) -> list[FrozenTrial]:
        known = {trial.number for trial in self._trials}
        ended = self.study.get_trials(deepcopy=False, states=_ENDED)
        new = [trial for trial in ended if trial.number not in known and trial.datetime_complete is not None]
        return sorted(new, key=lambda trial: (trial.datetime_complete, trial.number))

    def _add(self, trial: FrozenTrial, record: TrialRecord) -> None:
        self._trials.append(trial)
        self._records.append(record)
        value = math.nan if record.value is None else record.value
        if trial.state == TrialState.COMPLETE and is_better(value, self._best_value, self.objective):
            self._best_value = value
        values = {tag: value for tag, value in self._scalars(record).items() if math.isfinite(value)}
        self.writer.add_values(values, len(self._records), _seconds(trial))

    def _scalars(self, record: TrialRecord) -> dict[str, float]:
        """What is written of the newest trial."""
        statuses = [known.status for known in self._records]
        completed, pruned = statuses.count("completed"), statuses.count("pruned")
        return {
            tags.VALUE: math.nan if record.value is None else record.value,
            tags.BEST_VALUE: self._best_value,
            tags.PHASE: PHASES.index(record.phase) if record.phase in PHASES else math.nan,
            tags.EPOCHS: sum(known.epochs for known in self._records),
            tags.COMPLETED: completed,
            tags.PRUNED: pruned,
            tags.FAILED: len(statuses) - completed - pruned,
            tags.TRIAL_SECONDS: record.seconds if record.epochs else math.nan,
            tags.TRIALS_PER_MINUTE: self._rate(),
        }

    def _rate(self) -> float:
        """Trials a minute over the last ten of them."""
        last = self._trials[-RATE_TRIALS:]
        begun = min((trial.datetime_start.timestamp() for trial in last if trial.datetime_start), default=math.nan)
        seconds = _seconds(last[-1]) - begun
        return 60 * len(last) / seconds if seconds > 0 else math.nan

    def _weigh(self) -> None:
        self._shown["importances"] = len(self._trials)
        self._importances = importances(self._trials, self.space, self.config, self.objective)

    def _summary(self) -> StudySummary:
        return StudySummary(
            self.space.model,
            self.objective,
            self.space,
            self.config,
            tuple(self._records),
            self._best,
            self._importances,
        )

    # ---- writing ----

    def _open_writer(self) -> None:
        """Begin a new event file and delete those there were; an open TensorBoard then begins its curves anew."""
        folder = self.folder / STUDY_FOLDER
        earlier = event_paths(folder)
        self.writer = EventWriter(folder)
        for path in earlier:
            path.unlink()

    def _write_files(self) -> None:
        summary = self._summary()
        write_atomically(self.folder / TRIALS_FILE, summary.as_csv())
        write_json(self.folder / STUDY_FILE, summary.content())
        self._shown["files"] = len(summary.records)

    def _write_texts(self) -> None:
        summary = self._summary()
        step = self._shown["texts"] = len(summary.records)
        self.writer.add_text(tags.SUMMARY, summary.text(), step)
        self.writer.add_text(tags.TRIALS, summary.table(), step)

    def _draw(self) -> None:
        from .study_figures import draw_all

        summary = self._summary()
        step = self._shown["figures"] = len(summary.records)
        for tag, figure in draw_all(summary):
            self.writer.add_figure(tag, figure, step)


def _seconds(trial: FrozenTrial) -> float:
    """When a trial ended, in seconds since 1970."""
    return trial.datetime_complete.timestamp() if trial.datetime_complete is not None else math.nan
