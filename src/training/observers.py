"""The observers of every run: metric table, TensorBoard events, checkpoints, early stopping, progress."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..tracking import tags
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.layout import Dashboard
from ..tracking.run_folder import CHECKPOINT_FOLDER, METRICS_FILE, write_atomically
from ..tracking.tag_tables.decisions import EVALUATION_TAGS
from ..tracking.tag_tables.probes import PROBE_TAGS
from .checkpoint import previous_of, read_checkpoint, write_checkpoint, write_with_previous
from .loop import EpochReport, Observer, TrainingState

EVENTS = "events"
_VALUE_TAGS = EVALUATION_TAGS | PROBE_TAGS


class MetricTable(Observer):
    """Keeps ``metrics.csv``: one row an epoch, written whole and atomically every time.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS_FILE
        self.rows: list[dict[str, Any]] = []

    def on_start(self, state: TrainingState) -> None:
        """Keep the rows of epochs that the checkpoint holds; later ones will be done again."""
        if state.progress.epoch and self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < state.progress.epoch]

    def on_epoch_end(self, report: EpochReport) -> None:
        """Add a row."""
        row: dict[str, Any] = {"epoch": report.epoch, "step": report.step}
        row |= {f"train_{name}": value for name, value in report.train.items()}
        row |= {f"validation_{name}": value for name, value in report.validation.items()}
        row |= {"best": report.best, "learning_rate": report.learning_rate, "gradient_norm": report.gradient_norm}
        row |= report.logged
        row |= {"seconds": round(report.seconds, 4)}
        self.rows.append(row)
        columns = list(dict.fromkeys(name for known in self.rows for name in known))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(self.path, text.getvalue())


class EventLogger(Observer):
    """Writes what every model logs to TensorBoard, on the epoch axis (see ``tracking/tags.py``).

    Args:
        writer: the run's event writer.
    """

    is_logging = True

    def __init__(self, writer: EventWriter | SilentWriter) -> None:
        self.writer = writer
        self.model: Any = None
        self._dashboard = Dashboard(writer)
        self._epoch = 0

    def on_start(self, state: TrainingState) -> None:
        """Write the graph at the very beginning of a run."""
        self.model = state.model
        if EVENTS in state.watched:
            self.writer.scalar_tags.update(state.watched[EVENTS]["scalar_tags"])
            self._dashboard.laid_out = state.watched[EVENTS]["laid_out"]
        state.watchers[EVENTS] = self
        if state.progress.step == 0:
            example = next(iter(state.data.validation.batches(1)))
            self.writer.add_model_graph(state.model, example.inputs)

    def on_epoch_end(self, report: EpochReport) -> None:
        """Write scalars every epoch and histograms every tenth."""
        values = {tags.LOSS_TRAIN: report.train["loss"], tags.LOSS_VALIDATION: report.validation["loss"]}
        if report.gradient_norm is not None:
            values |= {tags.LEARNING_RATE: report.learning_rate, tags.GRADIENT_NORM: report.gradient_norm}
        if report.is_best:
            values[tags.BEST_VALIDATION_LOSS] = report.best
        values |= {
            tags.LOSS_TRAIN_PART.format(part=name): value for name, value in report.train.items() if name != "loss"
        }
        values |= {
            _VALUE_TAGS.get(name, tags.LOSS_VALIDATION_PART.format(part=name)): value
            for name, value in report.validation.items()
            if name != "loss"
        }
        self.writer.add_values(values | report.logged, report.epoch)
        if report.epoch % tags.HISTOGRAM_INTERVAL == 0 and report.gradient_norm is not None:
            self._histograms(report)
        self.writer.flush()
        self._epoch = report.epoch
        self._dashboard.update(report.epoch)

    def state_dict(self) -> dict[str, Any]:
        """What there is to lay out, for a checkpoint."""
        return {"scalar_tags": sorted(self.writer.scalar_tags), "laid_out": self._dashboard.laid_out}

    def on_end(self, reason: str) -> None:
        """Lay out what the last epoch and the monitors have added."""
        self.writer.flush()
        self._dashboard.update(self._epoch)

    def _histograms(self, report: EpochReport) -> None:
        weights, gradients = {}, {}
        for name, parameter in self.model.named_parameters():
            weights[tags.WEIGHTS.format(layer=name)] = parameter.detach()
            if parameter.grad is not None:
                # Gradients of the epoch's last step, as they were before clipping.
                gradients[tags.GRADIENTS.format(layer=name)] = parameter.grad / report.gradient_scale
        self.writer.add_histograms(weights | gradients, report.epoch)


class Checkpoints(Observer):
    """Writes ``checkpoints/last.pt`` every epoch and ``checkpoints/best.pt`` when the selected value improves.

    Owns nothing but its folder. Comes after whatever writes events, so that the event file's length it stores covers
    the epoch. Inside an epoch the loop asks for ``last.pt`` when it is time to, or when the run is to stop.

    Args:
        folder: the run's folder.
        writer: whose event files to measure.
        resumable: whether ``last.pt`` is wanted at all.
    """

    def __init__(self, folder: Path, writer: EventWriter | SilentWriter, *, resumable: bool = True) -> None:
        self.folder = folder / CHECKPOINT_FOLDER
        self.writer, self.resumable = writer, resumable
        self.state: TrainingState | None = None
        self.data: dict[str, Any] = {}

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "best.pt"

    def on_start(self, state: TrainingState) -> None:
        """Make the folder and take over the writing of checkpoints; those of an earlier run in it go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if state.progress.step == 0:
            self.remove()
        self.state = state
        state.write_checkpoint = self._write_last if self.resumable else None
        self.data = {"fingerprint": state.data.fingerprint(), "torch": str(torch.__version__)}
        if hasattr(state.data, "schema"):
            self.data["data"] = state.data.schema()

    def on_epoch_end(self, report: EpochReport) -> None:
        """Write the files."""
        if self.state is None:
            return
        if report.is_best:
            progress = {"progress": dict(vars(report.progress))}
            write_checkpoint(self.best, self.state.model.checkpoint() | self.data | progress)
        self.state.save()

    def remove(self) -> None:
        """Delete what is there: checkpoints of two runs, or of two starts of one run, do not fit together."""
        for path in (self.last, previous_of(self.last), self.best):
            path.unlink(missing_ok=True)

    def _write_last(self) -> None:
        if self.state is not None:
            content = self.state.model.checkpoint() | self.data | self.state.state_dict()
            write_with_previous(self.last, content | {"event_files": self.writer.byte_lengths()})

    def restore_best(self, model: Any) -> None:
        """Load the best epoch's weights into the model."""
        model.load_state_dict(read_checkpoint(self.best)["model"])

    def keep(self, model: Any) -> None:
        """Write into the best checkpoint what has changed in the model since it was restored, if anything has."""
        content, weights = read_checkpoint(self.best), model.state_dict()
        if any(not torch.equal(weights[name].cpu(), value.cpu()) for name, value in content["model"].items()):
            write_checkpoint(self.best, content | {"model": weights})


class BestInMemory(Observer):
    """Keeps a copy of the best weights, for runs that write nothing to disk."""

    def __init__(self) -> None:
        self.model: Any = None
        self.weights: dict[str, Any] = {}

    def on_start(self, state: TrainingState) -> None:
        """Remember the model."""
        self.model = state.model

    def on_epoch_end(self, report: EpochReport) -> None:
        """Copy the weights when they are the best so far."""
        if report.is_best:
            self.weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def restore_best(self, model: Any) -> None:
        """Load the best epoch's weights into the model."""
        if self.weights:
            model.load_state_dict(self.weights)

    def keep(self, model: Any) -> None:
        """Nothing is kept beyond the model itself."""


class EarlyStopping(Observer):
    """Stops when ``patience`` epochs went by without a better value. Has no state of its own.

    Args:
        patience: epochs to wait.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_epoch_end(self, report: EpochReport) -> str | None:
        """Compare the epoch with the best one."""
        if report.epoch - report.best_epoch >= self.patience:
            return f"no better value for {self.patience} epochs"
        return None


@dataclass(frozen=True)
class EpochProgress:
    """One line of progress, small enough to send between processes.

    ``selection`` names the validation value that decides what is best, ``selected`` is it.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    best: float
    is_best: bool
    seconds: float
    selection: str = "loss"
    selected: float = float("nan")


class ProgressReporter(Observer):
    """Hands every epoch's ``EpochProgress`` to a function (the terminal's, or a queue to another process).

    Args:
        report: called once an epoch.
    """

    def __init__(self, report: Callable[[EpochProgress], None]) -> None:
        self.report = report

    def on_epoch_end(self, report: EpochReport) -> None:
        """Pass the epoch on."""
        self.report(
            EpochProgress(
                report.epoch,
                report.epochs,
                report.train["loss"],
                report.validation["loss"],
                report.best,
                report.is_best,
                report.seconds,
                report.selection,
                report.selected,
            )
        )


def check_writable(folder: Path) -> None:
    """Make the folder of a run.

    Raises:
        UserError: if it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be made ({error.strerror}); name one you may write to") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"nothing can be written in the folder {folder}; change its rights or name another one")
