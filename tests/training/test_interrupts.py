"""The promise of Ctrl-C: the step ends and is saved, resuming goes on inside the epoch; a second one leaves now."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import content, differences, different_steps, events_of, table
from torch import Tensor, nn

from src.data.base import Batch
from src.data.series import SeriesData
from src.errors import TrainingError, UserError
from src.models.base_model import BaseModel
from src.training.config import TrainingConfig
from src.training.interruption import HeldInterrupts
from src.training.loop import EpochReport, Observer, StepReport

STEPS = 7  # of an epoch
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


def options(**values: Any) -> TrainingConfig:
    given = {"epochs": 3, "lr": 0.01, "epoch_fraction": 0.2, "schedule": "one-cycle", "clip": 0.05}
    return TrainingConfig(**{"device": "cpu", **given, **values})


class Noisy(BaseModel):
    """Draws from every random generator, logs, and does something at a given call of ``losses``."""

    def __init__(
        self, spec: Any, config: Any, what: Callable[[], None] | None = None, when: tuple[bool, int] = (True, -1)
    ) -> None:
        super().__init__(spec, config)
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.name = "test:noisy"
        self.what, self.when = what, when
        self.calls = {True: 0, False: 0}

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(inputs[:, :, 0]).unsqueeze(1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.what is not None and self.when == (self.training, self.calls[self.training]):
            self.what()
        self.calls[self.training] += 1
        losses = super().losses(batch)
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))  # noqa: NPY002
        self.log("Custom/noise", noise)
        self.log("Custom/loss", losses["loss"])
        return {"loss": losses["loss"] * (1 + 0.1 * noise), "plain": losses["loss"].detach()}


class StepEvents(Observer):
    """Writes an event a step and does something after a given step."""

    def __init__(
        self, model: BaseModel, what: Callable[[], None] | None = None, step: int = -1, epoch: int = -1
    ) -> None:
        self.model, self.what, self.step, self.epoch = model, what, step, epoch

    def on_step(self, report: StepReport) -> None:
        self.model.writer.add_scalar("Custom/step", report.losses["loss"].item(), report.step)
        if self.what is not None and report.step == self.step:
            self.what()

    def on_epoch_end(self, report: EpochReport) -> None:
        if self.what is not None and report.epoch == self.epoch:
            self.what()


def press() -> None:
    """Ctrl-C, as the terminal sends it."""
    signal.raise_signal(signal.SIGINT)


def noisy(data: SeriesData, *arguments: Any) -> Noisy:
    return Noisy(data.spec, Noisy.Config(), *arguments)


@pytest.fixture(scope="module")
def whole(walk: SeriesData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    model = noisy(walk)
    result = model.fit(walk, options(), tensorboard_log_dir=folder, observers=[StepEvents(model)])
    assert result.steps == 3 * STEPS
    return folder


def last(folder: Path) -> dict[str, Any]:
    return content(folder / "checkpoints" / "last.pt")


def resume(walk: SeriesData, folder: Path, whole: Path, config: TrainingConfig | None = None) -> Noisy:
    """Go on to the end and compare everything with the undisturbed run."""
    model = noisy(walk)
    model.fit(walk, config or options(), tensorboard_log_dir=folder, resume=True, observers=[StepEvents(model)])
    assert table(folder / "metrics.csv") == table(whole / "metrics.csv")
    assert different_steps(folder, whole) == ([], [])
    for name in ("best.pt", "last.pt"):
        pair = [content(place / "checkpoints" / name) for place in (folder, whole)]
        for checkpoint in pair:
            checkpoint.pop("training", None)  # some tests save more often
        assert differences(*pair) == [], name
    return model


@pytest.mark.parametrize("step", [0, 3, STEPS - 1, STEPS, 2 * STEPS + 2])
def test_the_first_interrupt_finishes_the_step_and_a_resumed_run_has_the_same_bits(
    walk: SeriesData, whole: Path, tmp_path: Path, step: int
) -> None:
    model = noisy(walk)
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), tensorboard_log_dir=tmp_path, observers=[StepEvents(model, press, step)])
    assert model.calls[True] == step + 1, "the step under way is the last one"
    saved = last(tmp_path)
    assert saved["progress"]["step"] == step + 1 and saved["epoch"]["steps"] == step % STEPS + 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = resume(walk, tmp_path, whole)
    assert resumed.calls[True] == 3 * STEPS - step - 1, "no step is done twice"


def test_an_interrupt_in_the_middle_of_a_step_counts_after_it(walk: SeriesData, whole: Path, tmp_path: Path) -> None:
    model = noisy(walk, press, (True, STEPS + 1))
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), tensorboard_log_dir=tmp_path, observers=[StepEvents(model)])
    assert last(tmp_path)["progress"]["step"] == STEPS + 2
    resume(walk, tmp_path, whole)


@pytest.mark.parametrize("batch", [0, 3, 8])
def test_an_evaluation_that_was_interrupted_is_done_again(
    walk: SeriesData, whole: Path, tmp_path: Path, batch: int
) -> None:
    model = noisy(walk, press, (False, batch))  # 8 batches an epoch
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), tensorboard_log_dir=tmp_path, observers=[StepEvents(model)])
    assert model.calls[False] == batch + 1, "the rest of the batches is left out"
    assert last(tmp_path)["epoch"]["steps"] == STEPS
    assert resume(walk, tmp_path, whole).calls[True] == (3 - 1 - batch // 8) * STEPS
    assert any(tag.startswith("Gradients/") for tag, _ in events_of(tmp_path)[0]), "they come from the last step"


def test_an_interrupt_between_epochs_needs_no_further_checkpoint(walk: SeriesData, whole: Path, tmp_path: Path) -> None:
    model = noisy(walk)
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), tensorboard_log_dir=tmp_path, observers=[StepEvents(model, press, epoch=1)])
    saved = last(tmp_path)
    assert saved["progress"]["epoch"] == 2 and "epoch" not in saved
    resume(walk, tmp_path, whole)


def test_a_second_interrupt_leaves_now(walk: SeriesData, whole: Path, tmp_path: Path) -> None:
    held_back: list[int] = []

    def press_twice() -> None:
        for number in range(2):
            press()
            held_back.append(number)

    model = noisy(walk, press_twice, (True, STEPS + 3))
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), tensorboard_log_dir=tmp_path, observers=[StepEvents(model)])
    assert held_back == [0]
    saved = last(tmp_path)
    assert saved["progress"] | {"seconds": 0} == {**saved["progress"], "epoch": 1, "step": STEPS, "seconds": 0}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resume(walk, tmp_path, whole)


def test_a_run_may_be_interrupted_again_and_again(walk: SeriesData, whole: Path, tmp_path: Path) -> None:
    for step in range(2, 3 * STEPS, 4):
        model = noisy(walk)
        with pytest.raises(KeyboardInterrupt):
            watch = StepEvents(model, press, step)
            model.fit(walk, options(), tensorboard_log_dir=tmp_path, resume=True, observers=[watch])
    resume(walk, tmp_path, whole)


@pytest.mark.parametrize("step", [0, 4, STEPS + 6])
def test_long_epochs_are_saved_by_the_clock_so_that_a_kill_loses_minutes(
    walk: SeriesData, whole: Path, tmp_path: Path, step: int
) -> None:
    class Killed(BaseException):
        """As good as a kill: nobody catches it."""

    def die() -> None:
        raise Killed

    often = options(checkpoint_minutes=1e-9)
    model = noisy(walk)
    with pytest.raises(Killed):
        model.fit(walk, often, tensorboard_log_dir=tmp_path, observers=[StepEvents(model, die, step)])
    resumed = resume(walk, tmp_path, whole, often)
    assert resumed.calls[True] == 3 * STEPS - step, "only the step that was under way is done again"


def test_without_a_folder_an_interrupt_ends_the_training_after_the_step(walk: SeriesData) -> None:
    model = noisy(walk)
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), observers=[StepEvents(model, press, 4)])
    assert model.calls == {True: 5, False: 0}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_training_in_another_thread_leaves_signals_alone(walk: SeriesData) -> None:
    handlers = []
    model = noisy(walk, lambda: handlers.append(signal.getsignal(signal.SIGINT)), (True, 2))
    thread = threading.Thread(target=model.fit, args=(walk, options(epochs=1)))
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler] and model.calls[True] == STEPS


def test_a_run_that_fails_while_an_interrupt_waits_is_interrupted(walk: SeriesData, tmp_path: Path) -> None:
    def break_down() -> None:
        press()
        raise TrainingError("broken")

    with pytest.raises(KeyboardInterrupt):
        noisy(walk, break_down, (True, 1)).fit(walk, options(), run_dir=tmp_path)


def test_an_epoch_that_was_begun_is_not_mixed_with_other_batches(walk: SeriesData, tmp_path: Path) -> None:
    model = noisy(walk)
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk, options(), run_dir=tmp_path, observers=[StepEvents(model, press, 2)])
    for change in ({"batch_size": 32}, {"seed": 5}, {"epoch_fraction": 0.5}):
        with pytest.raises(UserError, match=r"goes on only with the seed, batch size and number of windows"):
            noisy(walk).fit(walk, options(**change), run_dir=tmp_path, resume=True)


@needs_posix
def test_what_a_signal_means_is_left_to_the_handlers_there_are() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with HeldInterrupts() as held:
            signal.raise_signal(signal.SIGTERM)
            assert seen == [signal.SIGTERM] and not held.noted
            held.check()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with HeldInterrupts() as held:
            signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN and not held.noted
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """Ctrl-C as in a fresh Python."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
