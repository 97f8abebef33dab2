"""A whole run of the task ``direction`` that weighs returns: its files, its tags, and that it resumes to the same."""

import csv
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src import experiment
from src.data.loading import load_data
from src.data.options import DataOptions
from src.plan import Selection, plan_runs
from src.tracking import tags
from src.tracking.tag_tables import decisions
from src.training.config import TrainingConfig

DATA = DataOptions(data="sample:walk", window=8, task="direction", cost_bps=10.0)


def planned(model, epochs, settings=()):
    selection = Selection([model], tuple(settings), tensorboard=True)
    training = TrainingConfig(epochs=epochs, device="cpu", epoch_fraction=0.1, seed=4, patience=99)
    return plan_runs(selection, load_data(DATA), training)[0][0]


def carried_out(folder, plan, **more):
    result = experiment.run({"root": str(folder), "plan": plan.to_dict(), **more}, lambda _: None)
    guidance = {"images": 0, "tensors": 0, "scalars": 0}
    return result, EventAccumulator(str(folder / plan.folder), size_guidance=guidance).Reload()


def test_a_run_that_weighs_returns_resumes_to_the_same(tmp_path):
    plan = planned("linear:dlinear", 3, ["weight_beta=1"])
    assert plan.options["weight_beta"] == 1.0 and plan.data.cost_bps == 10.0
    whole, events = carried_out(tmp_path / "whole", plan)
    carried_out(tmp_path / "parts", replace(plan, training=replace(plan.training, epochs=1)))
    resumed, _ = carried_out(tmp_path / "parts", plan, resume=True)
    assert resumed["test"] == whole["test"] and resumed["validation"] == whole["validation"]

    test = whole["test"]
    (not_up, _), (_, up) = matrix = test["confusion_matrix"]
    assert sum(map(sum, matrix)) == whole["windows"]["test"]
    assert (not_up + up) / whole["windows"]["test"] == pytest.approx(test["accuracy"])
    assert [image.step for image in events.Images(decisions.CONFUSION_TEST_IMAGE)] == [whole["training"]["best_epoch"]]
    written = events.Tags()
    scalars = set(written["scalars"])
    numbers = {f"test/{name}" for name, value in test.items() if not isinstance(value, list)}
    assert numbers | {"Loss/train_cross_entropy", "Loss/train_expected_return"} <= scalars
    assert [tag for tag in numbers if tags.spec_of(tag) is None] == []
    assert {decisions.CONFUSION_IMAGE, decisions.CONFUSION_TEST_IMAGE} <= set(written["images"])
    assert decisions.PRECISION_RECALL in written["tensors"]


def test_every_epoch_is_held_against_what_happened(tmp_path):
    """The training loop asks for accuracy, calls and returns, and they stand in the table and in the events."""
    plan = planned("linear:dlinear", 2)
    _, events = carried_out(tmp_path, plan)
    with open(tmp_path / plan.folder / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, tag in decisions.EVALUATION_TAGS.items():
        shown = [event.value for event in events.Scalars(tag)]
        assert shown == pytest.approx([float(row[f"validation_{name}"]) for row in rows], rel=1e-5)
        assert tags.spec_of(tag) is not None


def test_a_baseline_is_drawn_and_scored_too(tmp_path):
    result, events = carried_out(tmp_path, planned("baseline:naive", 2))
    assert result["test"]["mcc"] == 0.0 and "simulated_return" in result["test"]
    assert len(events.Images(decisions.CONFUSION_IMAGE)) == 2
