"""What a classifier of texts or pictures says against the truth: counted, drawn and in words."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ..data.images import ImageData, ImageSplit
from ..data.text import TextData, TextSplit
from ..metrics.calibration import expected_calibration_error, reliability_bins
from ..metrics.distributions import ClassDistribution
from ..metrics.probabilistic import ClassScores
from ..metrics.selective import risk_coverage
from ..tracking import tags
from ..tracking.event_writer import EventWriter, SilentWriter
from ..tracking.figures import confusion_figure
from ..tracking.tag_tables import classes as names
from ..training.loop import EpochReport, Observer, TrainingState
from .calibration_figures import reliability_figure, risk_coverage_figure
from .evaluate import BATCH_SIZE

SHOWN = 8
LETTERS = 160
MOST_CLASSES = 20
"""A matrix of more cannot be read."""
FEW_CLASSES, FEW_LETTERS = 5, 36
"""A matrix of more classes, or with more letters below it, needs a larger figure."""
CLASS_LETTERS = 16
_VALUES = {
    "balanced_accuracy": names.BALANCED_ACCURACY,
    "macro_f1": names.MACRO_F1,
    "mcc": names.MCC,
    "majority_share": names.MAJORITY_SHARE,
}


@dataclass(frozen=True)
class Answers:
    """What was said of the texts or pictures of a part, in the part's own order.

    Attributes:
        texts: as they are, or where the pictures come from.
        class_names: as they are.
        labels: the right classes, int64 ``[texts]``.
        probabilities: ``[texts, classes]``.
        epistemic: in nats ``[texts]``; None where one network answers.
        total: the whole uncertainty in nats, ``[texts]``.
        what: what a sample is called.
    """

    texts: list[str]
    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    epistemic: np.ndarray | None
    total: np.ndarray
    what: str = "text"

    @property
    def said(self) -> np.ndarray:
        """The most probable class of each."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> np.ndarray:
        """Its probability."""
        return self.probabilities.max(1)


class ClassFigures(Observer):
    """Counts, draws and quotes what is right and wrong on the validation part, every tenth epoch and at the last one.

    Args:
        data: the texts or pictures.
        writer: where it goes.
    """

    is_logging = True

    def __init__(self, data: TextData | ImageData, writer: EventWriter | SilentWriter) -> None:
        self.data, self.writer = data, writer
        self.model: Any = None

    def on_start(self, state: TrainingState) -> None:
        """Remember the model."""
        self.model = state.model

    def on_epoch_end(self, report: EpochReport) -> None:
        """Ask and draw, if it is time to."""
        if report.epoch % tags.HISTOGRAM_INTERVAL and report.epoch != report.epochs - 1:
            return
        answers, scores = ask(self.model, self.data, "validation")
        results, title = scores.results(), f"{self.model.name}, validation part, epoch {report.epoch}"
        found = {tag: results[name] for name, tag in _VALUES.items()}
        self.writer.add_values({tag: value for tag, value in found.items() if value is not None}, report.epoch)
        _draw(self.writer, scores, answers, title, report.epoch, names.CONFUSION_IMAGE, names.RELIABILITY_IMAGE)
        self.writer.add_text(names.PREDICTIONS, quoted(answers), report.epoch)
        self.writer.add_text(names.ERROR_ANALYSIS, error_analysis(answers), report.epoch)


def draw_test_figures(
    model: Any, data: TextData | ImageData, writer: EventWriter | SilentWriter, epoch: int, title: str
) -> None:
    """Confusion matrix, reliability and risk against coverage of the test part; wrong pictures."""
    answers, scores = ask(model, data, "test")
    _draw(writer, scores, answers, title, epoch, names.CONFUSION_TEST_IMAGE, names.RELIABILITY_TEST_IMAGE)
    wrong = torch.from_numpy((answers.said != answers.labels).astype(np.float64))
    curves = {"total uncertainty": risk_coverage(torch.from_numpy(answers.total), wrong)}
    if answers.epistemic is not None:
        curves["epistemic uncertainty"] = risk_coverage(torch.from_numpy(answers.epistemic), wrong)
    writer.add_figure(names.RISK_COVERAGE_IMAGE, risk_coverage_figure(curves, title), epoch, close=False)
    if isinstance(data, ImageData):
        writer.add_figure(names.WRONG_PICTURES_IMAGE, wrong_pictures(answers, data.test, title), epoch, close=False)


def ask(model: Any, data: TextData | ImageData, part: str) -> tuple[Answers, ClassScores]:
    """What a model says of every text or picture of a part."""
    split, scores = getattr(data, part), ClassScores(data.spec.class_shares)
    probabilities = np.empty((len(split), len(data.spec.class_names)))
    total, epistemic = np.empty(len(split)), np.empty(len(split))
    several = False
    for batch in split.batches(BATCH_SIZE):
        said: ClassDistribution = model.distribution(batch.inputs)
        where = batch.index.cpu().numpy()
        scores.add(batch.targets, said)
        probabilities[where] = said.probabilities.double().cpu().numpy()
        total[where] = said.total.double().cpu().numpy()
        if said.epistemic is not None:
            several, epistemic[where] = True, said.epistemic.double().cpu().numpy()
    is_text = isinstance(split, TextSplit)
    answers = Answers(
        split.texts() if is_text else split.names(),
        data.spec.class_names,
        split.targets(),
        probabilities,
        epistemic if several else None,
        total,
        "text" if is_text else "picture",
    )
    return answers, scores


def quoted(answers: Answers, count: int = SHOWN) -> str:
    """Some texts, evenly spaced, with what was said of them, as Markdown."""
    places = np.unique(np.linspace(0, len(answers.texts) - 1, count).astype(int))
    lines = []
    for place in places:
        said, truth = (answers.class_names[number[place]] for number in (answers.said, answers.labels))
        mark = "" if said == truth else f", but it is {_safe(truth)}"
        sure = f"{answers.confidence[place]:.2f} confidence"
        lines.append(f"- Sample: {_safe(answers.texts[place])} -> {_safe(said)} ({sure}){mark}")
    return "\n".join(lines)


def error_analysis(answers: Answers, count: int = SHOWN) -> str:
    """The most uncertain texts, and the wrong ones that the model was surest of, as two Markdown tables."""
    wrong = np.flatnonzero(answers.said != answers.labels)
    surest = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:count]
    unsure = np.argsort(-answers.total, kind="stable")[:count]
    share = f"{len(wrong)} of {len(answers.texts)} {answers.what}s are wrong"
    return (
        f"**Surest and wrong** ({share})\n\n{_table(answers, surest)}\n\n**Least sure of**\n\n{_table(answers, unsure)}"
    )


def wrong_pictures(answers: Answers, split: ImageSplit, title: str) -> Figure:
    """The wrong pictures that the model was surest of, with what it said and what they are."""
    wrong = np.flatnonzero(answers.said != answers.labels)
    surest = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][: 2 * SHOWN]
    rows = max(1, -(-len(surest) // SHOWN))
    figure = Figure(figsize=(1.3 * SHOWN, 1.7 * rows + 0.6), layout="constrained")
    figure.suptitle(f"Surest and wrong ({len(wrong)} of {len(answers.texts)}): {title}", fontsize=10)
    for axes, place in itertools.zip_longest(figure.subplots(rows, SHOWN, squeeze=False).flat, surest):
        axes.set_axis_off()
        if place is None:
            continue
        said, truth = (
            _short(answers.class_names[number[place]], CLASS_LETTERS) for number in (answers.said, answers.labels)
        )
        axes.set_title(f"{said}, is {truth}\n{answers.confidence[place]:.2f}".replace("$", r"\$"), fontsize=8)
        axes.imshow(split.pixels([place])[0].squeeze(), cmap="gray", vmin=0, vmax=255)
    return figure


def _table(answers: Answers, places: np.ndarray) -> str:
    uncertain = "| epistemic | aleatoric |" if answers.epistemic is not None else "| entropy |"
    rows = [
        f"| {answers.what} | said | truth | confidence {uncertain}",
        "|:--|:--|:--|--:" + "|--:" * (uncertain.count("|") - 1) + "|",
    ]
    for place in places:
        said, truth = (_safe(answers.class_names[number[place]]) for number in (answers.said, answers.labels))
        cells = [_safe(answers.texts[place]), said, truth, f"{answers.confidence[place]:.2f}"]
        if answers.epistemic is None:
            cells.append(f"{answers.total[place]:.3f}")
        else:
            epistemic = answers.epistemic[place]
            cells += [f"{epistemic:.3f}", f"{answers.total[place] - epistemic:.3f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) if len(rows) > 2 else "none"


def _safe(text: str) -> str:
    """A text that neither breaks a Markdown table nor is taken for markup, cut after 160 letters."""
    escaped = html.escape(_short(text, LETTERS), quote=False).replace("|", "&#124;").replace("`", "&#96;")
    return escaped.replace("*", "&#42;").replace("_", "&#95;").replace("[", "&#91;")


def _short(text: str, most: int) -> str:
    """A text in one line of at most so many letters, cut between words unless they are long, as in Chinese."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    cut = line[: most - 4]
    words = cut.rpartition(" ")[0]
    return f"{words if len(words) > most // 2 else cut} ..."


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """The confusion matrix, in a figure that is large enough for its classes.

    Args:
        confusion: ``[classes, classes]``, rows what happened, columns what was said.
        class_names: of any length; they are cut.
        title: heading.
    """
    # Between two dollars, matplotlib would read a formula.
    short = tuple(_short(name, CLASS_LETTERS).replace("$", r"\$") for name in class_names)
    figure = confusion_figure(confusion, short, title)
    count = len(short)
    if count <= FEW_CLASSES and count * max(len(f"said {name}") for name in short) <= FEW_LETTERS:
        return figure
    # Inches: a cell is as wide as what stands in it, all of them at least as the title; names are slantwise below.
    size, cell = (7, 0.46) if count > 8 else (10, max(0.62, 3 / count))
    width, height = 2.6 + cell * count, 1.9 + cell * count
    figure.set_size_inches(width, height)
    figure.subplots_adjust(left=1.9 / width, right=1 - 0.7 / width, top=1 - 0.4 / height, bottom=1.5 / height)
    (axes,) = figure.axes
    for text in axes.texts:
        text.set_fontsize(size)
    for label in axes.get_xticklabels():
        label.set(rotation=45, rotation_mode="anchor", horizontalalignment="right")
    return figure


def _draw(
    writer: EventWriter | SilentWriter,
    scores: ClassScores,
    answers: Answers,
    title: str,
    epoch: int,
    confusion_tag: str,
    reliability_tag: str,
) -> None:
    confidence = torch.from_numpy(answers.confidence)
    correct = torch.from_numpy(answers.said == answers.labels)
    error = float(expected_calibration_error(confidence, correct))
    if len(answers.class_names) <= MOST_CLASSES:
        figure = draw_confusion(scores.confusion, answers.class_names, title)
        writer.add_figure(confusion_tag, figure, epoch, close=False)
    figure = reliability_figure(reliability_bins(confidence, correct), title, error)
    writer.add_figure(reliability_tag, figure, epoch, close=False)
