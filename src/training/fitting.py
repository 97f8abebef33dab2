"""``fit``: loop, observers and checkpoints put together for one model. ``BaseModel.fit`` calls this."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.base import DataModule
from ..errors import TrainingError
from ..tracking.event_writer import EventWriter, SilentWriter, cut_event_files
from .checkpoint import read_latest
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
from .observers import BestInMemory, Checkpoints, EarlyStopping, EventLogger, MetricTable, check_writable


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
) -> TrainingResult:
    """Train ``model`` and leave it with its best weights; see ``BaseModel.fit`` for the arguments.

    Args:
        writer: an open writer to use instead of one made for ``tensorboard_log_dir``; it stays open.

    Raises:
        TrainingError: if a loss or gradient is not finite.
        UserError: if a folder cannot be made.
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
    own_writer = writer is None
    if writer is None:
        writer = open_writer(tensorboard_log_dir, checkpoint, resume=resume)
    best = Checkpoints(folder, writer) if folder is not None else BestInMemory()
    watching: list[Observer] = [MetricTable(folder)] if folder is not None else []
    # The checkpoint comes last: it covers the epoch's events and knows whether somebody has stopped the run.
    watching += [EventLogger(writer), *model.monitors(), *observers, EarlyStopping(config.patience), best]
    try:
        model.set_writer(writer)
        seed_everything(config.seed)
        state = build_state(model, data, config, device)
        if checkpoint is not None:
            state.load_state_dict(checkpoint)
        if config.compile:
            model.compile()
        result = train(state, watching) if model.uses_gradients else _fit_directly(state, watching)
        best.restore_best(model)
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
    """The newest sound checkpoint of a run folder, or None if it has none."""
    return read_latest(Checkpoints(folder, SilentWriter()).last)


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
    """Keep the batch that broke a run beside it, for whoever wants to look."""
    batch = getattr(error, "batch", None)
    if batch is not None and folder is not None:
        torch.save(batch._asdict(), folder / "nonfinite_batch.pt")
