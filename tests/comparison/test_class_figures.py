"""What a classifier of texts says, counted, drawn and in words, in real event files."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.comparison.class_figures import (
    LETTERS,
    Answers,
    ClassFigures,
    draw_confusion,
    draw_test_figures,
    error_analysis,
    quoted,
)
from src.tracking.event_writer import EventWriter
from src.training.config import TrainingConfig
from src.training.fitting import fit
from tests.test_text_contract import DATA, build


def answers(**changes: object) -> Answers:
    values = {
        "texts": ["fine | really\nfine", "so <b>bad</b>", "hm", "*ok*"],
        "class_names": ("no", "yes"),
        "labels": np.array([1, 1, 0, 0]),
        "probabilities": np.array([[0.1, 0.9], [0.95, 0.05], [0.45, 0.55], [0.8, 0.2]]),
        "epistemic": np.array([0.01, 0.02, 0.3, 0.04]),
        "total": np.array([0.3, 0.2, 0.69, 0.5]),
    }
    return Answers(**{**values, **changes})  # type: ignore[arg-type]


def test_quotes_are_as_the_guide_shows_them() -> None:
    lines = quoted(answers()).splitlines()
    assert lines[0] == "- Sample: fine &#124; really fine -> yes (0.90 confidence)"
    assert lines[1] == "- Sample: so &lt;b&gt;bad&lt;/b&gt; -> no (0.95 confidence), but it is yes"
    assert len(lines) == 4 and len(quoted(answers(), count=2).splitlines()) == 2


def test_errors_are_those_it_is_surest_of_and_doubts_those_it_is_least_sure_of() -> None:
    wrong, doubtful = error_analysis(answers(), count=2).split("**Least sure of**")
    assert "(2 of 4 texts are wrong)" in wrong
    rows = [line for line in wrong.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| so &lt;b&gt;bad&lt;/b&gt; | no | yes | 0.95 | 0.020 | 0.180 |",
        "| hm | yes | no | 0.55 | 0.300 | 0.390 |",
    ]
    assert [line.split(" |")[0] for line in doubtful.splitlines() if line.startswith("| ")][1:] == [
        "| hm",
        "| &#42;ok&#42;",
    ]


def test_one_network_has_an_entropy_only_and_no_error_is_told() -> None:
    text = error_analysis(answers(epistemic=None, labels=np.array([1, 0, 1, 0])))
    assert "(0 of 4 texts are wrong)\n\nnone" in text and "| entropy |" in text and "epistemic" not in text


@pytest.mark.parametrize("text", ["word " * 60, "字" * 300, "Re: " + "字" * 300], ids=["words", "no spaces", "one"])
def test_long_texts_are_cut_but_not_away(text: str) -> None:
    line = quoted(answers(texts=[text] * 4)).splitlines()[0]
    shown = line.removeprefix("- Sample: ").partition(" -> ")[0]
    assert shown.endswith(" ...") and LETTERS - 20 <= len(shown) <= LETTERS
    assert text.startswith(shown.removesuffix(" ..."))


@pytest.mark.parametrize("count", [2, 3, 5, 9, 20])
@pytest.mark.parametrize("name", ["{}", "class {}", "a $ite$m of a long name, {}"], ids=["short", "medium", "long"])
def test_names_and_numbers_of_the_matrix_can_be_read(count: int, name: str) -> None:
    """Nothing lies on anything else, nor outside the figure."""
    confusion = 12 + 1300 * np.eye(count, dtype=int)
    title = "transformer:bayesian, validation part, epoch 10"
    figure = draw_confusion(confusion, [name.format(number) for number in range(count)], title)
    figure.canvas.draw()
    (axes,) = figure.axes
    cell = axes.transData.transform([[0, 0], [1, 1]])
    for text in axes.texts:
        assert text.get_window_extent().width < abs(cell[1, 0] - cell[0, 0])
        assert text.get_window_extent().height < abs(cell[1, 1] - cell[0, 1])
    below, left = axes.get_xticklabels(), axes.get_yticklabels()
    for label in (*below, *left, axes.title):
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    if below[0].get_rotation() == 0:
        assert all(
            one.get_window_extent().x1 < other.get_window_extent().x0 for one, other in itertools.pairwise(below)
        )
    assert below[0].get_text().startswith("said ") and left[-1].get_text().startswith("was ")


@pytest.mark.parametrize("name", ["transformer:bayesian", "baseline:words"])
def test_a_run_writes_them(name: str, tmp_path: Path) -> None:
    model = build(name, DATA, samples=4)
    writer = EventWriter(tmp_path)
    config = TrainingConfig(epochs=2, batch_size=32, device="cpu")
    fit(model, DATA, config, run_dir=tmp_path, observers=[ClassFigures(DATA, writer)], writer=writer)
    draw_test_figures(model, DATA, writer, 1, "test part")
    writer.close()
    found = EventAccumulator(str(tmp_path)).Reload()
    images = {f"Classes/{name}" for name in ("confusion_matrix", "reliability")}
    assert images | {f"{tag}_test" for tag in images} | {"Classes/risk_coverage_test"} <= set(found.Tags()["images"])
    scalars = set(found.Tags()["scalars"])
    assert {"Classes/macro_f1", "Classes/balanced_accuracy", "Decisions/accuracy", "Decisions/brier"} <= scalars
    assert [event.step for event in found.Scalars("Classes/macro_f1")] == [0, 1]
    assert {"Classes/predictions/text_summary", "Classes/error_analysis/text_summary"} <= set(found.Tags()["tensors"])
    assert ("uncertainty/epistemic_mean" in scalars) == (name == "transformer:bayesian")
    if name == "transformer:bayesian":
        assert {"calibration/expected_calibration_error", "calibration/confidence_gap"} <= scalars
        assert {"uncertainty/epistemic", "uncertainty/aleatoric"} <= set(found.Tags()["histograms"])
