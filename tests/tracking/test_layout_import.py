"""The H-JEPA guide's ``tensorboard_layout.json`` becomes the dashboard that TensorBoard serves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.tracking.event_writer import EventWriter
from src.tracking.layout_import import layout_tags, read_layout, write_layout

GUIDE = """
{
  "category": [
    {"title": "Loss Metrics", "closed": false, "children": [
      {"title": "Hierarchical Losses", "closed": false, "children": [
        "train/loss/total", "train/loss/h0", "train/loss/h1", "train/loss/h2", "train/loss/unweighted"]},
      {"title": "Loss Contributions", "closed": false, "children": [
        "train/loss/contribution_h0", "train/loss/contribution_h1"]}]},
    {"title": "EMA Dynamics", "closed": false, "children": [
      "train/ema/momentum_current", "train/ema/avg_parameter_divergence"]},
    {"title": "Collapse Monitoring", "closed": false, "children": [
      "train/collapse/level0_effective_rank",
      {"title": "Level 0", "children": [{"title": "Finest", "children": ["train/collapse/level0_mean_similarity"]}]}]}
  ]
}
"""


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    file = tmp_path / "tensorboard_layout.json"
    file.write_text(GUIDE)
    return file


def test_the_nesting_of_the_guide(guide: Path) -> None:
    layout = read_layout(guide)
    assert list(layout) == ["Loss Metrics", "EMA Dynamics", "Collapse Monitoring"]
    assert list(layout["Loss Metrics"]) == ["Hierarchical Losses", "Loss Contributions"]
    assert layout["EMA Dynamics"] == {
        "train/ema/momentum_current": ["Multiline", ["train/ema/momentum_current$"]],
        "train/ema/avg_parameter_divergence": ["Multiline", ["train/ema/avg_parameter_divergence$"]],
    }
    assert list(layout["Collapse Monitoring"]) == ["train/collapse/level0_effective_rank", "Level 0 / Finest"]
    assert len(layout_tags(layout)) == 11 and "train/loss/h0" in layout_tags(layout)


def test_a_tag_is_no_regular_expression(tmp_path: Path) -> None:
    file = tmp_path / "layout.json"
    file.write_text(json.dumps({"category": [{"title": "a", "children": ["loss (mean)", "a.b"]}]}))
    layout = read_layout(file)
    (pattern,) = layout["a"]["a.b"][1]
    assert re.match(pattern, "a.b") and not re.match(pattern, "axb") and not re.match(pattern, "a.b/c")
    assert layout_tags(layout) == ["loss (mean)", "a.b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", 'a list "category"'),
        ('{"category": []}', 'a list "category"'),
        ('{"category": [{"children": ["a"]}]}', '"title"'),
        ('{"category": ["train/loss"]}', "'train/loss'"),
        ('{"category": [{"title": "a"}]}', "'a'"),
        ('{"category": [{"title": "a", "children": [7]}]}', "got 7"),
        ('{"category": [{"title": "a", "children": [{"title": "b", "children": []}]}]}', "'b'"),
        ('{"category": [{"title": "a", "children": ["x"]}, {"title": "a", "children": ["y"]}]}', "'a' twice"),
        ('{"category": [{"title": "a", "children": ["x", "x"]}]}', "'x' twice"),
    ],
)
def test_another_nesting_is_refused_in_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "layout.json"
    file.write_text(content)
    with pytest.raises(UserError, match=re.escape(said)):
        read_layout(file)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_layout(tmp_path / "layout.json")


def test_tensorboard_shows_the_layout_written_last(
    guide: Path, tmp_path: Path, tensorboard: Callable[[Path], Any]
) -> None:
    logdir = tmp_path / "logs"
    with EventWriter(logdir / "run") as writer:
        writer.add_custom_scalars({"Old": {"old": ["Multiline", ["x"]]}})
        for step in range(5):
            writer.add_values({"train/loss/total": step, "train/loss/h0": step / 2, "other": 1}, step)
    write_layout(read_layout(guide), logdir / "run")
    client = tensorboard(logdir)
    shown = client.get("custom_scalars/layout")["category"]
    assert [category["title"] for category in shown] == ["Loss Metrics", "EMA Dynamics", "Collapse Monitoring"]
    (tag, *others) = shown[0]["chart"][0]["multiline"]["tag"]
    assert len(others) == 4
    answer = client.get("custom_scalars/scalars", run="run", tag=tag)
    assert answer["regex_valid"] and list(answer["tag_to_events"]) == ["train/loss/total"]
    assert [value for _, _, value in answer["tag_to_events"]["train/loss/total"]] == [0, 1, 2, 3, 4]
    assert client.scalars("run", "other") == [(step, 1.0) for step in range(5)]
