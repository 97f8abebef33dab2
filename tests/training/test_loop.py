"""Promises of the one training loop: it carries any model, equals a hand-written loop, and never trains on nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_models import (
    CPU,
    MovingTarget,
    NoisePredictor,
    Recorder,
    Toy,
    assert_same_bits,
    bare_loop,
    built,
    options,
    run,
    weights_of,
)

from src.data.base import Batch
from src.training.loop import (
    EpochReport,
    Observer,
    StepReport,
    TrainingState,
    evaluate,
    steps_per_epoch,
)
from src.training.observers import BestInMemory, EarlyStopping

MakeData = Callable[..., Any]


# --- the same as a loop by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", [Toy, MovingTarget])
@pytest.mark.parametrize("clip", [0.0, 0.05, 1.0])
def test_three_epochs_give_the_bits_of_a_loop_written_by_hand(
    make_data: MakeData, model_class: Callable[[], Any], clip: float
) -> None:
    data, config = make_data(), options(clip=clip, schedule="constant")
    model, plain = built(model_class), built(model_class)
    run(model, data, config)
    bare_loop(plain, data, config)
    assert_same_bits(weights_of(model), weights_of(plain))


def test_reported_losses_and_norms_are_means_over_the_steps_and_norms_are_before_clipping(make_data: MakeData) -> None:
    data, config = make_data(), options(clip=0.05, schedule="constant")
    _, seen, _ = run(built(Toy), data, config)
    by_hand = bare_loop(built(Toy), data, config)
    assert len(seen.epochs) == len(by_hand) == 3
    for report, epoch in zip(seen.epochs, by_hand, strict=True):
        assert report.train["loss"] == pytest.approx(sum(epoch["loss"]) / 3, rel=1e-6)
        assert report.train["absolute"] == pytest.approx(sum(epoch["absolute"]) / 3, rel=1e-6)
        assert report.gradient_norm == pytest.approx(sum(epoch["norm"]) / 3, rel=1e-5)
        assert min(epoch["norm"]) > 0.05, "else clipping would not show"
        assert report.gradient_scale == pytest.approx(0.05 / epoch["norm"][-1], rel=1e-3)


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_gradients_are_clipped_to_the_norm_asked_for(make_data: MakeData, clip: float) -> None:
    norms: list[float] = []

    class Watch(Observer):
        def on_start(self, state: TrainingState) -> None:
            self.model = state.model

        def on_step(self, report: StepReport) -> None:
            norms.append(float(nn.utils.get_total_norm([p.grad for p in self.model.parameters()])))

    _, seen, _ = run(built(Toy), make_data(), options(clip=clip), Watch())
    if clip:
        assert max(norms) == pytest.approx(clip, rel=1e-3) and seen.epochs[0].gradient_scale < 1
    else:
        assert norms == pytest.approx([float(report.gradient_norm) for report in seen.steps], rel=1e-5)
        assert max(norms) > 0.05 and seen.epochs[0].gradient_scale == 1


def test_every_sample_is_trained_on_once_an_epoch_the_last_small_batch_included(make_data: MakeData) -> None:
    data = make_data(samples=70)
    drawn: list[Tensor] = []

    class Counting(Toy):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            if self.training:
                drawn.append(batch.index)
            return super().losses(batch)

    _, seen, state = run(built(Counting), data, options(epochs=2))
    assert [report.samples for report in seen.steps] == [32, 32, 6] * 2
    assert [report.step for report in seen.steps] == list(range(6)) and state.progress.step == 6
    assert [(r.step_in_epoch, r.steps_per_epoch) for r in seen.steps] == [(0, 3), (1, 3), (2, 3)] * 2
    first, second = torch.cat(drawn[:3]), torch.cat(drawn[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(70))
    assert not torch.equal(first, second), "the order must be drawn anew"
    assert [report.samples for report in seen.epochs] == [70, 70]


def test_an_epoch_fraction_draws_other_windows_every_epoch(make_data: MakeData) -> None:
    data, config = make_data(samples=100), options(epochs=2, batch_size=10, epoch_fraction=0.35)
    drawn: list[int] = []

    class Counting(Toy):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            drawn.extend(batch.index.tolist() if self.training else [])
            return super().losses(batch)

    _, seen, _ = run(built(Counting), data, config)
    assert steps_per_epoch(100, config) == 4 and len(seen.steps) == 8
    assert [report.samples for report in seen.epochs] == [40, 40] and len(drawn) == 80
    assert len(set(drawn[:40])) == 40 and set(drawn[:40]) != set(drawn[40:])


# --- two models the loop knows nothing of -----------------------------------------------------------------------------


def test_a_model_with_a_moving_target_is_selected_by_its_probe(make_data: MakeData) -> None:
    data, best = make_data(), BestInMemory()
    model = built(lambda: MovingTarget([0.1, 0.7, 0.7, 0.3]))
    kept: list[dict[str, Tensor]] = []

    class Keep(Observer):
        def on_epoch_end(self, report: EpochReport) -> None:
            kept.append(weights_of(model))

    result, seen, _ = run(model, data, options(epochs=4), best, Keep())
    assert (result.best_epoch, result.best, result.epochs) == (1, 0.7, 4), "an equal value is no better one"
    assert [report.is_best for report in seen.epochs] == [True, True, False, False]
    assert [report.selected for report in seen.epochs] == [0.1, 0.7, 0.7, 0.3]
    assert [report.validation["probe"] for report in seen.epochs] == [0.1, 0.7, 0.7, 0.3]
    best.restore_best(model)
    assert_same_bits(weights_of(model), kept[1])
    assert not torch.equal(kept[1]["target.0.weight"], kept[3]["target.0.weight"]), "the target moves"


def test_with_mode_min_less_is_better_and_equal_is_not(make_data: MakeData) -> None:
    class Falling(MovingTarget):
        selection_metric = ("probe", "min")

    result, seen, _ = run(built(lambda: Falling([0.3, 0.2, 0.2, 0.4])), make_data(), options(epochs=4))
    assert [report.is_best for report in seen.epochs] == [True, True, False, False]
    assert (result.best, result.best_epoch) == (0.2, 1)


def test_a_real_probe_decides_and_the_target_follows(make_data: MakeData) -> None:
    data = make_data()
    model = built(MovingTarget)
    before = weights_of(model.target)
    result, seen, _ = run(model, data, options(epochs=5))
    probes = [report.validation["probe"] for report in seen.epochs]
    assert result.best == max(probes) and result.best_epoch == probes.index(max(probes))
    moved = [float((model.target.state_dict()[name] - value).norm()) for name, value in before.items()]
    assert min(moved) > 0


def test_a_probe_that_fails_at_first_does_not_keep_later_values_from_being_best(make_data: MakeData) -> None:
    model = built(lambda: MovingTarget([math.nan, 0.2, math.nan, 0.4]))
    result, seen, _ = run(model, make_data(), options(epochs=4))
    assert [report.is_best for report in seen.epochs] == [True, True, False, True]
    assert (result.best, result.best_epoch) == (0.4, 3)


def test_a_noisy_objective_is_evaluated_alike_every_time(make_data: MakeData) -> None:
    data, config, model = make_data(), options(), built(NoisePredictor)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = evaluate(model, data.validation, config, CPU)
    assert torch.equal(torch.get_rng_state(), state), "evaluating must not draw from the training's random state"
    torch.manual_seed(6)
    assert evaluate(model, data.validation, config, CPU) == first
    assert evaluate(model, data.validation, options(seed=1), CPU) != first, "else the loss would have no noise in it"


def test_validation_of_a_noisy_objective_moves_only_with_the_weights(make_data: MakeData) -> None:
    _, seen, _ = run(built(NoisePredictor), make_data(), options(lr=1e-12, epochs=4))
    validation = [report.validation["loss"] for report in seen.epochs]
    training = [report.train["loss"] for report in seen.epochs]
    assert max(validation) - min(validation) < 1e-6 < 1e-3 < max(training) - min(training)


def test_further_evaluation_does_not_change_the_training(make_data: MakeData) -> None:
    data, config = make_data(), options(epochs=4)

    class Evaluating(Observer):
        def on_start(self, state: TrainingState) -> None:
            self.state = state

        def on_epoch_end(self, report: EpochReport) -> None:
            for part in (data.validation, data.test, data.train):
                evaluate(self.state.model, part, config, CPU)

    quiet, watched = built(NoisePredictor), built(NoisePredictor)
    run(quiet, data, config)
    run(watched, data, config, Evaluating())
    assert_same_bits(weights_of(quiet), weights_of(watched))


# --- when to stop, and who hears of it --------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_after_exactly_patience_epochs_without_improvement(make_data: MakeData, patience: int) -> None:
    probes = [0.1, 0.2, 0.15, 0.3] + [0.3] * 20 if patience > 1 else [0.1, 0.2, 0.15, 0.9]
    model = built(lambda: MovingTarget(probes))
    result, seen, _ = run(model, make_data(), options(epochs=20), EarlyStopping(patience))
    best_epoch = 3 if patience > 1 else 1
    assert result.best_epoch == best_epoch and result.epochs == best_epoch + patience + 1
    assert result.reason == f"no better value for {patience} epochs" == seen.reason


def test_without_a_reason_to_stop_all_epochs_are_done(make_data: MakeData) -> None:
    result, seen, _ = run(built(Toy), make_data(), options(epochs=2), EarlyStopping(50))
    assert (result.epochs, result.steps, result.reason) == (2, 6, "all 2 epochs done")
    assert seen.epochs[-1].progress.epoch == 2 and result.seconds == pytest.approx(sum(r.seconds for r in seen.epochs))


def test_observers_are_called_in_order_and_all_hear_of_the_epoch_that_is_the_last(make_data: MakeData) -> None:
    class Stop(Observer):
        def on_epoch_end(self, report: EpochReport) -> str | None:
            return "enough" if report.epoch == 1 else None

    after = Recorder()
    result, seen, _ = run(built(Toy), make_data(), options(epochs=9), Stop(), after)
    assert seen.calls == after.calls == ["start", *(["step"] * 3 + ["epoch"]) * 2, "end"]
    assert result.reason == seen.reason == after.reason == "enough"
    assert after.epochs[-1].progress.stop_reason == "enough", "whoever comes later can see that it was stopped"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the disk is gone")])
@pytest.mark.parametrize("hook", ["on_start", "on_step", "on_epoch_end"])
def test_observers_hear_of_the_end_also_on_exceptions(make_data: MakeData, error: BaseException, hook: str) -> None:
    class Failing(Observer):
        def on_step(self, report: StepReport) -> None:
            """Overridden below for one of the cases."""

    failing, recorder = Failing(), Recorder()

    def fail(argument: Any) -> None:
        raise error

    setattr(failing, hook, fail)
    with pytest.raises(type(error)):
        run(built(Toy), make_data(), options(), recorder, failing)
    assert recorder.calls[-1] == "end" and recorder.reason.startswith(type(error).__name__)
