"""A search in a real browser: its trials in the HPARAMS tab, its own run in SCALARS, IMAGES and TEXT."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.pages import ROOT, click_tab, open_tab, parallel_lines, tensorboard

MODELS = ("gru:basic", "linear:dlinear")
TRIALS = 4
FINAL = 2 * len(MODELS) + 1  # tuned and default of each, and the naive forecast

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a TensorBoard on a small search of two models that have different hyperparameters."""
    folder = tmp_path_factory.mktemp("search")
    command = [sys.executable, str(ROOT / "tune_models.py"), "--models", *MODELS, "--trials", str(TRIALS)]
    command += ["--epochs-random", "1", "--epochs-bayesian", "1", "--epochs-fine-tune", "1", "--epochs", "1"]
    subprocess.run([*command, "--output", str(folder), "--name", "here"], check=True, capture_output=True)
    with tensorboard(folder, 6320) as address:
        yield address


def test_the_table_of_hparams_has_every_trial_and_no_stray_run(browser: Any, dashboard: str) -> None:
    phases = ("random", "bayesian", "bayesian", "fine_tune")
    names = [f"{number} {model} {phase}" for model in MODELS for number, phase in enumerate(phases)]
    text = open_tab(browser, dashboard, "hparams", lambda text: all(name in text for name in names))
    assert [name for name in names if text.count(name) != 1] == []
    assert all(f"{model} tuned" in text and f"{model} default" in text for model in MODELS)


def test_parallel_coordinates_have_a_line_for_every_trial(browser: Any, dashboard: str) -> None:
    open_tab(browser, dashboard, "hparams", lambda text: MODELS[0] in text)
    time.sleep(1)
    click_tab(browser, "parallel")
    expected = len(MODELS) * TRIALS + FINAL
    deadline = time.monotonic() + 30
    while parallel_lines(browser) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    assert parallel_lines(browser) == expected


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("scalars", ["here/gru_basic/study", "here/gru_basic/trial_", "hyperparam", "study", "trial", "eval"]),
        ("scalars&tagFilter=study", ["study/best_value", "study/phase", "study/trials_per_minute"]),
        ("images&tagFilter=study", ["study/history", "study/slices", "study/parallel_coordinates"]),
        ("text&tagFilter=study", ["study/summary", "study/trials", "hyperparameter"]),
        ("text&tagFilter=trial", ["trial/metadata", "objective"]),
    ],
)
def test_the_search_and_its_trials_are_where_one_looks(
    browser: Any, dashboard: str, tab: str, words: list[str]
) -> None:
    text = open_tab(browser, dashboard, tab, lambda text: all(word in text for word in words))
    assert [word for word in words if word not in text] == []
