"""Confusion matrix, precision-recall curve and what else is counted while a model of directions learns."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from src.comparison.decision_figures import DecisionFigures, draw_confusion
from src.comparison.evaluate import evaluate, score_directions
from src.tracking.event_writer import EventWriter, SilentWriter
from src.tracking.tag_tables import decisions
from src.tracking.tag_tables.spec import CATEGORIES
from src.training.config import TrainingConfig


def test_the_picture_says_the_numbers():
    figure = draw_confusion([[60, 20], [5, 1500]], "a title")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["60\n75.0 %", "20\n25.0 %", "5\n0.3 %", "1,500\n99.7 %"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["was not up", "was up"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["said not up", "said up"]
    assert axes.get_title() == "a title"
    assert plt.get_fignums() == []


def test_a_class_that_never_happened_is_drawn():
    figure = draw_confusion([[0, 0], [3, 4]], "a title")
    assert figure.axes[0].texts[0].get_text() == "0\n0.0 %"


def test_what_a_run_writes(make_data, make_model, tmp_path):
    """At the first, every tenth and the last epoch."""
    data = make_data(task="direction", horizon=2)
    model = make_model("linear:dlinear", data)
    with EventWriter(tmp_path) as writer:
        config = TrainingConfig(epochs=13, device="cpu", patience=99)
        model.fit(data, config, observers=[DecisionFigures(data, writer)])
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()
    assert [image.step for image in events.Images(decisions.CONFUSION_IMAGE)] == [0, 10, 12]
    curves = events.Tensors(decisions.PRECISION_RECALL)
    assert [curve.step for curve in curves] == [0, 10, 12]
    count = 2 * len(data.validation)
    for curve in curves:
        values = tensor_util.make_ndarray(curve.tensor_proto)
        assert values.shape == (6, 127)
        assert np.all(values[:4].sum(0) == count), "every forecast is counted at every threshold"
    for tag in (
        decisions.DECISION_BALANCED_ACCURACY,
        decisions.DECISION_MAJORITY_SHARE,
        decisions.DECISION_F1,
        decisions.DECISION_MCC,
        decisions.DECISION_BUY_AND_HOLD,
    ):
        assert [event.step for event in events.Scalars(tag)] == [0, 10, 12]
    share = events.Scalars(decisions.DECISION_MAJORITY_SHARE)[0].value
    ups = np.concatenate([batch.targets.numpy().ravel() for batch in data.validation.batches(64)]).mean()
    assert share == pytest.approx(max(ups, 1 - ups))
    assert plt.get_fignums() == []


def test_the_scores_are_those_of_the_results(make_data, make_model):
    data = make_data(task="direction")
    model = make_model("linear:dlinear", data)
    scores = score_directions(model, data, "test")
    assert evaluate(model, data, "test") == (scores.results(), {"confusion_matrix": scores.confusion.tolist()})


def test_watching_changes_nothing(make_data, make_model):
    """The same weights with and without the observer, and nothing is asked of a silent writer."""
    data = make_data(task="direction")
    weights = []
    for observed in (True, False):
        model = make_model("lstm:basic", data)
        observers = [DecisionFigures(data, SilentWriter())] if observed else []
        model.fit(data, TrainingConfig(epochs=2, device="cpu"), observers=observers)
        weights.append(np.concatenate([value.numpy().ravel() for value in model.state_dict().values()]))
    np.testing.assert_array_equal(*weights)


def test_every_tag_of_the_table_is_there_once():
    tags = [spec.tag for spec in decisions.SPECS]
    constants = {value for name, value in vars(decisions).items() if name[0].isupper() and isinstance(value, str)}
    assert len(set(tags)) == len(tags) and set(tags) == constants
    assert {spec.category for spec in decisions.SPECS} <= set(CATEGORIES)
