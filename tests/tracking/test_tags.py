"""The registry of tags, the page made from it, and the dashboards."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.tracking import tags
from src.tracking.layout import custom_scalars_layout

ROOT = Path(__file__).resolve().parents[2]
PROMISED = [
    "Loss/train", "Loss/validation", "Learning_Rate", "Gradient/norm", "Best_Val_Loss", "Weights/{layer}",
    "Gradients/{layer}", "Custom/{name}", "best/val_loss", "test/mse_scaled", "test/mae_scaled", "test/mae",
    "test/rmse", "test/r2", "test/skill_vs_naive", "test/direction_accuracy", "test/accuracy", "Forecast/validation",
    "Model/summary", "health/nonfinite_count",
]  # fmt: skip


def test_every_promised_tag_is_registered_once() -> None:
    registered = [spec.tag for spec in tags.SPECS]
    assert len(set(registered)) == len(registered) and set(PROMISED) <= set(registered)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("Loss/train", "Loss/train"),
        ("Weights/lstm.weight_ih_l0", "Weights/{layer}"),
        ("Gradients/head/bias", "Gradients/{layer}"),
        ("Custom/gate mean", "Custom/{name}"),
        ("Loss/train_divergence", "Loss/train_{part}"),
        ("Weights/", None),
        ("loss/train", None),
        ("other", None),
    ],
)
def test_spec_of_understands_placeholders(tag: str, expected: str | None) -> None:
    spec = tags.spec_of(tag)
    assert (spec.tag if spec else None) == expected


def test_every_constant_is_a_registered_tag() -> None:
    constants = {value for name, value in vars(tags).items() if name.isupper() and isinstance(value, str)}
    assert constants - {tags.TEST_PREFIX} == {spec.tag for spec in tags.SPECS}


def test_the_committed_page_equals_the_registry() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "src.tracking.tags"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == result.stdout
    for spec in tags.SPECS:
        assert f"| `{spec.tag}` |" in result.stdout


def test_the_registry_loads_without_heavy_packages() -> None:
    code = "import sys, src.tracking.layout; print({'torch', 'tensorboard', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_layout_shows_every_curve_in_one_chart() -> None:
    charts = {title: chart for category in custom_scalars_layout().values() for title, chart in category.items()}
    assert charts["Training and validation loss"] == ["Multiline", ["Loss/train$", "Loss/validation$"]]
    for spec in tags.SPECS:
        example = re.sub(r"\{\w+\}", "anything", spec.tag)
        matching = [title for title, (_, patterns) in charts.items() if any(re.match(p, example) for p in patterns)]
        assert len(matching) == (1 if spec.kind == "scalar" and spec.chart is not None else 0), spec.tag
