"""The registry of tags, the page made from it, and the dashboards."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.tracking import tag_tables, tags
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


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(tag_tables.__path__)])
def test_every_constant_of_a_table_is_one_of_its_tags(name: str) -> None:
    table = importlib.import_module(f"{tag_tables.__name__}.{name}")
    if name == "spec":
        return
    constants = {value for key, value in vars(table).items() if key.isupper() and isinstance(value, str)}
    whole = {text for text in constants if "/" in text.rstrip("/") and "{name}" not in text and "{prefix}" not in text}
    assert whole <= {spec.tag for spec in table.SPECS}
    assert set(table.SPECS) <= set(tags.SPECS), "src/tracking/tags.py must join every table"


def test_where_several_patterns_fit_the_one_that_says_most_counts() -> None:
    assert tags.spec_of("train/anything").tag == "train/{name}"  # type: ignore[union-attr]
    assert tags.spec_of("train/loss/h1").tag != "train/{name}"  # type: ignore[union-attr]
    assert tags.spec_of("train/batch_loss").tag == "train/batch_loss"  # type: ignore[union-attr]


def test_the_glossary_explains_the_tags_of_a_run_and_no_others() -> None:
    text = tags.glossary(["Loss/train", "Weights/a", "Weights/b", "a stranger"])
    assert text.count("\n") == 3 and "`Weights/{layer}`" in text and "stranger" not in text


def test_only_charts_with_a_curve_are_laid_out_in_the_order_of_the_categories() -> None:
    seen = ["gradient_norm/total", "Loss/train", "train/batch_loss", "gradient_norm/layer/lstm"]
    layout = custom_scalars_layout(seen)
    assert list(layout) == ["01 Training", "11 Gradient statistics", "Training batches"]
    for charts in layout.values():
        for _, patterns in charts.values():
            assert any(re.match(pattern, tag) for pattern in patterns for tag in seen)


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
    layout = custom_scalars_layout()
    charts = [(title, *chart) for category in layout.values() for title, chart in category.items()]
    assert ("Training and validation loss", "Multiline", ["Loss/train$", "Loss/validation$"]) in charts
    for spec in tags.SPECS:
        example = re.sub(r"\{\w+\}", "anything", spec.tag)
        matching = [
            title
            for title, kind, patterns in charts
            if kind == "Multiline" and any(re.match(pattern, example) for pattern in patterns)
        ]
        assert len(matching) == (1 if spec.kind == "scalar" and spec.chart is not None else 0), spec.tag
