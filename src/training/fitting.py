"""``fit``: loop, observers and checkpoints put together for one model. ``BaseModel.fit`` calls this."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import torch

from ..data.base import DataModule
from ..errors import TrainingError, UserError
from ..tracking.event_writer import EventWriter, SilentWriter, cut_event_files
from ..tracking.options import LoggingOptions
from .checkpoint import DamagedCheckpoint, read_checkpoint, read_latest, set_aside, write_checkpoint
from .config import TrainingConfig
from .device import prepare_process, seed_everything, select_device
from .loop import (
    EpochReport,
    Observer,
    Progress,
    TrainingResult,
    TrainingState,
    build_state,
    evaluate,
    train,
)
from .monitoring import FindingHandling, build_monitoring
from .observers import BestInMemory, Checkpoints, EarlyStopping, EventLogger, MetricTable, check_writable

BATCH_FILE = "nonfinite_batch.pt"
_logger = getLogger(__name__)


def fit(
    model: Any,
    data: DataModule,
    config: TrainingConfig | None = None,
    *,
    tensorboard_log_dir: str | Path | None = None,
    run_dir: str | Path | None = None,
    observers: Sequence[Observer] = (),
    resume: bool = False,
    writer: EventWriter | SilentWriter | None = None,
    logging: LoggingOptions | None = None,
    findings: FindingHandling | None = None,
    resumable: bool = True,
) -> TrainingResult:
    """Train ``model`` and leave it with its best weights; see ``BaseModel.fit`` for the arguments.

    Args:
        writer: an open writer to use instead of one made for ``tensorboard_log_dir``; it stays open.
        findings: where findings of the diagnosis go beside ``findings.json``.
        resumable: whether checkpoints to go on from are kept beside the best one.

    The first Ctrl-C lets the step under way end, writes a checkpoint if there is a folder, and is raised then.

    Raises:
        TrainingError: if a loss or gradient is not finite.
        UserError: if a folder cannot be made, or a run is resumed with other data than it began with.
    """
    config = config or TrainingConfig()
    device = select_device(config.device)
    threads = torch.get_num_threads()
    prepare_process(config)
    place = run_dir or tensorboard_log_dir
    folder = Path(place) if place else None
    if folder is not None:
        check_writable(folder)
    checkpoint = latest_checkpoint(folder) if resume and folder is not None and model.uses_gradients else None
    if checkpoint is not None:
        _check_resumable(checkpoint, data)
    own_writer = writer is None
    if writer is None:
        writer = open_writer(tensorboard_log_dir, checkpoint, resume=resume)
    best = Checkpoints(folder, writer, resumable=resumable) if folder is not None else BestInMemory()
    watching: list[Observer] = [MetricTable(folder)] if folder is not None else []
    # The checkpoint comes last: it covers the epoch's events and knows whether somebody has stopped the run.
    watching.append(EventLogger(writer))
    if (monitoring := build_monitoring(model, writer, logging or LoggingOptions(), folder, findings)) is not None:
        watching.append(monitoring)
    watching += [own for own in model.monitors() if isinstance(own, Observer)]
    watching += [*observers, EarlyStopping(config.patience), best]
    try:
        model.set_writer(writer)
        seed_everything(config.seed)
        state = build_state(model, data, config, device)
        if hasattr(model, "before_training"):
            model.before_training(data, state.steps_per_epoch, config.epochs)
        if checkpoint is not None:
            state.load_state_dict(checkpoint)
        if config.compile:
            model.compile()
        result = train(state, watching) if model.uses_gradients else _fit_directly(state, watching)
        best.restore_best(model)
        if hasattr(model, "after_training"):
            model.after_training(data)
            best.keep(model)
        return result
    except TrainingError as error:
        _save_batch(error, folder)
        raise
    finally:
        writer.flush()
        model.set_writer(SilentWriter())
        torch.set_num_threads(threads)
        if own_writer:
            writer.close()


def latest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint of a run folder that can be gone on from, or None if it has none.

    A warning says so if that is not the newest one. Without the best epoch's weights a run starts anew.
    """
    files = Checkpoints(folder, SilentWriter())
    checkpoint = read_latest(files.last)
    if checkpoint is None or checkpoint["progress"]["best_epoch"] < 0:
        return checkpoint
    try:
        read_checkpoint(files.best)
        return checkpoint
    except DamagedCheckpoint:
        _logger.warning("%s is damaged (checksums do not fit); the run starts anew", files.best)
        set_aside(files.best)
    except UserError:
        if files.best.exists():
            raise
        _logger.warning("%s is gone; the run starts anew", files.best)
    files.remove()
    return None


def check_same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data than a run began with; samples are the same everywhere.

    Args:
        before: the fingerprint of the data when the run began.
        now: that of the data at hand.

    Raises:
        UserError: if they differ in anything but the place they lie in.
    """
    source = str(now.get("source", "the data"))
    if source.startswith("sample:"):
        return
    changed = [name for name in before.keys() & now.keys() - {"source"} if before[name] != now[name]]
    if changed:
        what = f"{before['rows']} rows then, {now['rows']} now" if "rows" in changed else "other values"
        raise UserError(
            f"a run is resumed with the data it began with, but {source} has changed since ({what}); "
            "bring the old data back, or start a new run"
        )


def _check_resumable(checkpoint: Mapping[str, Any], data: DataModule) -> None:
    check_same_data(checkpoint.get("fingerprint", {}), data.fingerprint())
    version, present = checkpoint.get("torch"), str(torch.__version__)
    if version not in (None, present):
        _logger.warning(
            "resumed with torch %s, begun with torch %s: results may differ in the last digits",
            present,
            version,
        )


def open_writer(
    log_dir: str | Path | None, checkpoint: dict[str, Any] | None = None, *, resume: bool = False
) -> EventWriter | SilentWriter:
    """A writer for the folder; a silent one for None.

    With ``resume``, events written after the checkpoint (all of them, without one) are cut off, since the resumed run
    will write them again. Otherwise nothing that stands in the folder is touched.
    """
    if log_dir is None:
        return SilentWriter()
    if resume:
        cut_event_files(Path(log_dir), checkpoint["event_files"] if checkpoint else {})
    return EventWriter(str(log_dir))


def _fit_directly(state: TrainingState, observers: Sequence[Observer]) -> TrainingResult:
    """Fit a model without gradients and report its losses at the first and the last epoch.

    The two equal points make a level line across the charts of the networks beside it.
    """
    started = time.perf_counter()
    state.model.fit_directly(state.data, state.config.seed)
    state.model.to(state.device)
    losses = {
        part: evaluate(state.model, getattr(state.data, part), state.config, state.device)
        for part in ("train", "validation")
    }
    seconds = time.perf_counter() - started
    best, last = losses["validation"]["loss"], state.config.epochs - 1
    for observer in observers:
        observer.on_start(state)
    for epoch in sorted({0, last}):
        state.progress = Progress(epoch + 1, 0, best, 0, seconds)
        report = EpochReport(
            epoch=epoch,
            epochs=state.config.epochs,
            step=0,
            train=losses["train"],
            validation=losses["validation"],
            logged={},
            learning_rate=0.0,
            gradient_norm=None,
            gradient_scale=1.0,
            selection="loss",
            selected=best,
            best=best,
            is_best=epoch == 0,
            best_epoch=0,
            seconds=seconds if epoch == 0 else 0.0,
            steps=0,
            samples=len(state.data.train),
            progress=state.progress,
        )
        for observer in observers:
            observer.on_epoch_end(report)
    for observer in observers:
        observer.on_end("fitted directly")
    return TrainingResult(0, 0, best, seconds, 0, "fitted directly")


def _save_batch(error: TrainingError, folder: Path | None) -> None:
    """Keep the batch that broke a run beside it, and where it broke, for whoever wants to look."""
    batch = getattr(error, "batch", None)
    if batch is None or folder is None:
        return
    try:
        tensors = {name: tensor for name, tensor in batch._asdict().items() if tensor is not None}
        write_checkpoint(folder / BATCH_FILE, {**tensors, "error": str(error)})
    except OSError as reason:
        _logger.warning("the batch that broke the run cannot be kept in %s: %s", folder, reason.strerror)
