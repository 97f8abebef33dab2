"""The dashboard in a real browser: every tab that is promised shows what it should, several models side by side."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.pages import ROOT, open_tab, tensorboard

MODELS = ("lstm:attention", "gru:residual", "tcn:basic", "transformer:basic", "linear:dlinear", "baseline:naive")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TensorBoard on a small training of six models, two seeds each, and one of directions."""
    folder = tmp_path_factory.mktemp("dashboard")
    command = [sys.executable, str(ROOT / "train_models.py"), "--tensorboard", "--log-batches", "--output", str(folder)]
    command += ["--epochs", "2", "--window", "16", "--models"]
    subprocess.run([*command, *MODELS, "--seeds", "2", "--name", "here"], check=True, capture_output=True)
    direction = ["gru:basic", "baseline:naive", "--task", "direction", "--name", "up"]
    subprocess.run([*command, *direction], check=True, capture_output=True)
    with tensorboard(folder, 6300) as address:
        yield address


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("timeseries", ["here/lstm_attention/seed_0", "here/baseline_naive", "Best_Val_Loss"]),
        ("scalars", ["Best_Val_Loss", "Learning_Rate", "Loss", "gradient_norm", "eval", "progress", "update_ratio"]),
        ("custom_scalars", ["01 Training", "11 Gradient statistics", "Activations", "Evaluation batches", "Decisions"]),
        ("histograms", ["Activations/attention.state", "Gradients", "Weights"]),
        ("histograms&tagFilter=Gradients", ["Gradients/attention.score.weight", "Gradients/blocks.0.first.weight"]),
        ("distributions", ["Activations/attention.state", "Gradients", "Weights"]),
        ("graphs", ["Main Graph", "Graph type", "here/"]),
        ("images", ["Attention/attention", "Decisions", "Forecast"]),
        ("images&tagFilter=Decisions", ["Decisions/confusion_matrix", "up/gru_basic"]),
        ("images&tagFilter=Forecast/validation", ["Forecast/validation", "here/tcn_basic/seed_0"]),
        ("pr_curves", ["Decisions/precision_recall", "up/gru_basic"]),
        ("text", ["Findings/summary", "Findings", "Model"]),
        ("text&tagFilter=glossary", ["Model/glossary", "Euclidean norm"]),
        ("text&tagFilter=Model/summary", ["Model/summary", "trainable"]),
        ("hparams", ["lstm:attention", "gru:residual", "best/val_loss", "hidden_size"]),
    ],
)
def test_every_tab_shows_what_it_should(browser: Any, dashboard: str, tab: str, words: list[str]) -> None:
    text = open_tab(browser, dashboard, tab, lambda text: all(word in text for word in words))
    assert [word for word in words if word not in text] == []
    assert "No dashboards are active" not in text


def test_the_hparams_tab_averages_the_seeds_and_has_no_stray_runs(browser: Any, dashboard: str) -> None:
    text = open_tab(browser, dashboard, "hparams", lambda text: text.count("2 Sessions") >= 1 or "gru:residual" in text)
    assert all(text.count(f"{model} here") == 1 for model in MODELS), text


def test_no_chart_is_empty(browser: Any, dashboard: str) -> None:
    # Both losses: two seeds of every network, one baseline, and the two that say up or down.
    expected = 2 * (2 * (len(MODELS) - 1) + 1 + 2)

    def counts(text: str) -> list[int]:
        return [int(count) for count in re.findall(r"Matches \((\d+)\)", text)]

    # The charts are there before their curves: they say 0 until those have come.
    text = open_tab(
        browser, dashboard, "custom_scalars", lambda text: counts(text)[:1] == [expected] and 0 not in counts(text)
    )
    assert counts(text)[:1] == [expected]
    assert len(counts(text)) > 40 and 0 not in counts(text)
